"""What a training leaves: every file of contract A, written into the partial folder."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.files import write_atomic
from edgeward.runtime.samples import Samples, save_samples
from edgeward.runtime.specs import vocabulary_names
from edgeward.runtime.tasks import decide
from edgeward.train.datasets.balanced import draw_balanced
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.rare import MAJORITY
from edgeward.train.explain.write import write_explanations
from edgeward.train.loop.records import write_history
from edgeward.train.loop.scoring import Scorer
from edgeward.train.loop.session import Session, versions
from edgeward.train.recipe import VALIDATION
from edgeward.train.results.plots import plot_confusion, plot_curves
from edgeward.train.results.threshold import choose_threshold, worth_choosing
from edgeward.train.run import GROUPS, DatasetInfo, RunInfo

__all__ = ["write_run"]


def write_run(folder: Path, model: keras.Model, session: Session) -> RunInfo:
    """Write every file but ``run.json``, whose content is returned.

    Args:
        folder: The partial folder.
        model: As exported by the session.
        session: The finished training.
    """
    setup, scorer = session.setup, session.scorer
    recipe, dataset, options = setup.recipe, setup.dataset, setup.options
    with setup.interrupts.held():
        _save_models(folder, model, options.h5)
    # What is measured is what was saved, read back: a file that lost something shows here.
    saved = keras.models.load_model(
        folder / "model.keras", custom_objects=_own_classes(model), compile=False
    )
    outputs: dict[str, Array] = {}
    splits: dict[str, Samples] = {}
    for name, split in dataset.splits.items():
        if scorer.output.task == "generation":
            if name == "train":
                splits[name] = Samples(split.inputs)
                continue
            # There is nothing to compare with but the model itself: the pairs that conversion
            # needs are its own outputs.
            outputs[name] = scorer.predict(saved, split)
            splits[name] = Samples(split.inputs, {scorer.output_name: outputs[name]})
        else:
            outputs[name], splits[name] = scorer.predict(saved, split), split
    if scorer.output.task == "binary":
        scorer = _with_threshold(session, outputs["validation"])
        recipe = session.setup.recipe
    metrics = {name: scorer.score(outputs[name], splits[name]) for name in outputs}
    if recipe.evaluate is not None:
        for name, values in recipe.evaluate(saved, dataset, setup.hyper).items():
            metrics[name] = {**metrics.get(name, {}), **values}
    for name in ("validation", "test"):
        save_samples(folder / f"{name}.npz", splits[name])
    if dataset.groups:
        _write_groups(folder / GROUPS, dataset)
    calibration = draw_balanced(
        splits["train"], scorer.output_name, scorer.output, seed=options.seed
    )
    save_samples(folder / "calibration.npz", calibration)
    for name in vocabulary_names(recipe.inputs.values()):
        write_atomic(folder / name, dataset.vocabularies[name])
    write_history(folder / "history.csv", session.history)
    majority = metrics.get("validation", {}).get(MAJORITY)
    plot_curves(folder / "curves.png", session.history, scorer.metric, majority)
    labels = scorer.output.labels
    if labels is not None:
        write_atomic(folder / "labels.txt", "".join(f"{one}\n" for one in labels).encode())
        answers = decide(scorer.output, outputs["test"])
        truth = scorer.targets(dataset.test).reshape(-1)
        beside = metrics["test"] if scorer.rare else None
        plot_confusion(folder / "confusion.png", truth, answers, labels, beside)
    if options.explain:
        write_explanations(folder, saved, session, outputs["test"])
    setup.interrupts.check()
    return RunInfo(
        recipe=recipe.name,
        seed=options.seed,
        hyperparameters=setup.hyper.to_json(),
        dataset=DatasetInfo(
            name=dataset.name,
            source=dataset.source,
            sha256=dataset.sha256,
            splits={name: len(split) for name, split in dataset.splits.items()},
        ),
        inputs=recipe.inputs,
        outputs=recipe.outputs,
        metrics=metrics,
        budget=recipe.budget,
        device=setup.device.to_json(),
        versions=versions(),
        wall_time_s=round(session.seconds(), 3),
        training=_training(session),
    )


def _training(session: Session) -> dict[str, Any]:
    """Return how the training went, for ``run.json``."""
    best, options, transfer = session.best, session.setup.options, session.setup.recipe.transfer
    init = None
    if transfer is not None:
        init = {
            "run": transfer.run,
            "model_sha256": transfer.model_sha256,
            "head": transfer.head,
            "frozen_epochs": session.frozen_epochs,
        }
    return {
        "epochs": len(session.history),
        "augment": options.augment,
        "patience": options.patience,
        "best_epoch": len(session.history) if best is None else best.epoch,
        "stopped_early": session.stopped,
        "resumed": session.resumed,
        "samples": len(session.setup.dataset.train),
        "notes": list(session.setup.dataset.notes),
        "init": init,
    }


def _with_threshold(session: Session, values: Array) -> Scorer:
    """Choose the threshold on the validation split if that was asked for, and store it."""
    scorer, setup = session.scorer, session.setup
    truth = scorer.targets(setup.dataset.validation)
    before = scorer.output.threshold or 0.0
    if getattr(setup.hyper, "threshold", None) != VALIDATION:
        hint = worth_choosing(values, truth, before) if scorer.rare else ""
        if hint:
            setup.console.say(hint)
        return scorer
    spec = replace(scorer.output, threshold=choose_threshold(values, truth))
    setup.console.say(f"The threshold is {spec.threshold:.4g}, chosen on the validation split.")
    recipe = replace(setup.recipe, outputs={scorer.output_name: spec})
    session.setup = replace(setup, recipe=recipe)
    scorer.output = spec
    return scorer


def _write_groups(path: Path, dataset: Dataset) -> None:
    splits = ("validation", "test")
    ids = np.concatenate([dataset.groups[split] for split in splits])
    numbers = np.unique(ids, return_inverse=True)[1].astype(np.int64).reshape(-1)
    first = len(dataset.validation)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, validation=numbers[:first], test=numbers[first:])
    write_atomic(path, buffer.getvalue())


def _own_classes(model: keras.Model) -> dict[str, type]:
    """Return the classes of the user's recipe in a model: they need not be registered."""
    kinds = {type(layer) for layer in model._flatten_layers()}
    return {kind.__name__: kind for kind in kinds if not kind.__module__.startswith("keras.")}


def _save_models(folder: Path, model: keras.Model, h5: bool) -> None:
    model.save(folder / "model.keras")
    if h5:
        model.save(folder / "model.h5")
    # Half of one may be there, of a process that was killed.
    shutil.rmtree(folder / "saved_model", ignore_errors=True)
    model.export(folder / "saved_model", verbose=False)
