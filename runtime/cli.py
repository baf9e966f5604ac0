"""``python -m runtime``: look at, check and run a bundle. Plain lines, no TensorFlow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from edgeward import __version__
from edgeward.runtime import verbs
from edgeward.runtime.console import guarded

__all__ = ["main"]

_EXAMPLES = """\
examples:
  python -m runtime info bundles/mnist_cnn
  python -m runtime predict bundles/mnist_cnn digit.png --invert   # black on white
  python -m runtime evaluate bundles/mnist_cnn --data runs/mnist_cnn/001/test.npz
  python -m runtime selftest bundles/mnist_cnn   # does this machine compute what was measured?
  python -m runtime verify bundles/mnist_cnn     # is every byte what was bundled?

exit codes: 0 done, 2 usage or a missing extra, 3 self-test wrong, 4 the runtime cannot hold the
model, 5 invalid or damaged input, 130 Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run it and return the exit code."""
    options = _parser().parse_args(argv)
    return guarded("runtime", lambda: int(options.run(options)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runtime",
        description="Run a bundle on this machine with numpy and one interpreter.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgeward {__version__}")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("bundle", metavar="BUNDLE", help="folder written by python -m convert")
        added.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        return added

    def choice(added: argparse.ArgumentParser) -> None:
        added.add_argument("--artifact", metavar="ID", help="artifact id (default: the bundle's)")
        added.add_argument("--backend", metavar="NAME", help="litert, tflite or onnx")

    verb("info", verbs.info, "print what the bundle holds and what was measured")
    predict = verb("predict", verbs.predict, "predict image files, .npy arrays or texts")
    choice(predict)
    predict.add_argument(
        "inputs", nargs="+", metavar="INPUT",
        help="image file (needs Pillow), .npy with one raw sample, a text or a .txt file",
    )  # fmt: skip
    predict.add_argument(
        "--invert",
        action="store_true",
        help="invert the image first: dark on light becomes light on dark",
    )
    predict.add_argument("--top", type=int, default=3, metavar="N", help="classes shown (3)")
    scored = verb("evaluate", verbs.evaluate, "score the artifact on labelled samples")
    choice(scored)
    scored.add_argument(
        "--data", required=True, metavar="F", help=".npz with in/NAME and out/NAME, or x and y"
    )
    choice(
        verb("selftest", verbs.selftest, "run the golden vectors: exact, within tolerance or wrong")
    )
    bench = verb("bench", verbs.bench, "time one sample on this machine")
    choice(bench)
    bench.add_argument("--seconds", type=float, default=1.0, metavar="S", help="time for each way")
    verb("verify", verbs.verify, "check every byte of the bundle")
    return parser


if __name__ == "__main__":
    sys.exit(main())
