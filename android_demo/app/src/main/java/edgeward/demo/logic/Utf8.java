package edgeward.demo.logic;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.CodingErrorAction;

/** UTF-8 without mercy: {@code new String(bytes, UTF_8)} would put U+FFFD for what is wrong. */
public final class Utf8 {
    public static final Charset CHARSET = Charset.forName("UTF-8");

    private Utf8() {}

    /** Returns the text of {@code data}, or null if it is not UTF-8. */
    public static String decode(byte[] data) {
        try {
            CharBuffer text =
                    CHARSET.newDecoder()
                            .onMalformedInput(CodingErrorAction.REPORT)
                            .onUnmappableCharacter(CodingErrorAction.REPORT)
                            .decode(ByteBuffer.wrap(data));
            return text.toString();
        } catch (CharacterCodingException error) {
            return null;
        }
    }

    /** Returns the bytes of {@code text}; half of a surrogate pair is refused, not replaced. */
    public static byte[] encode(String text) {
        if (!isText(text)) {
            throw new InvalidDataException("The text is not Unicode.", "half a surrogate pair", null);
        }
        return text.getBytes(CHARSET);
    }

    /** Tells whether every surrogate of {@code text} is in a pair. */
    static boolean isText(String text) {
        for (int i = 0; i < text.length(); i++) {
            char unit = text.charAt(i);
            if (Character.isHighSurrogate(unit)) {
                i++;
                if (i == text.length() || !Character.isLowSurrogate(text.charAt(i))) {
                    return false;
                }
            } else if (Character.isLowSurrogate(unit)) {
                return false;
            }
        }
        return true;
    }
}
