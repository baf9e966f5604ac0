package edgeward.demo.logic;

import java.nio.charset.Charset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The text steps {@code tokenize}, {@code lookup} and {@code pad}, on bytes (section 4). */
final class Tokens {
    /** One char for each byte: a token that can be a key without being decoded. */
    private static final Charset BYTES = Charset.forName("ISO-8859-1");

    private static final String PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    private static final String SPACE = "\t\n\u000b\f\r ";

    /** Ids 0 and 1 stand for padding and for unknown tokens, and never match. */
    private static final int RESERVED = 2;

    private Tokens() {}

    static List<String> tokenize(byte[] utf8) {
        List<String> tokens = new ArrayList<String>();
        StringBuilder token = new StringBuilder();
        for (byte one : utf8) {
            char unit = (char) (one & 255);
            if (SPACE.indexOf(unit) >= 0) {
                add(tokens, token);
            } else if (PUNCTUATION.indexOf(unit) < 0) {
                token.append(unit >= 'A' && unit <= 'Z' ? (char) (unit + 32) : unit);
            }
        }
        add(tokens, token);
        return tokens;
    }

    private static void add(List<String> tokens, StringBuilder token) {
        if (token.length() > 0) {
            tokens.add(token.toString());
            token.setLength(0);
        }
    }

    /** Returns token -> id of a vocabulary file. */
    static Map<String, Integer> vocabulary(byte[] data) {
        Map<String, Integer> ids = new HashMap<String, Integer>();
        String text = new String(data, BYTES);
        int line = 0;
        int start = 0;
        for (int end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
            if (line >= RESERVED) {
                ids.put(text.substring(start, end), line);
            }
            line++;
            start = end + 1;
        }
        if (start != text.length()) {
            throw new InvalidBundleException(
                    "The vocabulary's last line is not ended by a line feed.", null, null);
        }
        return ids;
    }

    static Tensor lookup(List<String> tokens, Map<String, Integer> ids, int unknown) {
        Tensor result = Tensor.zeros(Dtype.INT32, tokens.size());
        for (int i = 0; i < result.count; i++) {
            Integer id = ids.get(tokens.get(i));
            result.put(i, (long) (id == null ? unknown : id));
        }
        return result;
    }

    static Tensor pad(Tensor ids, Step step) {
        Tensor result = Tensor.zeros(Dtype.INT32, step.length);
        int kept = Math.min(ids.count, step.length);
        int shift = step.left ? step.length - kept : 0;
        for (int i = 0; i < step.length; i++) {
            boolean inside = i >= shift && i < shift + kept;
            result.put(i, inside ? ids.integer(i - shift) : (long) step.value);
        }
        return result;
    }
}
