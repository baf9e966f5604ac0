"""Scales that no kernel computes with: found in damaged files, and in no whole one."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeward.convert.artifact.limits import broken_limits
from edgeward.convert.artifact.lint import describe
from edgeward.convert.artifact.tflite import FILE_IDENTIFIER
from edgeward.runtime.arrays import Array
from edgeward.runtime.backends import BACKENDS, available_backends
from edgeward.runtime.backends.tflite import debug_interpreter
from edgeward.runtime.errors import TargetError

OPTIONS = {
    "SOFTMAX": (schema.BuiltinOptions.SoftmaxOptions, schema.SoftmaxOptionsT),
    "ADD": (schema.BuiltinOptions.AddOptions, schema.AddOptionsT),
    "SUB": (schema.BuiltinOptions.SubOptions, schema.SubOptionsT),
}


def one_op(op: str, dtype: str, steps: tuple[float, ...], out: tuple[float, int]) -> bytes:
    """A file of one op: ``[1, 8]`` inputs with these steps, an output with step and zero point."""
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode, code.version = code.builtinCode, 2
    graph.tensors = []
    for name, step, zero in [*((f"x{i}", step, 0) for i, step in enumerate(steps)), ("y", *out)]:
        tensor, grid = schema.TensorT(), schema.QuantizationParametersT()
        grid.scale, grid.zeroPoint = np.array([step], np.float32), np.array([zero], np.int64)
        tensor.name, tensor.shape, tensor.buffer = name, np.array([1, 8], np.int32), 0
        tensor.type, tensor.quantization = getattr(schema.TensorType, dtype.upper()), grid
        graph.tensors.append(tensor)
    operator.inputs = graph.inputs = np.arange(len(steps), dtype=np.int32)
    operator.outputs = graph.outputs = np.array([len(steps)], np.int32)
    operator.opcodeIndex = 0
    if op in OPTIONS:
        operator.builtinOptionsType, options = OPTIONS[op]
        operator.builtinOptions = options()
        if op == "SOFTMAX":
            operator.builtinOptions.beta = 2.0
    graph.operators = [operator]
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


HALF, WORD = (1 / 256, -128), (2.0**-15, 0)

# Op, dtype, the last good step of the inputs and of the output, and the same just beyond.
LIMITS: list[tuple[str, str, Any, Any, Any, Any]] = [
    ("SOFTMAX", "int8", (1.01 * 2**-27,), HALF, (2.0**-27,), HALF),
    ("LOG_SOFTMAX", "int8", (1.01 * 2**-26,), (1 / 16, 127), (2.0**-26,), (1 / 16, 127)),
    ("SOFTMAX", "int16", (2.49,), WORD, (2.51,), WORD),
    ("TANH", "int16", (1.01 * 2**-43 / 3,), WORD, (0.99 * 2**-43 / 3,), WORD),
    ("LOGISTIC", "int16", (1.01 * 2**-43 / 3,), WORD, (0.99 * 2**-43 / 3,), WORD),
    ("ADD", "int8", (3.0, 1.0), (3.01 * 2**-19, 0), (3.0, 1.0), (3.0 * 2**-19, 0)),
    ("SUB", "int8", (1.0, 3.0), (3.01 * 2**-19, 0), (1.0, 3.0), (3.0 * 2**-19, 0)),
    ("SUB", "int16", (1.0, 3.0), (3.01 * 2**-14, 0), (1.0, 3.0), (3.0 * 2**-14, 0)),
    ("SQUARED_DIFFERENCE", "int8", (3.0, 1.0), (9.01 * 2**-12, 0), (3.0, 1.0), (9 * 2.0**-12, 0)),
]


@pytest.mark.parametrize("case", LIMITS, ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_step_beyond_the_limit_of_its_kernel_is_refused(case: Any) -> None:
    op, dtype, good, good_out, bad, bad_out = case
    assert broken_limits(one_op(op, dtype, good, good_out)) == ()
    damaged = one_op(op, dtype, bad, bad_out)
    (found,) = broken_limits(damaged)
    assert (found.op, found.tensor, found.everywhere) == (op, "y", True)
    with pytest.raises(TargetError, match=f"{op} of layer y has .* steps of") as raised:
        describe("tflite-int8" if dtype == "int8" else "tflite-int16x8", damaged, None)
    assert raised.value.expected == found.expected
    assert raised.value.fix == found.fix


@pytest.mark.parametrize("op", ["TANH", "LOGISTIC"])
def test_what_only_microcontrollers_cannot_compute_is_told(op: str) -> None:
    out = (1 / 128, 0) if op == "TANH" else HALF
    assert describe("tflite-int8", one_op(op, "int8", (1.01 * 2**-28,), out), None).remark == ""
    remark = describe("tflite-int8", one_op(op, "int8", (0.99 * 2**-28,), out), None).remark
    assert f"{op} of layer y has an input in steps of 2^-28.01" in remark
    assert "microcontrollers" in remark


def test_whole_artifacts_break_no_limit(every_variant: dict[str, bytes]) -> None:
    for name, data in every_variant.items():
        if name.startswith("tflite"):
            assert broken_limits(data) == (), name


def answer(data: bytes, values: Array, runtime: str) -> Array:
    interpreter = debug_interpreter(data, BACKENDS[runtime][1])
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


# The other limits end the process in at least one runtime.
@pytest.mark.parametrize("runtime", available_backends("tflite"))
@pytest.mark.parametrize("case", [LIMITS[2], LIMITS[3]], ids=["SOFTMAX", "TANH"])
def test_the_limit_is_where_the_kernels_begin_to_answer_wrong(case: Any, runtime: str) -> None:
    op, dtype, good, good_out, bad, bad_out = case
    values = np.array([[-32768, -9000, -20, 0, 30, 7000, 20000, 32767]], np.int16)

    def error(steps: tuple[float], out: tuple[float, int]) -> float:
        real = values.astype(np.float64) * np.float32(steps[0])
        powers = np.exp(2 * (real - real.max()))
        expected = powers / powers.sum() if op == "SOFTMAX" else np.tanh(real)
        found = answer(one_op(op, dtype, steps, out), values, runtime)
        return float(np.abs(found * out[0] - expected).max())

    assert error(good, good_out) < 0.001
    assert error(bad, bad_out) > 0.5
