package edgeward.demo.logic;

import java.util.Arrays;

/** One tensor at the edge of an artifact (FORMAT.md, section 3.3). */
public final class TensorSpec {
    /** The input's or output's name in the manifest, and the tensor's in the file. */
    public final String name;

    public final String tensor;

    /** Dimensions with the batch first, which alone may be {@link Fields#ANY}. */
    public final int[] shape;

    public final Dtype dtype;
    public final boolean quantised;

    /** Real value of one step; 0 where not quantised, as TFLite says it. */
    public final float scale;

    public final int zeroPoint;

    TensorSpec(Object json, String where) {
        Fields read =
                new Fields(json, where, "name", "tensor", "shape", "dtype", "scale", "zero_point");
        name = read.text("name");
        tensor = read.text("tensor");
        shape = read.shape("shape");
        dtype = Dtype.of(read.text("dtype"));
        Names.require(dtype != null, where + ".dtype", read.raw("dtype"), "FORMAT.md, section 3.3");
        Names.require(shape.length > 0, where + ".shape", "[]", "the batch dimension first");
        for (int i = 1; i < shape.length; i++) {
            Names.require(
                    shape[i] != Fields.ANY, where + ".shape", Arrays.toString(shape), "no null but the batch");
        }
        quantised = !read.isNull("scale");
        Names.require(
                quantised != read.isNull("zero_point"),
                where,
                read.raw("scale") + ", " + read.raw("zero_point"),
                "scale and zero_point, or two nulls");
        if (quantised) {
            double step = read.number("scale");
            boolean narrow = dtype == Dtype.INT8 || dtype == Dtype.UINT8 || dtype == Dtype.INT16;
            Names.require(narrow, where + ".dtype", dtype, "int8, uint8 or int16 with a scale");
            boolean normal = step >= Math.pow(2, -126) && step <= 3.4e38;
            Names.require(normal, where + ".scale", step, "a positive, normal float32");
            scale = (float) step;
            zeroPoint = read.integer("zero_point", (int) dtype.min, (int) dtype.max);
        } else {
            scale = 0;
            zeroPoint = 0;
        }
    }

    /** Returns the number of values of one sample; what does not fit a long is its largest. */
    long size() {
        long size = 1;
        for (int i = 1; i < shape.length; i++) {
            size = size > Long.MAX_VALUE / shape[i] ? Long.MAX_VALUE : size * shape[i];
        }
        return size;
    }

    /** Returns the shape of one sample, without the batch dimension. */
    int[] sampleShape() {
        return Arrays.copyOfRange(shape, 1, shape.length);
    }
}
