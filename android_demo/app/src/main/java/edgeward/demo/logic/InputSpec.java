package edgeward.demo.logic;

import java.util.Arrays;

/** One input of a model: a raw sample and the steps from there to the tensor (section 3.1). */
public final class InputSpec {
    public final String kind;
    public final Dtype dtype;
    public final int[] shape;
    public final Step[] preprocessing;

    public InputSpec(Object json, String where) {
        Fields read = new Fields(json, where, "kind", "dtype", "shape", "preprocessing");
        kind = read.text("kind");
        dtype = Dtype.of(read.text("dtype"));
        shape = read.shape("shape");
        boolean known = kind.equals("image") || kind.equals("text") || kind.equals("tensor");
        Names.require(known, where + ".kind", kind, "image, text or tensor");
        boolean raw = dtype != null && dtype != Dtype.FLOAT16 && dtype != Dtype.INT16;
        boolean fits = kind.equals("tensor") ? raw : dtype == Dtype.UINT8;
        Names.require(fits, where + ".dtype", read.raw("dtype"), "FORMAT.md, section 3.1");
        if (kind.equals("image")) {
            Names.require(shape.length == 3, where + ".shape", Arrays.toString(shape), "3 dimensions");
        } else if (kind.equals("text")) {
            boolean any = shape.length == 1 && shape[0] == Fields.ANY;
            Names.require(any, where + ".shape", Arrays.toString(shape), "[null]");
        }
        preprocessing =
                Step.preprocessing(read.array("preprocessing"), kind, where + ".preprocessing");
    }

    /** Checks one raw sample; a text is the uint8 tensor of its UTF-8 bytes. */
    public void check(Tensor raw, String where) {
        if (raw.dtype != dtype) {
            throw new InvalidDataException(where + " has the wrong dtype.", raw.dtype, dtype);
        }
        boolean fits = raw.shape.length == shape.length;
        for (int i = 0; fits && i < shape.length; i++) {
            boolean empty = raw.shape[i] == 0 && !kind.equals("text");
            fits = !empty && (shape[i] == Fields.ANY || shape[i] == raw.shape[i]);
        }
        if (!fits) {
            throw new InvalidDataException(
                    where + " has the wrong shape.",
                    Arrays.toString(raw.shape),
                    Arrays.toString(shape) + " (-1 is any)");
        }
        if (!raw.isFinite()) {
            throw new InvalidDataException(where + " holds a value that is not finite.", null, null);
        }
        if (kind.equals("text") && Utf8.decode(raw.data) == null) {
            throw new InvalidDataException(where + " is not UTF-8.", null, null);
        }
    }

    /** Tells whether a step of this name is among the preprocessing. */
    public boolean has(String step) {
        for (Step one : preprocessing) {
            if (one.name.equals(step)) {
                return true;
            }
        }
        return false;
    }
}
