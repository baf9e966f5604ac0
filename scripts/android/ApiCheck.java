import java.io.File;
import java.io.FileInputStream;
import java.util.List;
import java.util.Set;
import org.codehaus.mojo.animal_sniffer.SignatureChecker;
import org.codehaus.mojo.animal_sniffer.logging.PrintWriterLogger;

/** Checks compiled classes against the signatures of an Android API: CLASSES SIGNATURE. */
public class ApiCheck {
    public static void main(String[] arguments) throws Exception {
        // Our own classes and TensorFlow Lite's come with the app, not with Android.
        Set<String> ours = Set.of("edgeward.demo.*", "org.tensorflow.lite.*");
        try (FileInputStream signature = new FileInputStream(arguments[1])) {
            SignatureChecker checker =
                    new SignatureChecker(signature, ours, new PrintWriterLogger(System.out));
            checker.setSourcePath(List.of());
            checker.process(new File(arguments[0]));
            System.exit(checker.isSignatureBroken() ? 1 : 0);
        }
    }
}
