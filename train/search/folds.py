"""Cross-validation: how much a metric depends on which samples were trained on.

The training and the validation split are put together and divided anew; the test split is not
touched. What preprocessing learned from data (scales, a vocabulary) stays that of the training
split. Nothing is kept of the models: this measures a recipe, and makes no run.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.errors import InvalidDataError, MissingExtraError, UsageError
from edgeward.runtime.files import write_atomic
from edgeward.runtime.samples import Samples
from edgeward.train.cluster import worker_from_environment
from edgeward.train.console import Console
from edgeward.train.loop.scoring import Scorer
from edgeward.train.loop.session import Session
from edgeward.train.options import Options
from edgeward.train.pipeline import set_up
from edgeward.train.recipe import Hyperparameters, Recipe

__all__ = ["CrossValidation", "cross_validate"]


@dataclass(frozen=True)
class CrossValidation:
    """What the folds gave.

    Args:
        path: The file ``folds.json``.
        folds: Metrics of each fold.
        samples: Samples that each fold was validated on.
    """

    path: Path
    folds: tuple[Mapping[str, float], ...]
    samples: tuple[int, ...]

    def summary(self) -> dict[str, dict[str, float]]:
        """Return metric -> mean and (sample) standard deviation over the folds."""
        result = {}
        # The recall of a class is missing from a fold that holds none of it.
        for name in [one for one in self.folds[0] if all(one in fold for fold in self.folds)]:
            values = [fold[name] for fold in self.folds]
            result[name] = {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1))}
        return result

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``folds.json``."""
        pairs = zip(self.samples, self.folds, strict=True)
        folds = [{"samples": samples, "metrics": dict(metrics)} for samples, metrics in pairs]
        return {"folds": folds, "summary": self.summary()}


def cross_validate(
    recipe: Recipe, hyper: Hyperparameters, options: Options, count: int, console: Console
) -> CrossValidation:
    """Train a recipe once for each fold, and write ``<out>/<recipe>/folds.json``.

    Args:
        recipe: What to train.
        hyper: Its hyper-parameters.
        options: The other choices; the seed also divides the samples.
        count: Number of folds, at least 2.
        console: Where progress is said.

    Raises:
        UsageError: It makes no sense for this task or with these options.
        MissingExtraError: scikit-learn is not installed.
        InvalidDataError: The data do not fit, or a class has fewer samples than there are folds.
        TrainingError: A loss or a weight is not finite.
    """
    _check(count, options)
    setup = set_up(recipe, hyper, options, console)
    dataset = setup.dataset
    scorer = Scorer(setup.recipe.inputs, setup.recipe.outputs, dataset.vocabularies)
    if scorer.output.task == "generation":
        raise UsageError("Folds need a metric.", received="task generation", fix="no --folds")
    pool = _together(dataset.train, dataset.validation)
    targets = scorer.targets(pool)
    scorer.rare = scorer.rare_in(pool)
    groups = None
    if dataset.groups:
        groups = np.concatenate([dataset.groups["train"], dataset.groups["validation"]])
        console.say(f"Folds: {len(np.unique(groups)):,} groups, none in two of them.")
    results: list[dict[str, float]] = []
    sizes: list[int] = []
    with setup.interrupts:
        for rest, part in _divide(targets, scorer.output.task, count, options.seed, groups):
            fold = replace(dataset, train=pool.take(rest), validation=pool.take(part), groups={})
            model = Session(replace(setup, dataset=fold)).fit()
            outputs = scorer.predict(model, fold.validation)
            results.append(scorer.score(outputs, fold.validation))
            sizes.append(len(part))
            value = results[-1][scorer.metric]
            console.say(f"Fold {len(results)}/{count}: {scorer.metric} {value:.4f}.")
    folder = options.out / setup.recipe.name
    found = CrossValidation(folder / "folds.json", tuple(results), tuple(sizes))
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.to_json(), indent=2, sort_keys=True, allow_nan=False)
    write_atomic(found.path, f"{text}\n".encode())
    return found


