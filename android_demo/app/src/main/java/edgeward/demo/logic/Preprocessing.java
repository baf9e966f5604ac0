package edgeward.demo.logic;

import java.util.List;
import java.util.Map;

/** Raw sample to model tensor and dequantised output to value: the steps of FORMAT.md, section 4. */
public final class Preprocessing {
    private Preprocessing() {}

    /** Applies the input's steps to one raw sample; the result has no batch dimension. */
    public static Tensor apply(
            InputSpec spec, Tensor raw, Map<String, Map<String, Integer>> vocabularies, String where) {
        spec.check(raw, where);
        Tensor value = raw;
        List<String> tokens = null;
        for (Step step : spec.preprocessing) {
            if (step.name.equals("grayscale")) {
                value = Images.grayscale(value, where);
            } else if (step.name.equals("invert")) {
                value = Images.invert(value);
            } else if (step.name.equals("resize_bilinear")) {
                value = Images.resize(value, step.height, step.width);
            } else if (step.name.equals("affine")) {
                value = affine(value, step);
            } else if (step.name.equals("tokenize")) {
                tokens = Tokens.tokenize(value.data);
            } else if (step.name.equals("lookup")) {
                Map<String, Integer> ids = vocabularies.get(step.vocabulary);
                if (ids == null) {
                    throw new InvalidBundleException("The vocabulary is missing.", null, step.vocabulary);
                }
                value = Tokens.lookup(tokens, ids, step.unknown);
            } else {
                value = Tokens.pad(value, step);
            }
        }
        return value;
    }

    /** Applies an output's steps to dequantised values. */
    public static Tensor after(Step[] steps, Tensor values) {
        Tensor result = values;
        for (Step step : steps) {
            if (step.name.equals("affine")) {
                result = affine(result, step);
            } else if (step.name.equals("sigmoid")) {
                result = sigmoid(result);
            } else {
                result = softmax(result);
            }
        }
        return result;
    }

    private static Tensor affine(Tensor values, Step step) {
        int channels = values.last();
        if (!step.scale.fits(channels) || !step.offset.fits(channels)) {
            throw new InvalidDataException(
                    "affine: the numbers do not fit the last dimension.", null, channels);
        }
        Tensor result = Tensor.zeros(Dtype.FLOAT32, values.shape);
        for (int i = 0; i < result.count; i++) {
            // Two float operations are two roundings: Java never fuses them.
            float product = values.real(i) * step.scale.of(i % channels);
            result.put(i, product + step.offset.of(i % channels));
        }
        return result;
    }

    private static Tensor sigmoid(Tensor values) {
        Tensor result = Tensor.zeros(Dtype.FLOAT32, values.shape);
        for (int i = 0; i < result.count; i++) {
            result.put(i, 1f / (1f + (float) Math.exp(-values.real(i))));
        }
        return result;
    }

    private static Tensor softmax(Tensor values) {
        Tensor result = Tensor.zeros(Dtype.FLOAT32, values.shape);
        int classes = values.last();
        for (int start = 0; start < result.count; start += classes) {
            float largest = values.real(start);
            for (int i = start; i < start + classes; i++) {
                largest = Math.max(largest, values.real(i));
            }
            // FORMAT.md names no order of summation: in double it does not matter.
            double sum = 0;
            for (int i = start; i < start + classes; i++) {
                float power = (float) Math.exp(values.real(i) - largest);
                result.put(i, power);
                sum += power;
            }
            for (int i = start; i < start + classes; i++) {
                result.put(i, result.real(i) / (float) sum);
            }
        }
        return result;
    }
}
