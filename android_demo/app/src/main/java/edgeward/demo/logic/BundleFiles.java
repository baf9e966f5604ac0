package edgeward.demo.logic;

import java.io.IOException;
import java.util.Set;

/** Where a bundle's files come from: the app's assets, or a folder in the tests. */
public interface BundleFiles {
    /** Returns the names of all files of the bundle. */
    Set<String> names() throws IOException;

    /** Returns the content of a file; one above {@code maxBytes} may be cut after one byte more. */
    byte[] read(String name, int maxBytes) throws IOException;
}
