package edgeward.demo.logic;

/** A bundle that does not keep FORMAT.md: damaged, incomplete or tampered with. */
public final class InvalidBundleException extends EdgewardException {
    private static final long serialVersionUID = 1L;

    public InvalidBundleException(String message, Object received, Object expected) {
        super(message, received, expected);
    }
}
