"""The Android app: its logic on this machine's JVM against Python, and its package.

No phone and no Android run here. What an interpreter of this machine answered is recorded and
given to the app's own Java, which must hand over the same tensors and read the same answers.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeward.convert.bundle.android import export_assets
from edgeward.runtime.artifact import Artifact
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import EdgewardError, MissingExtraError
from edgeward.runtime.files import sha256_file
from scripts.android import build_apk, jvm, toolchain
from scripts.android.compare import Difference, compare
from scripts.android.damage import HARMS, Harm, noticed
from scripts.android.recording import Played, Sample, answering, opening, play, same_checks
from scripts.android.verify_apk import changed_files, unpack, verify
from scripts.devices import android
from scripts.devices.cache import built
from scripts.devices.subject import Row, Subject

__all__ = [
    "EXP_ULPS",
    "LOGIC",
    "PACKAGE",
    "compiled",
    "damage",
    "missing",
    "package_damage",
    "rows",
]

LOGIC = "JVM, app logic"
PACKAGE = "Android package"
INSTALL = "bash scripts/android/setup.sh"

# FORMAT.md, section 4: exp may differ in the last bits from one language to another. 5 units of
# the last place were seen, in softmax.
EXP_ULPS = 8
EXP = {"sigmoid", "softmax"}


def missing() -> str:
    """Return a line that says what is not proven here and how to get it; empty where all is."""
    gone = [*jvm.absent(), *toolchain.absent()]
    if not gone:
        return ""
    lost = [LOGIC] if jvm.absent() else []
    have = [device.name for device in android.devices()]
    lost += [
        PACKAGE,
        *(name for name in (android.HERE, *android.THERE.values()) if name not in have),
    ]
    return f"NOT PROVEN: {'; '.join(lost)} (no {', '.join(gone)}: {INSTALL})"


def rows(subject: Subject, app: jvm.Java | None = None) -> list[Row]:
    """Prove the app's logic on each TFLite artifact, and the package with the bundle in it.

    Args:
        subject: The bundle and its samples.
        app: The compiled logic; None compiles the app's own.

    Returns:
        One row for each TFLite artifact and one for the package; none of what cannot be proven
        here, which ``missing`` names.
    """
    artifacts = [a for a in subject.bundle.manifest.artifacts if a.format == "tflite"]
    found: list[Row] = []
    if artifacts and not jvm.absent():
        found += [_logic(subject, artifact, app or compiled()) for artifact in artifacts]
        if not toolchain.absent():
            found.append(_package(subject))
    return found


def damage(
    subject: Subject, folder: Path, app: jvm.Java | None = None, harms: Sequence[Harm] = HARMS
) -> list[tuple[str, bool]]:
    """Damage copies of the bundle and see whether the app notices.

    Args:
        subject: The bundle.
        folder: Where the copies go; must not exist or be empty.
        app: The compiled logic; None compiles the app's own.
        harms: What to do to it.

    Returns:
        What was damaged, and whether the app noticed it; empty where there is no Java.
    """
    if jvm.absent():
        return []
    logic = app or compiled()
    return [
        (harm.name, noticed(logic, harm, subject.bundle, folder / str(number)))
        for number, harm in enumerate(harms)
    ]


def package_damage(subject: Subject) -> list[tuple[str, bool]]:
    """Flip a bit of the model inside a package and see whether its verification notices.

    Returns:
        As ``damage``; empty where the tools are not here.
    """
    if jvm.absent() or toolchain.absent():
        return []
    with tempfile.TemporaryDirectory(prefix="apk-", dir=subject.folder) as name:
        apk = Path(name) / "edgeward.apk"
        build_apk.build([subject.bundle.path], apk, _classes())
        verify(apk)
        data = bytearray(apk.read_bytes())
        artifact = next(a for a in subject.bundle.manifest.artifacts if a.format == "tflite")
        content = subject.bundle.artifact_bytes(artifact)
        data[data.index(content) + len(content) // 2] ^= 1
        apk.write_bytes(data)
        try:
            verify(apk)
        except EdgewardError:
            return [("flipped bit in the package", True)]
    return [("flipped bit in the package", False)]


@functools.cache
def compiled() -> jvm.Java:
    """Return the app's logic, compiled where it is not in the cache."""
    recipe = [sha256_file(source) for source in (Path(jvm.__file__), *jvm.SOURCES)]
    return jvm.Java([built("app-logic", recipe, _compile) / "classes"])


def _compile(folder: Path) -> None:
    jvm.compile_logic(folder)


def _samples(subject: Subject) -> Iterator[Sample]:
    for i in range(len(subject.samples)):
        yield {name: column[i] for name, column in subject.samples.inputs.items()}


# ---- the logic


def _logic(subject: Subject, artifact: Artifact, app: jvm.Java) -> Row:
    with tempfile.TemporaryDirectory(prefix="app-", dir=subject.folder) as name:
        try:
            return _judged(subject, artifact, *_asked(subject, artifact, app, Path(name)))
        except MissingExtraError as error:
            return Row(LOGIC, subject.name, artifact, "", "not held", None, str(error))
        except EdgewardError as error:
            return _failed(subject, LOGIC, artifact, error)


