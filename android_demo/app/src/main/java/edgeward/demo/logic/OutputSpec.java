package edgeward.demo.logic;

import java.util.Arrays;
import java.util.List;

/** One output of a model and how to read it (FORMAT.md, section 3.2). */
public final class OutputSpec {
    static final List<String> TASKS =
            Arrays.asList("classification", "binary", "regression", "generation");

    public final String task;

    /** Class names, or null. */
    public final List<String> labels;

    /** Of {@code binary}: positive means value >= threshold. */
    public final float threshold;

    public final Step[] postprocessing;

    public OutputSpec(Object json, String where) {
        Fields read = new Fields(json, where, "task", "labels", "threshold", "postprocessing");
        task = read.text("task");
        Names.require(TASKS.contains(task), where + ".task", task, TASKS);
        boolean binary = task.equals("binary");
        double edge = read.optionalNumber("threshold");
        Names.require(Double.isNaN(edge) != binary, where + ".threshold", edge, "a number for 'binary'");
        Names.require(!(Math.abs(edge) >= 3.4e38), where + ".threshold", edge, "a finite float32");
        threshold = binary ? (float) edge : 0;
        labels = read.isNull("labels") ? null : read.strings("labels");
        if (labels != null) {
            boolean fits = binary ? labels.size() == 2 : task.equals("classification");
            for (String label : labels) {
                fits = fits && label.indexOf('\n') < 0 && label.indexOf('\r') < 0;
            }
            Names.require(
                    fits && !labels.isEmpty(), where + ".labels", labels, "one-line names for the task");
        }
        postprocessing =
                Step.postprocessing(read.array("postprocessing"), where + ".postprocessing");
    }

    /** Tells whether the answer is a decision, not just numbers. */
    public boolean decides() {
        return task.equals("classification") || task.equals("binary");
    }
}
