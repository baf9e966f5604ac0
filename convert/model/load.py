"""Load a model and name its edges as the manifest does. Runs in a child process.

A ``.keras`` or ``.h5`` file is opened without running code from it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeward.convert.model.edges import check_dtypes, known_shapes, match
from edgeward.convert.model.keras_model import KerasModel
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.model.saved_model import open_saved_model
from edgeward.runtime.errors import InvalidModelError

__all__ = ["UnknownClassError", "load_model", "open_keras"]

_HDF5 = b"\x89HDF\r\n\x1a\n"

_EXPORT = 'model.export("folder") in the program that knows it, then convert that folder'

# What TensorFlow takes as the name of a scope; a model's own must not begin with _ or -.
_SCOPE = re.compile(r"[A-Za-z0-9_.\\/>-]*", re.ASCII)

_UNKNOWN = re.compile(
    r"Could not locate (class|function) '([^']+)'|Unknown ([a-z ]+): '?([\w>.]+)'?"
)


def load_model(
    path: Path,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> LoadedModel:
    """Load a ``.keras`` or ``.h5`` file, or a SavedModel folder.

    The ``model.keras`` of a run whose classes only the user's recipe knows is loaded from the
    ``saved_model`` beside it.

    Args:
        path: The file or folder.
        inputs: Names that the inputs have in the manifest; None takes the model's own.
        outputs: Names that the outputs have in the manifest; None takes the model's own.
        shapes: Input name -> dimensions after the batch, for inputs with unknown ones.

    Raises:
        InvalidModelError: The file is damaged, holds classes that nobody knows or weights that are
            not finite, or has other inputs or outputs.
        TargetError: A dimension other than the batch is not known.
        UsageError: ``shapes`` do not fit the model.
    """
    loaded = _open(path)
    for weight in loaded.variables:
        if not np.isfinite(np.asarray(weight.value)).all():
            # The converter dies of a NaN weight with a segmentation fault.
            raise InvalidModelError(
                f"Weight {weight.name!r} holds values that are not finite.",
                fix="train again; the loss was probably NaN",
            )
    loaded = loaded.renamed(
        match(loaded.inputs, inputs, "inputs"), match(loaded.outputs, outputs, "outputs")
    )
    check_dtypes(loaded)
    return loaded.with_shapes(known_shapes(loaded, shapes or {}))


def _open(path: Path) -> LoadedModel:
    """Return the model, its edges named as it does itself."""
    if path.is_dir():
        return open_saved_model(path)
    try:
        return KerasModel.of(open_keras(path))
    except UnknownClassError as error:
        twin = path.parent / "saved_model"
        if (path.parent / "run.json").is_file() and (twin / "saved_model.pb").is_file():
            return open_saved_model(
                twin,
                f"{path.name} holds {error.name}, which only the recipe knows: converted from "
                "saved_model/ of the run",
            )
        # The parent knows the classes of runtime.errors only.
        raise InvalidModelError(
            error.message, received=error.received, expected=error.expected, fix=error.fix
        ) from None


class UnknownClassError(InvalidModelError):
    """The file names a class or function that Keras does not have.

    Attributes:
        name: What it names, e.g. ``class 'Scale'``.
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(
            f"{path.name} needs code that is not in it.",
            received=name,
            expected="layers of Keras",
            fix=_EXPORT,
        )
        self.name = name


def open_keras(path: Path) -> Any:
    """Load a ``.keras`` or ``.h5`` file.

    Raises:
        UnknownClassError: It holds a class or function of the user's own.
        InvalidModelError: It is damaged, holds Python code, or is no model with fixed inputs.
    """
    with path.open("rb") as file:
        hdf5 = file.read(len(_HDF5)) == _HDF5
    if not (zipfile.is_zipfile(path) if path.suffix == ".keras" else hdf5):
        raise InvalidModelError(
            f"{path.name} is no {path.suffix} file.", expected="a file that model.save() wrote"
        )
    try:
        # Safe mode stays on: it refuses Lambda layers, whose Python code would run here.
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, zipfile, h5py and json raise a dozen kinds
        raise _explained(path, error) from None
    try:
        known = bool(model.inputs) and bool(model.outputs)
    except Exception:  # a model that was never built raises, or has no such attribute
        known = False
    if not known:
        raise InvalidModelError(
            f"{path.name} holds a {type(model).__name__} whose inputs are not known.",
            expected="a Sequential model with keras.Input, or a functional one",
            fix=_EXPORT,
        )
    _check_names(path, model)
    return model


def _check_names(path: Path, model: Any) -> None:
    """Refuse names that Keras keeps and TensorFlow cannot trace.

    Raises:
        InvalidModelError: The model or a layer has one. Names of inputs are never scopes.
    """
    # Private, and the only one that also finds layers of nested models.
    layers = model._flatten_layers(include_self=True)
    scopes = [x.name for x in layers if not isinstance(x, keras.layers.InputLayer)]
    odd = [name for name in scopes if not _SCOPE.fullmatch(name)]
    if model.name[:1] in ("_", "-"):
        odd.append(model.name)
    if odd:
        raise InvalidModelError(
            f"{path.name} has names that TensorFlow cannot hold.",
            received=f"model or layers {odd}",
            expected="ASCII letters, digits, _ . and -, for the model no _ or - at the beginning",
            fix='give others and save again: layer.name = "plain"; model.save("model.keras")',
        )


def _explained(path: Path, error: Exception) -> InvalidModelError:
    text = str(error)
    if "Lambda" in text and "safe_mode" in text:
        return InvalidModelError(
            f"{path.name} holds a Lambda layer with Python code, which is not run.",
            received="a Lambda layer",
            expected="layers of Keras",
            fix="write it with the layers or operations of Keras (Rescaling, keras.ops), or "
            + _EXPORT,
        )
    found = _UNKNOWN.search(text)
    if found:
        kind, name = (found[1], found[2]) if found[1] else (found[3], found[4])
        return UnknownClassError(path, f"{kind} {name!r}")
    if "weights" in text and path.name.endswith(".weights.h5"):
        text = "weights without a model"
    return InvalidModelError(
        f"{path.name} cannot be loaded.", received=f"{type(error).__name__}: {text}"[:500]
    )
