package edgeward.demo.logic;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Runs every TFLite artifact of a bundle; one line of JSON on stdout for each. */
public final class RunBundle {
    private final Bundle bundle;
    private final List<Map<String, Tensor>> samples = new ArrayList<Map<String, Tensor>>();
    private final double budget;

    private RunBundle(String folder, String file, double budget) throws IOException {
        bundle = new Bundle(new FolderFiles(folder));
        this.budget = budget;
        InputStreamReader reader = new InputStreamReader(new FileInputStream(file), "UTF-8");
        try (BufferedReader lines = new BufferedReader(reader)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                byte[] text = line.getBytes("UTF-8");
                Object json = StrictJson.parse(text, "sample", Integer.MAX_VALUE);
                Map<String, Tensor> sample = new HashMap<String, Tensor>();
                for (Map.Entry<?, ?> entry : ((Map<?, ?>) json).entrySet()) {
                    sample.put((String) entry.getKey(), Cases.raw(entry.getValue()));
                }
                samples.add(sample);
            }
        }
    }

    /** Opens a bundle and runs its golden vectors and samples, one JSON object of Cases each. */
    public static void run(String folder, String file, double budget, Model.Loader loader)
            throws IOException {
        RunBundle run = new RunBundle(folder, file, budget);
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        for (Artifact artifact : run.bundle.manifest.artifacts.values()) {
            if (!artifact.isTflite()) {
                continue;
            }
            Map<String, Object> answer = new HashMap<String, Object>();
            answer.put("artifact", artifact.id);
            try {
                run.measure(artifact, loader, answer);
            } catch (EdgewardException error) {
                answer.put("error", error.getMessage());
            }
            out.println(JsonText.of(answer));
        }
        out.flush();
    }

    private void measure(Artifact artifact, Model.Loader loader, Map<String, Object> answer)
            throws IOException {
        Golden golden = bundle.golden();
        Model model = loader.load(artifact, bundle.artifactBytes(artifact));
        try {
            Runner runner = new Runner(artifact, model, bundle.manifest, bundle.vocabularies());
            answer.put("runtime", model.runtime() + " " + model.version());
            answer.put("check", Cases.check(SelfTest.check(runner, golden)));
            Map<String, ByteArrayOutputStream> outputs = new HashMap<String, ByteArrayOutputStream>();
            for (TensorSpec tensor : artifact.outputs) {
                outputs.put(tensor.name, new ByteArrayOutputStream());
            }
            long began = System.nanoTime();
            double seconds = 0;
            int done = 0;
            while (done < samples.size() && (done == 0 || seconds < budget)) {
                for (Map.Entry<String, Tensor> one : runner.invoke(samples.get(done)).entrySet()) {
                    outputs.get(one.getKey()).write(one.getValue().data);
                }
                done++;
                seconds = (System.nanoTime() - began) / 1e9;
            }
            answer.put("samples", (long) done);
            answer.put("nanos", (long) (seconds * 1e9 / done));
            Map<String, Object> bytes = new HashMap<String, Object>();
            for (Map.Entry<String, ByteArrayOutputStream> one : outputs.entrySet()) {
                byte[] data = one.getValue().toByteArray();
                bytes.put(one.getKey(), java.util.Base64.getEncoder().encodeToString(data));
            }
            answer.put("outputs", bytes);
        } finally {
            model.close();
        }
    }
}
