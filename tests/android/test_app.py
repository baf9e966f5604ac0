"""The app on real bundles: verdicts and answers as Python's, damage found; export to its assets."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import SUBSET

from edgeward.convert.bundle.android import export_assets
from edgeward.convert.bundle.write import write_bundle
from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact, Drift, Limit, TensorSpec
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.files import sha256_bytes
from edgeward.runtime.golden import Expected, Golden
from edgeward.runtime.manifest import Manifest, Source
from edgeward.runtime.predictor import Predictor, Runner
from edgeward.runtime.specs import OutputSpec
from edgeward.train.recipes.text_lstm import text_input
from scripts.android.compare import compare
from scripts.android.damage import seal
from scripts.android.jvm import Java, array, text_json
from scripts.android.recording import (
    Change,
    Outputs,
    Recorder,
    answering,
    opening,
    play,
    same_checks,
)

# ---- changes of what the interpreter gives


def shift(steps: int) -> Change:
    def change(outputs: Outputs) -> Outputs:
        for value in outputs.values():
            unit = 1 if value.dtype.kind == "i" else np.float32(2.0**-17)
            value.reshape(-1)[0] += (steps if value.reshape(-1)[0] < 100 else -steps) * unit
        return outputs

    return change


def swap_best(outputs: Outputs) -> Outputs:
    for value in outputs.values():
        flat = value.reshape(-1)
        order = np.argsort(flat, kind="stable")
        flat[order[-1]], flat[order[-2]] = flat[order[-2]], flat[order[-1]]
    return outputs


def set_float(number: float) -> Change:
    def change(outputs: Outputs) -> Outputs:
        for value in outputs.values():
            if value.dtype.kind == "f":
                value.reshape(-1)[3] = number
        return outputs

    return change


CHANGES: dict[str, Change] = {
    "none": lambda outputs: outputs,
    **{f"shift {n}": shift(n) for n in (1, 2, 7, 8, 9, 40, 4097)},
    "swap": swap_best,
    "nan": set_float(np.nan),
    "inf": set_float(np.inf),
    "-inf": set_float(-np.inf),
    "-0": set_float(-0.0),
    "1e-20": set_float(1e-20),
}


@pytest.fixture(scope="session")
def opened(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The real digit bundle as it lies in the app's assets."""
    return Bundle.open(export_assets(bundle, tmp_path_factory.mktemp("assets")))


def test_verdicts_are_pythons_whatever_the_interpreter_gives(
    java: Java, opened: Bundle, tmp_path: Path
) -> None:
    cases, wanted = [], []
    for name, change in CHANGES.items():
        record = tmp_path / f"{name}.json"
        wanted.append(play(opened, record, change).checks)
        cases.append(opening(opened, record))
    answers = java.answers(cases)
    assert [
        name for name, a, w in zip(CHANGES, answers, wanted, strict=True) if not same_checks(a, w)
    ] == []
    verdicts = {check.verdict for checks in wanted for check in checks.values()}
    assert verdicts == {"exact", "within tolerance", "wrong"}
    assert all(check.verdict == "wrong" for check in wanted[list(CHANGES).index("swap")].values())


def noise(count: int) -> Change:
    """Move so many values by one step, and none further."""

    def change(outputs: Outputs) -> Outputs:
        for value in outputs.values():
            flat = value.reshape(-1)[:count]
            flat += np.where(flat < 100, 1, -1).astype(value.dtype)
        return outputs

    return change


