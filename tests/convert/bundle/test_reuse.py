"""A second conversion does nothing that the first one did, and never trusts what it cannot verify.

That TensorFlow is not needed is shown by a package of that name that cannot be imported.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import REPOSITORY, RunPython

from edgeward.convert import convert
from edgeward.convert.bundle.fingerprint import Request, artifact_key
from edgeward.convert.bundle.reuse import (
    Record,
    Shelf,
    open_shelves,
    read_back,
    recall,
    take_over,
)
from edgeward.convert.bundle.write import refusal_of
from edgeward.convert.layers.report import LayerReport
from edgeward.convert.options import Options
from edgeward.convert.report.report import ConversionReport
from edgeward.convert.settings import OLDEST, Switches
from edgeward.convert.source import files as source_files
from edgeward.convert.source.files import Hashes
from edgeward.convert.source.open import open_source
from edgeward.convert.worker.conversion import Conversion
from edgeward.runtime.bundle import SUMS
from edgeward.runtime.errors import RefusedError
from edgeward.runtime.files import parse_sums, render_sums, sha256_file
from edgeward.runtime.samples import Samples, load_samples, save_samples
from edgeward.train.run import REQUIRED_FILES

REQUEST = ("-m", "convert", "--int8", "--max-drop", "0.015")
MADE = ["tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8"]


@pytest.fixture
def without_tensorflow(run_python: RunPython, tmp_path: Path) -> RunPython:
    """Run this interpreter where nothing can import TensorFlow."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')\n")
    paths = os.pathsep.join([str(shim), str(REPOSITORY)])
    return lambda *arguments: run_python(*arguments, PYTHONPATH=paths)


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


def request_of(**options: Any) -> Request | None:
    return Request.of(Options(**options), Hashes())


def fewer_calibration_samples(run: Path) -> None:
    samples = load_samples(run / "calibration.npz")
    save_samples(run / "calibration.npz", samples.take(range(100)))


def other_targets(run: Path) -> None:
    samples = load_samples(run / "test.npz")
    digits = samples.targets["digit"].copy()
    digits[0] = (digits[0] + 1) % 10
    save_samples(run / "test.npz", Samples(samples.inputs, {"digit": digits}))


def other_budget(run: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "budget": info["budget"] / 2}))


