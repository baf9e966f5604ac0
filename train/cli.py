"""The command line ``python -m train``. Imports no TensorFlow until it is needed."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeward.runtime.console import guarded, print_json
from edgeward.runtime.errors import EdgewardError, UsageError
from edgeward.runtime.system import require_posix
from edgeward.train.arguments import parse, typed_changes, typed_options
from edgeward.train.listing import list_recipes
from edgeward.train.options import Options
from edgeward.train.recipe import Hyperparameters, Recipe, override
from edgeward.train.recipes import NAMES, load_recipe
from edgeward.train.unfinished.resume import reopen

if TYPE_CHECKING:
    from edgeward.train.pipeline import Trained
    from edgeward.train.search.folds import CrossValidation
    from edgeward.train.unfinished.resume import Resumption

__all__ = ["main"]

# Of more classes the console shows the worst; run.json has them all.
_MOST_RECALLS = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    arguments = parse(argv)
    return guarded("train", lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    require_posix("train")
    if arguments.list:
        names = NAMES if arguments.recipe is None else (arguments.recipe,)
        list_recipes([load_recipe(name) for name in names], arguments.json)
        return 0
    recipe = load_recipe(_required_name(arguments.recipe))
    changes = typed_changes(arguments)
    hyper = override(recipe.hyperparameters, changes)
    given = typed_options(arguments)
    options = Options(**given)
    if arguments.tune is not None:
        _tune(recipe, hyper, options, arguments)
        return 0
    if arguments.folds is not None:
        if arguments.resume:
            raise UsageError("Folds keep no state.", received="--folds with --resume")
        _cross_validate(recipe, hyper, options, arguments)
        return 0
    # Whatever a library prints on standard output would spoil the JSON object.
    with contextlib.redirect_stdout(sys.stderr):
        if arguments.resume:
            resumption = reopen(recipe, changes, set(given), options)
            trained = _train(recipe, resumption.hyper, resumption.options, resumption)
        else:
            trained = _train(recipe, hyper, options)
    if trained is not None:
        _report(trained, arguments.json)
    return 0


def _required_name(name: str | None) -> str:
    if name is None:
        raise UsageError(
            "Which recipe?", expected=", ".join(NAMES), fix="python -m train mnist_cnn, or --list"
        )
    return name


def _train(
    recipe: Recipe,
    hyper: Hyperparameters,
    options: Options,
    resumption: Resumption | None = None,
    tuned: Mapping[str, Any] | None = None,
) -> Trained | None:
    from edgeward.train.console import open_console
    from edgeward.train.framework import prepare_framework

    prepare_framework()

    from edgeward.train.pipeline import train

    try:
        with open_console(sys.stderr) as console:
            return train(recipe, hyper, options, console, resumption, tuned)
    except OSError as error:
        raise EdgewardError(
            "A file cannot be read or written.",
            received=f"{error.strerror or error}: {error.filename}",
        ) from None


def _cross_validate(
    recipe: Recipe, hyper: Hyperparameters, options: Options, arguments: argparse.Namespace
) -> None:
    from edgeward.train.console import open_console
    from edgeward.train.framework import prepare_framework

    with contextlib.redirect_stdout(sys.stderr):
        prepare_framework()

        from edgeward.train.search.folds import cross_validate

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


def _tune(
    recipe: Recipe, hyper: Hyperparameters, options: Options, arguments: argparse.Namespace
) -> None:
    from edgeward.train.search.result import command_line, unfinished
    from edgeward.train.search.space import check_search, read_space
    from edgeward.train.search.study import Study

    check_search(arguments.tune, arguments.folds)
    changes, given = typed_changes(arguments), typed_options(arguments)
    space = read_space(recipe, hyper, set(changes))
    folder = options.out / recipe.name / "study"
    with contextlib.redirect_stdout(sys.stderr), Study(folder, arguments.resume) as study:
        from edgeward.train.console import open_console
        from edgeward.train.framework import prepare_framework

        prepare_framework()

        from edgeward.train.search.tune import tune

        with open_console(sys.stderr) as console:
            found = tune(recipe, hyper, options, arguments.tune, space, study, console)
        values = {name: found.hyper.to_json()[name] for name in (*space, *changes)}
        command = command_line(arguments.recipe, values, given)
        again = unfinished(recipe, found, set(given), options) if arguments.resume else None
        if again is None:
            trained = _train(recipe, found.hyper, options, tuned=found.of_run())
        else:
            trained = _train(recipe, again.hyper, again.options, again)
    if trained is not None:
        _report(trained, arguments.json, found.to_json(command))
        if not arguments.json:
            print("\n".join(found.lines(command)))


def _report(trained: Trained, as_json: bool, study: Mapping[str, Any] | None = None) -> None:
    info = trained.info
    if as_json:
        result: dict[str, Any] = {} if study is None else {"study": study}
        result |= {
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
        values = ", ".join(f"{name} {value:.4f}" for name, value in _shown(metrics).items())
        print(f"{split:>10}: {values} ({info.dataset.splits[split]:,} samples)")
    print(f"Run: {trained.path} ({info.wall_time_s:.0f} s). Next: python -m convert --int8")


def _shown(metrics: Mapping[str, float]) -> Mapping[str, float]:
    """Return the metrics for people: of many classes the worst recalls alone."""
    recalls = sorted(
        (name for name in metrics if name.startswith("recall:")), key=lambda name: metrics[name]
    )
    left_out = set(recalls[_MOST_RECALLS:])
    return {name: value for name, value in metrics.items() if name not in left_out}
