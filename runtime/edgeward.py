"""The console script ``edgeward train|convert|run``.

It exists because a user's own ``train.py`` in the current folder shadows ``python -m train``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

__all__ = ["main"]

_STAGES = {
    "train": ("edgeward.train.cli", "fit a Keras model and leave a run folder"),
    "convert": (
        "edgeward.convert.cli",
        "turn a run into a bundle of measured, quantised artifacts",
    ),
    "run": ("edgeward.runtime.cli", "run, check and measure a bundle on this machine"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the command line over to a stage and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in _STAGES:
        # The script's own folder comes first on the path; the user's current folder does not,
        # which is the point of this command.
        stage = importlib.import_module(_STAGES[arguments[0]][0])
        return int(stage.main(arguments[1:]))
    lines = ["usage: edgeward STAGE ...", ""]
    lines += [f"  edgeward {name:8} {text}" for name, (_, text) in _STAGES.items()]
    lines += ["", "edgeward STAGE --help explains each one."]
    asked = arguments[:1] in (["-h"], ["--help"])
    print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2
