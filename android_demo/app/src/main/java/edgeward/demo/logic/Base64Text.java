package edgeward.demo.logic;

/** Base64 read strictly. {@code java.util.Base64} needs Android 8; Android's own skips rubbish. */
final class Base64Text {
    private static final String ALPHABET =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    private Base64Text() {}

    /** Returns the bytes of {@code text}, or null if it is no base64. */
    static byte[] decode(String text) {
        int length = text.length();
        int padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
        if (length % 4 != 0) {
            return null;
        }
        byte[] result = new byte[length / 4 * 3 - padding];
        int bits = 0;
        int held = 0;
        int out = 0;
        for (int i = 0; i < length - padding; i++) {
            int digit = ALPHABET.indexOf(text.charAt(i));
            if (digit < 0) {
                return null;
            }
            held = held << 6 | digit;
            bits += 6;
            if (bits >= 8) {
                bits -= 8;
                result[out++] = (byte) (held >> bits);
            }
        }
        return result;
    }
}
