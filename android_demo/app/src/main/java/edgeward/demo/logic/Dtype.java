package edgeward.demo.logic;

import java.util.Locale;

/** The number formats of tensors, by the names that numpy and the manifest use. */
public enum Dtype {
    FLOAT32(4, 0, 0),
    FLOAT16(2, 0, 0),
    INT8(1, Byte.MIN_VALUE, Byte.MAX_VALUE),
    UINT8(1, 0, 255),
    INT16(2, Short.MIN_VALUE, Short.MAX_VALUE),
    INT32(4, Integer.MIN_VALUE, Integer.MAX_VALUE),
    INT64(8, Long.MIN_VALUE, Long.MAX_VALUE);

    /** Bytes of one value. */
    public final int size;

    /** Smallest and largest integer; 0 for floats. */
    public final long min;

    public final long max;

    Dtype(int size, long min, long max) {
        this.size = size;
        this.min = min;
        this.max = max;
    }

    public boolean isFloat() {
        return this == FLOAT32 || this == FLOAT16;
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** Returns the dtype of a name, or null. */
    public static Dtype of(String name) {
        for (Dtype dtype : values()) {
            if (dtype.toString().equals(name)) {
                return dtype;
            }
        }
        return null;
    }
}
