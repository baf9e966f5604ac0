"""One training in memory: epochs, history, early stopping, states. It writes no run folder.

What trains a recipe several times (folds, a search) uses this, and the pipeline once.
"""

from __future__ import annotations

import math
import platform
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from edgeward import __version__
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import TrainingError, UsageError
from edgeward.train.console import Console
from edgeward.train.datasets.balanced import class_weights
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.loop.check import blaming, check_balance, check_model
from edgeward.train.loop.devices import Device
from edgeward.train.loop.feed import TrainingFeed
from edgeward.train.loop.fit import Checkpoint, Epoch, Plan, fit
from edgeward.train.loop.interrupts import Interrupts
from edgeward.train.loop.learner import SupervisedLearner, WeightedLoss, under_policy
from edgeward.train.loop.records import Logs
from edgeward.train.loop.scoring import Scorer
from edgeward.train.options import Options
from edgeward.train.recipe import ClassHyperparameters, Hyperparameters, Learner, Recipe, Setting
from edgeward.train.transfer import count_frozen
from edgeward.train.unfinished.state import Best, State, save_state

__all__ = ["Session", "Setup", "versions"]


@dataclass(frozen=True)
class Setup:
    """What a training is made of; ``train.pipeline.set_up`` makes it.

    Args:
        recipe: Already specialised.
        hyper: Hyper-parameters.
        options: Choices.
        device: Strategy and precision.
        dataset: Already checked.
        console: Told how far it is.
        interrupts: Ctrl-C, held back while a file is written.
        folder: Receives states and logs; None keeps everything in memory.
    """

    recipe: Recipe
    hyper: Hyperparameters
    options: Options
    device: Device
    dataset: Dataset
    console: Console
    interrupts: Interrupts
    folder: Path | None = None


