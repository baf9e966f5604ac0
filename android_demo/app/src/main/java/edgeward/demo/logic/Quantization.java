package edgeward.demo.logic;

/** Quantise and dequantise: round half to even, always clip, refuse NaN (FORMAT.md, section 5). */
public final class Quantization {
    private Quantization() {}

    public static Tensor quantize(Tensor values, float scale, int zeroPoint, Dtype dtype) {
        Tensor result = Tensor.zeros(dtype, values.shape);
        for (int i = 0; i < result.count; i++) {
            // rint rounds half to even; a float quotient in a double is exact.
            double steps = Math.rint(values.real(i) / scale);
            if (Double.isNaN(steps)) {
                throw new InvalidDataException("A NaN cannot be quantised.", null, "finite values");
            }
            // A bare cast would wrap 128 to -128: the brightest pixel into the darkest.
            double clipped = Math.min(Math.max(steps, dtype.min - zeroPoint), dtype.max - zeroPoint);
            result.put(i, (long) clipped + zeroPoint);
        }
        return result;
    }

    public static Tensor dequantize(Tensor values, float scale, int zeroPoint) {
        Tensor result = Tensor.zeros(Dtype.FLOAT32, values.shape);
        for (int i = 0; i < result.count; i++) {
            result.put(i, (float) (values.integer(i) - zeroPoint) * scale);
        }
        return result;
    }
}
