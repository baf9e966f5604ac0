package edgeward.demo.logic;

/** A raw sample or a model's output that cannot be used. */
public final class InvalidDataException extends EdgewardException {
    private static final long serialVersionUID = 1L;

    public InvalidDataException(String message, Object received, Object expected) {
        super(message, received, expected);
    }
}
