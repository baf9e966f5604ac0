"""What each runtime registers, as ``scripts/make_op_tables.py`` found it (docs/targets.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.version import Version

from edgeward.convert.artifact.locate import CUSTOM, ONNX, ONNX_IR, TFLITE, LocatedOp

__all__ = ["FOLDER", "OpTable", "read_tables"]

FOLDER = Path(__file__).parent / "tables"

FORMAT_VERSION = 1

# onnxruntime's documentation, "Compatibility": every version reads opsets from 7 on, and since
# 1.12 ai.onnx.ml up to 3.
_OLDEST_OPSET, _OLDEST_IR, _ML = 7, 3, (1, 3)


@dataclass(frozen=True)
class OpTable:
    """The ops of one version of one runtime.

    Attributes:
        runtime: Name of the runtime.
        version: Its version.
        format: Name of the format that it runs.
        source: Where the table comes from, in words.
        probed_on: The day it was made.
        versioned: Whether the runtime looks at versions; TensorFlow Lite Micro does not.
        ops: Name -> lowest and highest version: of a TFLite op, of an ONNX domain's opset
            (``ai.onnx``), of ONNX files (``onnx-ir``), of an op of another domain
            (``com.microsoft/Gelu``).
        whole_minor: Whether the table holds for every release of its first two numbers, as those
            of onnxruntime do.
    """

    runtime: str
    version: str
    format: str
    source: str
    probed_on: str
    versioned: bool
    ops: Mapping[str, tuple[int, int]]
    whole_minor: bool = False

    def lacks(self, op: LocatedOp) -> str | None:
        """Return what the runtime has where it cannot hold ``op``: ``v1 to v10``, ``no such op``.

        Returns None where it can.
        """
        have = self.ops.get(_key(op)) if op.domain != CUSTOM else None
        if have is None:
            return "no such op"
        low, high = have
        if not self.versioned or low <= op.version <= high:
            return None
        return f"v{low}" if low == high else f"v{low} to v{high}"


def _key(op: LocatedOp) -> str:
    if op.domain == TFLITE:
        return op.op
    # An opset holds all ops of its domain; what Microsoft adds comes op by op.
    whole = (ONNX, ONNX_IR, "ai.onnx.ml")
    return op.domain if op.domain in whole else f"{op.domain}/{op.op}"


@cache
def read_tables(folder: Path = FOLDER) -> Mapping[str, tuple[OpTable, ...]]:
    """Read all tables: name of the runtime -> its versions, the oldest first.

    Raises:
        ValueError: A table is of another format version; the installation is damaged.
    """
    tables: dict[str, list[OpTable]] = {}
    for path in sorted(folder.glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format_version"] != FORMAT_VERSION:
            raise ValueError(f"{path.name}: format_version is not {FORMAT_VERSION}")
        made = _releases(values) if "releases" in values else [_one_version(values)]
        tables.setdefault(values["runtime"], []).extend(made)
    return {
        name: tuple(sorted(versions, key=lambda table: Version(table.version)))
        for name, versions in tables.items()
    }


def _one_version(values: dict[str, Any]) -> OpTable:
    return OpTable(
        values["runtime"],
        values["version"],
        values.get("format", "tflite"),
        values["source"],
        values["probed_on"],
        values["versioned"],
        {name: (int(low), int(high)) for name, (low, high) in values["ops"].items()},
    )


def _releases(values: dict[str, Any]) -> list[OpTable]:
    def ops(release: str, limits: dict[str, Any]) -> dict[str, tuple[int, int]]:
        return {
            ONNX: (_OLDEST_OPSET, int(limits["opset"])),
            ONNX_IR: (_OLDEST_IR, int(limits["ir"])),
            "ai.onnx.ml": _ML,
            **{
                f"com.microsoft/{name}": (1, 1)
                for name, since in values["com_microsoft"].items()
                if Version(since) <= Version(release)
            },
        }

    return [
        OpTable(
            values["runtime"], release, "onnx", values["source"], values["probed_on"], True,
            ops(release, limits), whole_minor=True,
        )
        for release, limits in values["releases"].items()
    ]  # fmt: skip
