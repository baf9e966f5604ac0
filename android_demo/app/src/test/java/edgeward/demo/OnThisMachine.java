package edgeward.demo;

import edgeward.demo.logic.RunBundle;

/**
 * Runs a bundle with the app's own interpreter on a desktop's JVM, for scripts/devices/android.py:
 * the folder of the native library and of what it needs, those in the order of loading, the bundle,
 * its samples, seconds for the samples of each artifact.
 */
public final class OnThisMachine {
    private OnThisMachine() {}

    public static void main(String[] arguments) throws Exception {
        String[] libraries = arguments[1].split(",");
        for (String library : libraries) {
            System.load(arguments[0] + "/" + library);
        }
        double seconds = Double.parseDouble(arguments[4]);
        RunBundle.run(arguments[2], arguments[3], seconds, new TfliteModel.Loader());
    }
}
