"""Cross-validation divides training and validation samples, and never sees the test split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import SUBSET, RunPython

from edgeward.runtime.errors import InvalidDataError, MissingExtraError, UsageError
from edgeward.runtime.samples import Samples
from edgeward.train.console import Console
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.options import Options
from edgeward.train.recipe import Recipe, override
from edgeward.train.recipes import load_recipe
from edgeward.train.search import folds
from edgeward.train.search.folds import CrossValidation, cross_validate


@pytest.fixture
def few(digits: Dataset) -> Dataset:
    """300 + 100 digits, so that a fold takes no time; the test split would poison a training."""
    test = Samples(digits.test.inputs, {"digit": np.zeros_like(digits.test.targets["digit"])})
    return replace(
        digits,
        train=digits.train.take(range(300)),
        validation=digits.validation.take(range(100)),
        test=test,
    )


def recipe_of(dataset: Dataset) -> Recipe:
    return replace(load_recipe("mnist_mlp"), load=lambda path, hyper, say: dataset)


def run(
    dataset: Dataset, console: Console, out: Path, count: int = 4, **options: Any
) -> CrossValidation:
    recipe = recipe_of(dataset)
    hyper = override(recipe.hyperparameters, {"epochs": 2, "batch_size": 25})
    return cross_validate(recipe, hyper, Options(out=out, **options), count, console)


def test_each_fold_gets_a_metric_and_the_summary_is_their_mean_and_deviation(
    few: Dataset, console: Console, tmp_path: Path
) -> None:
    found = run(few, console, tmp_path)
    values = [fold["accuracy"] for fold in found.folds]
    assert len(values) == 4
    assert sum(found.samples) == 400
    assert min(values) > 0.5
    summary = found.summary()["accuracy"]
    assert summary["mean"] == pytest.approx(sum(values) / 4)
    assert summary["std"] == pytest.approx(np.std(values) * (4 / 3) ** 0.5)
    assert json.loads((tmp_path / "mnist_mlp" / "folds.json").read_text()) == found.to_json()
    # It measures, and leaves no run.
    assert [path.name for path in (tmp_path / "mnist_mlp").iterdir()] == ["folds.json"]
    # The twin: without what can be learned, the folds show it.
    column = np.random.default_rng(0).permutation(few.train.targets["digit"])
    shuffled = replace(few, train=Samples(few.train.inputs, {"digit": column}))
    assert run(shuffled, console, tmp_path).summary()["accuracy"]["mean"] < summary["mean"] - 0.2


def test_folds_are_disjoint_stratified_complete_and_follow_the_seed() -> None:
    targets = np.array([0] * 40 + [1] * 20 + [2] * 8)
    parts = list(folds._divide(targets, "classification", 4, seed=1))
    for rest, part in parts:
        assert not set(rest) & set(part)
        assert np.bincount(targets[part]).tolist() == [10, 5, 2]
    assert sorted(np.concatenate([part for _, part in parts])) == list(range(68))
    again = list(folds._divide(targets, "classification", 4, seed=1))
    other = list(folds._divide(targets, "classification", 4, seed=2))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(parts, again, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(parts, other, strict=True))


def test_numbers_are_divided_without_strata_and_texts_are_joined() -> None:
    parts = list(folds._divide(np.linspace(0, 1, 10), "regression", 5, seed=0))
    assert sorted(np.concatenate([part for _, part in parts])) == list(range(10))
    one = Samples({"text": [b"a", b"b"]}, {"y": np.array([0, 1])})
    joined = folds._together(one, Samples({"text": [b"c"]}, {"y": np.array([1])}))
    assert list(joined.inputs["text"]) == [b"a", b"b", b"c"]
    assert joined.targets["y"].tolist() == [0, 1, 1]


def test_what_makes_no_sense_is_refused(
    few: Dataset, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=">= 2"):
        run(few, console, tmp_path, count=1)
    with pytest.raises(UsageError, match="--patience"):
        run(few, console, tmp_path, patience=2)
    with pytest.raises(InvalidDataError, match="fewer samples than there are folds"):
        run(few, console, tmp_path, count=200)
    with monkeypatch.context() as patched:
        patched.setattr(folds.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match=r"edgeward\[train\]"):
            run(few, console, tmp_path)
    assert not (tmp_path / "mnist_mlp").exists()


def test_command_prints_the_summary_as_json(run_python: RunPython, tmp_path: Path) -> None:
    arguments = ("mnist_mlp", "--data", SUBSET, "--epochs", "1", "--set", "units=16", "--json")
    done = run_python("-m", "train", *arguments, "--folds", "2")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["folds"]) == 2
    assert 0.5 < result["summary"]["accuracy"]["mean"] < 1
    assert result["file"] == "runs/mnist_mlp/folds.json"
    refused = run_python("-m", "train", *arguments, "--folds", "2", "--resume")
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
