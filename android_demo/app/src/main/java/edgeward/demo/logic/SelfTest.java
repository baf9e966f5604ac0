package edgeward.demo.logic;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** The golden vectors run here: exact, within tolerance or wrong (FORMAT.md, section 7). */
public final class SelfTest {
    /** The unit of difference of float outputs, for values up to 1. */
    private static final double FLOAT_LSB = Math.pow(2, -17);

    private static final double HUGE = 2147483648.0;

    private SelfTest() {}

    /** The verdict on one artifact. */
    public static final class Check {
        public final String artifact;
        public final String comparedWith;
        public final String verdict;

        /** Largest difference in LSB; -1 where the artifact could not be run at all. */
        public final long lsb;

        public final int maxLsb;

        /** Number of values that differ, of how many, and of decisions that tipped over. */
        public final int differing;

        public final int values;
        public final int flips;

        /** Number of answers in which more values differ than the limits allow. */
        public final int crowded;

        /** What went wrong where it could not be run. */
        public final String detail;

        Check(
                Artifact artifact, String comparedWith, String verdict, long lsb, int differing,
                int values, int flips, int crowded, String detail) {
            this.artifact = artifact.id;
            this.maxLsb = artifact.maxLsb;
            this.comparedWith = comparedWith;
            this.verdict = verdict;
            this.lsb = lsb;
            this.differing = differing;
            this.values = values;
            this.flips = flips;
            this.crowded = crowded;
            this.detail = detail;
        }

        /** Returns the verdict on one line. */
        public String line() {
            String measured =
                    lsb < 0
                            ? detail
                            : "largest difference " + lsb + " LSB of " + maxLsb + " allowed, " + flips
                                    + " flips, "
                                    + (crowded > 0 ? "too many values differ, " : "")
                                    + "against " + comparedWith;
            return artifact + ": " + verdict + " (" + measured + ")";
        }
    }

    /** Makes the verdict of an artifact that could not be run. */
    static Check failed(Artifact artifact, String detail) {
        return new Check(artifact, "-", "wrong", -1, 0, 0, 0, 0, detail);
    }

    /** Runs the golden inputs one by one and compares with the expected outputs. */
    public static Check check(Runner runner, Golden golden) {
        Artifact artifact = runner.artifact;
        Golden.Expected reference =
                golden.reference(artifact.id, runner.model.runtime(), runner.model.version());
        if (reference == null || golden.inputs.isEmpty()) {
            return failed(artifact, "golden.json holds nothing to compare with");
        }
        List<Map<String, Tensor>> found = new ArrayList<Map<String, Tensor>>();
        for (Map<String, Tensor> sample : golden.inputs) {
            found.add(runner.invoke(sample));
        }
        long worst = 0;
        int differing = 0;
        int values = 0;
        int flips = 0;
        boolean[] crowded = new boolean[found.size()];
        for (TensorSpec tensor : artifact.outputs) {
            Tensor expected = reference.outputs.get(tensor.name);
            double unit = unit(expected);
            for (int i = 0; i < found.size(); i++) {
                Tensor actual = found.get(i).get(tensor.name);
                Tensor wanted = expected.sample(i);
                worst = Math.max(worst, difference(actual, wanted, unit));
                differing += differingValues(actual, wanted);
                values += wanted.count;
                flips += flips(runner, tensor, actual, wanted, unit);
                crowded[i] |= crowded(artifact.tolerance.get(tensor.name), actual, wanted, unit);
            }
        }
        int crowds = 0;
        for (boolean one : crowded) {
            crowds += one ? 1 : 0;
        }
        boolean close = worst <= artifact.maxLsb && flips == 0 && crowds == 0;
        String verdict = differing == 0 ? "exact" : close ? "within tolerance" : "wrong";
        return new Check(
                artifact, reference.runtime + " " + reference.version, verdict, worst, differing,
                values, flips, crowds, "");
    }

    /** Tells whether more values of an answer differ by more than one of the limits allows. */
    static boolean crowded(int[][] limits, Tensor actual, Tensor wanted, double unit) {
        if (limits == null) {
            return false;
        }
        for (int[] limit : limits) {
            int count = 0;
            for (int i = 0; i < wanted.count; i++) {
                count += steps(actual, wanted, i, unit) > limit[0] ? 1 : 0;
            }
            if (count > limit[1]) {
                return true;
            }
        }
        return false;
    }

    private static int flips(
            Runner runner, TensorSpec tensor, Tensor actual, Tensor wanted, double unit) {
        OutputSpec spec = runner.spec(tensor.name);
        if (!spec.decides()) {
            return 0;
        }
        int before = Decoded.decide(spec, runner.value(tensor.name, wanted));
        int now = Decoded.decide(spec, runner.value(tensor.name, actual));
        boolean clear = margin(runner, tensor, wanted, unit) > runner.artifact.maxLsb;
        return before != now && clear ? 1 : 0;
    }

    /** Returns one LSB: 1 for integers, relative to the largest expected magnitude for floats. */
    public static double unit(Tensor expected) {
        if (!expected.dtype.isFloat()) {
            return 1;
        }
        double largest = 1;
        for (int i = 0; i < expected.count; i++) {
            double size = Math.abs((double) expected.real(i));
            // An infinity would be a unit that swallows every difference.
            largest = size < Double.POSITIVE_INFINITY ? Math.max(largest, size) : largest;
        }
        return FLOAT_LSB * largest;
    }

    /** Returns the largest difference in whole LSB, rounded up. */
    public static long difference(Tensor actual, Tensor expected, double unit) {
        if (actual.dtype != expected.dtype || !Arrays.equals(actual.shape, expected.shape)) {
            throw new InvalidBundleException("Outputs cannot be compared.", actual, expected);
        }
        long worst = 0;
        for (int i = 0; i < expected.count; i++) {
            worst = Math.max(worst, steps(actual, expected, i, unit));
        }
        return worst;
    }

    /** Returns the difference of one value in whole LSB, rounded up. */
    private static long steps(Tensor actual, Tensor expected, int i, double unit) {
        if (!expected.dtype.isFloat()) {
            return Math.abs(actual.integer(i) - expected.integer(i));
        }
        double away = Math.abs((double) actual.real(i) - expected.real(i)) / unit;
        return (long) Math.ceil(away < HUGE ? away : HUGE); // NaN is not < anything
    }

    /** Counts values that differ bit for bit, so that less than one LSB is not called exact. */
    private static int differingValues(Tensor actual, Tensor expected) {
        int count = 0;
        int size = expected.dtype.size;
        for (int i = 0; i < expected.count; i++) {
            boolean same = true;
            for (int at = i * size; at < (i + 1) * size; at++) {
                same = same && actual.data[at] == expected.data[at];
            }
            count += same ? 0 : 1;
        }
        return count;
    }

    /** Returns how far a decision is from tipping over, in LSB of the raw output. */
    private static double margin(Runner runner, TensorSpec tensor, Tensor raw, double unit) {
        OutputSpec spec = runner.spec(tensor.name);
        if (spec.task.equals("binary") || raw.count < 2) {
            double decoded = runner.value(tensor.name, raw).real(0);
            // In the decoded value, the step of one LSB is the scale of the output.
            return Math.abs(decoded - spec.threshold) / (tensor.quantised ? tensor.scale : unit);
        }
        double first = Double.NEGATIVE_INFINITY;
        double second = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < raw.count; i++) {
            double value = raw.real(i);
            second = Math.max(second, Math.min(first, value));
            first = Math.max(first, value);
        }
        return (first - second) / unit;
    }
}