def seal(folder: Path) -> None:
    """Make SHA256SUMS fit again, as someone who edits a bundle on purpose would."""
    names = parse_sums((folder / SUMS).read_bytes())
    (folder / SUMS).write_bytes(render_sums({n: sha256_file(folder / n) for n in names}))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_unchanged_request_is_answered_without_tensorflow(
    own_run: Path, own_bundle: Path, without_tensorflow: RunPython
) -> None:
    before = fingerprint(own_bundle)
    done = without_tensorflow(*REQUEST, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["reused"] == MADE == [a["id"] for a in report["artifacts"]]
    assert report["release"] == 1
    assert report["bundle"] == "bundles/mnist_cnn"
    assert fingerprint(own_bundle) == before
    printed = without_tensorflow(*REQUEST, "--timeout", "77")
    assert printed.returncode == 0, printed.stderr
    assert "nothing has changed: reused release 1" in printed.stdout
    assert printed.stdout.count("pass") >= len(MADE)


@pytest.mark.parametrize(
    ("more", "change"),
    [
        (("--no-reuse",), None),
        (("--max-drop", "0.016"), None),
        (("--allow-inconclusive",), None),
        (("--format", "tflite"), None),
        ((), fewer_calibration_samples),
        ((), other_targets),
        ((), other_budget),
        ((), lambda run: flip(run.parents[2] / "bundles" / "mnist_cnn" / "tflite-int8.tflite")),
        ((), lambda run: (run.parents[2] / "bundles" / "mnist_cnn" / "golden.json").unlink()),
        ((), lambda run: (run.parents[2] / "bundles" / "mnist_cnn" / "extra").touch()),
    ],
    ids=[
        *("no-reuse", "max-drop", "allow", "format", "calibration", "targets", "budget"),
        *("damaged", "missing", "extra"),
    ],
)
def test_whatever_changed_needs_the_converter(
    own_run: Path,
    own_bundle: Path,
    without_tensorflow: RunPython,
    more: tuple[str, ...],
    change: Callable[[Path], None] | None,
) -> None:
    if change is not None:
        change(own_run)
    done = without_tensorflow(*REQUEST, *more)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "TensorFlow was imported" in done.stderr


def test_one_new_variant_converts_only_that(
    own_run: Path, own_bundle: Path, run_python: RunPython
) -> None:
    before = fingerprint(own_bundle)
    done = run_python(*REQUEST, "--fp16", "--format", "tflite", "--json")
    assert done.returncode == 0, done.stderr
    made = [line for line in done.stderr.splitlines() if line.startswith("made ")]
    assert len(made) == 1
    assert made[0].startswith("made tflite-fp16")
    report = json.loads(done.stdout)
    assert report["reused"] == ["tflite-fp32", "tflite-int8"]
    assert [a["id"] for a in report["artifacts"]] == ["tflite-fp32", "tflite-fp16", "tflite-int8"]
    assert report["release"] == 2
    for name in ("tflite-fp32.tflite", "tflite-int8.tflite"):
        assert fingerprint(own_bundle)[name][0] == before[name][0]
    checked = run_python("-m", "runtime", "verify", own_bundle)
    assert checked.returncode == 0, checked.stderr


def test_refused_again_with_the_same_words_and_without_tensorflow(
    own_run: Path, own_bundle: Path, run_python: RunPython, without_tensorflow: RunPython
) -> None:
    before = fingerprint(own_bundle)
    request = ("-m", "convert", "--int8", "--max-drop", "0.0005", "--format", "tflite")
    first = run_python(*request)
    assert first.returncode == 3, first.stderr
    assert "reused, not converted again: tflite-fp32, tflite-int8" in first.stderr
    assert "made " not in first.stderr
    again = without_tensorflow(*request)
    assert again.returncode == 3, again.stderr
    words = first.stderr[first.stderr.index("convert: ") :]
    assert again.stderr == words
    assert fingerprint(own_bundle) == before
    # What the first bundle was asked for is still answered, and the refusal is over.
    other = without_tensorflow(*REQUEST)
    assert other.returncode == 0, other.stderr
    assert not refusal_of(own_bundle).exists()


def test_damaged_refusal_is_not_believed(
    own_run: Path, own_bundle: Path, tmp_path: Path, without_tensorflow: RunPython
) -> None:
    refusal = refusal_of(own_bundle)
    own_bundle.rename(refusal)
    (refusal / "manifest.json").unlink()
    (refusal / "golden.json").unlink()
    names = [path.name for path in refusal.iterdir() if path.name != SUMS]
    (refusal / SUMS).write_bytes(render_sums({n: sha256_file(refusal / n) for n in names}))
    (sound,), notes = open_shelves(own_bundle)
    assert notes == []
    assert set(sound.record.artifacts) == set(MADE)
    flip(refusal / "onnx-int8.onnx")
    shelves, notes = open_shelves(own_bundle)
    assert shelves == []
    assert "onnx-int8.onnx is damaged" in notes[0]


def test_damaged_bundle_is_named_in_a_note(own_bundle: Path) -> None:
    assert open_shelves(own_bundle)[1] == []
    flip(own_bundle / "tflite-int8.tflite")
    shelves, notes = open_shelves(own_bundle)
    assert shelves == []
    assert notes[0].startswith("nothing of mnist_cnn is reused: tflite-int8.tflite is damaged")


def test_edited_artifact_is_not_taken_over_though_all_sums_fit(
    own_bundle: Path, tmp_path: Path
) -> None:
    (shelf,), _ = open_shelves(own_bundle)
    key = shelf.record.artifacts["tflite-int8"].key
    assert shelf.artifact("tflite-int8", key) == (own_bundle / "tflite-int8.tflite").read_bytes()
    assert shelf.artifact("tflite-int8", key[::-1]) is None
    old = sha256_file(own_bundle / "tflite-int8.tflite")
    flip(own_bundle / "tflite-int8.tflite")
    new = sha256_file(own_bundle / "tflite-int8.tflite")
    manifest = own_bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new))
    seal(own_bundle)
    (edited,), notes = open_shelves(own_bundle)
    assert notes == []
    assert edited.artifact("tflite-int8", key) is None


def test_exchanged_artifact_is_taken_over_with_its_note(own_bundle: Path, tmp_path: Path) -> None:
    """A recurrent net has onnx-dynamic where onnx-int8 was asked for."""
    report = json.loads((own_bundle / "report.json").read_text())
    kept = report["reuse"]["artifacts"]
    kept["onnx-int8"]["instead"] = {"onnx-dynamic": "onnx-int8 instead of onnx-dynamic: why"}
    (own_bundle / "report.json").write_text(json.dumps(report))
    seal(own_bundle)
    shelves, _ = open_shelves(own_bundle)
    keys = {name: kept[name]["key"] for name in kept}
    call = (shelves, ["onnx-dynamic", "onnx-fp16"], lambda name: keys.get(name, ""), tmp_path)
    taken = take_over(*call, tolerant=False)
    assert taken.made == {"onnx-int8": False}
    assert taken.asked == {"onnx-dynamic"}
    note = "onnx-int8 instead of onnx-dynamic: why"
    assert taken.instead == {"onnx-int8": {"onnx-dynamic": note}}
    # The next conversion can take it over again.
    conversion = taken.add_to(Conversion())
    assert (conversion.notes, conversion.instead) == ([note], taken.instead)
    assert take_over(*call, tolerant=True).made == {}


