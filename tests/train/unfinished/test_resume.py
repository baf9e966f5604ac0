"""A training that was killed goes on as if nothing had been: same bits, no torn state."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.train.datasets import mnist
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.loop.devices import choose_device
from edgeward.train.loop.feed import TrainingFeed
from edgeward.train.loop.fit import Checkpoint, Epoch, Plan, fit
from edgeward.train.loop.learner import SupervisedLearner
from edgeward.train.options import Options
from edgeward.train.recipe import Setting, override
from edgeward.train.recipes.mnist_cnn import RECIPE, MnistCnn
from edgeward.train.run import Run
from edgeward.train.unfinished.folder import PartialRun
from edgeward.train.unfinished.resume import check_resumed_data, reopen
from edgeward.train.unfinished.state import STATE, Best, State, load_state, save_state

SUBSET = ["--data", str(mnist.SUBSET)]
SPEC = RECIPE.inputs["image"]


class Silent:
    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        pass


# ---- the loop


def net() -> keras.Model:
    """Everything with a state of its own: batch normalisation, dropout, Adam."""
    image = keras.Input((28, 28, 1), name="image")
    x = layers.Conv2D(2, 3, strides=3, activation="relu")(image)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(x))


def augment() -> keras.Layer:
    return keras.Sequential([layers.RandomTranslation(0.1, 0.1), layers.RandomRotation(0.05)])


def learner(setting: Setting) -> SupervisedLearner:
    loss = keras.losses.SparseCategoricalCrossentropy(reduction=None)
    return SupervisedLearner(net, loss, 0.01, setting)


PLAN = Plan(learner=learner, epochs=3, batch_size=50, seed=1, augment=augment, save_every=7)


class Loop:
    """The loop on 500 digits (10 steps an epoch); keeps what it is given."""

    def __init__(self, digits: Dataset) -> None:
        some = digits.train.take(range(500))
        self.feed = TrainingFeed(SPEC, some.inputs["image"], some.targets["digit"], shift=1, seed=1)
        self.points: list[Checkpoint] = []
        self.epochs: list[Epoch] = []

    def on_epoch(self, epoch: Epoch, model: keras.Model) -> bool:
        self.epochs.append(epoch)
        return False

    def run(self, plan: Plan = PLAN, start: Checkpoint | None = None) -> list[np.ndarray]:
        model = fit(
            plan,
            self.feed,
            choose_device("cpu"),
            reporter=Silent(),
            on_epoch=self.on_epoch,
            save=self.points.append,
            start=start,
        )
        return model.get_weights()


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def undisturbed(digits: Dataset) -> tuple[Loop, list[np.ndarray]]:
    loop = Loop(digits)
    return loop, loop.run()


def test_states_are_saved_at_each_epoch_and_every_so_many_steps(
    undisturbed: tuple[Loop, list[np.ndarray]],
) -> None:
    points = [(point.epochs, point.steps) for point in undisturbed[0].points]
    assert points == [(0, 7), (1, 0), (1, 4), (2, 0), (2, 1), (2, 8), (3, 0)]


@pytest.mark.parametrize("which", [0, 2, 3, 6])
def test_resumed_training_ends_with_the_same_bits_and_losses(
    digits: Dataset, undisturbed: tuple[Loop, list[np.ndarray]], which: int
) -> None:
    whole, weights = undisturbed
    point = whole.points[which]
    rest = Loop(digits)
    assert same(rest.run(start=point), weights)
    expected = [epoch.losses for epoch in whole.epochs if epoch.number > point.epochs]
    assert [epoch.losses for epoch in rest.epochs] == expected


# Where each kind of variable is among the 24 of the network, Adam and the augmentation.
PARTS = {
    "/kernel": (0, 7),
    "/moving_mean": (4,),
    "/moving_variance": (5,),
    "/iteration": (9,),
    "_momentum": tuple(range(10, 22, 2)),
    "_velocity": tuple(range(11, 22, 2)),
    "dropout: /seed_generator_state": (6,),
    "translation: /seed_generator_state": (22,),
    "rotation: /seed_generator_state": (23,),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_state_with_any_part_changed_ends_with_other_bits(
    digits: Dataset, undisturbed: tuple[Loop, list[np.ndarray]], part: str
) -> None:
    """The twin: each kind of variable counts, hence each is really saved and restored."""
    whole, weights = undisturbed
    point = whole.points[2]
    variables = [*learner(Setting("float32", 30)).variables, *augment().variables]
    assert len(variables) == len(point.arrays) == 24
    arrays = list(point.arrays)
    for index in PARTS[part]:
        assert variables[index].path.endswith(part.split()[-1])
        arrays[index] = arrays[index] + np.ones((), arrays[index].dtype)
    assert not same(Loop(digits).run(start=replace(point, arrays=arrays)), weights)


def test_state_of_another_model_is_refused(
    digits: Dataset, undisturbed: tuple[Loop, list[np.ndarray]]
) -> None:
    point = undisturbed[0].points[0]
    short = replace(point, arrays=point.arrays[:-1])
    with pytest.raises(InvalidDataError, match="another model"):
        Loop(digits).run(start=short)


# ---- the state file


def state(**changes: Any) -> State:
    values: dict[str, Any] = {
        "recipe": "mnist_cnn",
        "hyperparameters": MnistCnn(epochs=7).to_json(),
        "options": Options(seed=3, augment=False).to_json(),
        "dataset": "ab" * 32,
        "policy": "float32",
        "versions": {"keras": "3"},
        "resumed": 1,
        "elapsed": 1.25,
        "epochs": 2,
        "steps": 5,
        "totals": (0.1 + 0.2,),
        "seconds": 0.5,
        "stopped": False,
        "history": [{"epoch": 1.0, "step_loss": 1 / 3}],
        "best": Best(1, 0.9, [np.arange(3, dtype=np.float32)]),
        "arrays": [np.float32(1.5), np.array([[1, 2]], np.int64), np.zeros(0, np.uint32)],
    }
    return State(**{**values, **changes})


def test_state_file_gives_back_every_bit(tmp_path: Path) -> None:
    saved = state()
    save_state(tmp_path, saved)
    loaded = load_state(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    for name in State.__dataclass_fields__:
        if name not in ("arrays", "best"):
            assert getattr(loaded, name) == getattr(saved, name), name
    assert loaded.best is not None
    assert same(list(loaded.best.weights), list(saved.best.weights))  # type: ignore[union-attr]
    for one, other in zip(loaded.arrays, saved.arrays, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        np.testing.assert_array_equal(one, other)


def test_more_than_a_hundred_thousand_variables_would_keep_their_order(tmp_path: Path) -> None:
    many = [np.float32(index) for index in range(1200)]
    save_state(tmp_path, state(arrays=many, best=None))
    assert [float(array) for array in load_state(tmp_path).arrays] == list(range(1200))


@pytest.mark.parametrize("damage", ["cut", "flip", "pickle", "gone"])
def test_damaged_state_is_an_error_that_names_the_file(tmp_path: Path, damage: str) -> None:
    save_state(tmp_path, state())
    path = tmp_path / STATE
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[len(data) // 3] ^= 1
        path.write_bytes(data)
    elif damage == "pickle":
        np.savez(path, state=np.array([{"a": 1}], dtype=object))
    else:
        path.unlink()
    with pytest.raises(InvalidDataError, match=r"state\.npz is damaged"):
        load_state(tmp_path)


# ---- which run is resumed


def unfinished(out: Path, saved: State) -> Path:
    """Leave what a killed training leaves."""
    partial = PartialRun.start(out, "mnist_cnn")
    save_state(partial.path, saved)
    partial.release()
    return partial.path


def test_resume_takes_hyperparameters_and_options_of_the_run(tmp_path: Path) -> None:
    path = unfinished(tmp_path, state())
    (path / ".history.csv.abc").write_text("half a file")
    resumption = reopen(RECIPE, {}, set(), Options(out=tmp_path))
    options = resumption.options
    assert resumption.partial.path == path
    assert resumption.hyper == MnistCnn(epochs=7)
    assert (options.seed, options.augment, options.out) == (3, False, tmp_path)
    assert resumption.state.epochs == 2
    assert sorted(entry.name for entry in path.iterdir()) == ["lock", STATE]
    resumption.partial.release()


@pytest.mark.parametrize(
    ("changes", "typed", "said"),
    [
        ({"epochs": 7}, {"seed": 3}, ""),
        ({"epochs": 8}, {}, "another epochs"),
        ({"units": "5"}, {}, "another units"),
        ({}, {"seed": 0}, "another seed"),
        ({}, {"patience": 2}, "another patience"),
    ],
)
def test_resume_refuses_what_differs_from_the_run(
    tmp_path: Path, changes: dict[str, object], typed: dict[str, Any], said: str
) -> None:
    unfinished(tmp_path, state())
    options = Options(out=tmp_path, **typed)
    if not said:
        reopen(RECIPE, changes, set(typed), options).partial.release()
        return
    with pytest.raises(UsageError, match=said):
        reopen(RECIPE, changes, set(typed), options)
    # The refusal has given the lock back.
    PartialRun.resume(tmp_path, "mnist_cnn").release()


def test_resume_refuses_other_data_and_another_precision() -> None:
    check_resumed_data(state(), "ab" * 32, "float32")
    with pytest.raises(UsageError, match="data"):
        check_resumed_data(state(), "cd" * 32, "float32")
    with pytest.raises(UsageError, match="precision"):
        check_resumed_data(state(), "ab" * 32, "mixed_float16")


def test_nothing_to_resume_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no unfinished run"):
        PartialRun.resume(tmp_path, "mnist_cnn")
    PartialRun.start(tmp_path, "mnist_cnn").release()
    with pytest.raises(UsageError, match="no unfinished run"):
        PartialRun.resume(tmp_path, "mnist_cnn")


def test_resume_takes_the_newest_that_no_living_process_has(tmp_path: Path) -> None:
    paths = [unfinished(tmp_path, state(epochs=number)) for number in range(3)]
    for age, path in enumerate(reversed(paths)):
        os.utime(path / STATE, (time.time() - age, time.time() - age))
    first = PartialRun.resume(tmp_path, "mnist_cnn")
    second = PartialRun.resume(tmp_path, "mnist_cnn")
    assert [first.path, second.path] == [paths[2], paths[1]]
    first.release()
    assert PartialRun.resume(tmp_path, "mnist_cnn").path == paths[2]


def test_living_training_is_neither_resumed_nor_swept_and_a_dead_one_is(tmp_path: Path) -> None:
    living = PartialRun.start(tmp_path, "mnist_cnn")
    save_state(living.path, state())
    with pytest.raises(UsageError, match="living process"):
        PartialRun.resume(tmp_path, "mnist_cnn")
    stateless = PartialRun.start(tmp_path, "mnist_cnn")
    third = PartialRun.start(tmp_path, "mnist_cnn")
    assert [p.path.name for p in (living, stateless, third)] == [
        ".001.partial",
        ".002.partial",
        ".003.partial",
    ]
    stateless.release()
    living.release()
    fourth = PartialRun.start(tmp_path, "mnist_cnn")
    assert sorted(path.name for path in (tmp_path / "mnist_cnn").iterdir()) == [
        ".001.partial",
        ".003.partial",
        ".004.partial",
    ]
    third.release()
    fourth.release()


def test_traces_in_a_finished_run_are_removed_by_the_next_training(tmp_path: Path) -> None:
    run = tmp_path / "mnist_cnn" / "001"
    run.mkdir(parents=True)
    for name in ("lock", STATE, "run.json"):
        (run / name).write_text("")
    PartialRun.start(tmp_path, "mnist_cnn").release()
    assert [path.name for path in run.iterdir()] == ["run.json"]


def test_override_takes_back_what_json_made_of_a_value() -> None:
    saved = json.loads(json.dumps(MnistCnn(learning_rate=0.1).to_json()))
    assert override(RECIPE.hyperparameters, saved) == MnistCnn(learning_rate=0.1)


# ---- the command line

_KILL = """
import os, signal, sys
from edgeward.train.loop import session
save = session.save_state
def save_and_die(folder, state):
    save(folder, state)
    if (state.epochs, state.steps) == (1, 28):
        os.kill(os.getpid(), signal.SIGKILL)