def _check(count: int, options: Options) -> None:
    if count < 2:
        raise UsageError("--folds is wrong.", received=count, expected="a whole number >= 2")
    if options.patience:
        raise UsageError(
            "Early stopping would choose each fold's epoch on the samples that judge it.",
            received="--folds with --patience",
            fix="leave one of the two out; --epochs N sets the number of epochs",
        )
    if worker_from_environment() is not None:
        raise UsageError(
            "Folds are trained on one machine.",
            received="TF_CONFIG is set",
            fix="unset TF_CONFIG",
        )
    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtraError("scikit-learn", "train")


def _divide(
    targets: Array, task: str, count: int, seed: int, groups: Array | None = None
) -> Iterator[tuple[Array, Array]]:
    """Yield the indices to train on and those to validate on, fold by fold.

    Args:
        targets: Of all samples; class indices, or numbers.
        task: Of the output.
        count: Number of folds.
        seed: Decides who is where.
        groups: One per sample; no group is trained on and validated by in one fold.
    """
    selection: Any = importlib.import_module("sklearn.model_selection")
    if groups is not None:
        yield from _divide_groups(selection, targets, task, count, seed, groups)
        return
    if task == "regression":
        if len(targets) < count:
            raise InvalidDataError(
                "There are more folds than samples.", received=len(targets), expected=f">= {count}"
            )
        yield from selection.KFold(count, shuffle=True, random_state=seed).split(targets)
        return
    classes = targets.reshape(len(targets))
    values, counts = np.unique(classes, return_counts=True)
    if counts.min() < count:
        raise InvalidDataError(
            "A class has fewer samples than there are folds.",
            received=f"class {values[counts.argmin()]}: {counts.min()} samples, {count} folds",
            fix="fewer --folds, or more samples of it",
        )
    folds = selection.StratifiedKFold(count, shuffle=True, random_state=seed)
    yield from folds.split(np.zeros(len(classes)), classes)


def _divide_groups(
    selection: Any, targets: Array, task: str, count: int, seed: int, groups: Array
) -> Iterator[tuple[Array, Array]]:
    """Do ``_divide`` by whole groups, with the shares of classes kept as well as they can."""
    names = np.unique(groups)
    if len(names) < count:
        raise InvalidDataError(
            "There are more folds than groups.",
            received=f"{len(names)} groups, {count} folds",
            fix="fewer --folds, or data of more persons, recordings or scenes",
        )
    kind = selection.GroupKFold if task == "regression" else selection.StratifiedGroupKFold
    folds = kind(count, shuffle=True, random_state=seed)
    strata = targets if task == "regression" else targets.reshape(len(targets))
    with warnings.catch_warnings():
        # A class with fewer samples than folds: said below, by name.
        warnings.simplefilter("ignore", UserWarning)
        divided = list(folds.split(np.zeros(len(targets)), strata, groups))
    for rest, part in divided:
        alone = [] if task == "regression" else sorted(set(strata.tolist()) - set(strata[rest]))
        if not len(part) or alone:
            raise InvalidDataError(
                "The groups cannot be divided into so many folds.",
                received=f"class {alone[0]} lives in the groups of one fold alone"
                if alone
                else "a fold without any sample",
                expected="samples of each class in the groups of two folds or more",
                fix="fewer --folds, or samples of it from more groups",
            )
        yield rest, part


def _together(one: Samples, other: Samples) -> Samples:
    def join(first: Column, second: Column) -> Column:
        if isinstance(first, np.ndarray):
            return np.concatenate([first, np.asarray(second)])
        return [*first, *second]

    return Samples(
        {name: join(column, other.inputs[name]) for name, column in one.inputs.items()},
        {name: np.concatenate([c, other.targets[name]]) for name, c in one.targets.items()},
    )
