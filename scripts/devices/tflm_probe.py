"""``child.py`` for TensorFlow Lite Micro, in a Python that has ``tflite-micro``."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from child import probe  # type: ignore[import-not-found]  # beside this file
from tflite_micro.python.tflite_micro import runtime as tflm  # type: ignore[import-not-found]

from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.console import guarded
from edgeward.runtime.errors import TargetError

RUNTIME = "tflite-micro"
ARENA = 4_000_000


class TflmBackend:
    """One model in TFLM's interpreter, batch 1; see ``runtime.backends.Backend``."""

    def __init__(self, artifact: Artifact, data: bytes) -> None:
        self.runtime = RUNTIME
        self.version = importlib.metadata.version(RUNTIME)
        self._artifact = artifact
        if len(artifact.inputs) != 1 or len(artifact.outputs) != 1:
            # TFLM numbers them in the file's order, which the manifest does not hold.
            raise TargetError("This proof takes models with one input and one output.")
        (self._into,), (self._out,) = artifact.inputs, artifact.outputs
        try:
            self._interpreter = tflm.Interpreter.from_bytes(data, arena_size=ARENA)
        except (RuntimeError, ValueError) as error:
            raise TargetError(
                f"{RUNTIME} cannot load {artifact.file}.", received=str(error).strip()
            ) from None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``Backend.run``."""
        if self._artifact.stateful:
            self._interpreter.reset()
        self._interpreter.set_input(inputs[self._into.name], 0)
        self._interpreter.invoke()
        return {self._out.name: self._interpreter.get_output(0).copy()}


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bundle", "samples", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("artifacts", nargs="+")
    options = parser.parse_args()
    bundle = Bundle.open(options.bundle)
    # TFLM cannot resize: one sample at a time.
    chosen = [replace(bundle.manifest.artifact(id_), batch="static") for id_ in options.artifacts]
    probe(bundle, options.samples, options.out, options.seconds, chosen, TflmBackend)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("probe", main))