session.save_state = save_and_die
from edgeward.train.cli import main
sys.exit(main(sys.argv[1:]))
"""
_SMALL = ["mnist_cnn", *SUBSET, "--set", "filters=2", "--set", "units=8", "--epochs", "2"]


@pytest.fixture(scope="module")
def resumed(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of runs: ``whole``, and ``killed`` in its second epoch and resumed."""
    folder = tmp_path_factory.mktemp("resumed")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
        )

    small = [*_SMALL, "--save-every", "10", "--seed", "5"]
    whole = call("-m", "train", *small, "--out", "whole")
    killed = call("-c", _KILL, *small, "--out", "killed")
    again = call("-m", "train", "mnist_cnn", "--resume", "--out", "killed")
    assert (whole.returncode, killed.returncode, again.returncode) == (0, -9, 0), again.stderr
    assert "Resuming after 1 epochs and 28 steps" in again.stderr
    return folder


def test_killed_and_resumed_run_is_the_undisturbed_one_bit_for_bit(resumed: Path) -> None:
    runs = [resumed / name / "mnist_cnn" / "001" for name in ("whole", "killed")]
    models = [keras.models.load_model(run / "model.keras", compile=False) for run in runs]
    assert same(models[0].get_weights(), models[1].get_weights())
    infos = [Run.open(run).info for run in runs]
    assert infos[0].metrics == infos[1].metrics
    assert infos[0].hyperparameters == infos[1].hyperparameters
    assert [info.training["resumed"] for info in infos] == [0, 1]
    texts = [(run / "history.csv").read_text().splitlines() for run in runs]
    rows = [list(csv.DictReader(lines)) for lines in texts]
    for one, other in zip(*rows, strict=True):
        assert {**one, "seconds": ""} == {**other, "seconds": ""}
    files = [sorted(path.name for path in run.iterdir()) for run in runs]
    assert files[0] == files[1]


