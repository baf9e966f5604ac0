package edgeward.demo.logic;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Answers the cases of scripts/android/jvm.py: one JSON object per line of the file named by the argument,
 * one answer per line on stdout. Python compares the answers with its own, byte for byte.
 */
public final class Cases {
    private InputSpec input;
    private final Map<String, Map<String, Integer>> vocabularies =
            new HashMap<String, Map<String, Integer>>();

    /** The folder opened last, so that many samples do not run its self-test many times. */
    private Demo demo;

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        Cases cases = new Cases();
        FileInputStream file = new FileInputStream(arguments[0]);
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(file, "UTF-8"))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                Map<String, Object> answer;
                try {
                    answer = cases.answer(line);
                } catch (EdgewardException error) {
                    answer = new HashMap<String, Object>();
                    answer.put("error", error.getClass().getSimpleName());
                    answer.put("message", error.getMessage());
                }
                out.println(JsonText.of(answer));
            }
        }
        out.flush();
    }

    @SuppressWarnings("unchecked")
    private Map<String, Object> answer(String line) throws Exception {
        Object json = StrictJson.parse(line.getBytes("UTF-8"), "case", Integer.MAX_VALUE);
        Map<String, Object> given = (Map<String, Object>) json;
        Map<String, Object> answer = new HashMap<String, Object>();
        String verb = (String) given.get("op");
        if (verb.equals("use")) {
            input = new InputSpec(given.get("input"), "input");
            vocabularies.clear();
            Map<String, Object> files = (Map<String, Object>) given.get("vocabularies");
            for (Map.Entry<String, Object> file : files.entrySet()) {
                vocabularies.put(file.getKey(), Tokens.vocabulary(bytes(file.getValue())));
            }
        } else if (verb.equals("preprocess")) {
            put(answer, Preprocessing.apply(input, raw(given.get("raw")), vocabularies, "the sample"));
        } else if (verb.equals("quantize")) {
            Dtype dtype = Dtype.of((String) given.get("dtype"));
            put(answer, Quantization.quantize(tensor(given), scale(given), zero(given), dtype));
        } else if (verb.equals("dequantize")) {
            put(answer, Quantization.dequantize(tensor(given), scale(given), zero(given)));
        } else if (verb.equals("after")) {
            Step[] steps = Step.postprocessing((List<Object>) given.get("steps"), "steps");
            put(answer, Preprocessing.after(steps, tensor(given)));
        } else if (verb.equals("decode")) {
            put(answer, new Decoded(new OutputSpec(given.get("output"), "output"), tensor(given)));
        } else if (verb.equals("json")) {
            Object value = StrictJson.parse(bytes(given.get("bytes")), "text", 1000000);
            answer.put("value", value);
        } else if (verb.equals("manifest")) {
            answer.put("name", new Manifest(bytes(given.get("bytes"))).name);
        } else if (verb.equals("crowded")) {
            Tensor wanted = raw(given.get("expected"));
            List<Object> items = (List<Object>) given.get("limits");
            int[][] limits = new int[items.size()][];
            for (int i = 0; i < limits.length; i++) {
                Fields limit = new Fields(items.get(i), "limit", "lsb", "values");
                limits[i] = new int[] {(int) limit.integer("lsb"), (int) limit.integer("values")};
            }
            double unit = SelfTest.unit(wanted);
            answer.put("crowded", SelfTest.crowded(limits, raw(given.get("actual")), wanted, unit));
        } else if (verb.equals("sums")) {
            answer.put("hashes", Sums.parse(bytes(given.get("bytes"))));
        } else if (verb.equals("bundle")) {
            Bundle bundle = new Bundle(new FolderFiles((String) given.get("folder")));
            bundle.verify();
            answer.put("name", bundle.manifest.name);
        } else if (verb.equals("open")) {
            byte[] record = FolderFiles.content(new File((String) given.get("record")));
            Object calls = StrictJson.parse(record, "record", Integer.MAX_VALUE);
            FolderFiles files = new FolderFiles((String) given.get("folder"));
            demo = null;
            demo = new Demo(files, RecordedModel.loader(calls));
            answer.put("lines", Demo.lines(demo.checks));
            for (SelfTest.Check check : demo.checks) {
                answer.put(check.artifact, check(check));
            }
        } else if (verb.equals("answer")) {
            sample(answer, (Map<String, Object>) given.get("sample"));
        } else if (verb.equals("ink")) {
            int width = ((Long) given.get("width")).intValue();
            put(answer, Ink.toRaw(bytes(given.get("bytes")), width, input));
        } else {
            throw new IllegalArgumentException(verb);
        }
        return answer;
    }

    private void sample(Map<String, Object> answer, Map<String, Object> given) {
        Names.require(demo != null, "bundle", null, "one that was opened");
        Map<String, Tensor> raws = new HashMap<String, Tensor>();
        for (Map.Entry<String, Object> entry : given.entrySet()) {
            raws.put(entry.getKey(), raw(entry.getValue()));
        }
        Demo.Answer found = demo.answer(raws);
        Map<String, Object> outputs = new HashMap<String, Object>();
        for (Map.Entry<String, Decoded> entry : found.outputs.entrySet()) {
            Map<String, Object> output = new HashMap<String, Object>();
            put(output, entry.getValue());
            outputs.put(entry.getKey(), output);
        }
        answer.put("handed", RecordedModel.handed);
        answer.put("outputs", outputs);
        answer.put("lines", Demo.lines(found));
        answer.put("nanos", found.totalNanos - found.modelNanos);
    }

    static Map<String, Object> check(SelfTest.Check check) {
        Map<String, Object> result = new HashMap<String, Object>();
        result.put("verdict", check.verdict);
        result.put("compared_with", check.comparedWith);
        result.put("lsb", check.lsb);
        result.put("max_lsb", (long) check.maxLsb);
        result.put("differing", (long) check.differing);
        result.put("values", (long) check.values);
        result.put("flips", (long) check.flips);
        result.put("crowded", (long) check.crowded);
        return result;
    }

    private static void put(Map<String, Object> answer, Tensor tensor) {
        answer.put("dtype", tensor.dtype.toString());
        answer.put("base64", java.util.Base64.getEncoder().encodeToString(tensor.data));
        StringBuilder shape = new StringBuilder();
        for (int dimension : tensor.shape) {
            shape.append(shape.length() == 0 ? "" : ",").append(dimension);
        }
        answer.put("shape", shape.toString());
    }

    private static void put(Map<String, Object> answer, Decoded decoded) {
        put(answer, decoded.values);
        answer.put("index", (long) decoded.index);
        answer.put("label", decoded.label);
        answer.put("score", (double) decoded.score);
    }

    private static byte[] bytes(Object base64) {
        return java.util.Base64.getDecoder().decode((String) base64);
    }

    /** A text is base64 of its bytes, which need not be UTF-8 nor any; the rest are tensors. */
    static Tensor raw(Object json) {
        return json instanceof String ? Tensor.text(bytes(json)) : Golden.tensor(json, "raw");
    }

    private static Tensor tensor(Map<String, Object> given) {
        return Golden.tensor(given.get("values"), "values");
    }

    private static float scale(Map<String, Object> given) {
        return ((Number) given.get("scale")).floatValue();
    }

    private static int zero(Map<String, Object> given) {
        return ((Long) given.get("zero_point")).intValue();
    }
}
