"""Child of make_op_tables.py: load models one by one in the runtime of this interpreter.

Only the standard library and the runtime, since it runs in environments that hold nothing else.
A runtime that dies takes this process along; the parent starts another behind the fatal model.

Usage: python probe_tflite.py MODULE MODELS.json START CAPTURE
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
from pathlib import Path

ARENA = 200_000


def loader(module: str):
    """Return a function that loads the bytes of a model; raises where the runtime refuses."""
    if module == "tflite_micro":
        runtime = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
        return lambda data: runtime.Interpreter.from_bytes(data, arena_size=ARENA)
    if module == "tensorflow":
        interpreter = importlib.import_module("tensorflow").lite.Interpreter
    else:
        interpreter = importlib.import_module(f"{module}.interpreter").Interpreter
    return lambda data: interpreter(model_content=data)


def main(module: str, models: str, start: str, capture: str) -> None:
    load = loader(module)
    listed = json.loads(Path(models).read_text())
    # TensorFlow Lite Micro says which op is missing on the error stream only.
    stream = os.open(capture, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 2)
    for i in range(int(start), len(listed)):
        os.ftruncate(stream, 0)
        os.lseek(stream, 0, os.SEEK_SET)
        try:
            load(base64.b64decode(listed[i]))
            said = "ok"
        except Exception as error:  # whatever it says is the answer
            said = f"{type(error).__name__}: {error}"
        said += Path(capture).read_text(errors="replace")
        print("@", json.dumps([i, said]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
