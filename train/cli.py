"""The command line ``python -m train``. Imports no TensorFlow until it is needed."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.console import guarded, print_json
from runtime.errors import EdgewardError, UsageError
from train.options import Options
from train.recipe import Hyperparameters, Recipe, override
from train.recipes import NAMES, load_recipe
from train.resume import reopen

if TYPE_CHECKING:
    from train.folds import CrossValidation
    from train.partial import PartialRun
    from train.pipeline import Trained
    from train.state import State

__all__ = ["main"]

# Hyper-parameters that every recipe has, each with an option of its own.
_COMMON = {"epochs": "--epochs", "batch_size": "--batch-size", "learning_rate": "--learning-rate"}

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
  python -m train mnist_cnn --json > run.json     for scripts: one JSON object

then:
  python -m convert --int8                        convert the latest run

exit codes: 0 done, 1 training failed (not a finite loss), 2 usage or a missing extra,
5 invalid or missing data, 130 Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    return guarded("train", lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.list:
        _list(arguments.json)
        return 0
    recipe = load_recipe(_required_name(arguments.recipe))
    changes = _changes(arguments)
    hyper = override(recipe.hyperparameters, changes)
    given = _given(arguments)
    options = Options(**given)
    if arguments.folds is not None:
        if arguments.resume:
            raise UsageError("Folds keep no state.", received="--folds with --resume")
        _cross_validate(recipe, hyper, options, arguments)
        return 0
    # Whatever a library prints on standard output would spoil the JSON object.
    with contextlib.redirect_stdout(sys.stderr):
        if arguments.resume:
            partial, state, hyper, options = reopen(recipe, changes, set(given), options)
            trained = _train(recipe, hyper, options, (partial, state))
        else:
            trained = _train(recipe, hyper, options)
    if trained is not None:
        _report(trained, arguments.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train a model and leave a run folder that python -m convert reads.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument("recipe", metavar="RECIPE", nargs="?", help=_NAMES)
    what.add_argument("--list", action="store_true", help="print the recipes and their parameters")
    add("--data", type=Path, metavar="PATH", help="the data set's files, instead of fetching them")
    add("--epochs", type=int, metavar="N", help="passes over the training split")
    add("--batch-size", type=int, metavar="N", help="samples per step, over all devices together")
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


def _required_name(name: str | None) -> str:
    if name is None:
        raise UsageError(
            "Which recipe?", expected=", ".join(NAMES), fix="python -m train mnist_cnn, or --list"
        )
    return name


def _changes(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the hyper-parameters that the command line changes."""
    changes: dict[str, object] = {
        name: getattr(arguments, name) for name in _COMMON if getattr(arguments, name) is not None
    }
    for text in arguments.set:
        key, separator, value = text.partition("=")
        if not separator:
            raise UsageError("--set wants a name and a value.", received=text, expected="KEY=VALUE")
        if key in _COMMON:
            raise UsageError(f"{key} has its own option.", received=text, fix=_COMMON[key])
        changes[key] = value
    return changes


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that people typed, by their names in ``Options``."""
    names = {f.name for f in fields(Options)} & set(vars(arguments))
    typed = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in typed.items() if value is not None}


def _train(
    recipe: Recipe,
    hyper: Hyperparameters,
    options: Options,
    unfinished: tuple[PartialRun, State] | None = None,
) -> Trained | None:
    from train.console import open_console
    from train.framework import prepare_framework

    prepare_framework()

    from train.pipeline import Resumption, train

    resumption = None if unfinished is None else Resumption(*unfinished)
    try:
        with open_console(sys.stderr) as console:
            return train(recipe, hyper, options, console, resumption)
    except OSError as error:
        raise EdgewardError(
            "A file cannot be read or written.",
            received=f"{error.strerror or error}: {error.filename}",
        ) from None


def _cross_validate(
    recipe: Recipe, hyper: Hyperparameters, options: Options, arguments: argparse.Namespace
) -> None:
    from train.console import open_console
    from train.framework import prepare_framework

    with contextlib.redirect_stdout(sys.stderr):
        prepare_framework()

        from train.folds import cross_validate

        with open_console(sys.stderr) as console:
            found = cross_validate(recipe, hyper, options, arguments.folds, console)
    _report_folds(found, arguments.json)


def _report_folds(found: CrossValidation, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json() | {"file": str(found.path)})
        return
    for number, (samples, metrics) in enumerate(zip(found.samples, found.folds, strict=True), 1):
        values = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        print(f"fold {number}: {values} ({samples:,} samples)")
    for name, one in found.summary().items():
        print(f"{name}: mean {one['mean']:.4f}, standard deviation {one['std']:.4f}")
    print(f"Folds: {found.path}")


def _report(trained: Trained, as_json: bool) -> None:
    info = trained.info
    if as_json:
        result = {
            "run": str(trained.path),
            "recipe": info.recipe,
            "seed": info.seed,
            "metrics": info.metrics,
            "dataset": {"name": info.dataset.name, "source": info.dataset.source},
            "device": info.device,
            "wall_time_s": info.wall_time_s,
        }
        print_json(result)
        return
    for split, metrics in info.metrics.items():
        values = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        print(f"{split:>10}: {values} ({info.dataset.splits[split]:,} samples)")
    print(f"Run: {trained.path} ({info.wall_time_s:.0f} s). Next: python -m convert --int8")


def _list(as_json: bool) -> None:
    recipes = [load_recipe(name) for name in NAMES]
    if as_json:
        print_json({"recipes": {recipe.name: _describe(recipe) for recipe in recipes}})
        return
    for recipe in recipes:
        print(f"{recipe.name}: {recipe.title}")
        print(f"  task: {recipe.tasks or 'as the data say'}    data set: {recipe.dataset}")
        weights = "as the data say" if recipe.weights is None else f"{recipe.weights:,}"
        time = "unknown" if recipe.seconds is None else f"about {recipe.seconds:.0f} s on two cores"
        print(f"  weights: {weights}    time: {time}")
        for name, value in recipe.expected.items():
            bound = "<=" if name == "rmse" else ">="
            print(
                f"  expected on the test split: {name} {bound} {value}"
                f"    drift budget: {recipe.budget}"
            )
        defaults, texts = recipe.hyperparameters.to_json(), recipe.hyperparameters.explain()
        for name, value in defaults.items():
            option = _COMMON.get(name, f"--set {name}=")
            print(f"  {option:<16} {value!s:<8} {texts[name]}")


def _describe(recipe: Recipe) -> dict[str, Any]:
    return {
        "title": recipe.title,
        "task": recipe.tasks,
        "dataset": recipe.dataset,
        "hyperparameters": recipe.hyperparameters.to_json(),
        "expected": dict(recipe.expected),
        "budget": recipe.budget,
        "weights": recipe.weights,
        "seconds": recipe.seconds,
    }
