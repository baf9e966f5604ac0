package edgeward.demo.logic;

import java.util.List;
import java.util.Map;

/** Writes what StrictJson reads; doubles so that Python reads the same 64 bits. */
final class JsonText {
    private JsonText() {}

    static String of(Object value) {
        StringBuilder text = new StringBuilder();
        write(value, text);
        return text.toString();
    }

    private static void write(Object value, StringBuilder text) {
        if (value instanceof Map) {
            String before = "{";
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                text.append(before);
                write(entry.getKey(), text);
                text.append(':');
                write(entry.getValue(), text);
                before = ",";
            }
            text.append(before.equals("{") ? "{}" : "}");
        } else if (value instanceof List) {
            String before = "[";
            for (Object item : (List<?>) value) {
                text.append(before);
                write(item, text);
                before = ",";
            }
            text.append(before.equals("[") ? "[]" : "]");
        } else if (value instanceof String) {
            text.append('"');
            for (char unit : ((String) value).toCharArray()) {
                // Everything but letters and digits escaped: no thought about what must be.
                boolean plain = unit < 128 && Character.isLetterOrDigit(unit);
                text.append(plain ? String.valueOf(unit) : String.format("\\u%04x", (int) unit));
            }
            text.append('"');
        } else {
            text.append(value); // Double.toString gives digits that read back as the same double
        }
    }
}
