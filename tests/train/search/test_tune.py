"""The search tries what the seed says, judges on the validation split, and survives kills."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import SUBSET, RunPython

from edgeward.runtime.errors import InvalidDataError, MissingExtraError, TrainingError, UsageError
from edgeward.runtime.samples import Samples
from edgeward.train.console import Console
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.loop.session import Session
from edgeward.train.options import Options
from edgeward.train.pipeline import train
from edgeward.train.recipe import Hyperparameters, Recipe, override
from edgeward.train.recipes import NAMES, load_recipe
from edgeward.train.run import Run
from edgeward.train.search import study as study_module
from edgeward.train.search.result import Tuned, command_line
from edgeward.train.search.space import check_search, contains, read_space
from edgeward.train.search.study import COMPLETE, FAILED, PRUNED, Study, Trial
from edgeward.train.search.tune import tune

MLP = load_recipe("mnist_mlp")
SPACE = {"learning_rate": ("log", 5e-4, 1e-2), "units": ("int", 8, 32), "shift": ("choice", 0, 1)}


@pytest.fixture
def few(digits: Dataset) -> Dataset:
    """500 + 200 digits; whoever looks at the test split fails."""

    class Poison(Samples):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"the test split was touched: {name}")

    return replace(
        digits,
        train=digits.train.take(range(500)),
        validation=digits.validation.take(range(200)),
        test=object.__new__(Poison),
    )


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data checks look at all splits, and learn nothing from them."""
    monkeypatch.setattr("edgeward.train.pipeline.check_dataset", lambda *arguments: None)


def recipe_of(dataset: Dataset, **changes: Any) -> Recipe:
    small = override(MLP.hyperparameters, {"epochs": 1, "batch_size": 50, "units": 16})
    changes = {"hyperparameters": small, "space": SPACE, **changes}
    return replace(MLP, load=lambda path, hyper, say: dataset, **changes)


def search(
    recipe: Recipe,
    console: Console,
    out: Path,
    count: int,
    *,
    resume: bool = False,
    fixed: frozenset[str] = frozenset(),
    hyper: Hyperparameters | None = None,
    **options: Any,
) -> Tuned:
    hyper = hyper or recipe.hyperparameters
    space = read_space(recipe, hyper, fixed)
    with Study(out / recipe.name / "study", resume) as study:
        return tune(recipe, hyper, Options(out=out, **options), count, space, study, console)


def content(out: Path) -> dict[str, Any]:
    def refuse(text: str) -> None:
        raise ValueError(text)

    text = (out / "mnist_mlp" / "study" / "study.json").read_text()
    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


