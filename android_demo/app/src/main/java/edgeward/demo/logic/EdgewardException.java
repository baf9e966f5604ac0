package edgeward.demo.logic;

/** Base of all deliberate errors: what is wrong, what was received, what was expected. */
public class EdgewardException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public EdgewardException(String message, Object received, Object expected) {
        super(text(message, received, expected));
    }

    private static String text(String message, Object received, Object expected) {
        StringBuilder text = new StringBuilder(message);
        if (received != null) {
            text.append("\n  received: ").append(shorten(received));
        }
        if (expected != null) {
            text.append("\n  expected: ").append(shorten(expected));
        }
        return text.toString();
    }

    private static String shorten(Object value) {
        String text = String.valueOf(value);
        return text.length() > 400 ? text.substring(0, 400) : text;
    }
}
