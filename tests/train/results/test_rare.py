"""Rare classes and groups, from a table to the run folder: what accuracy alone does not say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from quiet import Silent, train_quietly

from edgeward.runtime.errors import InvalidDataError, InvalidRunError, UsageError
from edgeward.runtime.samples import load_samples
from edgeward.runtime.specs import OutputSpec
from edgeward.train.datasets.rare import describe, rare_classes, rare_metrics
from edgeward.train.options import Options
from edgeward.train.recipe import first_threshold, override
from edgeward.train.recipes import load_recipe
from edgeward.train.recipes.text_lstm import TextLstm
from edgeward.train.results.threshold import choose_threshold, worth_choosing
from edgeward.train.run import GROUPS, Run
from edgeward.train.search.folds import cross_validate

FALL = OutputSpec("classification", labels=("fall", "walk"))


def write_table(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


# ---- what is said


@pytest.mark.parametrize(
    ("counts", "rare"),
    [
        ([50, 50], ()),
        ([80, 20], ()),
        ([81, 19], (1,)),
        ([50, 46, 4], (2,)),
        ([997, 3], (1,)),
        ([10] * 30, ()),  # 3.3 % each, and none is rare
        ([10] * 29 + [4], (29,)),
        ([500, 4, 3, 2, 1], (4, 3, 2)),
    ],
)
def test_when_classes_are_rare(counts: list[int], rare: tuple[int, ...]) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    assert rare_classes(OutputSpec("classification"), targets) == rare
    assert rare_classes(OutputSpec("regression"), targets) == ()


def test_a_model_that_never_says_it_has_a_recall_of_0() -> None:
    truth = np.array([0] * 3 + [1] * 997)
    never = np.tile(np.float32([0.2, 0.8]), (1000, 1))
    found = rare_metrics(FALL, never, truth)
    assert found == pytest.approx(
        {
            "majority": 0.997,
            "balanced_accuracy": 0.5,
            "auc": 0.5,
            "recall:fall": 0.0,
            "recall:walk": 1.0,
        }
    )
    right = np.stack([truth == 0, truth == 1], axis=1).astype(np.float32)
    assert rare_metrics(FALL, right, truth)["recall:fall"] == 1.0
    said = describe(FALL, truth, (0,))
    assert "'walk' is 99.7% of the training samples, 'fall' 0.30% (3 samples)" in said


def falls(folder: Path) -> Path:
    """2 % of falls, 1.2 deviations off: the likelier answer is never a fall."""
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.02
    values = rng.normal(size=(4000, 2)) + 1.2 * truth[:, None]
    rows = [
        f"{a:.4f},{b:.4f},{'fall' if t else 'walk'}"
        for (a, b), t in zip(values, truth, strict=True)
    ]
    return write_table(folder / "falls.csv", "a,b,y", rows)


def test_balance_finds_the_rare_class_that_plain_training_never_answers(tmp_path: Path) -> None:
    path = falls(tmp_path)
    small = {"target": "y", "epochs": 10, "units": 8, "batch_size": 64}
    plain = train_quietly("table", tmp_path / "none", path, **small)
    test = plain.info.metrics["test"]
    assert test["accuracy"] > 0.97
    assert test["majority"] > 0.97
    assert test["recall:fall"] < 0.1
    assert test["auc"] > 0.8
    for balance in ("weights", "batches"):
        run = train_quietly("table", tmp_path / balance, path, **small, balance=balance)
        assert run.info.metrics["test"]["recall:fall"] > 0.5, balance
        assert run.info.hyperparameters["balance"] == balance
    assert any("Classes are rare" in note for note in plain.info.training["notes"])
    header = (plain.path / "history.csv").read_text().partition("\n")[0].split(",")
    assert {"validation_recall:fall", "validation_auc", "validation_balanced_accuracy"} <= {*header}
    assert "validation_recall:walk" not in header
    again = train_quietly("table", tmp_path / "again", path, **small, balance="batches")
    assert again.info.metrics == run.info.metrics


def test_even_classes_are_told_nothing_more(tmp_path: Path) -> None:
    rows = [f"{i % 7}.{i},{i % 2}" for i in range(200)]
    path = write_table(tmp_path / "even.csv", "a,y", rows)
    run = train_quietly("table", tmp_path, path, target="y", epochs=1)
    assert set(run.info.metrics["test"]) == {"accuracy"}
    assert run.info.training["notes"] == []
    assert run.groups("test") is None


def test_numbers_have_no_classes_to_balance(tmp_path: Path) -> None:
    path = write_table(tmp_path / "n.csv", "a,y", [f"{i},{i * 0.5}" for i in range(100)])
    with pytest.raises(UsageError, match="no classes to balance"):
        train_quietly("table", tmp_path, path, target="y", epochs=1, balance="weights")


# ---- groups


def persons(folder: Path) -> Path:
    """60 persons of a class by chance, each with numbers of its own: nothing to learn but them."""
    rng = np.random.default_rng(1)
    rows = []
    for person in range(60):
        own, label = rng.normal(size=6), ("ill", "well")[person % 2]
        for _ in range(10):
            values = ",".join(f"{v:.4f}" for v in own + rng.normal(0, 0.05, 6))
            rows.append(f"{values},p{person},{label}")
    return write_table(folder / "persons.csv", "a,b,c,d,e,f,person,y", rows)


def test_a_split_that_leaks_persons_reads_high_and_falls_to_chance_by_group(tmp_path: Path) -> None:
    path = persons(tmp_path)
    same = {"target": "y", "epochs": 30}
    leaking = train_quietly("table", tmp_path / "leak", path, **same, ignore="person")
    assert leaking.info.metrics["test"]["accuracy"] > 0.95
    honest = train_quietly("table", tmp_path / "group", path, **same, group="person")
    assert honest.info.metrics["test"]["accuracy"] < 0.75
    ids = [honest.groups(split) for split in ("validation", "test")]
    for split, found in zip(("validation", "test"), ids, strict=True):
        assert found is not None
        assert len(found) == len(honest.samples(split))
    assert not set(ids[0].tolist()) & set(ids[1].tolist())  # type: ignore[union-attr]
    # Those who read today's files know no more keys.
    assert set(load_samples(honest.path / "test.npz").inputs) == {"features"}
    assert any("60 groups" in note for note in honest.info.training["notes"])
    (honest.path / GROUPS).write_bytes(b"damaged")
    with pytest.raises(InvalidRunError, match="cannot be read"):
        honest.groups("test")


def test_folds_by_group_fall_to_chance_too(tmp_path: Path) -> None:
    path, recipe = persons(tmp_path), load_recipe("table")

    def mean(count: int = 3, **changes: object) -> float:
        hyper = override(recipe.hyperparameters, {"target": "y", "epochs": 30, **changes})
        options = Options(out=tmp_path, data=path, device="cpu")
        found = cross_validate(recipe, hyper, options, count, Silent())  # type: ignore[arg-type]
        return found.summary()["accuracy"]["mean"]

    assert mean(ignore="person") > 0.95
    assert mean(group="person") < 0.75
    with pytest.raises(InvalidDataError, match="more folds than groups"):
        mean(50, group="person")


# ---- the threshold


def test_threshold_with_the_largest_mean_of_recalls() -> None:
    truth = np.array([0] * 6 + [1] * 2)
    values = np.float32([0.01, 0.02, 0.03, 0.04, 0.05, 0.3, 0.2, 0.4])[:, None]
    chosen = choose_threshold(values, truth)
    assert chosen == pytest.approx(0.125)
    assert np.float32(chosen) == chosen
    near = np.nextafter(np.float32(0.5), np.float32(1))
    assert choose_threshold(np.float32([0.5, near]), np.array([0, 1])) == near
    with pytest.raises(InvalidDataError, match="cannot choose"):
        choose_threshold(values, np.zeros(8, int))
    with pytest.raises(InvalidDataError, match="cannot choose"):
        choose_threshold(np.full(8, 0.5), truth)


def test_only_what_is_beyond_noise_is_worth_a_word() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random(2000) < 0.05).astype(int)
    low = (0.1 + 0.2 * truth + rng.normal(0, 0.03, 2000)).astype(np.float32)
    assert "--set threshold=validation" in worth_choosing(low, truth, 0.5)
    assert worth_choosing(low + np.float32(0.3), truth, 0.5) == ""
    assert worth_choosing(low[:3], np.array([0, 0, 1]), 0.5) == ""


def test_threshold_is_stored_where_it_was_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(40)])
    for label, count in (("calm", 300), ("rage", 24)):
        (tmp_path / "texts" / label).mkdir(parents=True)
        for i in range(count):
            some = [label[:1] if rng.random() < 0.4 else "x", *rng.choice(words, 6)]
            (tmp_path / "texts" / label / f"{i}.txt").write_text(" ".join(some))
    small = {"length": 8, "units": 4, "embedding": 4, "epochs": 2, "batch_size": 32}

    def run(name: str, **changes: object) -> Run:
        return train_quietly("text_lstm", tmp_path / name, tmp_path / "texts", **small, **changes)

    fixed, chosen = run("fixed"), run("chosen", threshold="validation")
    assert fixed.info.outputs["label"].threshold == 0.5
    assert fixed.info.metrics["validation"]["recall:rage"] == 0
    threshold = chosen.info.outputs["label"].threshold
    assert threshold is not None
    assert 0 < threshold < 0.5
    assert chosen.info.metrics["validation"]["recall:rage"] > 0
    stored = json.loads((chosen.path / "run.json").read_text())["outputs"]["label"]
    assert stored["threshold"] == threshold
    # The weights are the same: only the answer is another one.
    a, b = (one.info.metrics["test"]["auc"] for one in (fixed, chosen))
    assert a == b


def test_what_is_no_threshold_is_refused() -> None:
    assert first_threshold(TextLstm()) == 0.5
    assert first_threshold(TextLstm(threshold="0.25")) == 0.25
    for wrong in ("half", "1", "0", "nan"):
        with pytest.raises(UsageError, match="threshold"):
            TextLstm(threshold=wrong)