def told(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trials without what differs from one machine to the next."""
    return [{**trial, "seconds": 0} for trial in trials]


# ---- the space


@dataclass(frozen=True)
class Every(Hyperparameters):
    units: int = 8
    rate: float = 0.5
    flip: bool = False
    mode: str = "a"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.units < 100, "units", "a whole number below 100")


def test_every_kind_of_entry_is_read_and_what_people_typed_is_not_searched(digits: Dataset) -> None:
    space = {
        "learning_rate": ("log", 1e-4, 1),
        "rate": ["float", 0, 1],
        "units": ("int", 1, 99),
        "batch_size": ("choice", 8, 16),
        "flip": ("choice", False, True),
        "mode": ("choice", "a", "b"),
    }
    recipe = recipe_of(digits, hyperparameters=Every(), space=space)
    found = read_space(recipe, Every(), set())
    assert found == {**space, "learning_rate": ("log", 1e-4, 1.0), "rate": ("float", 0.0, 1.0)}
    assert set(read_space(recipe, Every(), {"units", "epochs"})) == set(space) - {"units"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"unit": ("int", 1, 2)}, "a hyper-parameter of mnist_mlp"),
        ({"units": ("range", 1, 2)}, "'choice'"),
        ({"units": ("log", 1, 2)}, "'int' or 'choice'"),
        ({"rate": ("int", 0, 1)}, "'log', 'float' or 'choice'"),
        ({"mode": ("int", 0, 1)}, "'choice'"),
        ({"units": ("int", 2, 2)}, "low < high"),
        ({"units": ("int", 3, 2)}, "low < high"),
        ({"rate": ("float", 1.0, 0.5)}, "low < high"),
        ({"rate": ("log", 0.0, 0.5)}, "0 < low"),
        ({"rate": ("float", 0.0, float("inf"))}, "two numbers"),
        ({"units": ("int", 1, 2.5)}, "two whole numbers"),
        ({"units": ("int", 1)}, "two whole numbers"),
        ({"units": ("int", 1, 100)}, "below 100"),
        ({"units": ("choice", 8, "9")}, "type int"),
        ({"units": ("choice", 8)}, "at least two"),
        ({"units": ("choice", 8, 8)}, "all different"),
        ({"units": 8}, "'choice'"),
        ({}, "learning_rate"),
    ],
)
def test_a_wrong_entry_is_named(digits: Dataset, entry: dict[str, Any], said: str) -> None:
    recipe = recipe_of(digits, hyperparameters=Every(), space=entry)
    with pytest.raises(UsageError) as caught:
        read_space(recipe, Every(), set())
    assert said in str(caught.value)
    assert all(repr(name) in str(caught.value) for name in entry)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"mnist_gan"}))
def test_the_space_of_every_recipe_is_right_and_holds_its_defaults(name: str) -> None:
    recipe = load_recipe(name)
    space = read_space(recipe, recipe.hyperparameters, set())
    assert set(space) == set(recipe.space)
    defaults = recipe.hyperparameters.to_json()
    assert contains(space, defaults)
    assert not contains(space, {**defaults, "learning_rate": 1.0})


def test_what_makes_no_sense_is_refused(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=">= 1"):
        check_search(0, None)
    with pytest.raises(UsageError, match="--folds"):
        check_search(1, 5)
    with pytest.raises(UsageError, match="nothing left"):
        read_space(MLP, MLP.hyperparameters, set(MLP.space))
    gan = load_recipe("mnist_gan")
    with pytest.raises(UsageError, match="task generation"):
        read_space(gan, gan.hyperparameters, set())
    check_search(1, None)
    monkeypatch.setenv(
        "TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    )
    with pytest.raises(UsageError, match="TF_CONFIG"):
        check_search(1, None)
    monkeypatch.setattr(study_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"edgeward\[train\]"):
        Study(tmp_path / "study", False)
    assert not any(tmp_path.iterdir())


# ---- what is tried


def fake(number: int, values: Mapping[str, Any], value: float) -> Trial:
    return Trial(number, values, COMPLETE, value, (value,), 0.1)


def proposals(folder: Path, count: int, seed: int, sessions: int = 1) -> list[Mapping[str, Any]]:
    """Values of so many trials, the study being opened anew for each part of them."""
    for part in range(1, sessions + 1):
        with Study(folder, resume=True) as study:
            study.begin({"seed": seed}, True)
            while len(study.trials) < count * part // sessions:
                asked = study.ask(SPACE, seed, None, None)
                score = -abs(np.log(asked.values["learning_rate"] / 3e-3))
                study.add(fake(len(study.trials) + 1, asked.values, score), SPACE)
            found = [trial.values for trial in study.trials]
    return found


def test_proposals_follow_seed_and_finished_trials_alone(tmp_path: Path) -> None:
    whole = proposals(tmp_path / "whole", 24, 7)
    assert proposals(tmp_path / "parts", 24, 7, sessions=8) == whole
    # The twin: another seed tries something else.
    assert proposals(tmp_path / "other", 24, 8) != whole
    rates = [values["learning_rate"] for values in whole]
    assert all(5e-4 <= rate <= 1e-2 and float(f"{rate:.4g}") == rate for rate in rates)
    assert {type(values["units"]) for values in whole} == {int}
    # It searches: once it knows ten trials, it is nearer to the best than where it began.
    far = [abs(np.log(rate / 3e-3)) for rate in rates]
    assert np.median(far[10:]) < np.median(far[:10])


def test_no_values_are_tried_twice_while_there_are_others(tmp_path: Path) -> None:
    space = {"shift": ("choice", 0, 1, 2), "units": ("choice", 8, 16)}
    with Study(tmp_path / "study", False) as study:
        study.begin({}, True)
        for number in range(1, 8):
            asked = study.ask(space, 0, None, None)
            study.add(fake(number, asked.values, 0.5), space)
        values = [tuple(trial.values.values()) for trial in study.trials]
    assert len(set(values[:6])) == 6
    assert values[6] in values[:6]


# ---- the search


def test_search_finds_the_best_on_the_validation_split_and_never_sees_the_test_split(
    few: Dataset, unchecked: None, console: Console, tmp_path: Path
) -> None:
    found = search(recipe_of(few), console, tmp_path, 3)
    told_of = content(tmp_path)
    trials = told_of["trials"]
    assert [trial["state"] for trial in trials] == [COMPLETE] * 3
    # The first is the recipe's own choice, so the search cannot end below it.
    assert trials[0]["values"] == {"learning_rate": 4e-3, "units": 16, "shift": 1}
    assert found.best.value == max(trial["value"] for trial in trials) > 0.4
    assert told_of["best"]["number"] == found.best.number
    assert {name: getattr(found.hyper, name) for name in SPACE} == found.best.values
    assert told_of["fixed"] == {"epochs": 1, "batch_size": 50, "balance": "none"}
    assert (told_of["metric"], told_of["split"]) == ("accuracy", "validation")
    assert told_of["dataset"]["sha256"] == few.sha256
    assert (tmp_path / "mnist_mlp" / "study" / "study.png").read_bytes()[:4] == b"\x89PNG"
    files = sorted(path.name for path in (tmp_path / "mnist_mlp" / "study").iterdir())
    assert files == ["study.journal", "study.json", "study.png"]
    # It makes no run.
    assert [path.name for path in (tmp_path / "mnist_mlp").iterdir()] == ["study"]
    # The twin: what does look at the test split fails.
    with pytest.raises(AssertionError, match="test split was touched"):
        train(recipe_of(few), found.hyper, Options(out=tmp_path), console)


def test_failed_and_pruned_trials_are_told_and_do_not_end_the_search(
    few: Dataset,
    unchecked: None,
    console: Console,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Adam survives any learning rate; a loss that is not finite is made here.
    def loss(hyper: Any) -> Any:
        import keras

        class Loss(keras.losses.Loss):
            def call(self, targets: Any, outputs: Any) -> Any:
                inner = keras.losses.SparseCategoricalCrossentropy(reduction=None)
                return inner(targets, outputs) * (float("nan") if hyper.shift else 1.0)

        return Loss(reduction=None)

    hopeless = study_module.Asked.is_hopeless
    monkeypatch.setattr(
        study_module.Asked,
        "is_hopeless",
        lambda asked, epoch, value: hopeless(asked, epoch, value) or asked.values["units"] == 8,
    )
    space = {"shift": ("choice", 0, 1), "units": ("choice", 8, 16)}
    small = override(MLP.hyperparameters, {"epochs": 2, "units": 16, "shift": 0})
    recipe = recipe_of(few, space=space, loss=loss, hyperparameters=small)
    lines: list[str] = []
    monkeypatch.setattr(type(console), "say", lambda self, line: lines.append(line))
    found = search(recipe, console, tmp_path, 4)
    trials = {tuple(t["values"].values()): t for t in content(tmp_path)["trials"]}
    assert {values: trial["state"] for values, trial in trials.items()} == {
        (0, 16): COMPLETE,
        (0, 8): PRUNED,
        (1, 16): FAILED,
        (1, 8): FAILED,
    }
    assert len(trials[0, 8]["epochs"]) == 1
    assert trials[0, 8]["value"] is None
    assert "not finite" in trials[1, 8]["error"]
    assert found.best.number == 1
    text = "\n".join(lines)
    assert text.count("failed: ") == 2
    assert "pruned after epoch 1 at accuracy" in text
    # All of them failing is an error, also of a resumed search.
    for resume in (False, True):
        with pytest.raises(TrainingError, match="2 failed"):
            search(
                replace(recipe, space={"units": ("choice", 8, 16)}),
                *(console, tmp_path / "failing", 2),
                hyper=replace(small, shift=1),
                resume=resume,
            )


def test_the_pruner_ends_what_most_trials_were_better_than(tmp_path: Path) -> None:
    with Study(tmp_path / "study", False) as study:
        study.begin({}, True)
        for number in range(1, 7):
            study.add(
                Trial(number, study.ask(SPACE, 0, None, 1).values, COMPLETE, 0.9, (0.5, 0.9), 1),
                SPACE,
            )
        asked = study.ask(SPACE, 0, None, 1)
        assert not asked.is_hopeless(1, 0.6)
        assert not study.ask(SPACE, 0, None, None).is_hopeless(1, 0.1)
        assert not study.ask(SPACE, 0, None, 2).is_hopeless(1, 0.1)
        assert study.ask(SPACE, 0, None, 1).is_hopeless(1, 0.1)


# ---- resuming


def test_a_study_goes_on_only_when_asked_and_only_as_the_same_search(
    few: Dataset, unchecked: None, console: Console, tmp_path: Path
) -> None:
    recipe = recipe_of(few)
    search(recipe, console, tmp_path, 1)
    with pytest.raises(UsageError, match=r"1 finished trials.*\n.*--resume.*delete") as caught:
        search(recipe, console, tmp_path, 2)
    assert str(tmp_path / "mnist_mlp" / "study") in str(caught.value)
    other = replace(few, sha256="0" * 64)
    wide = {**SPACE, "units": ("int", 8, 33)}
    small = recipe.hyperparameters
    for difference, arguments in {
        "data set": {"recipe": recipe_of(other)},
        "units": {"recipe": recipe_of(few, space=wide)},
        "batch_size": {"hyper": replace(small, batch_size=25)},
        "shift": {"fixed": frozenset({"shift"})},
        "seed": {"seed": 1},
        "augment": {"augment": False},
        "precision": {"precision": "mixed"},
    }.items():
        with pytest.raises(UsageError, match=f"another {difference}"):
            search(
                **{"recipe": recipe, **arguments},
                console=console,
                out=tmp_path,
                count=2,
                resume=True,
            )
    # The twin: the same search goes on, whatever does not decide its results.
    search(recipe, console, tmp_path, 2, resume=True, h5=True, save_every=5, device="cpu")
    assert len(content(tmp_path)["trials"]) == 2
    # Fewer than there are: nothing is left to do.
    assert search(recipe, console, tmp_path, 1, resume=True).trials == 2


def test_interrupted_search_says_how_to_go_on(
    few: Dataset,
    unchecked: None,
    console: Console,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(type(console), "say", lambda self, line: lines.append(line))
    fit, left = Session.fit, [1]

    def fit_or_stop(session: Session) -> Any:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return fit(session)

    monkeypatch.setattr(Session, "fit", fit_or_stop)
    recipe = recipe_of(few)
    with pytest.raises(KeyboardInterrupt):
        search(recipe, console, tmp_path, 2)
    assert "1 finished trials are kept" in lines[-1]
    assert "--resume" in lines[-1]
    # The twin: where no trial was finished nothing is kept, and nothing is in the way.
    with pytest.raises(KeyboardInterrupt):
        search(recipe, console, tmp_path / "nothing", 2)
    assert "Nothing is kept" in lines[-1]
    assert not (tmp_path / "nothing" / "mnist_mlp" / "study").exists()


def test_a_study_of_another_process_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    proposals(tmp_path / "study", 2, 0)
    with Study(tmp_path / "study", True), pytest.raises(UsageError, match="Another process"):
        Study(tmp_path / "study", True)
    journal = tmp_path / "study" / "study.journal"
    whole = journal.read_bytes()
    # What an appended file looks like after a kill; ours is never left so.
    for damage in (
        whole[:-20],
        whole + b'{"op_code":4',
        b"\0" * 100,
        whole.replace(b"seconds", b"s"),
    ):
        journal.write_bytes(damage)
        with pytest.raises(InvalidDataError, match="damaged"):
            Study(tmp_path / "study", True)
    journal.write_bytes(whole)
    with Study(tmp_path / "study", True) as study:
        assert len(study.trials) == 2


_ADD = """
import sys
from pathlib import Path
from edgeward.train.search.study import Study, Trial
space = {"units": ("int", 1, 10**9)}
with Study(Path(sys.argv[1]), True) as study:
    study.begin({}, True)
    for number in range(len(study.trials) + 1, 10**6):
        study.add(Trial(number, {"units": number}, "complete", 0.5, (0.5,), 1.0), space)
        print(number, flush=True)
"""


def test_a_study_survives_kills_while_it_is_written(
    environment: dict[str, str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    before = 0
    for _ in range(6):
        command = [sys.executable, "-c", _ADD, str(tmp_path / "study")]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.uniform(0, 0.2))
            child.kill()
            said = [before, *map(int, child.stdout.read().split())]
        assert child.returncode == -signal.SIGKILL
        with Study(tmp_path / "study", True) as study:
            # What was said to be there is there, and at most the one after it.
            assert len(study.trials) - said[-1] in (0, 1, 2)
            assert [trial.values["units"] for trial in study.trials] == list(
                range(1, len(study.trials) + 1)
            )
            assert len(study.trials) > before
            before = len(study.trials)


# ---- the command line


_KILL = """
import os, signal, sys
from edgeward.train.loop import session
measure = session.Session._measure
trials = []
def measure_and_die(self, model):
    trials.append(self)
    if len(trials) == 3:
        os.kill(os.getpid(), signal.{signal})
    return measure(self, model)
session.Session._measure = measure_and_die
from edgeward.train.cli import main
sys.exit(main(sys.argv[1:]))
"""
TUNE = [
    *("mnist_mlp", "--data", SUBSET, "--epochs", "1", "--batch-size", "200", "--seed", "3"),
    *("--set", "shift=0", "--save-every", "10", "--tune", "4"),
]


@pytest.mark.slow
def test_killed_and_resumed_search_is_the_undisturbed_one(
    run_python: RunPython, tmp_path: Path
) -> None:
    die, stop = (_KILL.replace("{signal}", name) for name in ("SIGKILL", "SIGINT"))
    with ThreadPoolExecutor(2) as pool:
        whole, killed = pool.map(
            lambda arguments: run_python(*arguments),
            [
                ("-m", "train", *TUNE, "--json", "--out", "whole"),
                ("-c", die, *TUNE, "--out", "killed"),
            ],
        )
    assert whole.returncode == 0, whole.stderr
    assert killed.returncode == -signal.SIGKILL
    assert len(content(tmp_path / "killed")["trials"]) == 2
    # The third trial again and the fourth, then Ctrl-C in the training with the best values.
    stopped = run_python("-c", stop, *TUNE, "--out", "killed", "--resume")
    assert stopped.returncode == 130, stopped.stderr
    assert "Continuing the search after 2 finished trials." in stopped.stderr
    assert "the same command with --resume" in stopped.stderr
    resumed = run_python("-m", "train", *TUNE, "--resume", "--json", "--out", "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming after 0 epochs and 20 steps." in resumed.stderr
    both = [content(tmp_path / name) for name in ("whole", "killed")]
    assert told(both[0]["trials"]) == told(both[1]["trials"])
    assert len(both[0]["trials"]) == 4
    assert set(both[0]["space"]) == {"learning_rate", "units"}
    results = [json.loads(done.stdout) for done in (whole, resumed)]
    assert results[0]["metrics"] == results[1]["metrics"]
    study = results[0]["study"]
    assert (study["path"], study["trials"]) == ("whole/mnist_mlp/study", 4)
    assert study["best"]["value"] == max(trial["value"] for trial in both[0]["trials"])
    # The model is that of the best trial, and says so.
    runs = [Run.open(tmp_path / result["run"]) for result in results]
    assert [run.info.training["resumed"] for run in runs] == [0, 1]
    assert runs[0].info.training["tuned"] == runs[1].info.training["tuned"]
    run = runs[1]
    assert run.info.metrics["validation"]["accuracy"] == study["best"]["value"]
    assert run.info.training["tuned"] == {
        "trials": 4,
        "metric": "accuracy",
        "value": study["best"]["value"],
        "study": "study",
    }
    assert run.info.hyperparameters["units"] == study["best"]["values"]["units"]
    assert not (run.path / "tuned.json").exists()
    for word in ("--set shift=0", f"--set units={study['best']['values']['units']}", "--seed 3"):
        assert word in study["command"]
    assert "--tune" not in study["command"]


def test_command_line_of_the_best_values_is_complete_and_quoted() -> None:
    options = {"data": Path("my data"), "seed": 3, "augment": False, "h5": True, "save_every": 5}
    values = {"learning_rate": 0.003, "epochs": 2, "units": 5}
    assert command_line("my recipe.py", values, options) == (
        "python -m train 'my recipe.py' --learning-rate 0.003 --epochs 2 --set units=5 "
        "--data 'my data' --seed 3 --no-augment --h5 --save-every 5"
    )


def test_usage_errors_are_told_without_tensorflow(run_python: RunPython, tmp_path: Path) -> None:
    proposals(tmp_path / "runs" / "mnist_mlp" / "study", 2, 0)
    program = (
        "import json, sys\nfrom edgeward.train.cli import main\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    print(main(line), 'tensorflow' in sys.modules, file=sys.stderr)\n"
    )
    lines = {
        ("mnist_mlp", "--tune", "0"): ">= 1",
        ("mnist_mlp", "--tune", "2", "--folds", "3"): "--folds",
        ("mnist_gan", "--tune", "2"): "generation",
        ("mnist_mlp", "--tune", "20"): "2 finished trials in runs/mnist_mlp/study",
    }
    done = run_python("-c", program, json.dumps(list(lines)))
    assert done.stderr.count("2 False") == len(lines)
    assert all(said in done.stderr for said in lines.values())
