package edgeward.demo.logic;

/** One output of one sample, decoded (FORMAT.md, section 3.2). */
public final class Decoded {
    public final OutputSpec spec;

    /** Values after postprocessing, a batch of one. */
    public final Tensor values;

    /** Class index; 0 or 1 for {@code binary}; -1 where the answer is the values. */
    public final int index;

    /** Name of the class, or null. */
    public final String label;

    /** Value of the chosen class (of the positive class for {@code binary}). */
    public final float score;

    public Decoded(OutputSpec spec, Tensor values) {
        if (!values.isFinite()) {
            throw new InvalidDataException("The model's output is not finite.", null, null);
        }
        this.spec = spec;
        this.values = values;
        index = spec.decides() ? decide(spec, values) : -1;
        score = index < 0 ? 0 : values.real(spec.task.equals("binary") ? 0 : index);
        boolean named = spec.labels != null && index >= 0 && index < spec.labels.size();
        label = named ? spec.labels.get(index) : null;
    }

    /** Returns the class index, or 1 where the value is at least the threshold. */
    static int decide(OutputSpec spec, Tensor values) {
        if (spec.task.equals("binary")) {
            return values.real(0) >= spec.threshold ? 1 : 0;
        }
        int best = 0;
        for (int i = 0; i < values.count; i++) {
            if (Float.isNaN(values.real(i))) {
                return i; // as numpy; only the self-test looks at such outputs
            }
            if (values.real(i) > values.real(best)) { // ties keep the lowest index
                best = i;
            }
        }
        return best;
    }

    /** Returns the name of a class: its label, else its number. */
    public String name(int of) {
        boolean named = spec.labels != null && of < spec.labels.size();
        return named ? spec.labels.get(of) : String.valueOf(of);
    }
}
