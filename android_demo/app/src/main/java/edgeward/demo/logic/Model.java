package edgeward.demo.logic;

import java.util.Map;

/** One loaded artifact in one interpreter; it knows nothing of preprocessing or quantisation. */
public interface Model {
    /** Opens artifacts: the one seam between this logic and an interpreter. */
    interface Loader {
        /** Loads the checked bytes of an artifact. */
        Model load(Artifact artifact, byte[] data);
    }

    /** Returns the runtime's name as in {@code min_runtime}. */
    String runtime();

    String version();

    /** Runs one sample: names of the manifest -> batches of one, in the artifact's own dtypes. */
    Map<String, Tensor> run(Map<String, Tensor> inputs);

    /** Frees what the interpreter holds outside Java's heap. */
    void close();
}
