package edgeward.demo;

import android.content.res.AssetManager;
import edgeward.demo.logic.BundleFiles;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;

/** A bundle in the app's assets. */
final class AssetFiles implements BundleFiles {
    private static final int BLOCK = 1 << 16;

    private final AssetManager assets;
    private final String folder;

    AssetFiles(AssetManager assets, String folder) {
        this.assets = assets;
        this.folder = folder;
    }

    @Override
    public Set<String> names() throws IOException {
        return new TreeSet<String>(Arrays.asList(assets.list(folder)));
    }

    @Override
    public byte[] read(String name, int maxBytes) throws IOException {
        InputStream stream = assets.open(folder + "/" + name, AssetManager.ACCESS_STREAMING);
        try {
            ByteArrayOutputStream whole = new ByteArrayOutputStream(BLOCK);
            byte[] block = new byte[BLOCK];
            int count = stream.read(block);
            // One byte too many is kept, for the caller to see that the file is too large.
            while (count >= 0 && whole.size() <= maxBytes) {
                whole.write(block, 0, Math.min(count, maxBytes - whole.size() + 1));
                count = stream.read(block);
            }
            return whole.toByteArray();
        } finally {
            stream.close();
        }
    }
}