def test_report_read_back_is_the_report_written(own_bundle: Path) -> None:
    (shelf,), _ = open_shelves(own_bundle)
    read = read_back(ConversionReport, dict(shelf.report))
    assert read is not None
    assert read.to_json() == shelf.report
    assert read.bundle == Path("mnist_cnn")
    assert read.artifacts[1].drifts["ai-edge-litert 2.3.0"][0].decisions.lost >= 0
    assert isinstance(read.artifacts[1].layers, LayerReport)


@pytest.mark.parametrize(
    "change",
    [
        {"release": "1"},
        {"release": 1.5},
        {"unknown": 1},
        {"budget": "nan"},
        {"notes": "a text"},
        {"notes": [1]},
        {"artifacts": {}},
        {"artifacts": [{"id": "tflite-int8"}]},
        {"targets": []},
    ],
    ids=str,
)
def test_report_that_another_version_wrote_is_not_read(
    own_bundle: Path, change: dict[str, Any]
) -> None:
    (shelf,), _ = open_shelves(own_bundle)
    assert read_back(ConversionReport, {**shelf.report, **change}) is None
    # A field with a default that is not there was written by an older version.
    older = {name: value for name, value in shelf.report.items() if name != "reused"}
    assert read_back(ConversionReport, older) is None
    assert read_back(ConversionReport, dict(shelf.report)) is not None


def test_record_that_another_version_wrote_is_not_read(own_bundle: Path) -> None:
    value = json.loads((own_bundle / "report.json").read_text())["reuse"]
    record = read_back(Record, value)
    assert record is not None
    assert record.to_json() == value
    kept = value["artifacts"]["onnx-int8"]
    for strange in (
        *(None, [], "text", {}, {"request": 1, "artifacts": {}}),
        {**value, "more": 1},
        {**value, "artifacts": {"onnx-int8": {**kept, "more": 1}}},
        {**value, "artifacts": {"onnx-int8": {**kept, "stateful": "no"}}},
        {**value, "artifacts": {"onnx-int8": {**kept, "instead": []}}},
        {**value, "artifacts": {"onnx-int8": {k: v for k, v in kept.items() if k != "instead"}}},
    ):
        assert read_back(Record, strange) is None


def test_refusal_is_told_again_without_the_inconclusive_ones_that_were_accepted(
    own_run: Path, own_bundle: Path
) -> None:
    options: dict[str, Any] = {"source": own_run, "out": own_bundle.parent}
    refusal = refusal_of(own_bundle)
    own_bundle.rename(refusal)
    for name in ("manifest.json", "golden.json"):
        (refusal / name).unlink()
    report = json.loads((refusal / "report.json").read_text())
    report |= {"release": None, "bundle": None}
    for artifact in report["artifacts"]:
        artifact["bundled"] = False
        artifact["verdict"] = {"tflite-int8": "refused", "onnx-int8": "inconclusive"}.get(
            artifact["id"], "pass"
        )
    said = {}
    for allowed in (True, False):
        options["allow_inconclusive"] = allowed
        request = request_of(**options)
        assert request is not None
        report["reuse"]["request"] = request.key
        (refusal / "report.json").write_text(json.dumps(report))
        names = [path.name for path in refusal.iterdir() if path.name != SUMS]
        (refusal / SUMS).write_bytes(render_sums({n: sha256_file(refusal / n) for n in names}))
        with pytest.raises(RefusedError) as caught:
            convert(**options)
        said[allowed] = caught.value.message
    assert said == {
        True: "tflite-int8: refused.",
        False: "tflite-int8, onnx-int8: inconclusive and refused.",
    }


def test_report_of_another_version_answers_nothing(own_bundle: Path) -> None:
    (shelf,), _ = open_shelves(own_bundle)
    key = shelf.record.request
    assert recall(own_bundle, key, [shelf]) is not None
    assert recall(own_bundle, key[::-1], [shelf]) is None
    strange = {**shelf.report, "release": "1"}
    assert recall(own_bundle, key, [Shelf(shelf.folder, {}, strange, shelf.record)]) is None


