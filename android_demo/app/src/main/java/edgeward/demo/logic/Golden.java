package edgeward.demo.logic;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Raw inputs with the outputs measured at conversion (FORMAT.md, section 6). */
public final class Golden {
    static final int MAX_BYTES = 16000000;
    private static final int MIN_VECTORS = 8;

    public final List<Map<String, Tensor>> inputs = new ArrayList<Map<String, Tensor>>();
    public final List<Expected> expected = new ArrayList<Expected>();

    /** What one artifact gave on one runtime: output name -> [V, ...]. */
    public static final class Expected {
        public final String artifact;
        public final String runtime;
        public final String version;
        public final Map<String, Tensor> outputs = new HashMap<String, Tensor>();

        private Expected(Object json, String where, Manifest manifest, int vectors) {
            Fields read = new Fields(json, where, "artifact", "runtime", "version", "outputs");
            artifact = read.text("artifact");
            runtime = read.text("runtime");
            version = read.text("version");
            Artifact known = manifest.artifacts.get(artifact);
            Names.require(known != null, where + ".artifact", artifact, manifest.artifacts.keySet());
            Fields tensors = new Fields(read.raw("outputs"), where + ".outputs", manifest.outputs.keySet());
            for (TensorSpec spec : known.outputs) {
                String at = where + ".outputs." + spec.name;
                Tensor tensor = tensor(tensors.raw(spec.name), at);
                int[] wanted = spec.shape.clone();
                wanted[0] = vectors;
                boolean fits = tensor.dtype == spec.dtype && Arrays.equals(tensor.shape, wanted);
                Names.require(fits, at, tensor, spec.dtype + " " + Arrays.toString(wanted));
                outputs.put(spec.name, tensor);
            }
        }
    }

    public Golden(byte[] data, Manifest manifest) {
        String where = "golden.json";
        Fields read =
                new Fields(
                        StrictJson.parse(data, where, MAX_BYTES), where, "format_version", "inputs", "expected");
        Names.require(
                read.integer("format_version") == 1, where + ".format_version", read.raw("format_version"), 1);
        for (Object item : read.array("inputs")) {
            String at = where + ": inputs[" + inputs.size() + "]";
            Fields sample = new Fields(item, at, manifest.inputs.keySet());
            Map<String, Tensor> raws = new LinkedHashMap<String, Tensor>();
            for (Map.Entry<String, InputSpec> entry : manifest.inputs.entrySet()) {
                raws.put(entry.getKey(), raw(sample, entry.getKey(), entry.getValue(), at));
            }
            inputs.add(raws);
        }
        boolean enough = inputs.isEmpty() || inputs.size() >= MIN_VECTORS;
        Names.require(enough, where + ".inputs", inputs.size() + " vectors", "at least " + MIN_VECTORS);
        for (Object item : read.array("expected")) {
            String at = where + ": expected[" + expected.size() + "]";
            expected.add(new Expected(item, at, manifest, inputs.size()));
        }
        for (String id : manifest.artifacts.keySet()) {
            boolean have = inputs.isEmpty() || reference(id, "", "") != null;
            Names.require(have, where + ".expected", "none for " + id, "an entry for each artifact");
        }
    }

    private static Tensor raw(Fields sample, String name, InputSpec spec, String where) {
        String at = where + "." + name;
        if (spec.kind.equals("text")) {
            return Tensor.text(sample.text(name).getBytes(Utf8.CHARSET));
        }
        Tensor tensor = tensor(sample.raw(name), at);
        try {
            spec.check(tensor, at);
        } catch (InvalidDataException error) {
            throw new InvalidBundleException(error.getMessage(), null, null);
        }
        return tensor;
    }

    /** Reads {@code {dtype, shape, base64}}. */
    static Tensor tensor(Object json, String where) {
        Fields read = new Fields(json, where, "dtype", "shape", "base64");
        Dtype dtype = Dtype.of(read.text("dtype"));
        Names.require(dtype != null, where + ".dtype", read.raw("dtype"), "FORMAT.md, section 3.3");
        int[] shape = read.shape("shape");
        for (int dimension : shape) {
            Names.require(dimension != Fields.ANY, where + ".shape", read.raw("shape"), "no null");
        }
        byte[] data = Base64Text.decode(read.text("base64"));
        boolean fits = data != null && data.length == Tensor.bytes(dtype, shape);
        Names.require(fits, where + ".base64", null, dtype + " " + Arrays.toString(shape));
        return new Tensor(dtype, shape, data);
    }

    /** Returns what to compare with: same runtime and version, else the nearest entry, else null. */
    public Expected reference(String artifact, String runtime, String version) {
        Expected best = null;
        int rank = 0;
        for (Expected entry : expected) {
            boolean same = entry.runtime.equals(runtime);
            int nearness = same && entry.version.equals(version) ? 3 : same ? 2 : 1;
            if (entry.artifact.equals(artifact) && nearness > rank) {
                best = entry;
                rank = nearness;
            }
        }
        return best;
    }
}
