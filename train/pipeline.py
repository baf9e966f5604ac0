"""One training from data to run folder. The only file that knows the order."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from edgeward.runtime.errors import UsageError
from edgeward.runtime.files import write_atomic
from edgeward.runtime.strict_json import dumps, loads
from edgeward.train.console import Console
from edgeward.train.datasets.balanced import balanced_indices
from edgeward.train.datasets.dataset import Dataset, check_dataset
from edgeward.train.datasets.near_duplicates import find_near_duplicates
from edgeward.train.datasets.rare import describe, rare_classes
from edgeward.train.loop.devices import choose_device
from edgeward.train.loop.interrupts import Interrupts
from edgeward.train.loop.session import Session, Setup
from edgeward.train.options import Options
from edgeward.train.recipe import Hyperparameters, Recipe
from edgeward.train.recipes import NAMES
from edgeward.train.results.write import write_run
from edgeward.train.run import RunInfo
from edgeward.train.transfer import adopt
from edgeward.train.unfinished.folder import TUNED, PartialRun
from edgeward.train.unfinished.resume import Resumption, check_resumed_data
from edgeward.train.unfinished.state import STATE

__all__ = ["LAST_GOOD", "Trained", "load_data", "set_up", "train"]

# Weights of the last finished epoch of a training that failed, in its partial folder.
LAST_GOOD = "last_good.keras"


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    path: Path
    info: RunInfo


def train(
    recipe: Recipe,
    hyper: Hyperparameters,
    options: Options,
    console: Console,
    resumption: Resumption | None = None,
    tuned: Mapping[str, Any] | None = None,
) -> Trained | None:
    """Train a recipe and write its run folder.

    Args:
        recipe: What to train.
        hyper: Its hyper-parameters.
        options: The other choices.
        console: Where progress is said.
        resumption: The unfinished run to continue; hyper-parameters and options are its own.
        tuned: The search that chose the hyper-parameters, for ``run.json``.

    Returns:
        The run; None on the workers that are not the chief, which write nothing.

    Raises:
        InvalidDataError: The data are missing, damaged or do not fit.
        InvalidModelError: The model does not fit the data, or cannot be built.
        UsageError: No such device, or a batch size that does not fit.
        TrainingError: The loss or a weight is not finite; the last good weights are kept.
    """
    started = time.perf_counter()
    setup = set_up(recipe, hyper, options, console)
    if setup.device.is_chief:
        own = options.data is not None or recipe.name not in NAMES
        setup = replace(setup, dataset=_note(setup.recipe, setup.dataset, own, console))
    state = None if resumption is None else resumption.state
    if state is not None:
        check_resumed_data(state, setup.dataset.sha256, setup.device.policy)
        console.say(f"Resuming after {state.epochs} epochs and {state.steps} steps.")
    with setup.interrupts:
        if not setup.device.is_chief:
            _say_weights(Session(setup, state=state, started=started).fit(), console)
            return None
        name = setup.recipe.name
        partial = resumption.partial if resumption else PartialRun.start(options.out, name)
        of_chief: Session | None = None
        try:
            if tuned is not None:
                write_atomic(partial.path / TUNED, dumps(tuned))
            setup = replace(setup, folder=partial.path)
            of_chief = Session(setup, state=state, started=started)
            model = of_chief.fit()
            _say_weights(model, console)
            info = _mention_search(write_run(partial.path, model, of_chief), partial)
            (partial.path / LAST_GOOD).unlink(missing_ok=True)
            with setup.interrupts.held():
                path = partial.finish(info)
        except BaseException:
            _keep_or_discard(partial, of_chief, setup.interrupts, console)
            raise
        finally:
            partial.release()
    return Trained(path, info)


def set_up(recipe: Recipe, hyper: Hyperparameters, options: Options, console: Console) -> Setup:
    """Choose the device and load the data.

    Returns:
        What a training needs. ``interrupts`` is not yet entered, ``folder`` is None.

    Raises:
        UsageError: There is no such device; and what ``load_data`` raises.
    """
    device = choose_device(options.device, options.precision)
    console.say(f"Device: {device.description}.")
    recipe, dataset = load_data(recipe, hyper, options, console)
    return Setup(
        recipe=recipe,
        hyper=hyper,
        options=options,
        device=device,
        dataset=dataset,
        console=console,
        interrupts=Interrupts(),
    )


def load_data(
    recipe: Recipe, hyper: Hyperparameters, options: Options, console: Console
) -> tuple[Recipe, Dataset]:
    """Load and check the data set; returns the recipe fitted to it, and to ``--init``, too.

    Raises:
        InvalidDataError: The data are missing, damaged or do not fit.
        InvalidRunError: There is no run to start from.
        InvalidModelError: Its network cannot be taken over.
        UsageError: The run does not go with the recipe, or more samples are asked for than there
            are.
    """
    dataset = recipe.load(options.data, hyper, console.say)
    if recipe.specialise is not None:
        recipe = recipe.specialise(dataset, hyper)
    if options.init is not None:
        recipe, dataset = adopt(recipe, dataset, options.init)
        if recipe.transfer is not None:
            console.say(
                f"Layers and preprocessing are those of run {recipe.transfer.run}, "
                f"the last layer is {recipe.transfer.head}."
            )
    check_dataset(dataset, recipe.inputs, recipe.outputs)
    return recipe, _limit(recipe, dataset, options)


def _note(recipe: Recipe, dataset: Dataset, own: bool, console: Console) -> Dataset:
    """Say what is worth knowing of the data, and return them with those notes.

    Args:
        recipe: Already specialised.
        dataset: Already checked.
        own: Whether the data are people's own: published splits are not searched for
            near-duplicates, which takes seconds.
        console: Where it is said.
    """
    notes = find_near_duplicates(dataset, recipe.inputs) if own else []
    for name, spec in recipe.outputs.items():
        if spec.task in ("classification", "binary"):
            targets = dataset.train.targets[name]
            rare = rare_classes(spec, targets)
            notes += [describe(spec, targets, rare)] if rare else []
    for note in notes:
        console.say(note)
    return replace(dataset, notes=(*dataset.notes, *notes))


def _limit(recipe: Recipe, dataset: Dataset, options: Options) -> Dataset:
    """Return the data set with as many training samples as were asked for."""
    count = options.samples
    if count > len(dataset.train):
        raise UsageError(
            "There are not so many training samples.",
            received=f"--samples {count}",
            expected=f"at most {len(dataset.train)}",
        )
    if not count:
        return dataset
    ((name, spec),) = recipe.outputs.items()
    drawn = balanced_indices(dataset.train, name, spec, seed=options.seed, count=count)
    groups = dict(dataset.groups)
    if groups:
        groups["train"] = groups["train"][drawn]
    return replace(dataset, train=dataset.train.take(drawn), groups=groups)


def _mention_search(info: RunInfo, partial: PartialRun) -> RunInfo:
    """Tell of the search, if there was one: a resumed training knows it from this file alone."""
    path = partial.path / TUNED
    if not path.exists():
        return info
    tuned = loads(path.read_bytes(), TUNED, 1_000_000)
    return replace(info, training={**info.training, "tuned": tuned})


def _say_weights(model: keras.Model, console: Console) -> None:
    # Workers of a cluster, and two trainings with one seed, can be compared by this line.
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    console.say(f"Weights: sha256 {digest.hexdigest()}.")


def _keep_or_discard(
    partial: PartialRun, session: Session | None, interrupts: Interrupts, console: Console
) -> None:
    """Keep an unfinished run only where there is something to continue, and say so."""
    path = partial.path
    if not path.name.endswith(".partial"):
        return
    if not (path / STATE).exists():
        partial.discard()
        console.say("Nothing is kept: no epoch was finished.")
        return
    with interrupts.held():
        if session is not None and session.last_good is not None:
            temporary = path / "saving.keras"
            session.last_good.save(temporary)
            write_atomic(path / LAST_GOOD, temporary.read_bytes())
            temporary.unlink()
            console.say(f"The weights of the last finished epoch are in {path / LAST_GOOD}")
        console.say("To continue this training: the same command with --resume")
