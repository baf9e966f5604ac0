"""Every device proof there is for every bundle, as a table: what ``make devices`` runs.

    python -m scripts.devices.run [BUNDLE...] [--runs DIR | --data F] [--devices GROUP,...]

Without BUNDLE: all folders in ``bundles/``, else what ``make demo`` left in ``demo-output/``. The
samples are the first of the test split of the run that the bundle came from. Then copies of the
bundle are damaged, and each device has to notice. The table goes into docs/devices.md with
``--write``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from edgeward.runtime.bundle import Bundle
from edgeward.runtime.console import guarded, print_json, say
from edgeward.runtime.errors import EdgewardError, InvalidDataError, UsageError
from edgeward.runtime.samples import load_samples, save_samples
from scripts.devices import android, app, arm, host, tflm
from scripts.devices.damage import Noticed
from scripts.devices.packages import own_package
from scripts.devices.page import PAGE, as_text, damage_as_text, write_page
from scripts.devices.prove import prove, prove_app_damage, prove_damage
from scripts.devices.roots import ROOTS, ready
from scripts.devices.subject import Device, Row, Subject

__all__ = ["DEVICES", "main"]

ROOT = Path(__file__).resolve().parents[2]
PLACES = (("bundles", "runs"), ("demo-output/bundles", "demo-output/runs"))

# A new device: a file like tflm.py with ``devices()``, and its name here.
DEVICES = (host, arm, android, tflm)
ANDROID = "android"


def subject_of(
    path: Path, data: Path | None, runs: Path, count: int, folder: Path, seconds: float
) -> Subject:
    """Open a bundle with the first samples of ``data``, else with test samples of its run.

    Raises:
        InvalidDataError: There are no such samples.
    """
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    test = data or runs / manifest.source.run / "test.npz"
    if not test.is_file():
        raise InvalidDataError(
            f"There are no real samples for {path}.",
            received=f"no {test}",
            expected=f"the run {manifest.source.run} that the bundle was made from",
            fix="name the folder of the runs with --runs, or samples with --data",
        )
    samples = load_samples(test).named(list(manifest.inputs), list(manifest.outputs))
    taken = samples.take(range(min(count, len(samples))))
    folder.mkdir()
    save_samples(folder / "samples.npz", taken)
    return Subject(bundle, taken, folder / "samples.npz", folder, seconds, commands=True)


def _places(options: argparse.Namespace) -> tuple[list[Path], Path]:
    for bundles, runs in PLACES:
        found = sorted(p.parent for p in (ROOT / bundles).glob("*/manifest.json"))
        if options.bundles or found:
            return options.bundles or found, options.runs or ROOT / runs
    raise UsageError(
        "There is no bundle to prove.",
        received="no folder in bundles/ or demo-output/bundles/",
        fix="make demo, or python -m train mnist_cnn && python -m convert --int8",
    )


def _chosen(groups: str | None) -> tuple[list[Device], str]:
    """Return the devices, and what cannot be proven on this machine; empty where all can be.

    Raises:
        UsageError: There is no such group, or this machine lacks what one named needs.
    """
    every = [device for module in DEVICES for device in module.devices()]
    known = dict.fromkeys([*(device.group for device in every), ANDROID])
    wanted = groups.split(",") if groups else list(known)
    if not set(wanted) <= set(known):
        raise UsageError("Unknown devices.", received=groups, expected=",".join(known))
    missing = app.missing() if ANDROID in wanted else ""
    if missing and groups:
        raise UsageError("These devices are not here.", received=missing, fix=app.INSTALL)
    # Everything is compared with this machine's own runtimes.
    return [device for device in every if device.group in {"host", *wanted}], missing


def _subjects(options: argparse.Namespace, folder: Path) -> list[Subject]:
    """Open all bundles before anything runs, so that an error costs no minutes."""
    bundles, runs = _places(options)
    found = [
        subject_of(
            *(path, options.data, runs, options.samples), folder / str(number), options.seconds
        )
        for number, path in enumerate(bundles)
    ]
    names = [subject.name for subject in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            "Two bundles have the same name, and the table would mix them.",
            received=twice,
            fix="prove them one after the other",
        )
    return found


def main() -> int:
    """Parse the command line, run everything, print; 1 where a proof failed."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.devices.run", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where the runs are (./runs)")
    parser.add_argument("--data", type=Path, metavar="F", help=".npz of raw samples instead")
    parser.add_argument("--samples", type=int, default=500, metavar="N", help="real samples (500)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=600.0,
        metavar="S",
        help="for the samples of one artifact on one device; then it stops (600)",
    )
    parser.add_argument("--no-damage", action="store_true", help="leave out the damaged copies")
    parser.add_argument(
        "--devices", metavar="GROUP,...", help="host, aarch64, armv7, android, tflm (all)"
    )
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.samples < 1:
        raise UsageError("--samples is too small.", received=options.samples, expected="1 or more")
    devices, missing = _chosen(options.devices)
    with_app = ANDROID in (options.devices or ANDROID).split(",")
    rows: list[Row] = []
    damage: list[Noticed] = []
    with tempfile.TemporaryDirectory(prefix="devices-") as name:
        subjects = _subjects(options, Path(name))
        own_package()
        for root in {device.group for device in devices} & set(ROOTS):
            say(f"emulated {root}: {ready(root)[1]}")
        for subject in subjects:
            here = prove(subject, devices) + (app.rows(subject) if with_app else [])
            _print(options, map(as_text, here))
            rows += here
            if options.no_damage:
                continue
            spoilt = prove_damage(subject, devices, here, subject.folder / "damaged")
            spoilt += prove_app_damage(subject, subject.folder / "app") if with_app else []
            _print(options, damage_as_text(spoilt))
            damage += spoilt
    if options.write:
        write_page(rows, damage, options.samples, missing)
    judged = [bool(row.passed) for row in rows if row.passed is not None]
    judged += [row.passed for row in damage]
    if options.json:
        tree = {
            "rows": [{**asdict(row), "artifact": row.artifact.id} for row in rows],
            "damage": [asdict(row) for row in damage],
            "not_proven": missing,
        }
        print_json(tree)
    else:
        counts = (
            f"{sum(judged)} of {len(judged)} device proofs passed, {len(damage)} of them damage"
        )
        print("; ".join(filter(None, (counts, missing))))
    return 0 if judged and all(judged) else EdgewardError.exit_code


def _print(options: argparse.Namespace, lines: Iterable[str]) -> None:
    if not options.json:
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(guarded("devices", main))
