"""Transfer learning: what a finished run has learned, put to another use.

Taken over are the run's preprocessing (with its vocabulary and scales) and the layers of its
network; the recipe gives the data, the task and the last layer. So the network need not be the
recipe's own, and what comes before it on the device is what its weights were trained on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from edgeward.runtime.errors import InvalidModelError, UsageError
from edgeward.runtime.files import sha256_file
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.recipe import Recipe, Transfer
from edgeward.train.run import Run

__all__ = ["adopt", "count_frozen"]


@dataclass(frozen=True)
class _Cut:
    """A network in two parts.

    Args:
        trunk: From the input to what the last layer with weights reads.
        head: That layer and those after it, a chain.
    """

    trunk: keras.Model
    head: tuple[keras.Layer, ...]


def adopt(recipe: Recipe, dataset: Dataset, path: Path) -> tuple[Recipe, Dataset]:
    """Return recipe and data set with the preprocessing and the layers of a run.

    Args:
        recipe: Already specialised.
        dataset: Its data set.
        path: Folder of the run.

    Returns:
        A recipe that builds the run's network with its weights. Its last layer is the run's too
        where the output is the same (task, labels, postprocessing), else the recipe's, untrained.
        And the data set with the run's vocabularies.

    Raises:
        InvalidRunError: There is no finished run.
        UsageError: Run and recipe do not go together.
        InvalidModelError: The run's network cannot be loaded, or not be cut before its last layer.
    """
    run = Run.open(path)
    input_name, output_name = _check(recipe, run)
    cut = _cut(_load(run), f"of run {run.id}")
    (before,), (after,) = run.info.outputs.values(), recipe.outputs.values()
    # A threshold that validation chose does not make it another output.
    kept = {**before.to_json(), "threshold": 0} == {**after.to_json(), "threshold": 0}
    own = recipe.build

    def build(hyper: Any) -> keras.Model:
        if kept:
            return _graft(cut, cut.head, input_name, output_name, keep=True)
        head = _cut(own(hyper), f"of {recipe.name}").head
        return _graft(cut, head, input_name, output_name, keep=False)

    (spec,) = run.info.inputs.values()
    transfer = Transfer(
        run=run.id,
        model_sha256=sha256_file(run.path / "model.keras"),
        layers=tuple(layer.name for layer in cut.trunk.layers[1:]),
        head="kept" if kept else "new",
    )
    return (
        replace(recipe, build=build, inputs={input_name: spec}, transfer=transfer),
        replace(dataset, vocabularies=run.vocabularies()),
    )


def count_frozen(transfer: Transfer | None, freeze: int | None, epochs: int) -> int:
    """Return how many epochs train the head alone.

    Args:
        transfer: What was taken over, or None.
        freeze: What people asked for; None is an eighth of the epochs for a new head, else 0.
        epochs: All epochs.

    Raises:
        UsageError: More than all.
    """
    if transfer is None:
        return 0
    if freeze is None:
        # A new head is noise at first: its gradients would spoil what the layers have learned.
        # Longer costs more than it saves: docs/training.md.
        return math.ceil(epochs / 8) if transfer.head == "new" else 0
    if freeze > epochs:
        raise UsageError(
            "More epochs are frozen than there are.",
            received=f"--freeze {freeze}",
            expected=f"at most {epochs}",
        )
    return freeze


def _check(recipe: Recipe, run: Run) -> tuple[str, str]:
    """Return the recipe's names of input and output, if run and recipe go together."""
    counts = [len(specs) for specs in (run.info.inputs, run.info.outputs)]
    if recipe.learner is not None or counts != [1, 1]:
        raise UsageError(
            "--init is for networks of one input and one output that are fitted to targets.",
            received=f"{recipe.name} from run {run.id}",
        )
    ((input_name, wanted),), (output_name,) = recipe.inputs.items(), recipe.outputs
    (given,) = run.info.inputs.values()
    for what in ("kind", "dtype"):
        if getattr(given, what) != getattr(wanted, what):
            raise UsageError(
                f"The run was trained on another {what} of samples.",
                received=f"{getattr(given, what)} (run {run.id})",
                expected=f"{getattr(wanted, what)} ({recipe.name})",
                fix="a run of the same kind of data, or no --init",
            )
    return input_name, output_name


def _load(run: Run) -> keras.Model:
    try:
        model = keras.models.load_model(run.path / "model.keras", compile=False)
    except Exception as error:  # Keras, zipfile, h5py and json raise a dozen kinds
        lines = str(error).strip().splitlines() or [""]
        raise InvalidModelError(
            f"The network of run {run.id} cannot be loaded.",
            received=f"{type(error).__name__}: {lines[0]}",
            fix="a run whose network consists of Keras' own layers",
        ) from None
    return model


def _cut(model: keras.Model, whose: str) -> _Cut:
    """Cut before the last layer with weights.

    Raises:
        InvalidModelError: The end of the network is no chain of layers.
    """
    head: list[keras.Layer] = []
    try:
        tensor = model.outputs[0]
        while not (head and head[0].weights):
            layer = tensor._keras_history.operation
            tensor = layer.input
            head.insert(0, layer)
        trunk = keras.Model(model.inputs[0], tensor)
        whole = isinstance(head[0], keras.Model) or len(trunk.layers) < 2
        if whole or not all(isinstance(layer, keras.Layer) for layer in head):
            raise ValueError(f"{head[0].name} is the whole network")
    except Exception as error:  # a shared layer, several inputs, an input that nothing precedes
        raise InvalidModelError(
            f"The network {whose} cannot be cut before its last layer.",
            received=f"{type(error).__name__}: {error}",
            expected="a Sequential or functional model that ends in a chain of layers",
            fix="no --init",
        ) from None
    return _Cut(trunk, tuple(head))


def _graft(
    cut: _Cut, head: tuple[keras.Layer, ...], input_name: str, output_name: str, *, keep: bool
) -> keras.Model:
    """Return a new model, under the dtype policy in force: the trunk with a head.

    Args:
        cut: Of the run.
        head: Layers to put on its trunk.
        input_name: Name of the new model's input.
        output_name: Name of its last layer.
        keep: Copy the head's weights, too.
    """

    def clone(layer: keras.Layer, **changes: Any) -> keras.Layer:
        config = {**layer.get_config(), **changes}
        # A saved model is float32 throughout; without this it would stay so in mixed precision.
        if layer not in head:
            config.pop("dtype", None)
        return type(layer).from_config(config)

    tensor = cut.trunk.inputs[0]
    image = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=input_name)
    trunk = keras.models.clone_model(cut.trunk, input_tensors=image, clone_function=clone)
    trunk.set_weights(cut.trunk.get_weights())
    made = [clone(layer) for layer in head[:-1]] + [clone(head[-1], name=output_name)]
    x = trunk.outputs[0]
    for layer in made:
        x = layer(x)
    if keep:
        for layer, old in zip(made, head, strict=True):
            layer.set_weights(old.get_weights())
    return keras.Model(image, x, name=cut.trunk.name)
