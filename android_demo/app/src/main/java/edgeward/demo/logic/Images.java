package edgeward.demo.logic;

/** The image steps in exact integer arithmetic (FORMAT.md, section 4). */
public final class Images {
    private Images() {}

    static Tensor grayscale(Tensor image, String where) {
        if (image.shape[2] == 1) {
            return image;
        }
        if (image.shape[2] != 3) {
            throw new InvalidDataException(
                    where + " has the wrong number of channels.", image.shape[2], "1 or 3");
        }
        Tensor result = Tensor.zeros(Dtype.UINT8, image.shape[0], image.shape[1], 1);
        for (int i = 0; i < result.count; i++) {
            long red = image.integer(3 * i);
            long green = image.integer(3 * i + 1);
            long blue = image.integer(3 * i + 2);
            result.put(i, (19595 * red + 38470 * green + 7471 * blue + 32768) / 65536);
        }
        return result;
    }

    static Tensor invert(Tensor image) {
        Tensor result = Tensor.zeros(Dtype.UINT8, image.shape);
        for (int i = 0; i < result.count; i++) {
            result.put(i, 255 - image.integer(i));
        }
        return result;
    }

    /** Triangle filter, widened by the reduction factor: columns first, then rows. */
    public static Tensor resize(Tensor image, int height, int width) {
        int rows = image.shape[0];
        int columns = image.shape[1];
        int channels = image.shape[2];
        Tensor wide = columns == width ? image : Tensor.zeros(Dtype.UINT8, rows, width, channels);
        if (columns != width) {
            // One line is one row; the pixels of a row lie `channels` apart.
            axis(image, wide, rows, columns, width, channels, columns * channels, width * channels);
        }
        if (rows == height) {
            return wide;
        }
        Tensor result = Tensor.zeros(Dtype.UINT8, height, width, channels);
        // One line is one value of a row; its neighbours lie a row apart.
        axis(wide, result, 1, rows, height, width * channels, 0, 0);
        return result;
    }

    /** Resizes n pixels that lie {@code stride} apart to m, for every one of {@code stride} values. */
    private static void axis(
            Tensor from, Tensor to, int lines, int n, int m, int stride, int fromLine, int toLine) {
        int first = 0;
        for (int i = 0; i < m; i++) {
            while (weight(i, first, n, m) == 0) {
                first++; // the first pixel in reach only moves on with i
            }
            long total = 0;
            int end = first;
            for (; end < n && weight(i, end, n, m) > 0; end++) {
                total += weight(i, end, n, m);
            }
            for (int line = 0; line < lines; line++) {
                for (int value = 0; value < stride; value++) {
                    long sum = 0;
                    for (int j = first; j < end; j++) {
                        sum += weight(i, j, n, m) * from.integer(line * fromLine + j * stride + value);
                    }
                    to.put(line * toLine + i * stride + value, (2 * sum + total) / (2 * total));
                }
            }
        }
    }

    private static long weight(long i, long j, long n, long m) {
        return Math.max(0, 2 * Math.max(n, m) - Math.abs((2 * i + 1) * n - (2 * j + 1) * m));
    }
}