def test_in_version_2_the_app_counts_as_python_does(
    java: Java, opened: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(opened.path, tmp_path / "bundle")
    limited = {"digit": (Limit(0, 4), Limit(6, 1))}
    artifacts = [
        replace(one, max_lsb=10, tolerance=limited if one.variant == "int8" else {})
        for one in opened.manifest.artifacts
    ]
    manifest = replace(opened.manifest, artifacts=tuple(artifacts), format_version=2)
    (tmp_path / "bundle" / "manifest.json").write_bytes(manifest.to_bytes())
    seal(tmp_path / "bundle")
    second = Bundle.open(tmp_path / "bundle")
    found = {}
    for name, change in {**CHANGES, **{f"noise {n}": noise(n) for n in (1, 4, 5, 10)}}.items():
        record = tmp_path / f"{name}.json"
        wanted = play(second, record, change).checks
        (answer,) = java.answers([opening(second, record)])
        assert same_checks(answer, wanted), name
        found[name] = wanted["tflite-int8"]
    assert found["noise 4"].verdict == found["shift 9"].verdict == "within tolerance"
    assert found["noise 5"].verdict == "wrong"
    assert found["noise 5"].crowded == len(second.golden().inputs)
    assert found["noise 5"].lsb == 1


def test_three_hundred_digits_get_pythons_answers(
    java: Java, opened: Bundle, tmp_path: Path
) -> None:
    with np.load(SUBSET, allow_pickle=False) as data:
        digits = [{"image": np.ascontiguousarray(d[..., None])} for d in data["x_test"][:300]]
    record = tmp_path / "record.json"
    played = play(opened, record, samples=digits)
    cases = [opening(opened, record), *map(answering, digits)]
    answers = java.answers(cases)[1:]
    found = compare(answers, played.answers)
    assert found.none
    assert found.values == 3000
    predictor = Predictor.open(opened)
    for digit, answer, played_one in zip(digits, answers, played.answers, strict=True):
        # What was recorded is what a user of the runtime gets.
        wanted = predictor.predict(digit)
        assert played_one.outputs["digit"].values.tobytes() == wanted.values.tobytes()
        assert answer["lines"][0] == f"digit: {wanted.label}"
    # The twins: an app whose tensors are not Python's gets no answer at all, and with those of
    # another sample it is found as well.
    stranger = answering({"image": 255 - digits[0]["image"]})
    assert "Python never gave" in java.answers([cases[0], stranger])[1]["message"]
    assert compare(answers[1:], played.answers[:-1]).tensors > 250


# ---- texts


def sum_of_ids(inputs: Mapping[str, Array]) -> Outputs:
    """A model made of Python: real ids in, a decision that hangs on every one of them out."""
    ids = inputs["text"].astype(np.int64).reshape(-1)
    return {"label": np.int8([[(ids * np.arange(1, len(ids) + 1)).sum() % 256 - 128]])}


@pytest.fixture(scope="session")
def text_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    words = ["the", "film", "was", "great", "awful", "naïve", "日本", "dont"]
    vocabulary = "".join(f"{word}\n" for word in ["", "[UNK]", *words]).encode()
    texts = [
        "The film was GREAT!",
        "awful",
        "",
        "Don't.",
        "naïve 日本",
        "x y",
        "was was was",
        "\t!",
    ]
    spec, out = text_input(12), OutputSpec("binary", ("negative", "positive"), 0.5)
    tensors = (
        TensorSpec("text", "text", (1, 12), "int32"),
        TensorSpec("label", "label", (1, 1), "int8", 1 / 256, -128),
    )
    model = b"no model: what answers is recorded"
    drift = Drift("label", "binary", "accuracy", 1.0, 1.0, 0.0, 0.0, 0.01, 8, "pass", "fake 1")
    artifact = Artifact(
        "tflite-int8", "m.tflite", len(model), sha256_bytes(model), "int8", tensors[:1],
        tensors[1:], (), {}, "static", True, 1, (drift,),
    )  # fmt: skip
    inputs, outputs = {"text": spec}, {"label": out}
    manifest = Manifest(
        "texts", 1, {}, Source("r", "0" * 64, "0" * 64), artifact.id, inputs, outputs, (artifact,)
    )
    recorder = Recorder(sum_of_ids)
    runner = Runner(artifact, recorder, inputs, outputs, {"vocabulary.txt": vocabulary})
    given = np.concatenate([runner.invoke({"text": text})["label"] for text in texts])
    golden = Golden(
        [{"text": text.encode()} for text in texts],
        [Expected(artifact.id, "fake", "1", {"label": given})],
    )
    path = tmp_path_factory.mktemp("texts") / "texts"
    files = {"manifest.json": manifest.to_bytes(), "golden.json": golden.to_bytes()}
    write_bundle(path, {**files, "m.tflite": model, "vocabulary.txt": vocabulary})
    return Bundle.open(path)


def test_a_text_bundle_gets_pythons_verdict_and_answers(
    java: Java, text_bundle: Bundle, tmp_path: Path
) -> None:
    record = tmp_path / "record.json"
    texts = [
        "great film",
        "",
        "An AWFUL, awful film?!",
        "日本\u3000naïve",
        "a\x00b the\x1ffilm",
    ]
    samples = [{"text": text.encode()} for text in texts]
    played = play(text_bundle, record, samples=samples, interpreter=sum_of_ids)
    assert played.checks["tflite-int8"].verdict == "exact"
    answers = java.answers([opening(text_bundle, record), *map(answering, samples)])
    assert same_checks(answers[0], played.checks)
    assert compare(answers[1:], played.answers).none
    for name, change in {"one off": shift(1), "two off": shift(2), "far": shift(60)}.items():
        checks = play(text_bundle, record, change, interpreter=sum_of_ids).checks
        assert same_checks(java.answers([opening(text_bundle, record)])[0], checks), name


# ---- damage


def test_a_damaged_golden_vector_is_called_wrong(
    java: Java, opened: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(opened.path, folder)
    golden = opened.golden()
    for entry in golden.expected:
        if entry.artifact == "tflite-int8":
            label = entry.outputs["digit"]
            label[0] = np.roll(label[0], 1)
    (folder / "golden.json").write_bytes(golden.to_bytes())
    seal(folder)
    damaged, record = Bundle.open(folder), tmp_path / "record.json"
    checks = play(damaged, record).checks
    answer = java.answers([opening(damaged, record)])[0]
    assert same_checks(answer, checks)
    assert answer["tflite-int8"]["verdict"] == "wrong"
    play(opened, record)
    assert java.answers([opening(opened, record)])[0]["tflite-int8"]["verdict"] != "wrong"


def test_any_damaged_byte_is_found_before_anything_is_read(
    java: Java, opened: Bundle, tmp_path: Path
) -> None:
    folders = [opened.path]
    for path in sorted(opened.path.iterdir()):
        for at in (0, path.stat().st_size // 2, path.stat().st_size - 1):
            folder = tmp_path / f"{path.name}-{at}"
            shutil.copytree(opened.path, folder)
            data = bytearray(path.read_bytes())
            data[at] ^= 1
            (folder / path.name).write_bytes(data)
            folders.append(folder)
    for name in ("extra", "missing", "resealed"):
        folder = tmp_path / name
        shutil.copytree(opened.path, folder)
        folders.append(folder)
    (tmp_path / "extra" / "more.txt").write_text("more")
    (tmp_path / "missing" / "labels.txt").unlink()
    (tmp_path / "resealed" / "tflite-int8.tflite").write_bytes(b"another model")
    seal(tmp_path / "resealed")
    answers = java.answers({"op": "bundle", "folder": str(folder)} for folder in folders)
    assert answers[0] == {"name": opened.manifest.name}
    for folder, answer in zip(folders[1:], answers[1:], strict=True):
        assert answer.get("error") == "InvalidBundleException", folder
        with pytest.raises(EdgewardError):
            Bundle.open(folder).verify()


# ---- drawing


def test_a_digit_drawn_in_a_corner_is_read_as_well_as_one_in_the_middle(
    java: Java, opened: Bundle
) -> None:
    rng = np.random.default_rng(17)
    with np.load(SUBSET, allow_pickle=False) as data:
        digits, labels = data["x_test"][:100], data["y_test"][:100]
    canvases = []
    for digit in digits:
        canvas = np.zeros((280, 280), np.uint8)
        y, x = rng.integers(0, 140, 2)
        canvas[y : y + 140, x : x + 140] = np.kron(digit, np.ones((5, 5), np.uint8))
        canvases.append(canvas)
    spec = {"op": "use", "input": opened.manifest.inputs["image"].to_json(), "vocabularies": {}}
    cases = [{"op": "ink", "width": 280, "bytes": text_json(c.tobytes())} for c in canvases]
    raws = [array(answer) for answer in java.answers([spec, *cases])[1:]]
    predictor = Predictor.open(opened)
    right = [predictor.predict(raw).index == label for raw, label in zip(raws, labels, strict=True)]
    assert np.mean(right) >= 0.95
    # The twin: the canvas as it is, the digit small and off the middle.
    plain = [
        predictor.predict(canvas[..., None]).index == label
        for canvas, label in zip(canvases, labels, strict=True)
    ]
    assert np.mean(plain) < 0.8
    empty = {"op": "ink", "width": 280, "bytes": text_json(bytes(280 * 280))}
    assert "nothing drawn" in java.answers([spec, empty])[1]["message"]
