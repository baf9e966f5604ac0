"""The options of ``python -m convert``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from edgeward import __version__
from edgeward.convert.options import DEFAULT_TIMEOUT, Options
from edgeward.convert.variants import OFFERED
from edgeward.runtime.errors import UsageError

__all__ = ["make_parser", "parse_expect", "parse_shapes", "to_options"]

_EXAMPLES = """\
examples:
  python -m convert --int8                       # the latest run below ./runs
  python -m convert runs/mnist_cnn/001 --int8 --max-drop 0.002
  python -m convert --int8 --format tflite --json
  python -m convert --all --keep-passing          # every variant that the model can have
  python -m convert --int8 --target tflite-micro  # must load there
  python -m convert --int8 --qat                 # fine-tune where calibration is not enough
  python -m convert --int8 --fallback            # leave int8 where nothing else helps
  python -m convert --int8 --markdown >> "$GITHUB_STEP_SUMMARY"
  python -m convert model.keras --int8 --calibration c.npz --test t.npz --labels l.txt

The float32 artifact of each format comes along always: it is what the others are compared with.
Each artifact answers the whole test split in every installed runtime, pair by pair with the float
model; it is refused unless the 95 % upper bound of its drop is within the budget.

exit codes: 0 done, 1 unexpected, 2 usage or a missing extra, 3 an artifact was refused or
inconclusive, 4 the format cannot hold the model or the converter crashed, 5 invalid or damaged
input, 130 Ctrl-C.
With any code but 0 the previous bundle stays as it was, except under --keep-passing.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m convert",
        description="Turn a trained run into quantised TFLite and ONNX artifacts, measure each "
        "against the float model, and write a bundle.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgeward {__version__}")
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE",
        help="run folder (default: the latest below ./runs), or a model of your own: .keras, .h5 "
        "or a SavedModel folder",
    )  # fmt: skip
    parser.add_argument("--int8", action="store_true", help="int8 weights and activations")
    parser.add_argument("--fp16", action="store_true", help="float16 weights, for GPUs")
    parser.add_argument(
        "--dynamic", action="store_true", help="int8 weights, activations quantised as they come"
    )
    parser.add_argument(
        "--int16x8", action="store_true", help="int8 weights, int16 activations (TFLite only)"
    )
    parser.add_argument("--fp32", action="store_true", help="float32 only")
    parser.add_argument(
        "--all", action="store_true", dest="everything",
        help="every variant; what the model or the target cannot have is listed with the reason",
    )  # fmt: skip
    parser.add_argument(
        "--format", default="tflite,onnx", metavar="LIST", help="tflite, onnx (default: both)"
    )
    parser.add_argument("--out", default="bundles", metavar="DIR", help="default: bundles")
    parser.add_argument(
        "--max-drop", type=float, metavar="X",
        help="largest drop allowed, a fraction (default: the recipe's budget)",
    )  # fmt: skip
    parser.add_argument(
        "--target", action="append", metavar="NAME==VERSION",
        help="runtime that must accept the artifacts (default: the oldest supported ones), and "
        "the only one whose answers count where it is installed; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", type=Path, metavar="F",
        help=".npz of raw training samples to calibrate with (default: the run's)",
    )  # fmt: skip
    own = parser.add_argument_group("a model of your own (docs/your-own-model.md)")
    for option, text in (
        ("--test", ".npz of raw samples and targets; without it the artifacts are unverified"),
        ("--validation", "the same of the validation split"),
        ("--labels", "class names, one per line"),
        ("--preprocessing", "specs of inputs and outputs as JSON"),
    ):
        own.add_argument(option, type=Path, metavar="F", help=text)
    own.add_argument(
        "--shape", action="append", default=[], metavar="NAME=DIMS",
        help="dimensions that an input leaves open, without the batch: tokens=200; may be repeated",
    )  # fmt: skip
    own.add_argument(
        "--expect", action="append", default=[], metavar="METRIC=VALUE",
        help="what the float model is known to reach on the test samples; may be repeated",
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
        "--no-reuse", action="store_false", dest="reuse",
        help="convert everything anew, also what has not changed since the last conversion",
    )  # fmt: skip
    mend = parser.add_argument_group("what misses its budget (docs/repair.md)")
    mend.add_argument(
        "--no-repair", action="store_false", dest="repair",
        help="refuse it at once, try nothing",
    )  # fmt: skip
    mend.add_argument(
        "--qat", action="store_true",
        help="fine-tune the weights for int8 where another calibration does not help",
    )  # fmt: skip
    mend.add_argument(
        "--distil", type=Path, metavar="F",
        help=".npz of raw samples, no targets needed, to fine-tune on (default: the calibration "
        "samples)",
    )  # fmt: skip
    mend.add_argument(
        "--fallback", action="store_true",
        help="leave int8 where nothing else helps: the worst layers in float, int16x8, dynamic or "
        "float16, under a name of its own",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, metavar="S", default=DEFAULT_TIMEOUT,
        help="seconds each step may take: loading a model of your own, converting, measuring each "
        "artifact, comparing its layers, each row of --parity, the emulated devices (default 1800)",
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=float, metavar="GB",
        help="memory the converter may take, and each measurement (default: nine tenths of what "
        "the machine has, or the container where that is less; 0: no limit)",
    )  # fmt: skip
    parser.add_argument(
        "--parity", action="store_true", dest="with_parity",
        help="compare the artifacts on every runtime and kernel set here, and on emulated devices",
    )  # fmt: skip
    parser.add_argument(
        "--android", type=Path, metavar="DIR",
        help="write the bundle's TFLite files into the assets folder of the app too "
        "(android_demo/README.md)",
    )  # fmt: skip
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument(
        "--markdown", action="store_true",
        help="print a report for a pull request on stdout (docs/ci.md)",
    )  # fmt: skip
    printed.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return parser


