package edgeward.demo.logic;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;

/** A bundle in a folder. */
final class FolderFiles implements BundleFiles {
    private final File folder;

    FolderFiles(String folder) {
        this.folder = new File(folder);
    }

    @Override
    public Set<String> names() {
        return new TreeSet<String>(Arrays.asList(folder.list()));
    }

    @Override
    public byte[] read(String name, int maxBytes) throws IOException {
        return content(new File(folder, name));
    }

    static byte[] content(File file) throws IOException {
        try (InputStream stream = new FileInputStream(file)) {
            byte[] data = new byte[(int) file.length()];
            int at = 0;
            for (int n = 0; n >= 0 && at < data.length; n = stream.read(data, at, data.length - at)) {
                at += n;
            }
            return data;
        }
    }
}