def test_resume_without_an_unfinished_run_exits_2_without_tensorflow(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    program = (
        "import sys\nfrom edgeward.train.cli import main\ncode = main(sys.argv[1:])\n"
        "sys.exit('tensorflow' if 'tensorflow' in sys.modules else code)"
    )
    done = run_python("-c", program, "mnist_cnn", "--resume")
    assert done.returncode == 2
    assert "no unfinished run of mnist_cnn" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_fifty_kills_at_random_moments_are_resumed_and_change_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    killer = Path(__file__).parents[1] / "support" / "killer.py"

    def start(name: str, resumes: int, seconds: float, seed: int) -> subprocess.Popen[str]:
        (tmp_path / name).mkdir()
        return subprocess.Popen(
            [sys.executable, str(killer), "runs", str(resumes), str(seconds), str(seed)],
            cwd=tmp_path / name,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    undisturbed = start("undisturbed", 0, 0, 0)
    seconds = json.loads(undisturbed.communicate(timeout=100)[0])["seconds"]
    ((expected, _),) = finished(tmp_path / "undisturbed")
    two = [start(f"killed{seed}", 25, seconds, seed) for seed in (1, 2)]
    told = [json.loads(process.communicate(timeout=600)[0]) for process in two]
    assert sum(each["resumed"] for each in told) >= 50
    assert sum(each["killed"] for each in told) >= 40
    for seed, each in zip((1, 2), told, strict=True):
        assert set(each["codes"]) == {0}, (tmp_path / f"killed{seed}" / "log.txt").read_text()
        runs = finished(tmp_path / f"killed{seed}")
        assert runs
        for weights, names in runs:
            assert same(weights, expected)
            assert "run.json" in names


def finished(folder: Path) -> list[tuple[list[np.ndarray], list[str]]]:
    """Weights and file names of each finished run; there is no other one."""
    recipe = folder / "runs" / "mnist_cnn"
    assert not list(recipe.glob(".*.partial/state.npz"))
    result = []
    for run in sorted(recipe.glob("[0-9]*")):
        Run.open(run)
        model = keras.models.load_model(run / "model.keras", compile=False)
        result.append((model.get_weights(), sorted(path.name for path in run.iterdir())))
    return result