def test_request_depends_on_files_and_options_and_not_on_time(own_run: Path) -> None:
    runs = own_run.parents[1]
    plain = request_of(runs=runs)
    assert plain is not None
    assert plain.name == "mnist_cnn"
    assert plain == request_of(source=str(own_run), runs="", timeout=1.0, memory=5)
    keys = {plain.key}
    for changed in (
        {"runs": runs, "variants": ["int8", "fp16"]},
        {"runs": runs, "max_drop": 0.1},
        {"runs": runs, "shapes": {"image": (28, 28, 1)}},
        {"runs": runs, "calibration": own_run / "calibration.npz"},
        {"source": own_run / "model.keras"},
        {"source": own_run / "model.keras", "labels": own_run / "labels.txt"},
        {"source": own_run / "saved_model"},
    ):
        request = request_of(**changed)
        assert request is not None
        keys.add(request.key)
    other_budget(own_run)
    edited = request_of(runs=runs)
    assert edited is not None
    keys.add(edited.key)
    assert len(keys) == 9
    assert request_of(runs=runs, calibration=own_run / "none.npz") is None
    assert request_of(runs=runs / "none") is None


def test_folder_that_only_says_where_things_are_is_not_read(
    own_run: Path, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, read = own_run.parents[1], []
    original = source_files.hash_model
    monkeypatch.setattr(source_files, "hash_model", lambda p: (read.append(p), original(p))[1])
    plain = request_of(runs=str(runs))
    assert plain is not None
    assert plain == request_of(source=own_run, runs=runs, out=own_bundle.parent)
    assert plain == request_of(source=own_run, out=own_bundle.parent / "not there yet")
    assert {path.name for path in read} == {*REQUIRED_FILES}
    # The twin: what has an effect is read, and has to be there.
    assert request_of(runs=runs, calibration=own_run / "none.npz") is None
    other = request_of(runs=runs, calibration=own_run / "labels.txt")
    assert other is not None
    assert other.key != plain.key
    assert "labels.txt" in {path.name for path in read}


def test_same_request_in_other_words_is_the_same(own_run: Path) -> None:
    plain = request_of(source=own_run)
    for words in (
        {"shapes": {}, "expect": {}, "variants": ["int8"], "formats": ["tflite", "onnx"]},
        {"progress": print, "memory": 0, "timeout": 5.0, "reuse": True},
    ):
        assert request_of(source=own_run, **words) == plain
    some = {"calibration_samples": 100, "shapes": {"image": (28, 28, 1)}}
    numpy = {"calibration_samples": np.int64(100), "shapes": {"image": (np.int64(28), 28, 1)}}
    assert request_of(source=own_run, **some) == request_of(source=own_run, **numpy) != plain


def test_artifact_depends_on_calibration_only_where_it_is_calibrated(own_run: Path) -> None:
    source = open_source(own_run)
    some, all_ = source.calibration.take(range(100)), source.calibration
    for name, same in (("tflite-fp16", True), ("tflite-int8", False), ("onnx-int8", False)):
        keys = [artifact_key(name, source, OLDEST, samples) for samples in (some, all_)]
        assert (keys[0] == keys[1]) == same
    newest = Switches(per_tensor_dense=False)
    keys = [artifact_key("tflite-dynamic", source, s, all_) for s in (OLDEST, newest)]
    assert keys[0] != keys[1]


def test_file_that_is_named_by_a_text_counts_with_its_content(own_run: Path) -> None:
    file = own_run / "calibration.npz"
    runs = str(own_run.parents[1])
    before = request_of(runs=runs, calibration=str(file))
    assert before == request_of(runs=runs, calibration=file)
    fewer_calibration_samples(own_run)
    after = request_of(runs=runs, calibration=str(file))
    assert before is not None
    assert after is not None
    assert after.key != before.key


def test_a_missing_cattrs_is_named_when_it_is_needed_not_when_convert_is_imported(
    run_python: RunPython,
) -> None:
    read = (
        "from edgeward.convert import convert\n"
        "from edgeward.convert.bundle.reuse import Record, read_back\n"
        "print(read_back(Record, {'request': '', 'artifacts': {}}))\n"
    )
    done = run_python("-c", f"import sys\nsys.modules['cattrs'] = None\n{read}")
    assert "MissingExtraError" in done.stderr
    assert "edgeward[convert]" in done.stderr
    # The twin: with it, the record is read.
    assert run_python("-c", read).stdout.startswith("Record(")
