"""forecast_lstm: a chronological split, scaling from the past alone, and an honest yardstick."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError, MissingExtraError, UsageError
from edgeward.runtime.samples import load_samples
from edgeward.train.console import Console
from edgeward.train.datasets import sunspots
from edgeward.train.loop.scoring import Scorer
from edgeward.train.options import Options
from edgeward.train.pipeline import train
from edgeward.train.recipe import override
from edgeward.train.recipes.forecast_lstm import RECIPE, ForecastLstm, build, naive_errors

YEARS = np.arange(1700, 2009)


def silent(line: str) -> None:
    pass


def cut(spots: Array, window: int = 22, headroom: float = 0.0) -> sunspots.SunspotDataset:
    return sunspots.split_series(YEARS, spots.astype(np.float32), window, headroom, "here")


def test_each_target_is_the_year_after_its_window_and_splits_follow_each_other() -> None:
    data = cut(YEARS)
    asked = {name: split.targets["next"][:, 0] for name, split in data.splits.items()}
    np.testing.assert_array_equal(asked["train"], np.arange(1722, 1880))
    np.testing.assert_array_equal(asked["validation"], np.arange(1880, 1930))
    np.testing.assert_array_equal(asked["test"], np.arange(1930, 2009))
    for split in data.splits.values():
        windows, following = np.asarray(split.inputs["years"]), split.targets["next"]
        assert windows.shape[1:] == (22, 1)
        np.testing.assert_array_equal(
            windows[:, :, 0] + np.arange(22, 0, -1), following + windows[:, :, 0] * 0
        )


def test_scaling_knows_nothing_of_validation_and_test_years() -> None:
    rng = np.random.default_rng(0)
    spots = rng.normal(50, 20, len(YEARS))
    later, earlier = spots.copy(), spots.copy()
    later[YEARS >= 1880] += 1000
    earlier[YEARS == 1879] += 1000
    before = cut(spots)
    assert (cut(later).mean, cut(later).deviation) == (before.mean, before.deviation)
    assert (cut(earlier).mean, cut(earlier).deviation) != (before.mean, before.deviation)


def test_scaled_training_inputs_are_standard() -> None:
    data = cut(np.random.default_rng(0).normal(50, 20, len(YEARS)))
    assert RECIPE.specialise is not None
    recipe = RECIPE.specialise(data, ForecastLstm())
    scorer = Scorer(recipe.inputs, recipe.outputs)
    tensors, targets = scorer.tensors(data.train), scorer.training_targets(data.train)
    for values in (tensors, targets):
        assert abs(values.mean()) < 0.1
        assert abs(values.std() - 1) < 0.1


@pytest.mark.parametrize(("period", "exact"), [(11, True), (10, False)])
def test_seasonal_naive_forecast_is_perfect_on_a_cycle_of_11_years(
    period: int, exact: bool
) -> None:
    data = cut(np.sin(2 * np.pi * YEARS / period))
    windows, following = np.asarray(data.test.inputs["years"]), data.test.targets["next"]
    errors = naive_errors(windows, following)
    assert (errors["seasonal_naive_rmse"] < 1e-6) == exact
    assert errors["naive_rmse"] > 0.1


def test_naive_forecast_is_perfect_on_a_constant_only() -> None:
    flat, rising = cut(np.full(len(YEARS), 7)), cut(YEARS)
    for data, expected in ((flat, 0.0), (rising, 1.0)):
        errors = naive_errors(np.asarray(data.test.inputs["years"]), data.test.targets["next"])
        assert errors == {"seasonal_naive_rmse": 11 * expected, "naive_rmse": expected}


def test_headroom_adds_larger_windows_to_the_training_split_alone() -> None:
    spots = np.random.default_rng(0).uniform(0, 100, len(YEARS))
    plain, roomy = cut(spots), cut(spots, headroom=0.5)
    for name in ("validation", "test"):
        a, b = plain.splits[name], roomy.splits[name]
        np.testing.assert_array_equal(a.inputs["years"], b.inputs["years"])
        np.testing.assert_array_equal(a.targets["next"], b.targets["next"])
    for old, new in (
        (plain.train.inputs["years"], roomy.train.inputs["years"]),
        (plain.train.targets["next"], roomy.train.targets["next"]),
    ):
        np.testing.assert_array_equal(new[:158], old)
        np.testing.assert_array_equal(new[158:], np.asarray(old) * np.float32(1.5))
    # The scaling of the inputs stays that of the years themselves.
    assert (plain.mean, plain.deviation) == (roomy.mean, roomy.deviation)


def test_real_series_is_complete() -> None:
    said: list[str] = []
    data = sunspots.load(None, 22, 0.5, said.append)
    assert [len(split) for split in data.splits.values()] == [2 * 158, 50, 79]
    # What headroom is for: no test year is beyond what an int8 file was calibrated on.
    most = {name: np.asarray(split.inputs["years"]).max() for name, split in data.splits.items()}
    assert most["test"] < most["train"]
    bare = sunspots.load(None, 22, 0.0, silent).train
    assert np.asarray(bare.inputs["years"]).max() < most["test"]
    assert said == ["Data: sunspots 1700 to 2008 from package statsmodels."]
    assert data.test.targets["next"][-1, 0] == np.float32(2.9)


def test_without_statsmodels_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"edgeward\[train\]"):
        sunspots.load(None, 22, 0.0, silent)


def test_another_table_is_refused(tmp_path: Path) -> None:
    data = bytearray(sunspots._packaged().read_bytes())
    (tmp_path / "same.csv").write_bytes(data)
    assert len(sunspots.load(tmp_path / "same.csv", 22, 0.0, silent).test) == 79
    data[100] ^= 1
    (tmp_path / "other.csv").write_bytes(data)
    with pytest.raises(InvalidDataError, match="damaged or not the table"):
        sunspots.load(tmp_path / "other.csv", 22, 0.0, silent)
    with pytest.raises(InvalidDataError, match="cannot be read"):
        sunspots.load(tmp_path / "none.csv", 22, 0.0, silent)


@pytest.mark.parametrize("window", [11, 170])
def test_windows_of_a_cycle_and_more_are_fine(window: int) -> None:
    assert len(cut(YEARS, window).test) == 79


@pytest.mark.parametrize("window", [10, 171])
def test_windows_too_short_for_the_yardstick_or_too_long_to_train_are_refused(window: int) -> None:
    with pytest.raises(UsageError, match="window"):
        cut(YEARS, window)


def test_run_answers_in_sunspots_and_reports_the_yardstick(
    tmp_path: Path, console: Console
) -> None:
    hyper = override(ForecastLstm(), {"epochs": 10, "units": 8})
    done = train(RECIPE, hyper, Options(out=tmp_path), console)
    assert done is not None
    metrics = json.loads((done.path / "run.json").read_text())["metrics"]["test"]
    assert set(metrics) == {"rmse", "seasonal_naive_rmse", "naive_rmse"}
    test = load_samples(done.path / "test.npz")
    model = keras.models.load_model(done.path / "model.keras")
    answers = Scorer(done.info.inputs, done.info.outputs).predict(model, test)
    spread = test.targets["next"].std()
    assert 10 < spread < 100
    assert np.abs(answers - test.targets["next"]).mean() < spread
    # The twin: without the postprocessing the answers are of order 1, and wrong.
    bare = np.asarray(model(np.asarray(test.inputs["years"])))
    assert np.abs(bare - test.targets["next"]).mean() > spread


def test_forecast_lstm_has_as_many_weights_as_it_says() -> None:
    assert build(ForecastLstm()).count_params() == RECIPE.weights


@pytest.mark.floor
@pytest.mark.parametrize("seed", range(3))
def test_forecast_lstm_beats_the_naive_forecasts(
    tmp_path: Path, console: Console, seed: int
) -> None:
    done = train(RECIPE, RECIPE.hyperparameters, Options(out=tmp_path, seed=seed), console)
    assert done is not None
    metrics = done.info.metrics["test"]
    assert metrics["rmse"] < metrics["seasonal_naive_rmse"]
    assert metrics["rmse"] <= RECIPE.expected["rmse"]
