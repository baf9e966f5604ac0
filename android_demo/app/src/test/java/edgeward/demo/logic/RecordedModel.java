package edgeward.demo.logic;

import java.io.ByteArrayOutputStream;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/** Answers with what Python's interpreter gave for the very same input bytes, and nothing else. */
final class RecordedModel implements Model {
    /** Other tensors than Python's: no refusal of a sample, which is an InvalidDataException. */
    static final class NeverGiven extends EdgewardException {
        private static final long serialVersionUID = 1L;

        NeverGiven(Map<String, Tensor> inputs) {
            super("Python never gave these input tensors.", inputs, null);
        }
    }

    /** Hash of the tensors handed over last, whether Python gave them or not. */
    static String handed = "";

    /** {@code {runtime, version, artifacts: {ID: {HASH OF THE INPUTS: outputs}}}}. */
    static Model.Loader loader(Object json) {
        final Fields read = new Fields(json, "record", "runtime", "version", "artifacts");
        return new Model.Loader() {
            @Override
            public Model load(Artifact artifact, byte[] data) {
                Names.require(
                        Sums.sha256(data).equals(artifact.sha256), "bytes of the model", null, artifact.sha256);
                return new RecordedModel(read, artifact);
            }
        };
    }

    private final Fields record;
    private final Fields calls;
    private final Artifact artifact;

    private RecordedModel(Fields record, Artifact artifact) {
        this.record = record;
        this.artifact = artifact;
        Map<String, Object> known = record.mapping("artifacts");
        Names.require(known.containsKey(artifact.id), "record", known.keySet(), artifact.id);
        calls = new Fields(known, "record", known.keySet());
    }

    @Override
    public String runtime() {
        return record.text("runtime");
    }

    @Override
    public String version() {
        return record.text("version");
    }

    @Override
    public Map<String, Tensor> run(Map<String, Tensor> inputs) {
        handed = hash(inputs);
        Object given = calls.mapping(artifact.id).get(handed);
        if (given == null) {
            throw new NeverGiven(inputs);
        }
        Map<String, Tensor> outputs = new HashMap<String, Tensor>();
        for (Map.Entry<?, ?> entry : ((Map<?, ?>) given).entrySet()) {
            String name = (String) entry.getKey();
            outputs.put(name, Golden.tensor(entry.getValue(), name));
        }
        return outputs;
    }

    /** Returns the hash of names, dtypes, shapes and bytes, as recording.py makes it. */
    private static String hash(Map<String, Tensor> inputs) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (Map.Entry<String, Tensor> entry : new TreeMap<String, Tensor>(inputs).entrySet()) {
            Tensor tensor = entry.getValue();
            String head = entry.getKey() + " " + tensor.dtype + " " + Arrays.toString(tensor.shape) + "\n";
            byte[] bytes = head.getBytes(Utf8.CHARSET);
            all.write(bytes, 0, bytes.length);
            all.write(tensor.data, 0, tensor.data.length);
        }
        return Sums.sha256(all.toByteArray());
    }

    @Override
    public void close() {}
}
