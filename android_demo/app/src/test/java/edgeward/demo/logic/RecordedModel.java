package edgeward.demo.logic;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Answers with what Python's interpreter gave for the very same input bytes, and nothing else. */
final class RecordedModel implements Model {
    /** {@code {runtime, version, artifacts: {ID: [{inputs, outputs}]}}}. */
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
    private final Artifact artifact;

    private RecordedModel(Fields record, Artifact artifact) {
        this.record = record;
        this.artifact = artifact;
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
        for (Object item : (List<?>) record.mapping("artifacts").get(artifact.id)) {
            Fields call = new Fields(item, "call", "inputs", "outputs");
            boolean same = true;
            for (TensorSpec spec : artifact.inputs) {
                Tensor wanted = Golden.tensor(call.mapping("inputs").get(spec.name), spec.name);
                Tensor have = inputs.get(spec.name);
                same &= have.dtype == wanted.dtype && Arrays.equals(have.shape, wanted.shape);
                same &= Arrays.equals(have.data, wanted.data);
            }
            if (same) {
                Map<String, Tensor> outputs = new HashMap<String, Tensor>();
                for (Map.Entry<String, Object> entry : call.mapping("outputs").entrySet()) {
                    outputs.put(entry.getKey(), Golden.tensor(entry.getValue(), entry.getKey()));
                }
                return outputs;
            }
        }
        throw new InvalidDataException("Python never gave these input tensors.", inputs, null);
    }

    @Override
    public void close() {}
}
