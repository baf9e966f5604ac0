"""The app among the device proofs: its logic and its package pass, wrong ones and damage do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from java_cases import compile_wrong, need_java
from support import REPOSITORY, SUBSET

from edgeward.convert.bundle.android import BUNDLES
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.samples import Samples, load_samples
from scripts.android import build_apk, jvm, toolchain
from scripts.android.damage import HARMS, Harm, seal
from scripts.android.jvm import Java
from scripts.devices import android, app
from scripts.devices.subject import Subject

SHIPPED = REPOSITORY / "android_demo" / "app" / "src" / "main" / "assets" / BUNDLES / "mnist_edge"
COUNT = 60


def digits(bundle: Path, folder: Path) -> Subject:
    with np.load(SUBSET, allow_pickle=False) as data:
        raws = np.ascontiguousarray(data["x_test"][:COUNT, ..., None])
    return Subject(Bundle.open(bundle), Samples({"image": raws}), folder / "unused.npz", folder)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """The bundle that comes with the app, with real digits."""
    need_java()
    return digits(SHIPPED, tmp_path)


@pytest.fixture
def logic_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the tools that a package is built with."""
    monkeypatch.setattr(toolchain, "absent", lambda: ["aapt"])


def need_tools() -> None:
    need_java()
    if toolchain.absent():
        pytest.skip(f"{toolchain.absent()} missing: bash scripts/android/setup.sh installs them")


# ---- what passes


def test_every_tflite_artifact_and_the_package_are_proven(bundle: Path, tmp_path: Path) -> None:
    need_tools()
    found = app.rows(digits(bundle, tmp_path))
    assert [(row.device, row.artifact.id) for row in found] == [
        (app.LOGIC, "tflite-fp32"),
        (app.LOGIC, "tflite-int8"),
        (app.PACKAGE, "tflite-int8"),
    ]
    assert {(row.verdict, row.passed, row.reason, row.lsb) for row in found} == {
        ("exact", True, "", 0)
    }
    for row in found[:2]:
        assert (row.golden, row.differing, row.flips) == ("exact", 0, 0)
        assert (row.samples, row.values) == (COUNT, 10 * COUNT)
        assert 0 < row.seconds < 0.1
    # manifest.json, golden.json, labels.txt and two models; what is ONNX stays at home.
    assert found[2].values == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("logic_only")
def test_a_slow_net_is_asked_as_many_samples_as_the_time_allows(subject: Subject) -> None:
    (row,) = app.rows(replace(subject, seconds=0.0))
    assert (row.samples, row.passed) == (1, True)


@pytest.mark.slow
@pytest.mark.usefixtures("logic_only")
def test_texts_are_proven_and_damage_to_their_bundle_noticed(
    texts: tuple[Path, Path], tmp_path: Path
) -> None:
    need_java()
    opened = Bundle.open(texts[1])
    some = load_samples(texts[0] / "test.npz").named(["text"], ["label"]).take(range(COUNT))
    subject = Subject(opened, some, tmp_path / "unused.npz", tmp_path)
    assert [(r.artifact.id, r.verdict, r.values) for r in app.rows(subject)] == [
        ("tflite-fp32", "exact", COUNT),
        ("tflite-int8", "exact", COUNT),
    ]
    # One value for each text: this damage is another one than that of the digits.
    assert all(noticed for _, noticed in app.damage(subject, tmp_path / "damage"))


# ---- sigmoid and softmax: the documented exception


def with_step(subject: Subject, folder: Path, step: str) -> Subject:
    """Return the bundle with a step after its outputs, sealed again."""
    shutil.copytree(subject.bundle.path, folder)
    tree = json.loads((folder / "manifest.json").read_bytes())
    tree["outputs"]["digit"]["postprocessing"] = [{"step": step}]
    text = json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    seal(folder)
    return replace(subject, bundle=Bundle.open(folder))


@pytest.mark.usefixtures("logic_only")
def test_the_last_bits_of_exp_are_within_tolerance_and_no_more(
    java: Java, subject: Subject, tmp_path: Path
) -> None:
    softmax = with_step(subject, tmp_path / "softmax", "softmax")
    (row,) = app.rows(softmax)
    assert (row.verdict, row.passed) == ("exact" if row.lsb == 0 else "within tolerance", True)
    assert (row.differing > 0) == (row.lsb == 1)
    # An app whose last bits differ everywhere, and one whose sum is off by a hundred such bits.
    sum_of = "result.real(i) / (float) sum"
    near = f"Math.nextUp({sum_of})"
    (row,) = app.rows(softmax, compile_wrong(java, tmp_path / "1", "Preprocessing", sum_of, near))
    assert (row.verdict, row.passed, row.lsb, row.flips) == ("within tolerance", True, 1, 0)
    assert row.differing > row.values / 2
    far = "result.real(i) / (float) (sum * 1.00002)"
    wrong = compile_wrong(java, tmp_path / "2", "Preprocessing", sum_of, far)
    (row,) = app.rows(softmax, wrong)
    assert (row.verdict, row.passed) == ("wrong", False)
    assert "ulps" in row.reason


