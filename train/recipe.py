"""What a recipe is: everything about one model that the training loop does not know.

No TensorFlow is imported here, so that ``--help`` and ``--list`` answer at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeward.runtime.errors import UsageError
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.dataset import Dataset

if TYPE_CHECKING:
    import keras

__all__ = [
    "BALANCE",
    "VALIDATION",
    "ClassHyperparameters",
    "Hyperparameters",
    "Learner",
    "Recipe",
    "Setting",
    "Transfer",
    "first_threshold",
    "override",
]

BALANCE = ("none", "weights", "batches")
# ``threshold=validation``: chosen on the validation split.
VALIDATION = "validation"

# What people call the hyper-parameter of ``Recipe.shift``, unless a recipe says otherwise.
_SHIFT = "shift"


def parameter(default: Any, text: str) -> Any:
    """Return a dataclass field of a hyper-parameter with its one-line explanation."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Hyperparameters:
    """What every recipe lets people change; a recipe adds fields of its own.

    Raises:
        UsageError: A value that cannot train.
    """

    epochs: int = parameter(5, "passes over the training split")
    batch_size: int = parameter(64, "samples per step, over all devices together")
    learning_rate: float = parameter(1e-3, "peak of the one-cycle schedule")

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            self.require(getattr(self, name) >= 1, name, "a whole number >= 1")
        rate = self.learning_rate
        self.require(math.isfinite(rate) and rate > 0, "learning_rate", "a finite number > 0")

    def require(self, condition: bool, name: str, expected: str) -> None:
        """Raise UsageError about the value of field ``name`` unless ``condition`` holds."""
        if not condition:
            raise UsageError(
                f"Hyper-parameter {name!r} is wrong.",
                received=getattr(self, name),
                expected=expected,
            )

    def to_json(self) -> dict[str, Any]:
        """Return name -> value, as ``run.json`` records them."""
        return asdict(self)

    def explain(self) -> dict[str, str]:
        """Return name -> one-line explanation."""
        return {f.name: f.metadata["help"] for f in fields(self)}


