"""``child.py`` for TensorFlow Lite's Android library, by its C API, under ``bionic.c``."""

from __future__ import annotations

import argparse
import ctypes
import functools
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from child import probe  # type: ignore[import-not-found]  # beside this file

from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact, TensorSpec
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.console import guarded
from edgeward.runtime.errors import TargetError

RUNTIME = "android-tflite"
OK = 0
POINTERS = (
    *("ModelCreate", "InterpreterOptionsCreate", "InterpreterCreate"),
    *("InterpreterGetInputTensor", "InterpreterGetOutputTensor"),
)


class Library:
    """The C API: ``call("ModelCreate", ...)`` is ``TfLiteModelCreate``."""

    def __init__(self, folder: Path, order: list[str]) -> None:
        # Whatever the last one needs by name has been loaded by then, from here.
        self._loaded = [ctypes.CDLL(str(folder / name)) for name in order]
        self._names = {"Version": ctypes.c_char_p, "TensorName": ctypes.c_char_p}
        self._names |= dict.fromkeys(POINTERS, ctypes.c_void_p)
        self._names["TensorByteSize"] = ctypes.c_size_t

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the library."""
        function = getattr(self._loaded[-1], f"TfLite{name}")
        function.restype = self._names.get(name, ctypes.c_int)
        return function(*arguments)


class AndroidBackend:
    """One model in the Android library's interpreter, batch 1; see ``runtime.backends.Backend``."""

    def __init__(self, library: Library, artifact: Artifact, data: bytes) -> None:
        self.runtime = RUNTIME
        self.version = library.call("Version").decode()
        self._library, self._artifact, self._data = library, artifact, data
        model = library.call("ModelCreate", data, ctypes.c_size_t(len(data)))
        options = ctypes.c_void_p(library.call("InterpreterOptionsCreate"))
        library.call("InterpreterOptionsSetNumThreads", options, 1)
        created = library.call("InterpreterCreate", ctypes.c_void_p(model), options) if model else 0
        self._interpreter = ctypes.c_void_p(created)
        if not created or library.call("InterpreterAllocateTensors", self._interpreter) != OK:
            raise TargetError(f"{RUNTIME} cannot load {artifact.file}.")
        self._inputs = self._match("Input", artifact.inputs)
        self._outputs = self._match("Output", artifact.outputs)

    def _match(self, kind: str, specs: tuple[TensorSpec, ...]) -> dict[str, ctypes.c_void_p]:
        count = self._library.call(f"InterpreterGet{kind}TensorCount", self._interpreter)
        found = {}
        for at in range(count):
            name = f"InterpreterGet{kind}Tensor"
            tensor = ctypes.c_void_p(self._library.call(name, self._interpreter, at))
            found[self._library.call("TensorName", tensor).decode()] = tensor
        if sorted(found) != sorted(spec.tensor for spec in specs):
            raise TargetError(f"{self._artifact.file} has other tensors.", received=sorted(found))
        return {spec.name: found[spec.tensor] for spec in specs}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``Backend.run``."""
        call = self._library.call
        if self._artifact.stateful:
            self._checked(call("InterpreterResetVariableTensors", self._interpreter))
        for name, tensor in self._inputs.items():
            data = np.ascontiguousarray(inputs[name]).tobytes()
            self._checked(call("TensorCopyFromBuffer", tensor, data, ctypes.c_size_t(len(data))))
        self._checked(call("InterpreterInvoke", self._interpreter))
        outputs = {}
        for spec in self._artifact.outputs:
            value = np.empty((1, *spec.shape[1:]), spec.dtype)
            size = ctypes.c_size_t(value.nbytes)
            into = value.ctypes.data_as(ctypes.c_void_p)
            self._checked(call("TensorCopyToBuffer", self._outputs[spec.name], into, size))
            outputs[spec.name] = value
        return outputs

    def _checked(self, status: int) -> None:
        if status != OK:
            raise TargetError(f"{RUNTIME} fails on {self._artifact.file}.", received=status)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bundle", "samples", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("folder", type=Path)
    parser.add_argument("libraries", nargs="+")
    options = parser.parse_args()
    bundle = Bundle.open(options.bundle)
    library = Library(options.folder, options.libraries)
    # As the app does: one sample at a time.
    chosen = [replace(a, batch="static") for a in bundle.manifest.artifacts if a.format == "tflite"]
    load = functools.partial(AndroidBackend, library)
    probe(bundle, options.samples, options.out, options.seconds, chosen, load)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("probe", main))
