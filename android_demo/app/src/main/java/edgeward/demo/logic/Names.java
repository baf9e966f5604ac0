package edgeward.demo.logic;

import java.util.regex.Pattern;

/** What names and hashes may look like (FORMAT.md, sections 1 and 3). */
final class Names {
    private static final Pattern FILE = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}");
    private static final Pattern EDGE = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_-]{0,63}");
    private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");

    private Names() {}

    /** Tells whether this is a file name: no path, no hidden file. */
    static boolean isFile(String name) {
        return FILE.matcher(name).matches();
    }

    /** Tells whether this may name an input or an output. */
    static boolean isEdge(String name) {
        return EDGE.matcher(name).matches();
    }

    static boolean isSha256(String text) {
        return SHA256.matcher(text).matches();
    }

    static void require(boolean condition, String what, Object received, Object expected) {
        if (!condition) {
            throw new InvalidBundleException(what + " is wrong.", received, expected);
        }
    }
}
