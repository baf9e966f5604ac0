package edgeward.demo;

import edgeward.demo.logic.Artifact;
import edgeward.demo.logic.InvalidBundleException;
import edgeward.demo.logic.Model;
import edgeward.demo.logic.Tensor;
import edgeward.demo.logic.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.TensorFlowLite;

/** TensorFlow Lite: no other class imports {@code org.tensorflow.lite}. Not for several threads. */
final class TfliteModel implements Model {
    /** Opens artifacts with TensorFlow Lite. */
    static final class Loader implements Model.Loader {
        @Override
        public Model load(Artifact artifact, byte[] data) {
            try {
                return new TfliteModel(artifact, data);
            } catch (IllegalArgumentException | IllegalStateException error) {
                throw new InvalidBundleException(
                        "TensorFlow Lite cannot load " + artifact.file + ".",
                        error.getMessage(),
                        "a runtime that holds " + artifact.minRuntime);
            }
        }
    }

    private final Artifact artifact;
    private final Interpreter interpreter;
    private final int[] inputs;
    private final int[] outputs;

    private TfliteModel(Artifact artifact, byte[] data) {
        this.artifact = artifact;
        // The very bytes whose hash was checked; the interpreter reads direct buffers in place.
        ByteBuffer model = ByteBuffer.allocateDirect(data.length).order(ByteOrder.nativeOrder());
        model.put(data).rewind();
        interpreter = new Interpreter(model, new Interpreter.Options().setNumThreads(1));
        boolean matched = false;
        try {
            inputs = match(artifact.inputs, true);
            outputs = match(artifact.outputs, false);
            matched = true;
        } finally {
            if (!matched) {
                interpreter.close();
            }
        }
    }

    /** Returns the index of each tensor of the manifest; the file must be what the manifest says. */
    private int[] match(List<TensorSpec> tensors, boolean in) {
        int count = in ? interpreter.getInputTensorCount() : interpreter.getOutputTensorCount();
        int[] indices = new int[tensors.size()];
        for (int i = 0; i < indices.length; i++) {
            TensorSpec spec = tensors.get(i);
            org.tensorflow.lite.Tensor found = null;
            for (int at = 0; at < count && found == null; at++) {
                org.tensorflow.lite.Tensor one =
                        in ? interpreter.getInputTensor(at) : interpreter.getOutputTensor(at);
                if (one.name().equals(spec.tensor)) {
                    indices[i] = at;
                    found = one;
                }
            }
            boolean fits =
                    found != null
                            && count == indices.length
                            && found.dataType().name().toLowerCase(Locale.ROOT).equals(spec.dtype.toString())
                            && Arrays.equals(found.shape(), spec.shape)
                            && found.quantizationParams().getScale() == spec.scale
                            && found.quantizationParams().getZeroPoint() == spec.zeroPoint;
            if (!fits) {
                throw new InvalidBundleException(
                        artifact.file + ": tensor '" + spec.tensor + "' is not what the manifest says.",
                        found == null ? null : found.dataType() + " " + Arrays.toString(found.shape()),
                        spec.dtype + " " + Arrays.toString(spec.shape));
            }
        }
        return indices;
    }

    @Override
    public String runtime() {
        return "android-tflite";
    }

    @Override
    public String version() {
        return TensorFlowLite.runtimeVersion();
    }

    @Override
    public Map<String, Tensor> run(Map<String, Tensor> tensors) {
        if (artifact.stateful) {
            interpreter.resetVariableTensors();
        }
        Object[] in = new Object[inputs.length];
        for (int i = 0; i < in.length; i++) {
            // Tensors are little-endian, as every processor that Android runs on.
            byte[] data = tensors.get(artifact.inputs.get(i).name).data;
            ByteBuffer buffer = ByteBuffer.allocateDirect(data.length).order(ByteOrder.nativeOrder());
            buffer.put(data).rewind();
            in[inputs[i]] = buffer;
        }
        Map<Integer, Object> out = new HashMap<Integer, Object>();
        for (int i = 0; i < outputs.length; i++) {
            int bytes = interpreter.getOutputTensor(outputs[i]).numBytes();
            out.put(outputs[i], ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder()));
        }
        interpreter.runForMultipleInputsOutputs(in, out);
        Map<String, Tensor> result = new HashMap<String, Tensor>();
        for (int i = 0; i < outputs.length; i++) {
            TensorSpec spec = artifact.outputs.get(i);
            ByteBuffer buffer = (ByteBuffer) out.get(outputs[i]);
            byte[] data = new byte[buffer.capacity()];
            buffer.rewind();
            buffer.get(data);
            result.put(spec.name, new Tensor(spec.dtype, spec.shape, data));
        }
        return result;
    }

    @Override
    public void close() {
        interpreter.close();
    }
}
