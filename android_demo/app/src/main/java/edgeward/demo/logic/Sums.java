package edgeward.demo.logic;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;

/** SHA256SUMS: the hash of every file of a bundle (FORMAT.md, section 1). */
public final class Sums {
    public static final String NAME = "SHA256SUMS";

    private static final int HASH_LENGTH = 64;
    private static final String HEX = "0123456789abcdef";

    private Sums() {}

    /** Returns file name -> hash; the text must be what its own content renders to. */
    public static Map<String, String> parse(byte[] data) {
        TreeMap<String, String> hashes = new TreeMap<String, String>();
        String text = Utf8.decode(data);
        for (String line : text == null ? new String[0] : text.split("\n", -1)) {
            boolean whole = line.length() > HASH_LENGTH + 2 && line.startsWith("  ", HASH_LENGTH);
            if (whole && Names.isSha256(line.substring(0, HASH_LENGTH))) {
                String name = line.substring(HASH_LENGTH + 2);
                if (Names.isFile(name)) {
                    hashes.put(name, line.substring(0, HASH_LENGTH));
                }
            }
        }
        if (hashes.isEmpty() || !Arrays.equals(render(hashes), data)) {
            throw new InvalidBundleException(
                    NAME + " is damaged.", null, "sorted lines 'HASH  NAME', no name twice");
        }
        return hashes;
    }

    private static byte[] render(TreeMap<String, String> hashes) {
        StringBuilder text = new StringBuilder();
        // A TreeMap sorts by UTF-16 units, which for these ASCII names are their bytes.
        for (Map.Entry<String, String> entry : hashes.entrySet()) {
            text.append(entry.getValue()).append("  ").append(entry.getKey()).append('\n');
        }
        return text.toString().getBytes(Utf8.CHARSET);
    }

    /** Returns the SHA-256 of {@code data} as 64 lower-case hex digits. */
    public static String sha256(byte[] data) {
        try {
            StringBuilder text = new StringBuilder();
            for (byte one : MessageDigest.getInstance("SHA-256").digest(data)) {
                text.append(HEX.charAt(one >> 4 & 15)).append(HEX.charAt(one & 15));
            }
            return text.toString();
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error); // every Java has SHA-256
        }
    }
}
