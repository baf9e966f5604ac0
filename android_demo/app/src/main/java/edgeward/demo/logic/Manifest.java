package edgeward.demo.logic;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/** The manifest of a bundle, valid once it exists (FORMAT.md, section 3). */
public final class Manifest {
    static final int MAX_BYTES = 1000000;

    public final String name;
    public final long release;
    public final Artifact chosen;
    public final Map<String, InputSpec> inputs = new LinkedHashMap<String, InputSpec>();
    public final Map<String, OutputSpec> outputs = new LinkedHashMap<String, OutputSpec>();
    public final Map<String, Artifact> artifacts = new LinkedHashMap<String, Artifact>();

    public Manifest(byte[] data) {
        Fields read =
                new Fields(
                        StrictJson.parse(data, "manifest.json", MAX_BYTES), "manifest.json",
                        "format_version", "name", "release", "created_with", "source", "default",
                        "inputs", "outputs", "artifacts");
        long version = read.integer("format_version");
        Names.require(
                version == 1 || version == 2, "format_version", version, "1 or 2: update this app");
        name = read.text("name");
        Names.require(Names.isFile(name), "name of the bundle", name, "a plain name");
        release = read.integer("release");
        Names.require(release >= 1, "release", release, ">= 1");
        read.stringMap("created_with");
        Fields source = new Fields(read.raw("source"), "source", "run", "model_sha256", "data_sha256");
        source.text("run");
        for (String key : new String[] {"model_sha256", "data_sha256"}) {
            Names.require(Names.isSha256(source.text(key)), key, source.raw(key), "64 hex digits");
        }
        for (Map.Entry<String, Object> entry : read.mapping("inputs").entrySet()) {
            inputs.put(name(entry), new InputSpec(entry.getValue(), "inputs." + entry.getKey()));
        }
        for (Map.Entry<String, Object> entry : read.mapping("outputs").entrySet()) {
            outputs.put(name(entry), new OutputSpec(entry.getValue(), "outputs." + entry.getKey()));
        }
        HashSet<String> files = new HashSet<String>();
        for (Object item : read.array("artifacts")) {
            Artifact artifact = new Artifact(item, "artifacts[" + artifacts.size() + "]", version);
            boolean fresh = artifacts.put(artifact.id, artifact) == null && files.add(artifact.file);
            Names.require(fresh, "list of artifacts", artifact.id, "no id and no file twice");
            check(artifact);
        }
        chosen = artifacts.get(read.text("default"));
        Names.require(chosen != null, "default artifact", read.raw("default"), artifacts.keySet());
    }

    private static String name(Map.Entry<String, Object> entry) {
        Names.require(
                Names.isEdge(entry.getKey()), "name of an input or output", entry.getKey(), "letters, digits, '_' and '-', at most 64");
        return entry.getKey();
    }

    private void check(Artifact artifact) {
        same(names(artifact.inputs), inputs.keySet(), "inputs of " + artifact.id);
        same(names(artifact.outputs), outputs.keySet(), "outputs of " + artifact.id);
        same(artifact.measured, outputs.keySet(), "drift of " + artifact.id);
        for (int i = 0; i < artifact.measured.size(); i++) {
            String task = outputs.get(artifact.measured.get(i)).task;
            String found = artifact.measuredTasks.get(i);
            Names.require(found.equals(task), "task in the drift of " + artifact.id, found, task);
        }
    }

    private static List<String> names(List<TensorSpec> tensors) {
        List<String> result = new ArrayList<String>();
        for (TensorSpec tensor : tensors) {
            result.add(tensor.name);
        }
        return result;
    }

    private static void same(List<String> found, Collection<String> wanted, String what) {
        List<String> sorted = new ArrayList<String>(found);
        Collections.sort(sorted);
        Names.require(sorted.equals(new ArrayList<String>(new TreeSet<String>(wanted))), what, found, wanted);
    }

    /** Returns the vocabulary files that {@code lookup} steps name. */
    TreeSet<String> vocabularies() {
        TreeSet<String> result = new TreeSet<String>();
        for (InputSpec spec : inputs.values()) {
            for (Step step : spec.preprocessing) {
                if (step.vocabulary != null) {
                    result.add(step.vocabulary);
                }
            }
        }
        return result;
    }
}
