package edgeward.demo.logic;

/**
 * A drawing to a raw sample, as a camera's crop would be: what happens before the raw sample is not
 * in FORMAT.md. MNIST's digits are centred by mass with a margin, and so must a drawn one be.
 */
public final class Ink {
    /** MNIST: the digit's longer side is 20 of 28 pixels. */
    private static final int BOX = 20;

    private static final int FRAME = 28;

    private Ink() {}

    /**
     * Cuts the ink out, centred by mass in a square.
     *
     * @param ink ink per pixel, 0 none to 255 full, row by row
     * @param width pixels in a row
     * @param spec the image input it is for
     * @return a raw sample: light ink on black, or dark on white where the model inverts
     */
    public static Tensor toRaw(byte[] ink, int width, InputSpec spec) {
        int height = ink.length / width;
        int[] box = {width, height, -1, -1};
        long mass = 0;
        long sumX = 0;
        long sumY = 0;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int amount = ink[y * width + x] & 255;
                if (amount > 0) {
                    box = new int[] {
                        Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x), Math.max(box[3], y)
                    };
                    mass += amount;
                    sumX += (long) amount * x;
                    sumY += (long) amount * y;
                }
            }
        }
        if (mass == 0) {
            throw new InvalidDataException("There is nothing drawn.", null, "a digit");
        }
        int longer = Math.max(box[2] - box[0], box[3] - box[1]) + 1;
        int side = Math.max(FRAME, (longer * FRAME + BOX - 1) / BOX);
        int left = (int) Math.round((double) sumX / mass) - side / 2;
        int top = (int) Math.round((double) sumY / mass) - side / 2;
        int channels = spec.shape[2] == Fields.ANY ? 1 : spec.shape[2];
        boolean dark = spec.has("invert");
        Tensor result = Tensor.zeros(Dtype.UINT8, side, side, channels);
        for (int i = 0; i < result.count; i++) {
            int x = left + i / channels % side;
            int y = top + i / channels / side;
            boolean inside = x >= 0 && x < width && y >= 0 && y < height;
            int amount = inside ? ink[y * width + x] & 255 : 0;
            result.put(i, (long) (dark ? 255 - amount : amount));
        }
        int rows = spec.shape[0] == Fields.ANY ? side : spec.shape[0];
        int columns = spec.shape[1] == Fields.ANY ? side : spec.shape[1];
        return Images.resize(result, rows, columns);
    }
}