def to_options(given: argparse.Namespace, progress: Callable[[str], None]) -> Options:
    """Return what ``make_parser`` parsed as the options of a conversion.

    Args:
        given: The arguments. Those that are named like a field are its value.
        progress: Called with one line per step.

    Raises:
        UsageError: A value that makes no sense.
    """
    named = {f.name: getattr(given, f.name) for f in fields(Options) if hasattr(given, f.name)}
    converted = {
        "variants": [name for name in OFFERED if getattr(given, name)],
        "formats": [name.strip() for name in given.format.split(",")],
        "shapes": parse_shapes(given.shape),
        "expect": parse_expect(given.expect),
        "memory": None if given.memory is None else int(given.memory * 2**30),
    }
    return Options(**{**named, **converted, "progress": progress})


def parse_shapes(items: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Parse ``--shape NAME=DIMS``, dimensions after the batch with ``x`` between them.

    Raises:
        UsageError: Something else, or a name twice.

    >>> parse_shapes(["tokens=200", "image=28x28x1"])
    {'tokens': (200,), 'image': (28, 28, 1)}
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for item in items:
        name, equals, dims = item.partition("=")
        parts = dims.split("x")
        valid = all(part.isascii() and part.isdecimal() and 0 < int(part) < 2**31 for part in parts)
        if not (name and equals and valid) or name in shapes:
            raise UsageError(
                "A shape is wrong.",
                received=f"--shape {item}",
                expected="NAME=DIMS once for an input, without the batch: tokens=200 or "
                "image=28x28x1",
            )
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def parse_expect(items: Sequence[str]) -> dict[str, float]:
    """Parse ``--expect METRIC=VALUE`` or, with several outputs, ``NAME.METRIC=VALUE``.

    Raises:
        UsageError: Something else, or a metric twice.

    >>> parse_expect(["kind.accuracy=0.981", "size.rmse=2.5"])
    {'kind.accuracy': 0.981, 'size.rmse': 2.5}
    """
    expected: dict[str, float] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value) or name in expected:
            raise UsageError(
                "An expected metric is wrong.",
                received=f"--expect {item}",
                expected="METRIC=VALUE once for a metric: accuracy=0.981, or NAME.accuracy=0.981",
            )
        expected[name] = value
    return expected