class Session:
    """Trains a specialised recipe on a checked data set.

    Args:
        setup: Recipe, data and all choices.
        state: Continues from here.
        started: ``time.perf_counter()`` when the training began; None is now.
        watch: Called after each epoch with its number (from 1) and the metric of the validation
            split; what it raises ends the training.

    Attributes:
        setup: As given.
        scorer: Scores models of this recipe.
        history: One row per finished epoch.
        best: The best epoch so far; None without early stopping.
        stopped: Whether early stopping ended the training.
        resumed: How often this training was continued.
        frozen_epochs: Epochs that train the head alone, of a network taken from another run.
        last_good: The exported model after the last epoch finished here; None before that.

    Raises:
        UsageError: The options do not go with the recipe's task.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        state: State | None = None,
        started: float | None = None,
        watch: Callable[[int, float], None] | None = None,
    ) -> None:
        recipe, options = setup.recipe, setup.options
        self.setup = setup
        self.scorer = Scorer(recipe.inputs, recipe.outputs, setup.dataset.vocabularies)
        self.scorer.rare = self.scorer.rare_in(setup.dataset.train)
        self.history = [] if state is None else [dict(row) for row in state.history]
        self.best = None if state is None else state.best
        self.stopped = state is not None and state.stopped
        self.resumed = 0 if state is None else state.resumed + 1
        self.frozen_epochs = count_frozen(recipe.transfer, options.freeze, setup.hyper.epochs)
        self.last_good: keras.Model | None = None
        self._state = state
        self._started = time.perf_counter() if started is None else started
        self._watch = watch
        self._logs: Logs | None = None
        self._supervised = self.scorer.output.task != "generation"
        # A user's own field of that name may mean something else.
        hyper = setup.hyper
        self._balance = hyper.balance if isinstance(hyper, ClassHyperparameters) else "none"
        if self._balance != "none":
            check_balance(recipe, self._balance)
        if options.patience and not self._supervised:
            raise UsageError(
                "Early stopping needs a metric of the validation split.",
                received=f"task {self.scorer.output.task}",
                fix="leave --patience out",
            )
        if options.explain and not self._supervised:
            raise UsageError(
                "There is no answer to explain.",
                received=f"task {self.scorer.output.task}",
                fix="leave --explain out",
            )

    def build(self) -> keras.Model:
        """Build the untrained model, with an error for people where the recipe fails."""
        recipe, hyper = self.setup.recipe, self.setup.hyper
        return blaming(recipe, lambda: recipe.build(hyper))

    def fit(self) -> keras.Model:
        """Train; returns the exported model, with the best weights under early stopping.

        Raises:
            InvalidModelError: The model does not fit its data, or cannot be built.
            TrainingError: A loss, a weight or a metric is not finite.
        """
        setup = self.setup
        recipe, hyper, options, dataset = setup.recipe, setup.hyper, setup.options, setup.dataset
        if recipe.learner is None:
            check_model(under_policy("float32", self.build), self.scorer, dataset)
        feed = TrainingFeed(
            self.scorer.input,
            self.scorer.raw(dataset.train),
            self.scorer.training_targets(dataset.train),
            shift=recipe.pixels(hyper) if options.augment else 0,
            seed=options.seed,
            vocabularies=dataset.vocabularies,
            classes=self._classes() if self._balance == "batches" else None,
        )
        augment = recipe.augment if options.augment else None
        plan = Plan(
            learner=self._learner,
            epochs=hyper.epochs,
            batch_size=hyper.batch_size,
            seed=options.seed,
            augment=None if augment is None else lambda: augment(hyper),
            save_every=options.save_every,
            fingerprint=self._fingerprint(),
        )
        setup.console.say(
            f"Training {recipe.name}: {feed.size:,} samples, {hyper.epochs} epochs, "
            f"batch {hyper.batch_size}, seed {options.seed}."
        )
        if setup.folder is not None:
            self._logs = Logs(setup.folder / "logs", self.history)
        try:
            model = fit(
                plan,
                feed,
                setup.device,
                reporter=self,
                on_epoch=self._on_epoch,
                save=None if setup.folder is None else self._save,
                start=None if self._state is None else _checkpoint(self._state),
            )
        finally:
            if self._logs is not None:
                self._logs.close()
        if self.best is not None:
            model.set_weights(self.best.weights)
            setup.console.say(
                f"The weights are those of epoch {self.best.epoch}, the best: "
                f"validation {self.scorer.metric} {self.best.value:.4f}."
            )
        return model

    def seconds(self) -> float:
        """Return the wall-clock seconds of this session and those it continues."""
        before = 0.0 if self._state is None else self._state.elapsed
        return before + time.perf_counter() - self._started

    def advance(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Hear from the loop after every chunk of steps."""
        self.setup.interrupts.check()
        self.setup.console.advance(epoch, step, steps, losses)

    def _classes(self) -> Array:
        return self.scorer.targets(self.setup.dataset.train).reshape(-1)

    def _fingerprint(self) -> int:
        # Where the data are may differ between machines; what they are, not.
        recipe, setup = self.setup.recipe, self.setup
        options = {**setup.options.to_json(), "data": setup.dataset.sha256, "h5": None}
        if recipe.transfer is not None:
            options["init"] = recipe.transfer.model_sha256
        return zlib.crc32(f"{recipe.name} {setup.hyper.to_json()} {options}".encode())

    def _learner(self, setting: Setting) -> Learner:
        recipe, hyper = self.setup.recipe, self.setup.hyper
        if recipe.learner is not None:
            make = recipe.learner
            return blaming(recipe, lambda: make(hyper, setting))
        loss = self.scorer.training_loss() if recipe.loss is None else recipe.loss(hyper)
        if self._balance == "weights":
            loss = WeightedLoss(loss, class_weights(self._classes()))
        optimizer = recipe.optimizer
        return SupervisedLearner(
            self.build,
            loss,
            hyper.learning_rate,
            setting,
            keras.optimizers.Adam if optimizer is None else lambda rate: optimizer(hyper, rate),
            frozen=() if recipe.transfer is None else recipe.transfer.layers,
            frozen_epochs=self.frozen_epochs,
        )

    def _on_epoch(self, epoch: Epoch, model: keras.Model) -> bool:
        setup = self.setup
        row = {"epoch": float(epoch.number)}
        row |= {f"step_{name}": value for name, value in epoch.losses.items()}
        if self._supervised:
            row |= self._measure(model)
        row |= {"learning_rate": epoch.learning_rate, "seconds": epoch.seconds}
        for name, value in row.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"The {name.replace('_', ' ')} is not finite after epoch {epoch.number}.",
                    received=value,
                    fix="a smaller --learning-rate, if the data are right",
                )
        self.history.append(row)
        if self._logs is not None:
            self._logs.add(row)
        if setup.folder is not None and setup.recipe.on_epoch is not None:
            with setup.interrupts.held():
                setup.recipe.on_epoch(model, epoch.number, setup.folder)
        self.last_good = model
        setup.console.epoch(row, setup.hyper.epochs)
        if self._watch is not None and self._supervised:
            self._watch(epoch.number, row[f"validation_{self.scorer.metric}"])
        return self._is_over(epoch.number, row, model)

    def _measure(self, model: keras.Model) -> dict[str, float]:
        """Return loss and metrics of the training and the validation split."""
        # As many training samples as validation samples, without augmentation: so the two curves
        # can be compared, at a tenth of the cost of the whole training split.
        train, validation = self.setup.dataset.train, self.setup.dataset.validation
        some = train.take(range(min(len(train), len(validation))))
        row = {}
        for split, samples in (("train", some), ("validation", validation)):
            outputs = self.scorer.predict(model, samples)
            row[f"{split}_loss"] = self.scorer.mean_loss(outputs, samples)
            for name, value in self.scorer.score(outputs, samples, brief=True).items():
                row[f"{split}_{name}"] = value
        return row

    def _is_over(self, number: int, row: Mapping[str, float], model: keras.Model) -> bool:
        """Keep the best weights, and tell whether patience has run out."""
        patience = self.setup.options.patience
        if not patience:
            return False
        value = row[f"validation_{self.scorer.metric}"]
        if self.best is None or self.scorer.better(value, self.best.value):
            self.best = Best(number, value, model.get_weights())
        self.stopped = number - self.best.epoch >= patience
        if self.stopped:
            self.setup.console.say(
                f"Stopped after epoch {number}: no better validation {self.scorer.metric} "
                f"in {patience} epochs."
            )
        return self.stopped

    def _save(self, point: Checkpoint) -> None:
        setup = self.setup
        if setup.folder is None:
            return
        state = State(
            recipe=setup.recipe.name,
            hyperparameters=setup.hyper.to_json(),
            options=setup.options.to_json(),
            dataset=setup.dataset.sha256,
            policy=setup.device.policy,
            versions=versions(),
            resumed=self.resumed,
            elapsed=self.seconds(),
            epochs=point.epochs,
            steps=point.steps,
            totals=point.totals,
            seconds=point.seconds,
            stopped=point.stopped,
            history=self.history,
            best=self.best,
            arrays=point.arrays,
        )
        with setup.interrupts.held():
            save_state(setup.folder, state)


def versions() -> dict[str, str]:
    """Return the versions that decide the bits of a training."""
    return {
        "edgeward": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def _checkpoint(state: State) -> Checkpoint:
    return Checkpoint(
        epochs=state.epochs,
        steps=state.steps,
        totals=state.totals,
        seconds=state.seconds,
        stopped=state.stopped,
        arrays=state.arrays,
    )