@dataclass(frozen=True)
class ClassHyperparameters(Hyperparameters):
    """What recipes with classes have besides; see ``train.datasets.balanced``."""

    balance: str = parameter(
        "none", "for rare classes: weights (of the loss) or batches (each class as often)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.balance in BALANCE, "balance", ", ".join(BALANCE))


def first_threshold(hyper: Any) -> float:
    """Return the threshold of a binary output to begin with: 0.5 where validation will choose it.

    Args:
        hyper: Hyper-parameters whose ``threshold`` is a number as text, or ``validation``.

    Raises:
        UsageError: It is neither.
    """
    if hyper.threshold == VALIDATION:
        return 0.5
    try:
        value = float(hyper.threshold)
    except ValueError:
        value = math.nan
    hyper.require(0 < value < 1, "threshold", f"a number between 0 and 1, or {VALIDATION!r}")
    return value


@dataclass(frozen=True)
class Transfer:
    """What a recipe has taken over from a finished run.

    Args:
        run: Its id.
        model_sha256: Hash of its model file, 64 hex digits.
        layers: Names of its layers, without input and head.
        head: ``kept``, where the output is the same, or ``new``.
    """

    run: str
    model_sha256: str
    layers: tuple[str, ...]
    head: str


@dataclass(frozen=True)
class Recipe:
    """How to train one model.

    Args:
        name: What people type.
        title: One line about the model.
        dataset: Name of the data set.
        load: Loads the data set from a path, or from its own sources when the path is None; gets
            the hyper-parameters too, for options such as the target column of a table.
        build: Makes the untrained model from hyper-parameters, under the dtype policy in force.
            Names of its input and output layers are the keys of ``inputs`` and ``outputs``.
        inputs: Input name -> raw sample and preprocessing.
        outputs: Output name -> task and labels.
        hyperparameters: Defaults.
        expected: Metric on the test split that the defaults reach, as a lower bound (an upper
            one for an error such as ``rmse``).
        budget: Drop of the metric that an artifact may cost, in the metric's unit.
        weights: Number of weights with the defaults; None where the data decide.
        seconds: What a training with the defaults takes on two CPU cores, about.
        space: Hyper-parameter -> what ``--tune`` may try: ("log", low, high), ("float", low,
            high), ("int", low, high) or ("choice", value, ...).
        specialise: Fits the recipe to data and hyper-parameters after loading: the labels of a
            folder of images, the columns of a table, the size of a vocabulary.
        augment: Makes the Keras layer that changes each training batch (preprocessed float32
            [N, ...]) at random, or returns None. It is never part of the model.
        loss: Makes the loss, without reduction, of (targets, outputs) to one number per sample;
            None takes the task's.
        optimizer: Makes the optimizer of (hyper-parameters, learning rate or schedule); None is
            Adam.
        learner: Makes the learner of (hyper-parameters, setting), for what is not one model
            fitted to targets; see ``train.loop.learner``. It replaces build, loss and optimizer.
        on_epoch: Called with the exported model, the epoch (from 1) and the run's folder, where
            it may write pictures.
        evaluate: Further metrics of the saved model, split -> name -> value, for ``run.json``;
            gets the model, the data set and the hyper-parameters.
        data_parameters: Names of the hyper-parameters that ``load`` reads: a search loads the data
            again only where one of them changes. None, where a recipe does not say, is all of
            them: always right, but slow where loading takes long.
        shift: Name of the hyper-parameter that says by how many pixels training images are
            shifted at most, in each direction, before preprocessing; a recipe without a
            hyper-parameter ``shift`` shifts nothing. None: no hyper-parameter does.
        transfer: Set by ``--init``: ``build`` starts from the weights of another run.

    Raises:
        UsageError: ``data_parameters`` or ``shift`` names no hyper-parameter.
    """

    name: str
    title: str
    dataset: str
    load: Callable[[Path | None, Any, Say], Dataset]
    build: Callable[[Any], keras.Model]
    inputs: Mapping[str, InputSpec]
    outputs: Mapping[str, OutputSpec]
    hyperparameters: Hyperparameters
    expected: Mapping[str, float]
    budget: float
    weights: int | None = None
    seconds: float | None = None
    space: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    specialise: Callable[[Dataset, Any], Recipe] | None = None
    augment: Callable[[Any], keras.Layer | None] | None = None
    loss: Callable[[Any], keras.losses.Loss] | None = None
    optimizer: Callable[[Any, Any], keras.optimizers.Optimizer] | None = None
    learner: Callable[[Any, Setting], Learner] | None = None
    on_epoch: Callable[[keras.Model, int, Path], None] | None = None
    evaluate: Callable[[keras.Model, Dataset, Any], Mapping[str, Mapping[str, float]]] | None = None
    data_parameters: tuple[str, ...] | None = None
    shift: str | None = _SHIFT
    transfer: Transfer | None = None

    def __post_init__(self) -> None:
        if self.data_parameters is not None:
            self._check_declared("data_parameters", self.data_parameters)
        if self.shift not in (None, _SHIFT):
            self._check_declared("shift", (self.shift,))

    def of_data(self, hyper: Hyperparameters) -> dict[str, Any]:
        """Return the hyper-parameters on which the loaded data depend, name -> value."""
        names = self.data_parameters
        return {k: v for k, v in hyper.to_json().items() if names is None or k in names}

    def pixels(self, hyper: Hyperparameters) -> int:
        """Return by how many pixels training images are shifted at most; 0 is not at all."""
        found: int = 0 if self.shift is None else getattr(hyper, self.shift, 0)
        return found

    @property
    def tasks(self) -> str:
        """The task, or the tasks of several outputs."""
        return ", ".join(dict.fromkeys(spec.task for spec in self.outputs.values()))

    def _check_declared(self, field_name: str, names: object) -> None:
        known = self.hyperparameters.to_json()
        # A text would be taken for a sequence of one-letter names.
        if not isinstance(names, tuple | list) or not set(names) <= set(known):
            raise UsageError(
                f"The recipe's {field_name} is wrong.",
                received=repr(names),
                expected=f"names of its hyper-parameters: {', '.join(known)}",
            )


def override(defaults: Hyperparameters, changes: Mapping[str, object]) -> Hyperparameters:
    """Return hyper-parameters with some values replaced.

    Args:
        defaults: From the recipe.
        changes: Name -> value, or its text as typed by people.

    Raises:
        UsageError: An unknown name, or a value that is not of the default's type.
    """
    known = asdict(defaults)
    for name in changes:
        if name not in known:
            raise UsageError(
                "There is no such hyper-parameter.", received=name, expected=", ".join(known)
            )
    parsed = {name: _parse(name, value, known[name]) for name, value in changes.items()}
    return replace(defaults, **parsed)


def _parse(name: str, value: object, default: object) -> Any:
    if not isinstance(value, str):
        return value
    if isinstance(default, bool):
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise UsageError(f"{name} is a switch.", received=value, expected="true or false")
    try:
        return type(default)(value)  # type: ignore[call-arg]
    except ValueError:
        raise UsageError(
            f"Hyper-parameter {name!r} has the wrong type.",
            received=value,
            expected=f"{type(default).__name__}, such as {default}",
        ) from None


@dataclass(frozen=True)
class Setting:
    """What a learner is told when it is built, under the strategy's scope and the seed.

    Args:
        policy: Keras dtype policy to train under; see ``under_policy``.
        steps: Optimizer steps of the whole training.
    """

    policy: str
    steps: int


class Learner(Protocol):
    """One thing to train.

    Attributes:
        losses: Names of the losses that ``step`` returns, in the order people see them.
    """

    losses: tuple[str, ...]

    @property
    def variables(self) -> Sequence[Any]:
        """Every Keras variable that a step reads or writes: models, optimizers, seeds.

        This is what is saved and restored; what is missing here makes a resumed training another
        one. ``keras.Model.variables`` holds the seed generators of its layers.
        """

    def start_epoch(self, number: int) -> bool:
        """Get ready for an epoch, counted from 1; True if ``step`` is another one from here on."""

    def step(self, inputs: Any, targets: Any) -> Mapping[str, Any]:
        """Take one step; runs in replica context inside a graph.

        Args:
            inputs: float32 or int32 [N, ...], this replica's part of the batch, preprocessed.
            targets: [N, ...], its targets; what they are is between recipe and learner.

        Returns:
            Name -> scalar float32, the mean over this replica's part; keys are ``losses``.
        """

    def export(self) -> keras.Model:
        """Return the model that is saved: float32, with the present weights.

        The next call may return the same object with later weights.
        """

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of ``step``, counted from 0 over the whole training."""
