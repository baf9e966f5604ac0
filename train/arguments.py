"""The arguments of ``python -m train``: what people may type, and what it means."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgeward.runtime.errors import UsageError
from edgeward.train.options import Options
from edgeward.train.recipes import NAMES

__all__ = ["COMMON", "parse", "typed_changes", "typed_options"]

# Hyper-parameters that every recipe has, each with an option of its own.
COMMON = {"epochs": "--epochs", "batch_size": "--batch-size", "learning_rate": "--learning-rate"}

_NAMES = f"one of: {', '.join(NAMES)}; or a file of your own that ends in .py"

_EPILOG = """\
examples:
  python -m train --list                          what there is, with its parameters
  python -m train mnist_cnn                       train; the run is runs/mnist_cnn/001
  python -m train mnist_cnn --epochs 1 --seed 7   quickly, with another seed
  python -m train mnist_cnn --set shift=0         change a parameter of the recipe
  python -m train mnist_cnn --data my/idx/files   data from a folder, not from the network
  python -m train my_recipe.py                    a file of your own that defines RECIPE
  python -m train mnist_cnn --resume              go on where a killed training was
  python -m train mnist_cnn --tune 20             search for better parameters first
  python -m train fashion_cnn --init runs/mnist_edge/001 --samples 1000
                                                  transfer learning from another run
  python -m train mnist_cnn --json > run.json     for scripts: one JSON object

then:
  python -m convert --int8                        convert the latest run

exit codes: 0 done, 1 training failed (not a finite loss), 2 usage or a missing extra,
5 invalid or missing data, 130 Ctrl-C
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; None takes those of the process. Ends the process on ``--help``."""
    return _parser().parse_args(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train a model and leave a run folder that python -m convert reads.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("recipe", metavar="RECIPE", nargs="?", help=_NAMES)
    add(
        "--list",
        action="store_true",
        help="print the recipes (or the one named, also a file) with their parameters",
    )
    add("--data", type=Path, metavar="PATH", help="the data set's files, instead of fetching them")
    add("--epochs", type=int, metavar="N", help="passes over the training split")
    add("--batch-size", type=int, metavar="N", help="samples per step, over all devices together")
    add("--samples", type=int, metavar="N", help="train on N samples only, drawn class by class")
    add("--seed", type=int, metavar="N", help="fixes everything random (default: 0)")
    add("--learning-rate", type=float, metavar="X", help="peak of the one-cycle schedule")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the recipe (see --list); may be repeated",
    )
    add(
        "--no-augment",
        dest="augment",
        action="store_false",
        default=None,
        help="train on the samples as they are",
    )
    add(
        "--patience",
        type=int,
        metavar="N",
        help="end after N epochs without a better validation metric, and keep the best weights",
    )
    add(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate on K parts of training and validation split; reports, makes no run",
    )
    add(
        "--init",
        type=Path,
        metavar="RUN",
        help="transfer learning: preprocessing and layers of a finished run, with a new head where "
        "the classes differ",
    )
    add(
        "--freeze",
        type=int,
        metavar="N",
        help="with --init: epochs that train the new head alone (default: an eighth of all)",
    )
    add(
        "--tune",
        type=int,
        metavar="TRIALS",
        help="search the recipe's space on the validation split, then train with the best values",
    )
    add(
        "--explain",
        type=int,
        metavar="N",
        help="write pictures of what decided N test samples, wrong answers first",
    )
    add("--resume", action="store_true", help="continue the newest unfinished run of the recipe")
    add(
        "--save-every",
        type=int,
        metavar="STEPS",
        help="save a state for --resume every so many steps, not only after each epoch",
    )
    add("--out", type=Path, metavar="DIR", help="folder of runs (default: runs)")
    add(
        "--device",
        choices=("auto", "cpu", "gpu"),
        help="auto (default): all GPUs, the CPU where there is none; several workers by TF_CONFIG",
    )
    add(
        "--precision",
        choices=("auto", "float32", "mixed"),
        help="auto (default): mixed on GPUs with tensor cores; saved models are always float32",
    )
    add("--h5", action="store_true", default=None, help="write model.h5 as well")
    add("--json", action="store_true", help="print one JSON object on standard output")
    return parser


def typed_changes(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the hyper-parameters that the command line changes."""
    changes: dict[str, object] = {
        name: getattr(arguments, name) for name in COMMON if getattr(arguments, name) is not None
    }
    for text in arguments.set:
        key, separator, value = text.partition("=")
        if not separator:
            raise UsageError("--set wants a name and a value.", received=text, expected="KEY=VALUE")
        if key in COMMON:
            raise UsageError(f"{key} has its own option.", received=text, fix=COMMON[key])
        changes[key] = value
    return changes


def typed_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that people typed, by their names in ``Options``."""
    names = {f.name for f in fields(Options)} & set(vars(arguments))
    typed = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in typed.items() if value is not None}
