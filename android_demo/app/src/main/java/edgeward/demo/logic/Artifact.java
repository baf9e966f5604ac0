package edgeward.demo.logic;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** One model file of one format and variant (FORMAT.md, sections 3.3 and 8.1). */
public final class Artifact {
    private static final List<String> IDS =
            Arrays.asList(
                    "tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-int8",
                    "tflite-int8-floatio", "tflite-int8-mixed", "tflite-int16x8", "onnx-fp32",
                    "onnx-fp16", "onnx-int8", "onnx-dynamic", "c-int8");
    private static final int MAX_LIMITS = 8;
    private static final List<String> RESERVED =
            Arrays.asList(Sums.NAME, "manifest.json", "golden.json");

    public final String id;
    public final String file;
    public final long size;
    public final String sha256;
    public final List<TensorSpec> inputs;
    public final List<TensorSpec> outputs;
    public final Map<String, String> minRuntime;
    public final boolean stateful;
    public final int maxLsb;

    /** Output -> limits {lsb, values}: so many values may differ by more; none in version 1. */
    final Map<String, int[][]> tolerance = new LinkedHashMap<String, int[][]>();

    /** Outputs of the drift entries, and whether one of them was measured. */
    final List<String> measured = new ArrayList<String>();

    final List<String> measuredTasks = new ArrayList<String>();
    private boolean verified;

    Artifact(Object json, String where, long version) {
        List<String> keys =
                new ArrayList<String>(
                        Arrays.asList(
                                "id", "file", "size", "sha256", "variant", "tensors", "ops",
                                "min_runtime", "batch", "stateful", "max_lsb", "drift"));
        if (version >= 2) {
            keys.add("tolerance");
        }
        Fields read = new Fields(json, where, keys);
        id = read.text("id");
        Names.require(IDS.contains(id), where + ".id", id, IDS);
        String variant = id.substring(id.indexOf('-') + 1).replace("-floatio", "");
        Names.require(
                read.text("variant").equals(variant), where + ".variant", read.raw("variant"), variant);
        file = read.text("file");
        Names.require(
                Names.isFile(file) && !RESERVED.contains(file), where + ".file", file, "a plain file name of its own");
        size = read.integer("size");
        Names.require(size > 0, where + ".size", size, "> 0");
        sha256 = read.text("sha256");
        Names.require(Names.isSha256(sha256), where + ".sha256", sha256, "64 lower-case hex digits");
        Fields tensors = new Fields(read.raw("tensors"), where + ".tensors", "inputs", "outputs");
        inputs = edge(tensors.array("inputs"), where + ".tensors.inputs");
        outputs = edge(tensors.array("outputs"), where + ".tensors.outputs");
        for (Object op : read.array("ops")) {
            Fields one = new Fields(op, where + ".ops", "name", "version");
            one.text("name");
            one.integer("version");
        }
        minRuntime = read.stringMap("min_runtime");
        String batch = read.text("batch");
        boolean known = batch.equals("static") || batch.equals("resizable");
        Names.require(known, where + ".batch", batch, "'static' or 'resizable'");
        stateful = read.truth("stateful");
        maxLsb = read.integer("max_lsb", 0, Integer.MAX_VALUE);
        for (Object item : read.array("drift")) {
            drift(item, where + ".drift");
        }
        if (version >= 2) {
            limits(read.mapping("tolerance"), where + ".tolerance");
        }
    }

    private void limits(Map<String, Object> json, String where) {
        Fields read = new Fields(json, where, json.keySet());
        for (String name : json.keySet()) {
            String at = where + "." + name;
            TensorSpec tensor = null;
            for (TensorSpec one : outputs) {
                tensor = one.name.equals(name) ? one : tensor;
            }
            Names.require(tensor != null, at, name, "the name of an output");
            List<Object> items = read.array(name);
            Names.require(
                    !items.isEmpty() && items.size() <= MAX_LIMITS, at, items.size(), "1 to " + MAX_LIMITS + " limits");
            int[][] found = new int[items.size()][];
            long below = -1;
            long above = tensor.size();
            for (int i = 0; i < found.length; i++) {
                Fields limit = new Fields(items.get(i), at + "[" + i + "]", "lsb", "values");
                long lsb = limit.integer("lsb");
                long values = limit.integer("values");
                Names.require(
                        lsb > below && lsb < maxLsb && values >= 1 && values < above, at, limit.raw("lsb") + ", " + limit.raw("values"), "growing lsb below max_lsb, falling values below the output's size");
                found[i] = new int[] {(int) lsb, (int) Math.min(values, Integer.MAX_VALUE)};
                below = lsb;
                above = values;
            }
            tolerance.put(name, found);
        }
    }

    private static List<TensorSpec> edge(List<Object> json, String where) {
        List<TensorSpec> result = new ArrayList<TensorSpec>();
        for (Object item : json) {
            result.add(new TensorSpec(item, where + "[" + result.size() + "]"));
        }
        Names.require(!result.isEmpty(), where, "none", "some");
        return result;
    }

    private void drift(Object json, String where) {
        String[] numbers = {"reference", "value", "drop", "upper_bound"};
        Fields read =
                new Fields(
                        json, where, "output", "task", "metric", "reference", "value", "drop",
                        "upper_bound", "budget", "samples", "verdict", "runtime");
        measured.add(read.text("output"));
        measuredTasks.add(read.text("task"));
        read.text("metric");
        read.text("runtime");
        String verdict = read.text("verdict");
        boolean known = Arrays.asList("pass", "inconclusive", "unverified").contains(verdict);
        Names.require(known, where + ".verdict", verdict, "pass, inconclusive or unverified");
        for (String key : numbers) {
            boolean missing = Double.isNaN(read.optionalNumber(key));
            Names.require(
                    missing == verdict.equals("unverified"), where + "." + key, read.raw(key), "a number, or null when 'unverified'");
        }
        long samples = read.integer("samples");
        double budget = read.number("budget");
        boolean proven = samples > 0 && read.optionalNumber("upper_bound") <= budget;
        Names.require(samples >= 0, where + ".samples", samples, ">= 0");
        Names.require(
                !verdict.equals("pass") || proven, where, "pass", "upper_bound <= budget, measured on samples");
        verified |= !verdict.equals("unverified");
    }

    /** Tells whether any output was measured when the artifact was converted. */
    boolean verified() {
        return verified;
    }

    /** Tells whether TensorFlow Lite is what runs it. */
    public boolean isTflite() {
        return id.startsWith("tflite-");
    }

    TensorSpec output(String name) {
        for (TensorSpec tensor : outputs) {
            if (tensor.name.equals(name)) {
                return tensor;
            }
        }
        throw new IllegalArgumentException(name);
    }
}
