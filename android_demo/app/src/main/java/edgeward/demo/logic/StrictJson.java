package edgeward.demo.logic;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON read strictly (FORMAT.md, section 2). {@code org.json} of Android guesses: it takes comments,
 * single quotes, duplicate keys and NaN.
 *
 * <p>Gives {@code Map}, {@code List}, {@code String}, {@code Long}, {@code Double}, {@code Boolean}
 * and null.
 */
public final class StrictJson {
    private static final int MAX_DEPTH = 32;
    private static final long MAX_INTEGER = 1L << 53;

    private final String text;
    private int at;

    private StrictJson(String text) {
        this.text = text;
    }

    /** Parses the whole of {@code data}; {@code where} names it in messages. */
    public static Object parse(byte[] data, String where, int maxBytes) {
        if (data.length > maxBytes) {
            throw new InvalidBundleException(
                    where + " is too large.", data.length + " bytes", "<= " + maxBytes);
        }
        String text = Utf8.decode(data);
        if (text == null) {
            throw new InvalidBundleException(where + " is not UTF-8.", null, null);
        }
        StrictJson parser = new StrictJson(text);
        try {
            Object value = parser.value(1);
            parser.space();
            if (parser.at != text.length()) {
                throw parser.error("text after the value");
            }
            return value;
        } catch (SyntaxException error) {
            throw new InvalidBundleException(
                    where + " is not strict JSON.", error.getMessage(), "FORMAT.md, section 2");
        }
    }

    private Object value(int depth) {
        space();
        char next = peek();
        switch (next) {
            case '{':
                return object(depth);
            case '[':
                return array(depth);
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Map<String, Object> object(int depth) {
        enter(depth);
        Map<String, Object> result = new LinkedHashMap<String, Object>();
        if (end('}')) {
            return result;
        }
        while (true) {
            space();
            if (peek() != '"') {
                throw error("a key must be a string");
            }
            String key = string();
            if (result.containsKey(key)) {
                throw error("duplicate key");
            }
            space();
            expect(':');
            result.put(key, value(depth + 1));
            if (end('}')) {
                return result;
            }
            expect(',');
        }
    }

    private List<Object> array(int depth) {
        enter(depth);
        List<Object> result = new ArrayList<Object>();
        if (end(']')) {
            return result;
        }
        while (true) {
            result.add(value(depth + 1));
            if (end(']')) {
                return result;
            }
            expect(',');
        }
    }

    private void enter(int depth) {
        if (depth > MAX_DEPTH) {
            throw error("nested deeper than " + MAX_DEPTH + " levels");
        }
        at++;
    }

    private boolean end(char bracket) {
        space();
        if (peek() == bracket) {
            at++;
            return true;
        }
        return false;
    }

    private String string() {
        at++;
        StringBuilder result = new StringBuilder();
        while (true) {
            char next = take();
            if (next == '"') {
                break;
            }
            if (next < ' ') {
                throw error("a control character in a string");
            }
            result.append(next == '\\' ? escaped() : next);
        }
        String found = result.toString();
        if (!Utf8.isText(found)) {
            throw error("half of a surrogate pair");
        }
        return found;
    }

    private char escaped() {
        char next = take();
        switch (next) {
            case '"':
            case '\\':
            case '/':
                return next;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                int code = 0;
                for (int i = 0; i < 4; i++) {
                    code = code * 16 + hex(take());
                }
                return (char) code;
            default:
                throw error("an unknown escape");
        }
    }

    private int hex(char digit) {
        // Character.digit would take the digits of every script.
        if (digit >= '0' && digit <= '9') {
            return digit - '0';
        }
        char lower = (char) (digit | 0x20);
        if (lower >= 'a' && lower <= 'f') {
            return lower - 'a' + 10;
        }
        throw error("a wrong \\u escape");
    }

    private Object number() {
        int start = at;
        if (peek() == '-') {
            at++;
        }
        if (peek() == '0') {
            at++;
        } else if (digits() == 0) {
            throw error("no JSON value");
        }
        boolean whole = true;
        if (peek() == '.') {
            at++;
            whole = false;
            if (digits() == 0) {
                throw error("no digit after the point");
            }
        }
        if (peek() == 'e' || peek() == 'E') {
            at++;
            whole = false;
            if (peek() == '+' || peek() == '-') {
                at++;
            }
            if (digits() == 0) {
                throw error("no digit in the exponent");
            }
        }
        String found = text.substring(start, at);
        if (whole) {
            // 2^53 has 16 digits; a sign is one more. Longer ones need not fit a long.
            long value = found.length() > 17 ? MAX_INTEGER : Long.parseLong(found);
            if (Math.abs(value) >= MAX_INTEGER) {
                throw error("no exact integer in a double");
            }
            return value;
        }
        double value = Double.parseDouble(found);
        if (Double.isInfinite(value)) {
            throw error("a number that overflows");
        }
        return value;
    }

    private int digits() {
        int start = at;
        while (peek() >= '0' && peek() <= '9') {
            at++;
        }
        return at - start;
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw error("no JSON value");
        }
        at += word.length();
        return value;
    }

    private void space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') {
            at++;
        }
    }

    /** Returns the next character; NUL at the end, which no rule of the grammar takes. */
    private char peek() {
        return at < text.length() ? text.charAt(at) : '\0';
    }

    private char take() {
        if (at >= text.length()) {
            throw error("the text ends too early");
        }
        return text.charAt(at++);
    }

    private void expect(char wanted) {
        if (peek() != wanted) {
            throw error("no '" + wanted + "'");
        }
        at++;
    }

    private SyntaxException error(String what) {
        return new SyntaxException(what + ", at character " + at);
    }

    private static final class SyntaxException extends RuntimeException {
        private static final long serialVersionUID = 1L;

        SyntaxException(String message) {
            super(message);
        }
    }
}
