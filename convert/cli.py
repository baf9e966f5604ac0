"""``python -m convert``: a run in, a bundle of measured artifacts out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime import __version__
from runtime.console import guarded, print_json, say
from runtime.errors import MissingExtraError, RefusedError, UsageError

if TYPE_CHECKING:
    from convert.report import ConversionReport

__all__ = ["main"]

_EXAMPLES = """\
examples:
  python -m convert --int8                       # the latest run below ./runs
  python -m convert runs/mnist_cnn/001 --int8 --max-drop 0.002
  python -m convert --int8 --format tflite --json

The float32 artifact of each format comes along always: it is what the others are compared with.
Each artifact answers the whole test split in every installed runtime, pair by pair with the float
model; it is refused unless the 95 % upper bound of its drop is within the budget.

exit codes: 0 done, 1 unexpected, 2 usage or a missing extra, 3 an artifact was refused or
inconclusive, 4 the format cannot hold the model or the converter crashed, 5 invalid or damaged
input, 130 Ctrl-C.
With any code but 0 the previous bundle stays as it was, except under --keep-passing.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the conversion and return the exit code."""
    options = _parser().parse_args(argv)
    return guarded("convert", lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m convert",
        description="Turn a trained run into quantised TFLite and ONNX artifacts, measure each "
        "against the float model, and write a bundle.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgeward {__version__}")
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", help="run folder (default: the latest below ./runs)"
    )
    parser.add_argument("--int8", action="store_true", help="int8 weights and activations")
    parser.add_argument("--fp32", action="store_true", help="float32 only")
    parser.add_argument(
        "--format", default="tflite,onnx", metavar="LIST", help="tflite, onnx (default: both)"
    )
    parser.add_argument("--out", default="bundles", metavar="DIR", help="default: bundles")
    parser.add_argument(
        "--max-drop", type=float, metavar="X",
        help="largest drop allowed, a fraction (default: the recipe's budget)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", type=Path, metavar="F",
        help=".npz of raw training samples to calibrate with (default: the run's)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-inconclusive", action="store_true",
        help="bundle artifacts that too few test samples could judge, marked as such",
    )  # fmt: skip
    parser.add_argument(
        "--keep-passing", action="store_true",
        help="bundle the artifacts that pass although others were refused (still exits 3)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, metavar="S",
        help="seconds the converter may take (default 1800)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return parser


def _run(options: argparse.Namespace) -> int:
    variants = [name for name in ("fp32", "int8") if getattr(options, name)]
    if not variants:
        raise UsageError(
            "Which variant?", received="none", expected="--int8 or --fp32", fix="add --int8"
        )
    try:
        from convert.pipeline import DEFAULT_TIMEOUT, convert
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name}, which converting needs,", "convert") from None
    with _Progress() as progress:
        try:
            report = convert(
                options.source,
                variants=variants,
                formats=[name.strip() for name in options.format.split(",")],
                out=options.out,
                max_drop=options.max_drop,
                calibration=options.calibration,
                allow_inconclusive=options.allow_inconclusive,
                keep_passing=options.keep_passing,
                timeout=DEFAULT_TIMEOUT if options.timeout is None else options.timeout,
                progress=progress,
            )
        except RefusedError as error:
            if options.json and error.report is not None:
                print_json(error.report.to_json())
            elif error.report is not None:
                _print_table(error.report)
            raise
    if options.json:
        # A path, for the next command; the report inside the bundle holds its name only.
        print_json({**report.to_json(), "bundle": str(report.bundle)})
    else:
        _print_table(report)
        print(f"bundle: {report.bundle}   report: {report.bundle}/report.html")
    return 0


class _Progress:
    """A spinner with the current step on a terminal, plain lines elsewhere; all on stderr."""

    def __init__(self) -> None:
        self._status = None
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("starting")

    def __enter__(self) -> _Progress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
        else:
            say(text)


def _print_table(report: ConversionReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from convert.units import show

    table = Table(title=f"{report.name}, from run {report.run}")
    table.add_column("artifact", no_wrap=True)
    table.add_column("runtime", no_wrap=True)
    for column in ("bytes", "float", "artifact", "drop", "within", "verdict"):
        table.add_column(column, justify="right", no_wrap=True)
    colours = {"pass": "green", "inconclusive": "yellow", "refused": "red"}
    for artifact in report.artifacts:
        for runtime, drifts in artifact.drifts.items():
            for drift in drifts:
                seen = show(drift)
                table.add_row(
                    artifact.id,
                    runtime,
                    f"{artifact.size:,}",
                    *(seen.reference, seen.value, seen.drop, seen.within),
                    f"[{colours[drift.verdict]}]{drift.verdict}[/]",
                )
        for runtime in artifact.unusable:
            table.add_row(artifact.id, runtime, f"{artifact.size:,}", "-", "-", "-", "-", "no")
    # A pipe has no width of its own; 80 columns would cut the numbers.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    for note in report.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    sys.exit(main())
