"""One training from data to run folder. The only file that knows the order."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import runtime
from runtime.files import write_atomic
from runtime.samples import save_samples
from runtime.tasks import METRIC, decide
from train.calibration import draw_calibration
from train.console import Console
from train.datasets.dataset import Dataset, check_dataset
from train.devices import Device, choose_device
from train.feed import TrainingFeed
from train.fit import Epoch, Plan, fit
from train.history import write_history
from train.interrupts import Interrupts
from train.plots import plot_confusion, plot_curves
from train.recipe import Hyperparameters, Recipe
from train.run import DatasetInfo, PartialRun, RunInfo
from train.scoring import Scorer

__all__ = ["LAST_GOOD", "Options", "Trained", "train"]

# Weights of the last finished epoch, in the partial folder; gone when the run is finished.
LAST_GOOD = "last_good.keras"


@dataclass(frozen=True)
class Options:
    """What people choose besides the recipe and its hyper-parameters.

    Args:
        out: Folder that holds the runs.
        data: Where the data set is, or None for its own sources.
        seed: Fixes weights, order and augmentation; on a CPU the same seed gives the same bits.
        device: ``auto``, ``cpu`` or ``gpu``.
        precision: ``auto``, ``float32`` or ``mixed``.
        h5: Write ``model.h5`` as well.
    """

    out: Path = Path("runs")
    data: Path | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    h5: bool = False


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    path: Path
    info: RunInfo


def train(
    recipe: Recipe, hyper: Hyperparameters, options: Options, console: Console
) -> Trained | None:
    """Train a recipe and write its run folder.

    Returns:
        The run; None on the workers that are not the chief, which write nothing.

    Raises:
        InvalidDataError: The data are missing, damaged or do not fit.
        UsageError: No such device, or a batch size that does not fit.
        TrainingError: The loss or a weight is not finite; the last good weights are kept.
    """
    started = time.perf_counter()
    device = choose_device(options.device, options.precision)
    console.say(f"Device: {device.description}.")
    dataset = recipe.load(options.data, console.say)
    check_dataset(dataset, recipe.inputs, recipe.outputs)
    with Interrupts() as interrupts:
        work = _Work(recipe, hyper, options, console, device, dataset, interrupts)
        if not device.is_chief:
            work.fit(None)
            return None
        partial = PartialRun.start(options.out, recipe.name)
        try:
            model = work.fit(partial.path)
            info = work.write(partial.path, model, started)
            with interrupts.held():
                (partial.path / LAST_GOOD).unlink()
                path = partial.finish(info)
        except BaseException:
            _keep_or_discard(partial, console)
            raise
    return Trained(path, info)


@dataclass
class _Work:
    """The stages, which share what was chosen once."""

    recipe: Recipe
    hyper: Hyperparameters
    options: Options
    console: Console
    device: Device
    dataset: Dataset
    interrupts: Interrupts

    def __post_init__(self) -> None:
        self.scorer = Scorer(self.recipe.inputs, self.recipe.outputs)
        self.history: list[dict[str, float]] = []

    def advance(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Hear from the loop after every chunk of steps."""
        self.interrupts.check()
        self.console.advance(epoch, step, steps, loss)

    def fit(self, folder: Path | None) -> keras.Model:
        """Train; ``folder`` receives the last good weights after each epoch."""
        hyper, scorer, train_split = self.hyper, self.scorer, self.dataset.train
        feed = TrainingFeed(
            scorer.input,
            scorer.raw(train_split),
            scorer.targets(train_split),
            shift=getattr(hyper, "shift", 0),
            seed=self.options.seed,
        )
        plan = Plan(
            build=lambda: self.recipe.build(hyper),
            loss=scorer.loss,
            epochs=hyper.epochs,
            batch_size=hyper.batch_size,
            learning_rate=hyper.learning_rate,
            seed=self.options.seed,
        )
        # As many training samples as validation samples, without augmentation: so the two curves
        # can be compared, at a tenth of the cost of the whole training split.
        watched = {
            "train": train_split.take(range(min(len(train_split), len(self.dataset.validation)))),
            "validation": self.dataset.validation,
        }

        def on_epoch(epoch: Epoch, model: keras.Model) -> None:
            row = {"epoch": float(epoch.number), "step_loss": epoch.loss}
            for split, samples in watched.items():
                outputs = scorer.predict(model, samples)
                row[f"{split}_loss"] = scorer.mean_loss(outputs, samples)
                for name, value in scorer.score(outputs, samples).items():
                    row[f"{split}_{name}"] = value
            row |= {"learning_rate": epoch.learning_rate, "seconds": epoch.seconds}
            self.history.append(row)
            if folder is not None:
                with self.interrupts.held():
                    _save_last_good(folder, model)
            self.console.epoch(row, hyper.epochs)

        self.console.say(
            f"Training {self.recipe.name}: {feed.size:,} samples, {hyper.epochs} epochs, "
            f"batch {hyper.batch_size}, seed {self.options.seed}."
        )
        return fit(plan, feed, self.device, reporter=self, on_epoch=on_epoch)

    def write(self, folder: Path, model: keras.Model, started: float) -> RunInfo:
        """Write every file of contract A but ``run.json``, whose content is returned."""
        with self.interrupts.held():
            _save_models(folder, model, self.options.h5)
        # What is measured is what was saved, read back: a file that lost something shows here.
        saved = keras.models.load_model(folder / "model.keras", compile=False)
        dataset, scorer = self.dataset, self.scorer
        outputs = {name: scorer.predict(saved, split) for name, split in dataset.splits.items()}
        metrics = {
            name: scorer.score(outputs[name], split) for name, split in dataset.splits.items()
        }
        for name in ("validation", "test"):
            save_samples(folder / f"{name}.npz", dataset.splits[name])
        calibration = draw_calibration(
            dataset.train, scorer.output_name, scorer.output, seed=self.options.seed
        )
        save_samples(folder / "calibration.npz", calibration)
        write_history(folder / "history.csv", self.history)
        plot_curves(folder / "curves.png", self.history, METRIC[scorer.output.task])
        labels = scorer.output.labels
        if labels is not None:
            write_atomic(folder / "labels.txt", "".join(f"{one}\n" for one in labels).encode())
            answers = decide(scorer.output, outputs["test"])
            truth = scorer.targets(dataset.test).reshape(-1)
            plot_confusion(folder / "confusion.png", truth, answers, labels)
        self.interrupts.check()
        return RunInfo(
            recipe=self.recipe.name,
            seed=self.options.seed,
            hyperparameters=self.hyper.to_json(),
            dataset=DatasetInfo(
                dataset.name,
                dataset.source,
                dataset.sha256,
                {name: len(split) for name, split in dataset.splits.items()},
            ),
            inputs=self.recipe.inputs,
            outputs=self.recipe.outputs,
            metrics=metrics,
            budget=self.recipe.budget,
            device=self.device.to_json(),
            versions=_versions(),
            wall_time_s=round(time.perf_counter() - started, 3),
        )


def _save_last_good(folder: Path, model: keras.Model) -> None:
    # Keras writes in place: killed half-way, it would take the previous epoch with it.
    temporary = folder / "saving.keras"
    model.save(temporary)
    write_atomic(folder / LAST_GOOD, temporary.read_bytes())
    temporary.unlink()


def _save_models(folder: Path, model: keras.Model, h5: bool) -> None:
    model.save(folder / "model.keras")
    if h5:
        model.save(folder / "model.h5")
    model.export(folder / "saved_model", verbose=False)


def _keep_or_discard(partial: PartialRun, console: Console) -> None:
    """Keep an unfinished run only where there are weights worth it, and say so."""
    if not partial.path.exists():
        return
    kept = [name for name in (LAST_GOOD, "model.keras") if (partial.path / name).exists()]
    if kept:
        console.say(f"The weights of the last finished epoch are kept in {partial.path / kept[0]}")
    else:
        partial.discard()
        console.say("Nothing is kept: no epoch was finished.")


def _versions() -> dict[str, str]:
    return {
        "edgeward": runtime.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
