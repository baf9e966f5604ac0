"""Every device proof there is for every bundle, as a table: what ``make devices`` runs.

    python -m scripts.devices.table [BUNDLE...] [--runs DIR | --data F] [--devices GROUP,...]

Without BUNDLE: all folders in ``bundles/``, else what ``make demo`` left in ``demo-output/``. The
samples are the first of the test split of the run that the bundle came from; a slow device
stops after 10 seconds for each artifact. The table goes into docs/devices.md with ``--write``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from runtime.bundle import Bundle
from runtime.console import guarded, print_json, say
from runtime.errors import EdgewardError, InvalidDataError, UsageError
from runtime.samples import Samples, load_samples, save_samples
from scripts.devices import arm, host, tflm
from scripts.devices.packages import own_package
from scripts.devices.page import PAGE, as_text, write_page
from scripts.devices.proof import Device, Row, Subject, judge
from scripts.devices.roots import ROOTS, ready

__all__ = ["DEVICES", "main", "prove"]

ROOT = Path(__file__).resolve().parents[2]
PLACES = (("bundles", "runs"), ("demo-output/bundles", "demo-output/runs"))

# A new device: a file like tflm.py with ``devices()``, and its name here.
DEVICES = (host, arm, tflm)


def prove(subject: Subject, devices: Sequence[Device]) -> Iterator[Row]:
    """Run one bundle on devices, in parallel, and give one row for each artifact and device.

    Args:
        subject: The bundle and its samples.
        devices: Those to run; the baselines they name must be among them.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(
            zip(
                (device.name for device in devices),
                pool.map(lambda device: device.measure(subject), devices),
                strict=True,
            )
        )
    for device in devices:
        baselines = {m.artifact: m for m in found.get(device.baseline or "", [])}
        for measured in found[device.name]:
            yield judge(device, subject, measured, baselines.get(measured.artifact))


def subject_of(path: Path, data: Path | None, runs: Path, count: int, folder: Path) -> Subject:
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
    save_samples(folder / "samples.npz", Samples(taken.inputs))
    return Subject(bundle, Samples(taken.inputs), folder / "samples.npz", folder)


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


def _chosen(groups: str | None) -> list[Device]:
    every = [device for module in DEVICES for device in module.devices()]
    known = dict.fromkeys(device.group for device in every)
    wanted = groups.split(",") if groups else list(known)
    if not set(wanted) <= set(known):
        raise UsageError("Unknown devices.", received=groups, expected=",".join(known))
    # Everything is compared with this machine's own runtimes.
    return [device for device in every if device.group in {"host", *wanted}]


def main() -> int:
    """Parse the command line, run everything, print; 1 where a proof failed."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.devices.table", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where the runs are (./runs)")
    parser.add_argument("--data", type=Path, metavar="F", help=".npz of raw samples instead")
    parser.add_argument("--samples", type=int, default=500, metavar="N", help="real samples (500)")
    parser.add_argument("--devices", metavar="GROUP,...", help="host, aarch64, armv7, tflm (all)")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    parser.add_argument("--json", action="store_true", help="print one JSON array of rows")
    options = parser.parse_args()
    if options.samples < 1:
        raise UsageError("--samples is too small.", received=options.samples, expected="1 or more")
    bundles, runs = _places(options)
    devices = _chosen(options.devices)
    own_package()
    for name in {device.group for device in devices} & set(ROOTS):
        say(f"emulated {name}: {ready(name)[1]}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="devices-") as folder:
        for number, path in enumerate(bundles):
            place = Path(folder) / str(number)
            subject = subject_of(path, options.data, runs, options.samples, place)
            for row in prove(subject, devices):
                rows.append(row)
                if not options.json:
                    print(as_text(row), flush=True)
    if options.write:
        write_page(rows, options.samples)
    judged = [row for row in rows if row.passed is not None]
    passed = sum(bool(row.passed) for row in judged)
    if options.json:
        print_json([{**asdict(row), "artifact": row.artifact.id} for row in rows])
    else:
        print(f"{passed} of {len(judged)} device proofs passed")
    return 0 if judged and passed == len(judged) else EdgewardError.exit_code


if __name__ == "__main__":
    sys.exit(guarded("devices", main))
