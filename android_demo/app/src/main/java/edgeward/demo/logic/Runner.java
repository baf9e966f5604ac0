package edgeward.demo.logic;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** One artifact in one interpreter, with the arithmetic around it. */
public final class Runner {
    public final Artifact artifact;
    public final Model model;

    private final Manifest manifest;
    private final Map<String, Map<String, Integer>> vocabularies;

    public Runner(
            Artifact artifact,
            Model model,
            Manifest manifest,
            Map<String, Map<String, Integer>> vocabularies) {
        this.artifact = artifact;
        this.model = model;
        this.manifest = manifest;
        this.vocabularies = vocabularies;
    }

    /** Returns the artifact's input tensors, batches of one, for one raw sample. */
    public Map<String, Tensor> tensors(Map<String, Tensor> sample) {
        if (!sample.keySet().equals(manifest.inputs.keySet())) {
            throw new InvalidDataException(
                    "These are not the model's inputs.", sample.keySet(), manifest.inputs.keySet());
        }
        Map<String, Tensor> result = new LinkedHashMap<String, Tensor>();
        for (TensorSpec tensor : artifact.inputs) {
            InputSpec spec = manifest.inputs.get(tensor.name);
            String where = "input '" + tensor.name + "'";
            Tensor value = Preprocessing.apply(spec, sample.get(tensor.name), vocabularies, where);
            result.put(tensor.name, fit(tensor, value).batched());
        }
        return result;
    }

    /** Quantises where the artifact wants integers, and checks shape and dtype. */
    static Tensor fit(TensorSpec tensor, Tensor value) {
        if (!Arrays.equals(value.shape, tensor.sampleShape())) {
            throw new InvalidDataException(
                    "Input '" + tensor.name + "' has the wrong shape after preprocessing.",
                    Arrays.toString(value.shape),
                    Arrays.toString(tensor.sampleShape()));
        }
        if (tensor.quantised && value.dtype == Dtype.FLOAT32) {
            return Quantization.quantize(value, tensor.scale, tensor.zeroPoint, tensor.dtype);
        }
        if (value.dtype != tensor.dtype) {
            throw new InvalidDataException(
                    "Input '" + tensor.name + "' has the wrong dtype after preprocessing.",
                    value.dtype,
                    tensor.dtype);
        }
        return value;
    }

    /** Runs one raw sample; returns what the artifact's file gives, before dequantisation. */
    public Map<String, Tensor> invoke(Map<String, Tensor> sample) {
        return model.run(tensors(sample));
    }

    /** Dequantises and postprocesses one output. */
    public Tensor value(String name, Tensor raw) {
        TensorSpec tensor = artifact.output(name);
        Tensor values =
                tensor.quantised ? Quantization.dequantize(raw, tensor.scale, tensor.zeroPoint) : floats(raw);
        return Preprocessing.after(spec(name).postprocessing, values);
    }

    private static Tensor floats(Tensor raw) {
        Tensor result = Tensor.zeros(Dtype.FLOAT32, raw.shape);
        for (int i = 0; i < result.count; i++) {
            result.put(i, raw.real(i));
        }
        return result;
    }

    public Decoded decode(String name, Tensor raw) {
        return new Decoded(spec(name), value(name, raw));
    }

    OutputSpec spec(String output) {
        return manifest.outputs.get(output);
    }
}