# ---- wrong apps


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("Preprocessing", "product + step.offset.of(i % channels)", "product + 0.1f", "tensors"),
        ("Quantization", "Math.rint(values.real(i) / scale)", "Math.floor(values.real(i) / scale)",
         "Python never gave"),
        ("Quantization", "* scale", "* Math.nextUp(scale)", "differ, by up to 2 ulps"),
        ("Decoded", "values.real(i) > values.real(best)", "values.real(i) < values.real(best)",
         "decisions differ"),
        ("Decoded", "spec.labels.get(index)", "spec.labels.get(9 - index)", "decisions differ"),
        ("SelfTest", "values += wanted.count", "values += 1", "self-test"),
        ("Demo", "bundle.verify();", "if (bundle != null) throw new Error(\"boom\");", "boom"),
        ("Demo", "bundle.verify();", "Names.require(bundle == null, \"bundle\", null, null);",
         "refuses the bundle"),
    ],
    ids=["preprocessing", "rounding", "scale", "worst class", "labels", "verdict", "crash",
         "refusal"],
)  # fmt: skip
@pytest.mark.usefixtures("logic_only")
def test_a_wrong_app_does_not_pass(
    java: Java, subject: Subject, tmp_path: Path, name: str, old: str, new: str, reason: str
) -> None:
    (row,) = app.rows(subject, compile_wrong(java, tmp_path / "wrong", name, old, new))
    assert (row.verdict, row.passed) == ("wrong", False)
    assert reason in row.reason


@pytest.mark.usefixtures("logic_only")
def test_a_bundle_that_is_wrong_here_does_not_pass_though_both_sides_agree(
    subject: Subject, tmp_path: Path
) -> None:
    folder = tmp_path / "exchanged"
    shutil.copytree(subject.bundle.path, folder)
    exchange = HARMS[1]
    exchange.files(Bundle.open(folder))
    (row,) = app.rows(replace(subject, bundle=Bundle.open(folder)))
    assert (row.golden, row.verdict, row.passed) == ("wrong", "wrong", False)
    assert row.reason == "the self-test says wrong"


# ---- the package


def other_labels(folder: Path) -> None:
    (folder / "labels.txt").write_text("".join(f"{i}\n" for i in reversed(range(10))))


def other_release(folder: Path) -> None:
    tree = json.loads((folder / "manifest.json").read_bytes())
    tree["release"] += 1
    (folder / "manifest.json").write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("change", "file"), [(other_labels, "labels.txt"), (other_release, "manifest.json")]
)
def test_a_package_with_another_bundle_in_it_does_not_pass(
    subject: Subject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    file: str,
) -> None:
    need_tools()
    folder = tmp_path / "other"
    shutil.copytree(subject.bundle.path, folder)
    change(folder)
    seal(folder)
    build = build_apk.build
    monkeypatch.setattr(build_apk, "build", lambda _, out, classes: build([folder], out, classes))
    row = app.rows(subject)[-1]
    assert (row.device, row.verdict, row.passed, row.differing) == (app.PACKAGE, "wrong", False, 1)
    assert row.reason == f"other than in the bundle: {file}"


def test_a_package_that_cannot_be_built_is_a_row_that_did_not_pass(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_tools()
    monkeypatch.setattr(build_apk, "FRAMEWORK", "/nowhere/framework-res.apk")
    row = app.rows(subject)[-1]
    assert (row.device, row.passed) == (app.PACKAGE, False)
    assert "aapt" in row.reason


# ---- damage


def test_damage_is_noticed_and_no_damage_is_not(
    java: Java, subject: Subject, tmp_path: Path
) -> None:
    found = app.damage(subject, tmp_path / "damage")
    assert found == [(harm.name, True) for harm in HARMS]
    harmless = [Harm(harm.name, harm.refused) for harm in HARMS]
    assert app.damage(subject, tmp_path / "harmless", harms=harmless) == [
        (harm.name, False) for harm in HARMS
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "missed"),
    [
        ("Bundle", "!actual.equals(hashes.get(name))", "actual.isEmpty()", [0]),
        ("SelfTest", "differing == 0 ?", "differing >= 0 ?", [1, 2]),
    ],
    ids=["no hashes", "no self-test"],
)
def test_an_app_that_looks_away_does_not_notice(
    java: Java, subject: Subject, tmp_path: Path, name: str, old: str, new: str, missed: list[int]
) -> None:
    wrong = compile_wrong(java, tmp_path / "wrong", name, old, new)
    found = app.damage(subject, tmp_path / "damage", wrong)
    assert [i for i, (_, noticed) in enumerate(found) if not noticed] == missed


# ---- machines without the tools


def test_what_cannot_be_proven_is_said_with_how_to_get_it(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def devices() -> list[str]:
        return [row.device for row in app.rows(subject)]

    monkeypatch.setattr(toolchain, "absent", lambda: ["r8.jar"])
    assert f"{app.PACKAGE} (no r8.jar: {app.INSTALL})" in app.missing()
    assert app.LOGIC not in app.missing()
    assert devices() == [app.LOGIC]
    assert app.package_damage(subject) == []
    monkeypatch.setattr(jvm, "absent", lambda: ["javac"])
    assert (
        f"NOT PROVEN: {app.LOGIC}; {app.PACKAGE}; {android.HERE} (no javac, r8.jar" in app.missing()
    )
    assert devices() == []
    assert app.damage(subject, tmp_path / "damage") == []
    monkeypatch.setattr(jvm, "absent", list)
    monkeypatch.setattr(toolchain, "absent", list)
    assert app.missing() == ""


def test_a_flipped_bit_in_the_package_is_noticed(subject: Subject) -> None:
    need_tools()
    assert app.package_damage(subject) == [("flipped bit in the package", True)]


def test_programs_are_looked_for_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jvm.absent() == ["javac", "java"]
    assert "aapt" in toolchain.absent()
    assert isinstance(app.missing(), str)
