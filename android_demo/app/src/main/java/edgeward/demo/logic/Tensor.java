package edgeward.demo.logic;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** An array of numbers: dtype, shape, and its bytes little-endian in C order, as in golden.json. */
public final class Tensor {
    public final Dtype dtype;
    public final int[] shape;
    public final byte[] data;
    public final int count;

    private final ByteBuffer view;

    public Tensor(Dtype dtype, int[] shape, byte[] data) {
        long bytes = bytes(dtype, shape);
        if (bytes != data.length) {
            throw new InvalidDataException(
                    "A tensor has the wrong number of bytes.",
                    data.length,
                    dtype + " " + Arrays.toString(shape));
        }
        this.dtype = dtype;
        this.shape = shape.clone();
        this.data = data;
        this.count = data.length / dtype.size;
        this.view = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Returns the number of bytes of a tensor; above any array's length where it overflows. */
    static long bytes(Dtype dtype, int[] shape) {
        long bytes = dtype.size;
        for (int dimension : shape) {
            bytes = bytes > Integer.MAX_VALUE ? bytes : bytes * dimension;
        }
        return bytes;
    }

    public static Tensor zeros(Dtype dtype, int... shape) {
        long bytes = bytes(dtype, shape);
        if (bytes < 0 || bytes > Integer.MAX_VALUE - 16) {
            throw new InvalidDataException("A tensor is too large.", bytes + " bytes", null);
        }
        return new Tensor(dtype, shape, new byte[(int) bytes]);
    }

    public static Tensor floats(int[] shape, float[] values) {
        Tensor result = zeros(Dtype.FLOAT32, shape);
        for (int i = 0; i < values.length; i++) {
            result.put(i, values[i]);
        }
        return result;
    }

    /** Returns the bytes of a text as a raw sample. */
    public static Tensor text(byte[] utf8) {
        return new Tensor(Dtype.UINT8, new int[] {utf8.length}, utf8);
    }

    /** Returns integer {@code i}. */
    public long integer(int i) {
        switch (dtype) {
            case INT8:
                return data[i];
            case UINT8:
                return data[i] & 255;
            case INT16:
                return view.getShort(2 * i);
            case INT32:
                return view.getInt(4 * i);
            case INT64:
                return view.getLong(8 * i);
            default:
                throw new InvalidDataException("Not an integer tensor.", dtype, null);
        }
    }

    /** Returns value {@code i} rounded to float32. */
    public float real(int i) {
        if (dtype == Dtype.FLOAT32) {
            return view.getFloat(4 * i);
        }
        return (float) integer(i);
    }

    /** Sets value {@code i} of a float32 tensor. */
    public void put(int i, float value) {
        view.putFloat(4 * i, value);
    }

    /** Sets integer {@code i}, which must fit the dtype. */
    public void put(int i, long value) {
        switch (dtype) {
            case INT8:
            case UINT8:
                data[i] = (byte) value;
                break;
            case INT16:
                view.putShort(2 * i, (short) value);
                break;
            case INT32:
                view.putInt(4 * i, (int) value);
                break;
            case INT64:
                view.putLong(8 * i, value);
                break;
            default:
                throw new InvalidDataException("Not an integer tensor.", dtype, null);
        }
    }

    /** Returns the size of the last dimension; 1 for a single number. */
    public int last() {
        return shape.length == 0 ? 1 : shape[shape.length - 1];
    }

    public boolean isFinite() {
        for (int i = 0; i < count && dtype == Dtype.FLOAT32; i++) {
            float value = real(i);
            if (Float.isNaN(value) || Float.isInfinite(value)) {
                return false;
            }
        }
        return true;
    }

    /** Returns the same numbers under another shape. */
    public Tensor reshaped(int... wanted) {
        return new Tensor(dtype, wanted, data);
    }

    /** Returns a batch of one. */
    public Tensor batched() {
        int[] wanted = new int[shape.length + 1];
        wanted[0] = 1;
        System.arraycopy(shape, 0, wanted, 1, shape.length);
        return reshaped(wanted);
    }

    /** Returns sample {@code i} of a batch, as a batch of one. */
    public Tensor sample(int i) {
        int[] wanted = shape.clone();
        wanted[0] = 1;
        int bytes = data.length / shape[0];
        return new Tensor(dtype, wanted, Arrays.copyOfRange(data, i * bytes, (i + 1) * bytes));
    }

    @Override
    public String toString() {
        return dtype + " " + Arrays.toString(shape);
    }
}
