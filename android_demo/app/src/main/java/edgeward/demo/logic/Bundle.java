package edgeward.demo.logic;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;

/** An opened bundle: hands out bytes that were checked, the very bytes (FORMAT.md, section 1). */
public final class Bundle {
    private static final int MAX_FILE_BYTES = Integer.MAX_VALUE - 16;

    public final Manifest manifest;

    private final BundleFiles files;
    private final Map<String, String> hashes;

    /** Checks the list of files and the manifest; other files when they are asked for. */
    public Bundle(BundleFiles files) throws IOException {
        this.files = files;
        hashes = Sums.parse(bounded(Sums.NAME, Manifest.MAX_BYTES));
        TreeSet<String> found = new TreeSet<String>(files.names());
        found.remove(Sums.NAME);
        if (!found.equals(hashes.keySet())) {
            throw new InvalidBundleException(
                    "The bundle does not hold the files that SHA256SUMS lists.",
                    found,
                    hashes.keySet());
        }
        manifest = new Manifest(read("manifest.json", Manifest.MAX_BYTES));
        for (Artifact artifact : manifest.artifacts.values()) {
            String listed = hashes.get(artifact.file);
            Names.require(
                    artifact.sha256.equals(listed), "hash of " + artifact.file, artifact.sha256, "as in SHA256SUMS: " + listed);
        }
        TreeSet<String> named = manifest.vocabularies();
        named.add("golden.json");
        if (!hashes.keySet().containsAll(named)) {
            throw new InvalidBundleException("The bundle lacks files.", hashes.keySet(), named);
        }
    }

    private byte[] bounded(String name, int maxBytes) throws IOException {
        byte[] data = files.read(name, maxBytes);
        if (data.length > maxBytes) {
            throw new InvalidBundleException(name + " is too large.", null, "at most " + maxBytes);
        }
        return data;
    }

    private byte[] read(String name, int maxBytes) throws IOException {
        byte[] data = bounded(name, maxBytes);
        String actual = Sums.sha256(data);
        if (!actual.equals(hashes.get(name))) {
            throw new InvalidBundleException(
                    name + " is damaged: it is not the file that was bundled.",
                    "sha256 " + actual + ", " + data.length + " bytes",
                    "sha256 " + hashes.get(name));
        }
        return data;
    }

    /** Returns the checked bytes of an artifact, its size included. */
    public byte[] artifactBytes(Artifact artifact) throws IOException {
        byte[] data = read(artifact.file, MAX_FILE_BYTES);
        Names.require(data.length == artifact.size, "size of " + artifact.file, data.length, artifact.size);
        return data;
    }

    /** Returns file name -> token -> id. */
    public Map<String, Map<String, Integer>> vocabularies() throws IOException {
        Map<String, Map<String, Integer>> result = new HashMap<String, Map<String, Integer>>();
        for (String name : manifest.vocabularies()) {
            result.put(name, Tokens.vocabulary(read(name, MAX_FILE_BYTES)));
        }
        return result;
    }

    /** Returns the golden vectors, checked against the manifest. */
    public Golden golden() throws IOException {
        Golden golden = new Golden(read("golden.json", Golden.MAX_BYTES), manifest);
        for (Artifact artifact : manifest.artifacts.values()) {
            if (artifact.verified() && golden.inputs.isEmpty()) {
                throw new InvalidBundleException("golden.json holds no vectors.", null, "at least 8");
            }
        }
        return golden;
    }

    /** Checks every file of the bundle. */
    public void verify() throws IOException {
        for (String name : hashes.keySet()) {
            read(name, MAX_FILE_BYTES);
        }
        for (Artifact artifact : manifest.artifacts.values()) {
            artifactBytes(artifact);
        }
        golden();
    }
}
