"""Float islands in an int8 graph: which ops make one, and whether a file has those it should."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from convert.graph import DTYPES, op_name, parse, text_of

__all__ = ["island_around", "lint_mixed"]

# Ops that only change how a value is written.
_BRIDGES = ("QUANTIZE", "DEQUANTIZE")


def island_around(data: bytes, name: str) -> tuple[str, ...]:
    """Return the ops that must stay float for one activation to stay float.

    One op alone gains little: what it reads and what it writes is still rounded to int8 for its
    neighbours. The op that writes the activation and all that read it make an island inside of
    which it is never rounded.

    Args:
        data: The float32 TFLite artifact.
        name: An activation of it, also an input or output of the model.

    Returns:
        Names of the tensors that those ops write, for ``Settings.float_layers``; empty where
        no op writes or reads an activation of this name.
    """
    return tuple(
        written
        for _, read, writes in _ops(parse(data))
        for written in writes
        if name in (*read, *writes)
    )


def lint_mixed(data: bytes, float_layers: Sequence[str]) -> list[str]:
    """Return what is wrong with the mixture of an ``int8-mixed`` file; empty where nothing is.

    Args:
        data: A TFLite file.
        float_layers: Names of the tensors whose ops were to stay float; where there are some, no
            other op may be. Without any it is unchecked which they are.
    """
    model = parse(data)
    dtypes = {
        text_of(tensor.name): DTYPES[tensor.type]
        for graph in model.subgraphs
        for tensor in graph.tensors
    }
    written = {name for kind, _, writes in _ops(model) for name in writes if kind not in _BRIDGES}
    floats = {name for name in written if dtypes[name].startswith("float")}
    problems = []
    if not any(dtypes[name] == "int8" for name in written):
        problems.append("no op computes in int8")
    if not floats:
        problems.append("no op computes in float: it is plain int8-floatio")
    if float_layers:
        missing = [name for name in float_layers if name not in floats]
        islands = sorted(floats.difference(float_layers))
        problems += [f"no float op writes {name!r}, which was to stay float" for name in missing]
        problems += [f"float island: {name!r}, which was not to stay float" for name in islands]
    return problems


def _ops(model: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield name, tensors read and tensors written of each op."""
    for graph in model.subgraphs:
        names = [text_of(tensor.name) for tensor in graph.tensors]
        for operator in graph.operators:
            yield (
                op_name(model.operatorCodes[operator.opcodeIndex]),
                [names[index] for index in operator.inputs if index >= 0],
                [names[index] for index in operator.outputs],
            )
