package edgeward.demo.logic;

import java.util.List;
import java.util.Map;

/** One step of preprocessing or postprocessing: the closed list of FORMAT.md, section 4. */
public final class Step {
    private static final int MAX_SIDE = 65535;
    private static final int MAX_LENGTH = 1 << 20;
    private static final double MAX_FLOAT = 3.4e38;

    public final String name;

    /** Of {@code resize_bilinear}. */
    public final int height;

    public final int width;

    /** Of {@code affine}. */
    public final Coefficients scale;

    public final Coefficients offset;

    /** Of {@code lookup}. */
    public final String vocabulary;

    public final int unknown;

    /** Of {@code pad}. */
    public final int length;

    public final int value;
    public final boolean left;

    private final String takes;
    private final String gives;

    /** A number, or one number per last dimension. */
    public static final class Coefficients {
        private final float[] values;
        private final boolean single;

        Coefficients(Object json, String where) {
            single = !(json instanceof List);
            List<?> numbers = single ? java.util.Collections.singletonList(json) : (List<?>) json;
            values = new float[numbers.size()];
            for (int i = 0; i < values.length; i++) {
                Object number = numbers.get(i);
                boolean fits =
                        number instanceof Number
                                && Math.abs(((Number) number).doubleValue()) < MAX_FLOAT;
                Names.require(fits, where, number, "a finite float32 number");
                values[i] = ((Number) number).floatValue();
            }
            Names.require(values.length > 0, where, "no number", "at least one");
        }

        /** Tells whether there is a number for each of {@code channels}. */
        boolean fits(int channels) {
            return single || values.length == channels;
        }

        float of(int channel) {
            return single ? values[0] : values[channel];
        }
    }

    private Step(Object json, String where, boolean before) {
        Object found = json instanceof Map ? ((Map<?, ?>) json).get("step") : null;
        Names.require(found instanceof String, where, found, "an object with 'step'");
        name = (String) found;
        int high = 0;
        int wide = 0;
        Coefficients factor = null;
        Coefficients shift = null;
        String words = null;
        int id = 0;
        int ids = 0;
        int fill = 0;
        boolean leading = false;
        String from = "image";
        String to = "image";
        String key = (before ? "pre " : "post ") + name;
        if (key.equals("pre grayscale") || key.equals("pre invert")) {
            new Fields(json, where, "step");
        } else if (key.equals("pre resize_bilinear")) {
            Fields read = new Fields(json, where, "step", "height", "width");
            high = read.integer("height", 1, MAX_SIDE);
            wide = read.integer("width", 1, MAX_SIDE);
        } else if (name.equals("affine")) {
            Fields read = new Fields(json, where, "step", "scale", "offset");
            factor = new Coefficients(read.raw("scale"), where + ".scale");
            shift = new Coefficients(read.raw("offset"), where + ".offset");
            from = "image array ids";
            to = "array";
        } else if (key.equals("pre tokenize")) {
            new Fields(json, where, "step");
            from = "text";
            to = "tokens";
        } else if (key.equals("pre lookup")) {
            Fields read = new Fields(json, where, "step", "vocabulary", "unknown");
            words = read.text("vocabulary");
            Names.require(Names.isFile(words), where + ".vocabulary", words, "a plain file name");
            id = read.integer("unknown", 0, Integer.MAX_VALUE);
            from = "tokens";
            to = "ids";
        } else if (key.equals("pre pad")) {
            Fields read = new Fields(json, where, "step", "length", "value", "side");
            ids = read.integer("length", 1, MAX_LENGTH);
            fill = read.integer("value", Integer.MIN_VALUE, Integer.MAX_VALUE);
            leading = read.text("side").equals("left");
            boolean known = leading || read.text("side").equals("right");
            Names.require(known, where + ".side", read.raw("side"), "'left' or 'right'");
            from = "ids";
            to = "ids";
        } else if (key.equals("post sigmoid") || key.equals("post softmax")) {
            new Fields(json, where, "step");
            from = "array";
            to = "array";
        } else {
            throw new InvalidBundleException(
                    where + " is a step that this app does not know.", name, "FORMAT.md, section 4");
        }
        height = high;
        width = wide;
        scale = factor;
        offset = shift;
        vocabulary = words;
        unknown = id;
        length = ids;
        value = fill;
        left = leading;
        takes = from;
        gives = to;
    }

    /** Reads the steps between raw sample and model; {@code kind} is the input's. */
    static Step[] preprocessing(List<Object> json, String kind, String where) {
        Step[] steps = read(json, where, true);
        String end = chain(steps, kind.equals("tensor") ? "array" : kind, where);
        boolean numbers = !end.equals("text") && !end.equals("tokens");
        Names.require(numbers, where, end, "steps that end in numbers");
        return steps;
    }

    /** Reads the steps on a dequantised output. */
    public static Step[] postprocessing(List<Object> json, String where) {
        Step[] steps = read(json, where, false);
        chain(steps, "array", where);
        return steps;
    }

    private static Step[] read(List<Object> json, String where, boolean before) {
        Step[] steps = new Step[json.size()];
        for (int i = 0; i < steps.length; i++) {
            steps[i] = new Step(json.get(i), where + "[" + i + "]", before);
        }
        return steps;
    }

    private static String chain(Step[] steps, String kind, String where) {
        String held = kind;
        for (Step step : steps) {
            boolean fits = java.util.Arrays.asList(step.takes.split(" ")).contains(held);
            Names.require(fits, where, step.name + " after " + held, step.takes);
            held = step.gives;
        }
        return held;
    }
}
