"""The search for better hyper-parameters: trains many times, judges on the validation split alone.

Why Optuna: our loop is no Keras ``fit``, which KerasTuner wants; its sampler (TPE, Bergstra et al.,
"Algorithms for Hyper-Parameter Optimization", NeurIPS 2011) and its pruners know no framework; and
a study is one file that resumes.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import keras

from edgeward.runtime.errors import TrainingError
from edgeward.runtime.files import write_atomic
from edgeward.runtime.strict_json import dumps
from edgeward.train.console import Console
from edgeward.train.loop.scoring import Scorer
from edgeward.train.loop.session import Session, Setup, versions
from edgeward.train.options import Options
from edgeward.train.pipeline import load_data, set_up
from edgeward.train.recipe import Hyperparameters, Recipe, override
from edgeward.train.search.load_once import LoadOnce
from edgeward.train.search.plot import plot_study
from edgeward.train.search.result import Tuned
from edgeward.train.search.space import Space, contains, refuse_generation
from edgeward.train.search.study import COMPLETE, FAILED, PRUNED, Asked, Study, Trial

__all__ = ["tune"]

# What decides no result of a trial, or is in a study's identity by what it leads to: the hash of
# the data, the precision in force, the hash of the model of --init.
_FREE = ("data", "explain", "h5", "init", "precision", "save_every")


def tune(
    recipe: Recipe,
    hyper: Hyperparameters,
    options: Options,
    count: int,
    space: Space,
    study: Study,
    console: Console,
) -> Tuned:
    """Search until ``count`` trials are finished; each is a training in memory.

    After each, ``study.json`` and ``study.png`` are written anew. The test split is not touched.

    Args:
        recipe: What to train.
        hyper: Values of what is not searched, and of the first trial: the search is never worse
            than the recipe's own choice.
        options: The other choices.
        count: Finished trials, with those that the study has already.
        space: What is searched, from ``train.search.space``.
        study: Opened by the caller.
        console: Where progress is said.

    Returns:
        The best.

    Raises:
        InvalidDataError: The data are missing, damaged or do not fit.
        UsageError: The study is of another search, or the task has no metric.
        TrainingError: Not one trial could be finished.
    """
    recipe = replace(recipe, load=LoadOnce(recipe))
    setup = set_up(recipe, hyper, options, console)
    refuse_generation(setup.recipe)
    scorer = Scorer(setup.recipe.inputs, setup.recipe.outputs, setup.dataset.vocabularies)
    search = _Search(recipe, setup, count, space, study, scorer)
    study.begin(search.identity(), scorer.better(1.0, 0.0))
    if study.trials:
        console.say(f"Continuing the search after {len(study.trials)} finished trials.")
    with setup.interrupts, _no_word_of_retracing():
        try:
            while len(study.trials) < count:
                search.advance()
        except KeyboardInterrupt:
            console.say(_kept(study))
            raise
    # Also without a new trial: the process may have been killed between a trial and its files.
    search.write()
    best = search.best()
    if best is None:
        raise TrainingError(
            "Not one trial of the search could be finished.",
            received=f"{len(study.trials)} failed, the last one: {study.trials[-1].error}",
            fix="a space of smaller learning rates, if the data are right",
        )
    return Tuned(override(hyper, best.values), best, len(study.trials), scorer.metric, study.folder)


@dataclass(frozen=True)
class _Search:
    """One search.

    Args:
        recipe: Not yet fitted to data, which may differ from trial to trial.
        setup: Of the first trial.
        count: Finished trials to reach.
        space: What is searched.
        study: The finished trials.
        scorer: Of the first trial.
    """

    recipe: Recipe
    setup: Setup
    count: int
    space: Space
    study: Study
    scorer: Scorer

    def identity(self) -> dict[str, Any]:
        """Return all that decides the result of a trial, name -> value."""
        setup, transfer = self.setup, self.setup.recipe.transfer
        options = {k: v for k, v in setup.options.to_json().items() if k not in _FREE}
        values = {name: self.space.get(name, v) for name, v in setup.hyper.to_json().items()}
        return {
            **options,
            **values,
            "data set (sha256)": setup.dataset.sha256,
            "model of --init (sha256)": transfer and transfer.model_sha256,
            "precision": setup.device.policy,
        }

    def advance(self) -> None:
        """Run the next trial, store it and say what came of it."""
        setup = self.setup
        study, number = self.study, len(self.study.trials) + 1
        best = self.best()
        so_far = "" if best is None else f", best {self.scorer.metric} {best.value:.4f}"
        setup.console.progress(number - 1, self.count, so_far)
        defaults = {name: setup.hyper.to_json()[name] for name in self.space}
        asked = study.ask(
            self.space,
            setup.options.seed,
            first=defaults if contains(self.space, defaults) else None,
            # The one cycle of the learning rate makes early epochs look bad: none is judged before
            # a third of them. Where their number is searched, epochs of two trials do not compare.
            warmup=None if "epochs" in self.space else setup.hyper.epochs // 3,
        )
        trial = self._run(number, asked)
        with setup.interrupts.held():
            study.add(trial, self.space)
            self.write()
        setup.console.say(self._line(trial))

    def best(self) -> Trial | None:
        """Return the best complete trial, of equals the first."""
        best: Trial | None = None
        for trial in self.study.trials:
            if trial.value is not None and (
                best is None or best.value is None or self.scorer.better(trial.value, best.value)
            ):
                best = trial
        return best

    def write(self) -> None:
        """Write ``study.json`` and ``study.png`` anew."""
        setup, dataset = self.setup, self.setup.dataset
        best, trials, metric = self.best(), self.study.trials, self.scorer.metric
        maximise = self.scorer.better(1.0, 0.0)
        hyper = setup.hyper.to_json()
        content = {
            "format_version": 1,
            "recipe": self.recipe.name,
            "seed": setup.options.seed,
            "metric": metric,
            "split": "validation",
            "direction": "maximize" if maximise else "minimize",
            "space": {name: list(entry) for name, entry in self.space.items()},
            "fixed": {name: value for name, value in hyper.items() if name not in self.space},
            "options": setup.options.to_json(),
            "dataset": {"name": dataset.name, "source": dataset.source, "sha256": dataset.sha256},
            "device": setup.device.to_json(),
            "versions": versions() | {"optuna": version("optuna")},
            "trials": [trial.to_json() for trial in trials],
            "best": None if best is None else best.to_json(),
        }
        write_atomic(self.study.folder / "study.json", dumps(content))
        plot_study(self.study.folder / "study.png", trials, self.space, metric, maximise=maximise)

    def _run(self, number: int, asked: Asked) -> Trial:
        started = time.perf_counter()
        # What Keras remembers of the trial before is memory, and numbers in the names of layers.
        keras.utils.clear_session()
        epochs: list[float] = []
        hyper = override(self.setup.hyper, asked.values)

        def watch(epoch: int, value: float) -> None:
            epochs.append(value)
            # After its last epoch there is nothing left to save.
            if asked.is_hopeless(epoch, value) and epoch < hyper.epochs:
                raise _PrunedError

        def ended(state: str, value: float | None = None, error: str | None = None) -> Trial:
            seconds = round(time.perf_counter() - started, 3)
            return Trial(
                number=number,
                values=asked.values,
                state=state,
                value=value,
                epochs=tuple(epochs),
                seconds=seconds,
                error=error,
            )

        quiet = _Quiet(self.setup.console)
        recipe, dataset = load_data(self.recipe, hyper, self.setup.options, quiet)
        setup = replace(self.setup, recipe=recipe, hyper=hyper, dataset=dataset, console=quiet)
        session = Session(setup, watch=watch)
        try:
            model = session.fit()
        except _PrunedError:
            return ended(PRUNED)
        except TrainingError as error:
            return ended(FAILED, error=error.message)
        outputs = session.scorer.predict(model, dataset.validation)
        return ended(
            COMPLETE, session.scorer.score(outputs, dataset.validation)[self.scorer.metric]
        )

    def _line(self, trial: Trial) -> str:
        metric, best = self.scorer.metric, self.best()
        values = ", ".join(f"{name} {trial.values[name]}" for name in self.space)
        if trial.value is not None:
            result = f"validation {metric} {trial.value:.4f}"
        elif trial.state == PRUNED:
            result = f"pruned after epoch {len(trial.epochs)} at {metric} {trial.epochs[-1]:.4f}"
        else:
            result = f"failed: {trial.error}"
        so_far = "none so far" if best is None else f"{best.value:.4f} (trial {best.number})"
        return (
            f"Trial {trial.number}/{self.count}: {values}: {result}; best {so_far} "
            f"({trial.seconds:.1f} s)"
        )


class _PrunedError(Exception):
    """Ends a trial that most others were better than."""


class _Quiet:
    """Hands the bar on, and keeps the lines of each trial's training to itself."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        pass

    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        self._console.advance(epoch, step, steps, losses)

    def epoch(self, row: Mapping[str, float], epochs: int) -> None:
        pass

    def progress(self, done: int, total: int, text: str) -> None:
        self._console.progress(done, total, text)


@contextlib.contextmanager
def _no_word_of_retracing() -> Iterator[None]:
    """Hold back TensorFlow's warning that a function is compiled often: each trial has its own."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _kept(study: Study) -> str:
    if not study.trials:
        return "Nothing is kept: no trial was finished."
    return (
        f"{len(study.trials)} finished trials are kept in {study.folder}. "
        "To continue this search: the same command with --resume"
    )
