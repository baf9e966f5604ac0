"""Child of make_op_tables.py: load models one by one in the onnxruntime of this interpreter.

Usage: python probe_onnx.py MODULE MODELS.json START CAPTURE
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from pathlib import Path


def main(module: str, models: str, start: str, _capture: str) -> None:
    runtime = importlib.import_module(module)
    runtime.set_default_logger_severity(4)
    listed = json.loads(Path(models).read_text())
    for i in range(int(start), len(listed)):
        try:
            runtime.InferenceSession(
                base64.b64decode(listed[i]), providers=["CPUExecutionProvider"]
            )
            said = "ok"
        except Exception as error:  # whatever it says is the answer
            said = f"{type(error).__name__}: {error}"
        print("@", json.dumps([i, said]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
