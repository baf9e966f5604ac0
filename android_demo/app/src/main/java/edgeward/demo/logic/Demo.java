package edgeward.demo.logic;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What the app does, without Android: open a bundle, run the self-test, answer raw samples. */
public final class Demo {
    private static final int SHOWN = 10;

    public final Manifest manifest;

    /** The golden inputs, which show any bundle at work, whatever its inputs are. */
    public final Golden golden;

    /** One verdict for each TFLite artifact. */
    public final List<SelfTest.Check> checks = new ArrayList<SelfTest.Check>();

    private final Runner runner;

    /** One answer with what it took. */
    public static final class Answer {
        public final Map<String, Decoded> outputs = new LinkedHashMap<String, Decoded>();

        /** Raw sample to tensor, the model alone, and both with decoding. */
        public long prepareNanos;

        public long modelNanos;
        public long totalNanos;
    }

    /** Opens a bundle and runs its golden vectors; the default artifact answers from then on. */
    public Demo(BundleFiles files, Model.Loader loader) throws IOException {
        Bundle bundle = new Bundle(files);
        bundle.verify();
        manifest = bundle.manifest;
        golden = bundle.golden();
        Map<String, Map<String, Integer>> vocabularies = bundle.vocabularies();
        Runner chosen = null;
        for (Artifact artifact : manifest.artifacts.values()) {
            if (!artifact.isTflite()) {
                continue;
            }
            Model model = null;
            try {
                model = loader.load(artifact, bundle.artifactBytes(artifact));
                Runner one = new Runner(artifact, model, manifest, vocabularies);
                checks.add(SelfTest.check(one, golden));
                boolean takes = chosen == null || artifact == manifest.chosen;
                model = takes ? null : model;
                if (takes && chosen != null) {
                    chosen.model.close();
                }
                chosen = takes ? one : chosen;
            } catch (EdgewardException error) {
                // One artifact that cannot run here must not hide the verdicts on the others.
                checks.add(SelfTest.failed(artifact, error.getMessage()));
            } finally {
                if (model != null) {
                    model.close();
                }
            }
        }
        if (chosen == null) {
            throw new InvalidBundleException(
                    "No artifact of this bundle can run here.", lines(checks), "a TFLite artifact");
        }
        runner = chosen;
    }

    /** Returns the artifact that answers. */
    public Artifact artifact() {
        return runner.artifact;
    }

    /** Tells whether the artifact that answers computes here what was measured. */
    public boolean trusted() {
        for (SelfTest.Check check : checks) {
            if (check.artifact.equals(runner.artifact.id)) {
                return !check.verdict.equals("wrong");
            }
        }
        return false;
    }

    /** Returns the only input, or null where there are several. */
    public String onlyInput() {
        return manifest.inputs.size() == 1 ? manifest.inputs.keySet().iterator().next() : null;
    }

    public Answer answer(Map<String, Tensor> sample) {
        Answer answer = new Answer();
        long began = System.nanoTime();
        Map<String, Tensor> tensors = runner.tensors(sample);
        long prepared = System.nanoTime();
        Map<String, Tensor> raw = runner.model.run(tensors);
        long ran = System.nanoTime();
        for (String name : manifest.outputs.keySet()) {
            answer.outputs.put(name, runner.decode(name, raw.get(name)));
        }
        answer.totalNanos = System.nanoTime() - began;
        answer.prepareNanos = prepared - began;
        answer.modelNanos = ran - prepared;
        return answer;
    }

    /** Returns an answer as lines of text: classes with their values, best first, and the time. */
    public static List<String> lines(Answer answer) {
        List<String> lines = new ArrayList<String>();
        for (Map.Entry<String, Decoded> entry : answer.outputs.entrySet()) {
            Decoded decoded = entry.getValue();
            String chosen = decoded.index < 0 ? "" : ": " + decoded.name(decoded.index);
            lines.add(entry.getKey() + chosen);
            if (decoded.spec.task.equals("binary")) {
                lines.add(bar(decoded.name(1), decoded.values.real(0)));
            } else if (decoded.spec.task.equals("classification")) {
                ranked(decoded, lines);
            } else {
                numbers(decoded.values, lines);
            }
        }
        lines.add(
                String.format(
                        Locale.ROOT, "%.2f ms (preprocessing %.2f, model %.2f)",
                        answer.totalNanos / 1e6, answer.prepareNanos / 1e6, answer.modelNanos / 1e6));
        return lines;
    }

    private static void ranked(Decoded decoded, List<String> lines) {
        boolean[] said = new boolean[decoded.values.count];
        for (int row = 0; row < Math.min(SHOWN, said.length); row++) {
            int best = -1;
            for (int i = 0; i < said.length; i++) {
                boolean better = best < 0 || decoded.values.real(i) > decoded.values.real(best);
                best = !said[i] && better ? i : best;
            }
            said[best] = true;
            lines.add(bar(decoded.name(best), decoded.values.real(best)));
        }
    }

    private static String bar(String name, float value) {
        StringBuilder bar = new StringBuilder();
        for (int i = 0; i < Math.round(Math.max(0, Math.min(1, value)) * 20); i++) {
            bar.append('\u2588');
        }
        return String.format(Locale.ROOT, "%-10s %7.4f %s", name, value, bar);
    }

    private static void numbers(Tensor values, List<String> lines) {
        for (int i = 0; i < Math.min(SHOWN, values.count); i++) {
            lines.add(String.format(Locale.ROOT, "%g", values.real(i)));
        }
        if (values.count > SHOWN) {
            lines.add("... " + values.count + " values");
        }
    }

    /** Returns verdicts as lines of text. */
    public static String lines(List<SelfTest.Check> checks) {
        StringBuilder text = new StringBuilder();
        for (SelfTest.Check check : checks) {
            text.append(text.length() == 0 ? "" : "\n").append(check.line());
        }
        return text.toString();
    }

    public void close() {
        runner.model.close();
    }
}
