"""Before an artifact is bundled its self-test has to notice damage."""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import scale_channel

from edgeward.convert import convert
from edgeward.convert.formats import FORMATS, format_of
from edgeward.convert.layers import parting
from edgeward.convert.layers.parting import parting_layer
from edgeward.convert.measure import measure as module
from edgeward.convert.measure.power import Recorded, blind_spots
from edgeward.convert.measure.tolerance import Answers, count_limits, decide_tolerance, elsewhere
from edgeward.runtime.artifact import Artifact, Limit, TensorSpec
from edgeward.runtime.backends import open_backend
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import RefusedError
from edgeward.runtime.predictor import Predictor, Runner
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.runtime.samples import load_samples
from edgeward.runtime.self_test import compare
from edgeward.runtime.specs import OutputSpec

CONSTANT = "the same answer to every input"
EXCHANGED = "the answers to other inputs"
SCALED = "the answers after the weights of the largest layer were multiplied by 1.25"
BUNDLED = ("tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8")


def fake(values: int, max_lsb: int, task: str = "regression") -> Runner:
    """A runner of an int8 artifact with one output of so many values."""
    inputs = (TensorSpec("x", "x:0", (1, 1), "float32"),)
    outputs = (TensorSpec("y", "y:0", (1, values), "int8", 0.5, 0),)
    artifact = Artifact(
        *("tflite-int8", "f.tflite", 1, "0" * 64, "int8", inputs, outputs, (), {}, "static"),
        *(False, max_lsb, ()),
    )
    backend: Any = None
    return Runner(artifact, backend, {}, {"y": OutputSpec(task)}, {})


def recorded(answers: Any, scaled: Any = None) -> Recorded:
    return Recorded("fake 1.0", {"y": answers}, None if scaled is None else {"y": scaled})


# ---- the real bundle


def opened(bundle: Path, artifact_id: str) -> tuple[Runner, Recorded]:
    """The artifact in its first runtime, its golden answers, and those of the scaled file."""
    read = Bundle.open(bundle)
    runner = Predictor.open(read, artifact=artifact_id).runner
    golden = read.golden()
    entry = golden.reference(runner.artifact, runner.backend.runtime, runner.backend.version)
    assert entry is not None
    file = read.artifact_bytes(runner.artifact)
    data = FORMATS[runner.artifact.format].scale_largest_layer(file, 1.25)
    assert data is not None
    damaged = copy.copy(runner)
    damaged.backend = open_backend(runner.artifact, data)
    answers = [damaged.invoke(sample)["digit"] for sample in golden.inputs]
    scaled = {"digit": np.concatenate(answers)}
    return runner, Recorded(entry.runtime, entry.outputs, scaled)


@pytest.mark.parametrize("artifact_id", BUNDLED)
def test_the_self_test_of_a_healthy_artifact_notices_all_damage(
    bundle: Path, artifact_id: str
) -> None:
    runner, answers = opened(bundle, artifact_id)
    unseen = elsewhere(runner.artifact)
    assert blind_spots(runner, [answers], unseen) == []
    # The twin: a tolerance that is as wide as what there is to differ by.
    wide = 254 if artifact_id == "tflite-int8" else 2**17
    runner.artifact = replace(runner.artifact, max_lsb=wide)
    found = blind_spots(runner, [answers], unseen)
    assert EXCHANGED in found
    assert SCALED in found
    runner.artifact = replace(runner.artifact, max_lsb=2**31 - 1)
    assert blind_spots(runner, [answers], unseen) == [CONSTANT, EXCHANGED, SCALED]


@pytest.mark.parametrize("artifact_id", ["tflite-fp32", "tflite-int8", "onnx-int8"])
def test_the_scaled_layer_is_the_one_with_the_most_parameters(
    bundle: Path, artifact_id: str
) -> None:
    read = Bundle.open(bundle)
    data = read.artifact_bytes(read.manifest.artifact(artifact_id))
    scaled = format_of(data).scale_largest_layer(data, 1.25)
    assert scaled is not None
    before, after = (np.sort(sizes) for sizes in (_weights(artifact_id, d) for d in (data, scaled)))
    assert before.tolist() == after.tolist()
    assert _changed(artifact_id, data, scaled) == [before[-1]]
    # The twin: multiplied by one, none has changed.
    same = format_of(data).scale_largest_layer(data, 1.0)
    assert same is not None
    assert _changed(artifact_id, data, same) == []


