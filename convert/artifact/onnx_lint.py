"""What an ONNX file holds, and what is not as its name says."""

from __future__ import annotations

from collections.abc import Sequence

from edgeward.convert.artifact.lint import Description
from edgeward.convert.artifact.onnx import OnnxGraph, read_onnx
from edgeward.convert.variants import Variant

__all__ = ["lint_onnx"]


def lint_onnx(
    data: bytes, variant: Variant, _float_layers: Sequence[str] = ()
) -> tuple[Description, list[str]]:
    """Return what an ONNX file holds, and what is wrong with it.

    Args:
        data: The file.
        variant: What it is to be.
        _float_layers: None: ONNX has no mixed variant.

    Raises:
        InvalidModelError: It is no ONNX file.
    """
    graph = read_onnx(data)
    description = Description(
        inputs=graph.inputs,
        outputs=graph.outputs,
        ops=graph.ops,
        min_runtime={"onnxruntime": graph.min_runtime} if graph.min_runtime else {},
        nodes=graph.nodes,
    )
    return description, _problems(graph, variant)


def _problems(graph: OnnxGraph, variant: Variant) -> list[str]:
    problems = [f"tensor {name!r} is stored outside the file" for name in graph.external]
    quantising = [op.name for op in graph.ops if op.name in ("QuantizeLinear", "DequantizeLinear")]
    if variant.weights == "float32":
        integers = [op.name for op in graph.ops if "Quantize" in op.name or "Integer" in op.name]
        problems += [f"constant {name!r} is float16" for name in graph.half_weights]
        return problems + [f"op {name}" for name in integers]
    if variant.weights == "float16":
        problems += [f"op {name}" for name in quantising]
        problems += [f"weight {name!r} is float32" for name in graph.float_weights]
        return problems + ([] if graph.half_weights else ["no weight is float16"])
    if not variant.calibrated:
        return problems + _lint_dynamic(graph)
    if len(quantising) != 2:
        problems.append("no QuantizeLinear and DequantizeLinear pairs")
    problems += [f"weight {name!r} is float32" for name in graph.float_weights]
    problems += [f"node {name!r} computes on float activations" for name in graph.float_activations]
    return problems


def _lint_dynamic(graph: OnnxGraph) -> list[str]:
    ops = {op.name for op in graph.ops}
    if not ops & {"DynamicQuantizeLSTM", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul"}:
        return ["no op computes on int8 weights"]
    return [f"weight {name!r} is float32" for name in graph.float_weights]
