"""Every device proof there is for every bundle, as a table: what ``make devices`` runs.

    python -m scripts.devices.table [BUNDLE...] [--runs DIR | --data F] [--devices GROUP,...]

Without BUNDLE: all folders in ``bundles/``, else what ``make demo`` left in ``demo-output/``. The
samples are the first of the test split of the run that the bundle came from. Then copies of the
bundle are damaged, and each device has to notice. The table goes into docs/devices.md with
``--write``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from runtime.bundle import Bundle
from runtime.console import guarded, print_json, say
from runtime.errors import EdgewardError, InvalidDataError, UsageError
from runtime.samples import load_samples, save_samples
from scripts.devices import android, app, arm, host, tflm
from scripts.devices.damage import Noticed, damaged, noticed
from scripts.devices.judge import judge
from scripts.devices.packages import own_package
from scripts.devices.page import PAGE, as_text, damage_as_text, write_page
from scripts.devices.proof import Device, Row, Subject
from scripts.devices.roots import ROOTS, ready

__all__ = ["DEVICES", "main", "prove", "prove_damage"]

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PLACES = (("bundles", "runs"), ("demo-output/bundles", "demo-output/runs"))

# A new device: a file like tflm.py with ``devices()``, and its name here.
DEVICES = (host, arm, android, tflm)
ANDROID = "android"


def prove(subject: Subject, devices: Sequence[Device]) -> Iterator[Row]:
    """Run one bundle on devices, in parallel, and give one row for each artifact and device.

    Args:
        subject: The bundle and its samples.
        devices: Those to run; the baselines they name must be among them.
    """
    found = _on_each(subject.name, devices, lambda device: device.measure(subject))
    for device in devices:
        baselines = {m.artifact: m for m in found.get(device.baseline or "", [])}
        for measured in found[device.name]:
            yield judge(device, subject, measured, baselines.get(measured.artifact))


def prove_damage(
    subject: Subject, devices: Sequence[Device], rows: Sequence[Row], folder: Path
) -> list[Noticed]:
    """Run damaged copies of a bundle on devices, in parallel.

    Args:
        subject: The intact bundle.
        devices: Those to run.
        rows: What they gave for the intact bundle.
        folder: An empty folder for the copies.
    """
    copies = damaged(subject, folder)

    def notice(device: Device) -> list[Noticed]:
        intact = {r.artifact.id for r in rows if r.passed and r.device == device.name}
        return noticed(device, copies, intact) if intact else []

    found = _on_each(f"{subject.name}, damaged", devices, notice)
    return [row for device in devices for row in found[device.name]]


def prove_app_damage(subject: Subject, folder: Path) -> list[Noticed]:
    """Damage what the Android app is given: its artifact, its golden vectors, its answers."""
    manifest = subject.bundle.manifest
    chosen = manifest.artifact(None)
    if chosen.format != "tflite":
        chosen = next(a for a in manifest.artifacts if a.format == "tflite")
    head = (app.LOGIC, subject.name, chosen.id)
    return [
        Noticed(*head, damage, found, "" if found else "not noticed")
        for damage, found in app.damage(subject, folder)
    ]


def _on_each(what: str, devices: Sequence[Device], run: Callable[[Device], T]) -> dict[str, T]:
    """Run something on every device; says which one has finished, because some take minutes."""
    done: dict[str, T] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {pool.submit(run, device): device.name for device in devices}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            say(f"{what}: {len(done)} of {len(devices)} devices, {futures[future]}")
    return done


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


def _chosen(groups: str | None) -> tuple[list[Device], bool]:
    """Return the devices, and whether the Android app is one of them."""
    every = [device for module in DEVICES for device in module.devices()]
    known = dict.fromkeys([*(device.group for device in every), ANDROID])
    wanted = groups.split(",") if groups else list(known)
    if not set(wanted) <= set(known):
        raise UsageError("Unknown devices.", received=groups, expected=",".join(known))
    # Everything is compared with this machine's own runtimes.
    chosen = [device for device in every if device.group in {"host", *wanted}]
    return chosen, ANDROID in wanted


def main() -> int:
    """Parse the command line, run everything, print; 1 where a proof failed."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.devices.table", description=__doc__.split("\n\n")[0]
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
    parser.add_argument("--json", action="store_true", help="print one JSON array of rows")
    options = parser.parse_args()
    if options.samples < 1:
        raise UsageError("--samples is too small.", received=options.samples, expected="1 or more")
    bundles, runs = _places(options)
    devices, with_app = _chosen(options.devices)
    own_package()
    if with_app and app.missing():
        say(app.missing())
    for name in {device.group for device in devices} & set(ROOTS):
        say(f"emulated {name}: {ready(name)[1]}")
    rows: list[Row] = []
    damage: list[Noticed] = []
    with tempfile.TemporaryDirectory(prefix="devices-") as folder:
        for number, path in enumerate(bundles):
            place = Path(folder) / str(number)
            subject = subject_of(path, options.data, runs, options.samples, place, options.seconds)
            here = list(prove(subject, devices))
            here += app.rows(subject) if with_app else []
            spoilt = []
            if not options.no_damage:
                spoilt = prove_damage(subject, devices, here, place / "damaged")
                spoilt += prove_app_damage(subject, place / "app") if with_app else []
            rows += here
            damage += spoilt
            if not options.json:
                print("\n".join([*map(as_text, here), *damage_as_text(spoilt)]), flush=True)
    if options.write:
        write_page(rows, damage, options.samples)
    judged = [bool(row.passed) for row in rows if row.passed is not None]
    judged += [row.passed for row in damage]
    if options.json:
        print_json([{**asdict(row), "artifact": row.artifact.id} for row in rows])
    else:
        print(f"{sum(judged)} of {len(judged)} device proofs passed, {len(damage)} of them damage")
    return 0 if judged and all(judged) else EdgewardError.exit_code


if __name__ == "__main__":
    sys.exit(guarded("devices", main))