def _asked(
    subject: Subject, artifact: Artifact, app: jvm.Java, folder: Path
) -> tuple[Played, dict[str, Any], list[dict[str, Any]]]:
    """Return what Python says, the app's verdict, and its answers to the same samples."""
    # With one artifact in it, that is the one which the app answers with.
    bundle = Bundle.open(export_assets(subject.bundle, folder, [artifact.id]))
    record = folder / "record.json"
    played = play(bundle, record, samples=_samples(subject), seconds=subject.seconds, own_name=True)
    given = zip(_samples(subject), played.answers, strict=False)
    cases = [opening(bundle, record), *(answering(sample) for sample, _ in given)]
    opened, *answers = app.answers(cases)
    if "error" in opened:
        raise EdgewardError("The app refuses the bundle.", received=opened["message"])
    return played, opened, answers


def _judged(
    subject: Subject,
    artifact: Artifact,
    played: Played,
    opened: Mapping[str, Any],
    answers: list[dict[str, Any]],
) -> Row:
    verdict = opened[artifact.id]["verdict"]
    difference = compare(answers, played.answers)
    problems = [] if same_checks(opened, played.checks) else [_verdicts(opened, artifact, played)]
    problems += ["the self-test says wrong"] if verdict == "wrong" else []
    problems += _problems(subject, difference)
    exact = difference.none
    return Row(
        device=LOGIC,
        bundle=subject.name,
        artifact=artifact,
        runtime=played.checks[artifact.id].runtime,
        verdict="wrong" if problems else "exact" if exact else "within tolerance",
        passed=not problems,
        reason="; ".join(problems),
        compared_with="Python",
        golden=verdict,
        differing=difference.differing,
        values=difference.values,
        samples=len(answers),
        lsb=0 if exact else 1,
        flips=difference.flips,
        seconds=_seconds(answers),
    )


def _verdicts(opened: Mapping[str, Any], artifact: Artifact, played: Played) -> str:
    ours, theirs = opened[artifact.id], played.checks[artifact.id]
    return (
        f"self-test: {ours['verdict']}, {ours['lsb']} LSB, {ours['flips']} flips; "
        f"in Python {theirs.verdict}, {theirs.lsb} LSB, {theirs.flips} flips"
    )


def _problems(subject: Subject, difference: Difference) -> list[str]:
    problems = []
    if difference.tensors:
        problems.append(f"{difference.tensors} samples become other tensors")
    if difference.flips:
        problems.append(f"{difference.flips} decisions differ")
    outputs = subject.bundle.manifest.outputs.values()
    steps = {step.name for output in outputs for step in output.postprocessing}
    allowed = EXP_ULPS if steps & EXP else 0
    if difference.differing and (difference.ulps > allowed or difference.problems):
        counts = f"{difference.differing} of {difference.values}"
        problems.append(f"{counts} values differ, by up to {difference.ulps} ulps")
    first = difference.problems[:1]
    return problems + [f"{len(difference.problems)} samples fail, {text}" for text in first]


def _seconds(answers: list[dict[str, Any]]) -> float:
    """Return what the app's own arithmetic takes for a sample.

    The median: the first ones are interpreted byte code, a hundred times as slow.
    """
    nanos = [answer["nanos"] for answer in answers if "nanos" in answer]
    return statistics.median(nanos) / 1e9 if nanos else 0.0


def _failed(subject: Subject, device: str, artifact: Artifact, error: Exception) -> Row:
    return Row(device, subject.name, artifact, "", "wrong", False, str(error))


# ---- the package


def _package(subject: Subject) -> Row:
    with tempfile.TemporaryDirectory(prefix="apk-", dir=subject.folder) as name:
        folder = Path(name)
        apk = folder / "edgeward.apk"
        try:
            build_apk.build([subject.bundle.path], apk, _classes())
            return _verified(subject, apk, folder)
        except EdgewardError as error:
            manifest = subject.bundle.manifest
            every = (manifest.artifact(manifest.default), *manifest.artifacts)
            first = next(a for a in every if a.format == "tflite")
            return _failed(subject, PACKAGE, first, error)


def _classes() -> Path:
    return built("app-classes", build_apk.classes_recipe(), _compile_app) / "classes.dex"


def _compile_app(folder: Path) -> None:
    build_apk.compile_classes(folder)


def _verified(subject: Subject, apk: Path, folder: Path) -> Row:
    verify(apk)
    (folder / "inside").mkdir()
    (inside,) = unpack(apk, folder / "inside")
    inside.verify()
    changed, files = changed_files(inside, subject.bundle)
    return Row(
        device=PACKAGE,
        bundle=subject.name,
        artifact=subject.bundle.manifest.artifact(inside.manifest.default),
        runtime=f"tensorflow-lite {toolchain.TFLITE}",
        verdict="wrong" if changed else "exact",
        passed=not changed,
        reason=f"other than in the bundle: {', '.join(changed)}" if changed else "",
        compared_with="files of the bundle",
        differing=len(changed),
        values=files,
    )
