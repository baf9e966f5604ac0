"""Ask a runtime which ops it registers, by loading models that hold a single op.

TFLite asks its resolver for every op of a file while it builds the interpreter, before it looks at
options, tensors or shapes: "Didn't find op for builtin opcode 'X' version 'N'". Any other complaint
about our crippled models comes later, from an op that was found; so does a crash.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

HERE = Path(__file__).parent
# No op is at version 25 yet; one that gets there makes ``versions`` raise.
HIGHEST = 25
# Names of the schema that are no ops of a file.
_NO_OPS = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
OPS = {
    name: code
    for name, code in sorted(vars(schema.BuiltinOperator).items())
    if not name.startswith("_") and name not in _NO_OPS
}
_NOT_FOUND = ("Didn't find op for builtin opcode", "builtin_code out of range")


def single_op(code: int, version: int) -> bytes:
    """Return a model of one op that reads one float32 and writes one."""

    def tensor(name: str) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.type, made.buffer = name, schema.TensorType.FLOAT32, 0
        made.shape = np.array([1], np.int32)
        return made

    kind = schema.OperatorCodeT()
    kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, min(code, 127), version
    node = schema.OperatorT()
    node.opcodeIndex = 0
    node.inputs, node.outputs = np.array([0], np.int32), np.array([1], np.int32)
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators = "main", [tensor("x"), tensor("y")], [node]
    graph.inputs, graph.outputs = node.inputs, node.outputs
    model = schema.ModelT()
    model.version, model.description = 3, "probe"
    model.operatorCodes, model.subgraphs, model.buffers = [kind], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_child(command: list[str], models: list[bytes], paths: Iterable[str] = ()) -> list[str]:
    """Load every model in a child process; return what the runtime said, ``crash`` included."""
    said: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        file, capture = Path(name) / "models.json", Path(name) / "stderr"
        file.write_text(json.dumps([base64.b64encode(model).decode() for model in models]))
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        while len(said) < len(models):
            capture.write_text("")
            before = len(said)
            done = subprocess.run(
                ["nice", *command, str(file), str(before), str(capture)],
                capture_output=True, text=True, env=environment, timeout=1800, check=False,
            )  # fmt: skip
            for line in done.stdout.splitlines():
                if line.startswith("@ "):
                    index, text = json.loads(line[2:])
                    if index != len(said):
                        raise RuntimeError(f"answer {index} where {len(said)} was expected")
                    said.append(text)
            if len(said) == before and done.returncode > 0:
                raise RuntimeError(f"{command} did not start:\n{done.stderr[-2000:]}")
            if len(said) < len(models) and done.returncode < 0:
                said.append(f"crash {done.returncode}: " + capture.read_text(errors="replace"))
    return said


def found(said: str) -> bool:
    """Tell whether the resolver had the op, from what the runtime said of its model."""
    return not any(text in said for text in _NOT_FOUND)


def tflite_command(module: str, python: Path | str = sys.executable) -> list[str]:
    """Return the command of the child that loads TFLite files in a Python runtime."""
    return [str(python), str(HERE / "probe_tflite.py"), module]


def ask(command: list[str], questions: list[tuple[str, int]]) -> tuple[list[bool], set[str]]:
    """Ask for ops in versions.

    Returns:
        Whether each was found, and the ops whose model killed the runtime after it was found.

    Raises:
        RuntimeError: The runtime refuses everything or nothing, so what it says means nothing.
    """
    control = [("RELU", 1), ("STABLEHLO_CBRT", 1)]
    said = run_child(command, [single_op(OPS[op], v) for op, v in control + questions])
    if not found(said[0]) or "SystemError" in said[0] or found(said[1]):
        raise RuntimeError(f"the controls failed: {said[:2]}")
    killers = {
        op
        for (op, _), text in zip(questions, said[2:], strict=True)
        if text.startswith("crash") and found(text)
    }
    return [found(text) for text in said[2:]], killers


def versions(command: list[str]) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """Return the lowest and highest version of each op that is found, and the killers."""
    questions = [(op, version) for op in OPS for version in range(1, HIGHEST + 1)]
    answers, killers = ask(command, questions)
    have: dict[str, list[int]] = {}
    for (op, version), yes in zip(questions, answers, strict=True):
        if yes:
            have.setdefault(op, []).append(version)
    for op, listed in have.items():
        if listed != list(range(listed[0], listed[-1] + 1)):
            raise RuntimeError(f"{op} has versions with gaps: {listed}")
    return {op: (listed[0], listed[-1]) for op, listed in have.items()}, killers


def onnx_models() -> dict[str, bytes]:
    """Return models that need one opset, one IR version or one op of com.microsoft each."""
    from onnx import TensorProto, defs, helper
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    edges = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy"]

    def model(op: str, opset: int, ir: int, domain: str = "") -> bytes:
        node = helper.make_node(op, ["x"], ["y"], domain=domain)
        graph = helper.make_graph([node], "probe", edges[:1], edges[1:])
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        made = helper.make_model(graph, opset_imports=imports, ir_version=ir)
        return bytes(made.SerializeToString())

    models = {f"opset {v}": model("Relu", v, 7) for v in range(13, defs.onnx_opset_version() + 1)}
    models |= {
        f"ir {v}": model("Relu", 13, v) for v in range(7, int(helper.VERSION_TABLE[-1][1]) + 1)
    }
    kernels = {
        kernel.op_name
        for kernel in state.get_all_opkernel_def()
        if kernel.domain == "com.microsoft" and kernel.provider == "CPUExecutionProvider"
    }
    for op in ("edgewardControl", *sorted(kernels)):
        models[f"op {op}"] = model(op, 13, 7, "com.microsoft")
    return models


def onnx_known(command: list[str], models: dict[str, bytes]) -> set[str]:
    """Return the keys of the models that a release of onnxruntime reads.

    A model whose op is known but misused is read; it is refused for its inputs afterwards.
    """
    said = dict(zip(models, run_child(command, list(models.values())), strict=True))
    known = {
        key
        for key, text in said.items()
        if (text == "ok" or key.startswith("op ")) and "is not a registered function/op" not in text
    }
    if "opset 13" not in known or "op edgewardControl" in known:
        raise RuntimeError(f"the controls failed: {said['opset 13']}, {said['op edgewardControl']}")
    return known
