"""What goes into a model and comes out of it, described without the model.

The same objects describe a run (contract A) and a bundle (contract B). They are validated when
constructed, so an invalid one cannot exist. FORMAT.md, sections 3.1 and 3.2, is the
specification; standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgeward.runtime.errors import InvalidManifestError
from edgeward.runtime.steps import (
    POSTPROCESSING,
    PREPROCESSING,
    Lookup,
    Step,
    check_chain,
    step_from_json,
)
from edgeward.runtime.strict_json import Fields

__all__ = ["TASKS", "InputSpec", "OutputSpec", "specs_from_json", "vocabulary_names"]

_RAW_DTYPES = {
    "image": {"uint8"},
    "text": {"uint8"},
    "tensor": {"float32", "int32", "uint8", "int8", "int64"},
}
TASKS = ("classification", "binary", "regression", "generation")


@dataclass(frozen=True)
class InputSpec:
    """One input of a model, as a raw sample and the steps from there to the tensor.

    Args:
        kind: ``image``, ``text`` or ``tensor``.
        dtype: numpy name of the raw sample's dtype.
        shape: Shape of one raw sample without batch; None is any size.
        preprocessing: Steps from raw sample to model tensor.

    Raises:
        InvalidManifestError: Unknown kind or dtype, wrong rank, or steps that do not chain.
    """

    kind: str
    dtype: str
    shape: tuple[int | None, ...]
    preprocessing: tuple[Step, ...]

    def __post_init__(self) -> None:
        if self.kind not in _RAW_DTYPES:
            raise InvalidManifestError(
                "Unknown kind of input.", received=self.kind, expected=sorted(_RAW_DTYPES)
            )
        if self.dtype not in _RAW_DTYPES[self.kind]:
            raise InvalidManifestError(
                f"Wrong dtype for an input of kind {self.kind!r}.",
                received=self.dtype,
                expected=sorted(_RAW_DTYPES[self.kind]),
            )
        rank_ok = {
            "image": len(self.shape) == 3,
            "text": self.shape == (None,),
            "tensor": True,
        }[self.kind]
        if not rank_ok:
            raise InvalidManifestError(
                f"Wrong shape for an input of kind {self.kind!r}.",
                received=self.shape,
                expected="3 dimensions for an image, [null] for a text",
            )
        first = "array" if self.kind == "tensor" else self.kind
        check_chain(self.preprocessing, first, f"input of kind {self.kind!r}")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of FORMAT.md, section 3.1."""
        return {
            "kind": self.kind,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "preprocessing": [step.to_json() for step in self.preprocessing],
        }

    @classmethod
    def from_json(cls, value: Any, where: str) -> InputSpec:
        """Read the JSON object of FORMAT.md, section 3.1."""
        read = Fields(value, where, ["kind", "dtype", "shape", "preprocessing"])
        return cls(
            read.text("kind"),
            read.text("dtype"),
            read.shape("shape"),
            tuple(
                step_from_json(step, f"{where}.preprocessing[{i}]", PREPROCESSING)
                for i, step in enumerate(read.array("preprocessing"))
            ),
        )


@dataclass(frozen=True)
class OutputSpec:
    """One output of a model and how to read it.

    Args:
        task: ``classification``, ``binary``, ``regression`` or ``generation``.
        labels: Class names; for ``binary`` the negative and the positive one.
        threshold: For ``binary``: positive means value >= threshold.
        postprocessing: Steps on the dequantised float32 output.

    Raises:
        InvalidManifestError: Labels or threshold that do not go with the task.
    """

    task: str
    labels: tuple[str, ...] | None = None
    threshold: float | None = None
    postprocessing: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise InvalidManifestError("Unknown task.", received=self.task, expected=TASKS)
        if (self.threshold is not None) != (self.task == "binary"):
            raise InvalidManifestError(
                f"Wrong threshold for task {self.task!r}.",
                received=self.threshold,
                expected="a number for 'binary', null for the others",
            )
        if self.threshold is not None and not abs(self.threshold) < 3.4e38:
            raise InvalidManifestError(
                "The threshold is wrong.", received=self.threshold, expected="a finite float32"
            )
        if self.labels is not None and (
            self.task not in ("classification", "binary")
            or (self.task == "binary" and len(self.labels) != 2)
            or len(self.labels) < 1
            or any("\n" in label or "\r" in label for label in self.labels)
        ):
            raise InvalidManifestError(
                f"Wrong labels for task {self.task!r}.",
                received=repr(self.labels)[:200],
                expected="one-line names; two for 'binary', none for regression and generation",
            )
        check_chain(self.postprocessing, "array", "output")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of FORMAT.md, section 3.2."""
        return {
            "task": self.task,
            "labels": None if self.labels is None else list(self.labels),
            "threshold": self.threshold,
            "postprocessing": [step.to_json() for step in self.postprocessing],
        }

    @classmethod
    def from_json(cls, value: Any, where: str) -> OutputSpec:
        """Read the JSON object of FORMAT.md, section 3.2."""
        read = Fields(value, where, ["task", "labels", "threshold", "postprocessing"])
        return cls(
            read.text("task"),
            read.optional("labels", read.strings),
            read.optional("threshold", read.number),
            tuple(
                step_from_json(step, f"{where}.postprocessing[{i}]", POSTPROCESSING)
                for i, step in enumerate(read.array("postprocessing"))
            ),
        )


_Spec = TypeVar("_Spec", InputSpec, OutputSpec)


def specs_from_json(kind: type[_Spec], values: Mapping[str, Any], where: str) -> dict[str, _Spec]:
    """Read the JSON object of all inputs or of all outputs, name -> spec.

    Args:
        kind: ``InputSpec`` or ``OutputSpec``.
        values: Name -> JSON object of one.
        where: Place of the object in its file, for messages.

    Raises:
        InvalidManifestError: One of them is wrong; names its place.
    """
    return {name: kind.from_json(item, f"{where}.{name}") for name, item in values.items()}


def vocabulary_names(inputs: Iterable[InputSpec]) -> list[str]:
    """Return the vocabulary files that the inputs' steps name, sorted."""
    return sorted(
        {
            step.vocabulary
            for spec in inputs
            for step in spec.preprocessing
            if isinstance(step, Lookup)
        }
    )
