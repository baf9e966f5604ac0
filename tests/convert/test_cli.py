"""``python -m convert`` from outside: exit codes, messages, and what stays untouched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import RunPython

from edgeward.convert.bundle.android import check_assets
from edgeward.runtime.samples import Samples, load_samples, save_samples


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def change(run: Path, split: str, by: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    samples = load_samples(run / f"{split}.npz")
    images, digits = by(samples.inputs["image"].copy(), samples.targets["digit"].copy())
    save_samples(run / f"{split}.npz", Samples({"image": images}, {"digit": digits}))


def with_nan(images: np.ndarray, digits: np.ndarray) -> Any:
    images = images.astype(np.float32)
    images[17, 3, 4, 0] = np.nan
    return images, digits


def empty(run: Path) -> None:
    samples = load_samples(run / "calibration.npz")
    np.savez(
        run / "calibration.npz",
        **{"in/image": samples.inputs["image"][:0], "out/digit": samples.targets["digit"][:0]},
    )


def test_zero_calibration_is_refused_with_the_cause_and_the_old_bundle_stays(
    own_run: Path, own_bundle: Path, run_python: RunPython
) -> None:
    before = fingerprint(own_bundle)
    change(own_run, "calibration", lambda images, digits: (images * 0, digits))
    done = run_python("-m", "convert", "--int8", "--max-drop", "0.015")
    assert done.returncode == 3, done.stderr
    assert "tflite-int8" in done.stderr
    assert "are the same" in done.stderr
    assert "0..0 in the calibration samples" in done.stderr
    assert fingerprint(own_bundle) == before
    assert leftovers(own_bundle.parent) == []
    refused = own_bundle.parent / "mnist_cnn.refused"
    assert b"refused" in (refused / "report.html").read_bytes()
    assert json.loads((refused / "report.json").read_text())["bundle"] is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: change(run, "calibration", with_nan), ("sample 17", "nan", "[3, 4, 0]")),
        (empty, ("calibration.npz", "empty", "0 samples")),
        (
            lambda run: change(run, "calibration", lambda x, y: (np.repeat(x, 2, axis=3), y)),
            ("sample 0", "channels", "2"),
        ),
        (
            lambda run: change(run, "calibration", lambda x, y: (x[..., 0], y)),
            ("sample 0", "wrong shape", "[28, 28]"),
        ),
        (lambda run: (run / "calibration.npz").write_bytes(b"PK\3\4 no archive"), ("usable",)),
    ],
    ids=["nan", "empty", "channels", "shape", "damaged"],
)
def test_unusable_calibration_exits_5_and_names_the_sample(
    own_run: Path, own_bundle: Path, run_python: RunPython, damage: Any, words: tuple[str, ...]
) -> None:
    before = fingerprint(own_bundle)
    damage(own_run)
    done = run_python("-m", "convert", "--int8", "--max-drop", "0.015")
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert fingerprint(own_bundle) == before
    assert leftovers(own_bundle.parent) == []


@pytest.mark.parametrize("split", ["validation", "test"])
def test_unusable_split_exits_5_before_the_work_and_counts_the_samples(
    own_run: Path, own_bundle: Path, run_python: RunPython, split: str
) -> None:
    before = fingerprint(own_bundle)
    change(own_run, split, with_nan)
    done = run_python("-m", "convert", "--int8", "--max-drop", "0.015", "--no-reuse")
    assert done.returncode == 5, done.stderr
    for word in (f"{split} samples ({split}.npz), input 'image'", "1 of ", "nan", "sample 17"):
        assert word in done.stderr
    assert "made " not in done.stderr
    assert fingerprint(own_bundle) == before
    assert leftovers(own_bundle.parent) == []


@pytest.mark.parametrize("option", ["--validation", "--distil", "--calibration"])
def test_unusable_file_exits_5_before_the_work_and_counts_the_samples(
    own_run: Path, run_python: RunPython, tmp_path: Path, option: str
) -> None:
    images = np.zeros((300, 28, 28, 1), np.float32)
    images[[40, 290], 2, 3] = np.inf
    np.savez(tmp_path / "mine.npz", x=images, y=np.zeros(300, np.int64))
    done = run_python("-m", "convert", "--int8", "--qat", option, "mine.npz")
    assert done.returncode == 5, done.stderr
    for word in ("mine.npz), input 'image'", "2 of 300 samples", "inf at [2, 3, 0] of sample 40"):
        assert word in done.stderr
    assert "made " not in done.stderr


def in_the_way(folder: Path) -> None:
    folder.write_text("a file")


def something_else(folder: Path) -> None:
    (folder / "bundles" / "mnist_cnn").mkdir(parents=True)
    (folder / "bundles" / "mnist_cnn" / "diary.txt").write_text("mine")


def broken_link(folder: Path) -> None:
    folder.symlink_to("/nowhere/at/all")


@pytest.mark.parametrize(
    ("android", "damage", "words"),
    [
        ("assets", in_the_way, "Not a directory"),
        ("src/app/assets", lambda folder: in_the_way(folder.parents[1]), "Not a directory"),
        ("assets", something_else, "no bundle"),
        ("assets", broken_link, "No such file"),
        ("/proc/assets", None, "/proc: "),
    ],
    ids=["file", "below a file", "no bundle", "broken link", "not writable"],
)
def test_android_folder_that_cannot_be_written_is_found_before_the_work(
    own_run: Path, run_python: RunPython, tmp_path: Path, android: str, damage: Any, words: str
) -> None:
    if damage is not None:
        damage(tmp_path / android)
    before = fingerprint(tmp_path)
    done = run_python("-m", "convert", "--int8", "--android", android)
    assert done.returncode == 2, done.stderr
    for word in (words, "received", "how to fix", "--android DIR"):
        assert word in done.stderr
    assert "converting" not in done.stderr
    assert fingerprint(tmp_path) == before
    assert not (tmp_path / "bundles").exists()


def test_android_folder_that_can_be_made_is_not_made_by_the_check(tmp_path: Path) -> None:
    check_assets(tmp_path / "app" / "assets", "digits")
    assert list(tmp_path.iterdir()) == []


def rescale(run: Path) -> None:
    text = (run / "run.json").read_text()
    info = json.loads(text)
    (affine,) = [s for s in info["inputs"]["image"]["preprocessing"] if s["step"] == "affine"]
    affine["scale"] *= 20
    (run / "run.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: change(run, "test", lambda x, y: (x, np.roll(y, 1))),
        lambda run: change(run, "test", lambda x, y: (x.transpose(0, 2, 1, 3), y)),
        rescale,
    ],
    ids=["labels permuted", "layout", "preprocessing"],
)
def test_what_would_be_a_drift_of_zero_is_caught_by_reproducing_the_metric(
    own_run: Path, run_python: RunPython, damage: Any
) -> None:
    damage(own_run)
    done = run_python("-m", "convert", "--int8", "--max-drop", "0.015", "--format", "tflite")
    assert done.returncode == 5, done.stderr
    assert "does not give the accuracy that training noted" in done.stderr
    assert list((own_run.parents[2] / "bundles").glob("*")) == []


def test_second_conversion_grows_the_release_and_prints_one_json_object(
    own_run: Path, own_bundle: Path, run_python: RunPython
) -> None:
    done = run_python(
        "-m", "convert", own_run, "--int8", "--max-drop", "0.015", "--format", "tflite", "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["release"] == 2
    assert [a["id"] for a in report["artifacts"]] == ["tflite-fp32", "tflite-int8"]
    assert leftovers(own_bundle.parent) == []
    checked = run_python("-m", "runtime", "verify", own_bundle)
    assert checked.returncode == 0, checked.stderr


def test_too_few_samples_are_inconclusive_and_bundled_only_when_allowed(
    own_run: Path, run_python: RunPython, tmp_path: Path
) -> None:
    options = ("-m", "convert", "--int8", "--max-drop", "0.0005", "--format", "tflite")
    done = run_python(*options)
    assert done.returncode == 3
    assert "too few to tell" in done.stderr
    assert not (tmp_path / "bundles" / "mnist_cnn").exists()
    # float32 does not drift at all, so the number of samples that would show it is known.
    assert "are needed" in done.stderr


def test_keep_passing_bundles_what_passes_and_still_exits_3(
    own_run: Path, run_python: RunPython, tmp_path: Path
) -> None:
    change(own_run, "calibration", lambda images, digits: (images * 0, digits))
    done = run_python(
        *("-m", "convert", "--int8", "--max-drop", "0.015", "--keep-passing", "--format", "tflite")
    )
    assert done.returncode == 3
    manifest = json.loads((tmp_path / "bundles" / "mnist_cnn" / "manifest.json").read_text())
    assert [a["id"] for a in manifest["artifacts"]] == ["tflite-fp32"]


def test_time_out_is_an_error_with_the_stage(own_run: Path, run_python: RunPython) -> None:
    done = run_python("-m", "convert", "--int8", "--timeout", "1")
    assert done.returncode == 4, done.stderr
    assert "ran out of time" in done.stderr
    assert "--timeout" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "--int8, --int16x8 or --all"),
        (("--int8", "--format", "tflite,core-ml"), 2, "core-ml"),
        (("--int8", "--max-drop", "-1"), 2, "0 < X < 100"),
        (("--int8", "--max-drop", "nan"), 2, "0 < X < 100"),
        (("--int8", "--timeout", "0"), 2, "seconds > 0"),
        (("no/such/run", "--int8"), 5, "no such run"),
        (("--int8",), 5, "no finished run"),
        (("--no-such-option",), 2, "unrecognized"),
    ],
)
def test_wrong_requests_are_explained(
    run_python: RunPython, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = run_python("-m", "convert", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def edited(**changes: Any) -> Callable[[Path], None]:
    def apply(run: Path) -> None:
        info = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**info, **changes}))

    return apply


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edited(recipe="../../../elsewhere"), "plain name"),
        (edited(recipe="mnist.refused"), "plain name"),
        (edited(budget=-1), "budget"),
        (edited(metrics={}), "no metrics"),
        (lambda run: change(run, "test", lambda x, y: (x[:1000], y[:1000])), "1500, as run.json"),
        (lambda run: (run / "model.keras").write_bytes(b"\x89HDF no zip"), "no .keras"),
    ],
    ids=["recipe", "recipe.refused", "budget", "metrics", "test split", "model"],
)
def test_tampered_run_is_refused(
    own_run: Path, run_python: RunPython, damage: Any, words: str, tmp_path: Path
) -> None:
    damage(own_run)
    done = run_python("-m", "convert", own_run, "--int8", "--max-drop", "0.015")
    assert done.returncode == 5, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "bundles").glob("*"))


def test_preprocessing_that_does_not_fit_the_model_names_both_shapes(
    own_run: Path, run_python: RunPython
) -> None:
    info = json.loads((own_run / "run.json").read_text())
    steps = info["inputs"]["image"]["preprocessing"]
    (resize,) = [step for step in steps if step["step"] == "resize_bilinear"]
    resize["height"] = 14
    (own_run / "run.json").write_text(json.dumps(info))
    done = run_python("-m", "convert", "--int8", "--max-drop", "0.015")
    assert done.returncode == 5, done.stderr
    assert "[14, 28, 1] from preprocessing" in done.stderr


def test_runs_are_never_replaced_by_a_bundle(own_run: Path, run_python: RunPython) -> None:
    before = fingerprint(own_run)
    done = run_python("-m", "convert", "--int8", "--out", "runs")
    assert done.returncode == 2, done.stderr
    assert "no bundle" in done.stderr
    assert fingerprint(own_run) == before


def test_folder_that_cannot_be_written_is_found_before_the_work(
    own_run: Path, run_python: RunPython, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run_python("-m", "convert", "--int8", "--out", "file")
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr


def test_unfinished_run_is_refused(own_run: Path, run_python: RunPython) -> None:
    partial = own_run.with_name(".002.partial")
    own_run.rename(partial)
    done = run_python("-m", "convert", partial, "--int8")
    assert done.returncode == 5
    assert "not finished" in done.stderr


def test_help_does_not_import_anything_heavy(run_python: RunPython) -> None:
    script = (
        "import sys, edgeward.convert.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'tensorflow', 'keras', 'scipy', 'onnx', 'onnxruntime', 'matplotlib'}))"
    )
    done = run_python("-c", script)
    assert done.stdout.splitlines()[-1] == "[]"