def _constants(artifact_id: str, data: bytes) -> dict[str, np.ndarray]:
    if artifact_id.startswith("onnx"):
        import onnx
        from onnx import numpy_helper

        tensors = onnx.load_model_from_string(data).graph.initializer
        return {t.name: numpy_helper.to_array(t) for t in tensors if len(t.dims) > 1}
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    return {
        tensor.name.decode(): np.frombuffer(
            bytes(model.buffers[tensor.buffer].data),
            np.float32 if tensor.type == schema.TensorType.FLOAT32 else np.int8,
        )
        for tensor in model.subgraphs[0].tensors
        if model.buffers[tensor.buffer].data is not None and len(tensor.shape) > 1
    }


def _weights(artifact_id: str, data: bytes) -> list[int]:
    return [values.size for values in _constants(artifact_id, data).values()]


def _changed(artifact_id: str, before: bytes, after: bytes) -> list[int]:
    old, new = _constants(artifact_id, before), _constants(artifact_id, after)
    return [old[name].size for name in old if not np.array_equal(old[name], new[name])]


# ---- each rule by itself


def test_an_image_with_one_large_difference_keeps_its_tolerance() -> None:
    """The GAN: one value in 784 may rightly differ by 40 steps between kernels."""
    answers = np.random.default_rng(1).integers(-128, 128, (20, 784)).astype(np.int8)
    assert blind_spots(fake(784, 40), [recorded(answers, answers // 2)], 1) == []
    # The twin.
    assert blind_spots(fake(784, 255), [recorded(answers, answers // 2)], 1) == [
        *(CONSTANT, EXCHANGED, SCALED)
    ]


def test_a_constant_in_the_middle_is_found_although_no_recorded_answer_is() -> None:
    answers = np.tile(np.int8([[-60], [60]]), (10, 1))
    assert blind_spots(fake(1, 59), [recorded(answers)], 1) == []
    assert blind_spots(fake(1, 60), [recorded(answers)], 1) == [CONSTANT]
    assert blind_spots(fake(1, 120), [recorded(answers)], 1) == [CONSTANT, EXCHANGED]


def test_exchanged_answers_have_to_be_noticed_for_most_inputs() -> None:
    ramp = np.arange(0, 100, 5, dtype=np.int8)[:, None]  # 20 answers, 5 steps apart
    assert blind_spots(fake(1, 20), [recorded(ramp)], 1) == []
    assert blind_spots(fake(1, 30), [recorded(ramp)], 1) == [EXCHANGED]


def test_damage_within_what_other_processors_may_differ_by_is_none() -> None:
    alike = np.int8([[3], [4]] * 10)
    assert blind_spots(fake(1, 1), [recorded(alike, alike + np.int8(1))], 1) == []
    # The twin: where a step counts, a tolerance of one forgives everything.
    assert blind_spots(fake(1, 1), [recorded(alike, alike + np.int8(1))], 0) == [
        *(CONSTANT, EXCHANGED, SCALED)
    ]


def test_weights_that_change_no_answer_do_not_count() -> None:
    answers = np.arange(-100, 100, 10, dtype=np.int8)[:, None]
    assert blind_spots(fake(1, 30), [recorded(answers, answers)], 1) == []
    assert blind_spots(fake(1, 30), [recorded(answers, answers + np.int8(20))], 1) == [SCALED]


def test_every_runtime_s_answers_count() -> None:
    answers = np.arange(-100, 100, 10, dtype=np.int8)[:, None]
    assert blind_spots(fake(1, 30), [recorded(answers), recorded(answers // 8)], 1) != []


# ---- the decision: which kernels are forgiven


def real(bundle: Path) -> tuple[Runner, dict[str, np.ndarray]]:
    runner, answers = opened(bundle, "tflite-int8")
    return runner, dict(answers.outputs)


def faint(raw: np.ndarray) -> np.ndarray:
    """The same decision, one or two steps above the rest: 253 steps from a sure answer."""
    top = raw.reshape(len(raw), -1).argmax(axis=1)
    weak = np.full_like(raw, -128)
    weak[np.arange(len(raw)), top] = -126
    return weak


def test_reference_kernels_that_void_the_self_test_leave_the_tolerance(bundle: Path) -> None:
    runner, golden = real(bundle)
    shipping = Answers("litert", "ai-edge-litert 9", "default", golden, golden)
    odd = Answers("litert", "ai-edge-litert 9", "reference", {"digit": faint(golden["digit"])})
    decided = decide_tolerance(runner, [shipping, odd])
    assert decided.parting is None
    assert decided.artifact.max_lsb == 1
    (note,) = decided.notes
    assert "reference kernels of ai-edge-litert 9" in note
    # The twin: the same answers of a runtime that ships.
    second = replace(odd, backend="tflite", runtime="tflite-runtime 9", kernels="default")
    parted = decide_tolerance(runner, [shipping, replace(second, test=second.golden)]).parting
    assert parted is not None
    assert parted.runtimes == ("ai-edge-litert 9", "tflite-runtime 9")
    assert parted.lsb > 250
    assert set(parted.blind) == {CONSTANT, EXCHANGED}
    # Kernels that differ by little stay, without a note.
    near = replace(odd, golden={"digit": np.clip(golden["digit"], -125, 127)})
    decided = decide_tolerance(runner, [shipping, near])
    assert (decided.artifact.max_lsb, decided.notes) == (3, ())


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (count, 784)).astype(np.int8)


def other_runtime(golden: np.ndarray, moved: int) -> list[Answers]:
    """Answers of two runtimes: so many values of each image lie at the other end of the range."""
    other = golden.copy()
    other[:, :moved] = np.where(golden[:, :moved] < 0, 127, -128)
    pairs = (("litert", "ai-edge-litert 9", golden), ("tflite", "tflite-runtime 9", other))
    return [
        Answers(backend, runtime, "default", {"y": array}, {"y": array}, {"y": array // 2})
        for backend, runtime, array in pairs
    ]


def test_a_few_values_that_differ_by_everything_are_counted() -> None:
    """One limit on the largest difference would hold everything: version 2 says how many."""
    golden = images(20)
    decided = decide_tolerance(fake(784, 0), other_runtime(golden, 5))
    assert decided.parting is None
    assert decided.notes == ()
    assert decided.artifact.max_lsb >= 250
    limits = decided.artifact.tolerance["y"]
    assert limits[0] == Limit(1, 8)  # 1 % of 784 values, and only 5 of them moved
    # Both runtimes keep what was decided, from either side.
    runner = fake(784, 0)
    runner.artifact = decided.artifact
    first, second = (one.golden for one in other_runtime(golden, 5))
    assert {compare(runner, first, second).verdict, compare(runner, second, first).verdict} == {
        "within tolerance"
    }
    # The twin: where a tenth of the values moved and more, no count tells either.
    parted = decide_tolerance(fake(784, 0), other_runtime(golden, 784)).parting
    assert parted is not None
    assert CONSTANT in parted.blind


def test_what_max_lsb_can_tell_alone_has_no_limits() -> None:
    golden = images(20)
    near = golden.copy()
    near[3, 100] = near[3, 100] // 2
    answers = other_runtime(golden, 0)
    answers[1] = replace(answers[1], golden={"y": near})
    decided = decide_tolerance(fake(784, 0), answers)
    assert (decided.artifact.tolerance, decided.notes, decided.parting) == ({}, (), None)


def test_limits_are_the_largest_counts_that_were_seen() -> None:
    artifact = fake(10, 100).artifact
    zeros = np.zeros((4, 10), np.int8)
    other = zeros.copy()
    other[1, :3] = (100, 7, 2)
    other[2, :6] = 3
    answers = [
        Answers("litert", "a", "default", {"y": zeros}, {"y": zeros}),
        Answers("litert", "a", "reference", {"y": other}),
    ]
    assert count_limits(artifact, answers, 1) == {"y": (Limit(3, 5), Limit(7, 1))}
    # Nothing is said that other processors may differ by, nor what max_lsb says already.
    assert count_limits(artifact, answers, 5) == {"y": (Limit(5, 5), Limit(7, 1))}
    assert count_limits(replace(artifact, max_lsb=7), answers, 1) == {"y": (Limit(3, 5),)}
    assert count_limits(artifact, answers[:1], 1) == {"y": (Limit(1, 1),)}
    single = [replace(one, golden={"y": one.golden["y"][:, :1]}, test=None) for one in answers]
    assert count_limits(fake(1, 100).artifact, single, 1) == {}


# ---- a whole conversion


class Faint:
    """A backend that is right and hardly sure of anything."""

    def __init__(self, backend: Any) -> None:
        self.runtime, self.version, self._backend = backend.runtime, backend.version, backend

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: faint(raw) for name, raw in self._backend.run(inputs).items()}


def sabotage(where: Callable[[str, str], bool]) -> Callable[..., Any]:
    def opened(artifact: Any, data: bytes, name: str, *, kernels: str = "default") -> Any:
        backend = open_backend(artifact, data, name, kernels=kernels)
        wrong = artifact.id == "tflite-int8" and where(name, kernels)
        return Faint(backend) if wrong else backend

    return opened


@pytest.mark.slow
def test_two_runtimes_that_part_are_refused_by_name(
    run: Path, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_backend", sabotage(lambda name, _: name == "tflite"))
    monkeypatch.setattr(parting, "TfliteProbe", damaged_probe)
    before = (own_bundle / "manifest.json").read_bytes()
    with pytest.raises(RefusedError) as caught:
        convert(run, max_drop=0.016, out=own_bundle.parent, repair=False)
    said = str(caught.value)
    assert caught.value.exit_code == 3
    assert "ai-edge-litert 2" in said
    assert "tflite-runtime 2.14" in said
    assert "they part at layer 'conv" in said
    assert "--target" in said
    assert (own_bundle / "manifest.json").read_bytes() == before
    verdicts = {a.id: a.verdict for a in caught.value.report.artifacts}
    assert verdicts == {**dict.fromkeys(BUNDLED, "pass"), "tflite-int8": "refused"}
    # One of the two alone can be had.
    litert = f"ai-edge-litert=={importlib.metadata.version('ai-edge-litert')}"
    report = convert(run, max_drop=0.016, out=own_bundle.parent, repair=False, target=[litert])
    assert {a.verdict for a in report.artifacts} == {"pass"}
    assert any("made for ai-edge-litert alone: tflite-runtime" in note for note in report.notes)
    entries = Bundle.open(own_bundle).golden().expected
    assert {e.runtime for e in entries} == {"ai-edge-litert", "onnxruntime"}
    # Both named are refused as before.
    both = [litert, "tflite-runtime==2.14.0"]
    with pytest.raises(RefusedError, match="they part at"):
        convert(run, max_drop=0.016, out=own_bundle.parent, repair=False, target=both)


def test_kernels_that_part_are_a_note(
    run: Path, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = sabotage(lambda name, kernels: (name, kernels) == ("tflite", "reference"))
    monkeypatch.setattr(module, "open_backend", odd)
    report = convert(run, max_drop=0.016, out=own_bundle.parent, repair=False)
    assert [note for note in report.notes if "reference kernels of tflite-runtime" in note]
    limits = {a.id: a.max_lsb for a in report.artifacts}
    assert limits["tflite-int8"] < 20


def damaged_probe(data: bytes, backend: str) -> Any:
    """The second runtime computes the first layer with another scale in one channel."""
    wrong = scale_channel("tflite-int8", data, 3.0, last=False) if backend == "tflite" else data
    return REAL_PROBE(wrong, backend)


REAL_PROBE = parting.TfliteProbe


def test_the_layer_at_which_two_runtimes_part_is_named(
    bundle: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Bundle.open(bundle)
    data = read.artifact_bytes(read.manifest.artifact("tflite-int8"))
    (name, spec), *_ = read.manifest.inputs.items()
    feeds = {name: preprocess_batch(spec, load_samples(run / "test.npz").inputs[name][:8])}
    both = ("litert", "tflite")
    monkeypatch.setattr(parting, "TfliteProbe", damaged_probe)
    assert "(CONV_2D): what it reads differs by 0 steps" in parting_layer(data, both, feeds)
    # The twin: one runtime twice has nothing to part at.
    assert parting_layer(data, ("litert", "litert"), feeds) == ""
