"""The file formats, one value each: what a format has of its own, and where that is written.

Every room may import this file, and so it imports none: what a room does for a format is named as
``MODULE:NAME`` and imported when it is first used. Converters are so imported by the worker alone,
and interpreters where something is run. docs/extending.md shows how to add a format.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeward.convert.artifact.lint import Description
    from edgeward.convert.artifact.locate import LocatedOp
    from edgeward.convert.export.models import Maker, Models
    from edgeward.convert.layers.hidden import Hidden
    from edgeward.convert.layers.probe import Probe
    from edgeward.convert.variants import Variant

__all__ = ["FORMATS", "Format", "format_of"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format.

    Attributes:
        name: What its artifact ids begin with.
        suffix: What its file names end in.
        makers: A ``Maker``: how the float model becomes each variant. Runs in the worker.
        linters: Function of (data, variant, tensors that were to stay float): what a file holds,
            and what is not as the name says.
        locators: Function of (data, names of layers): every op of a file.
        variants: Ids of the variants that it has; None has every one.
        begins: Offset and bytes that tell its files from others; None for the one format that is
            told by not being any other.
        probes: A ``Probe``, which shows each tensor of a file; empty where layers cannot be
            compared.
        hidden: Function of (data, data of the float32 artifact, probe of the first): ops that lose
            the signal where no tensor shows it; empty where there are none.
        islands: Function of (data of the float32 artifact, name of an activation): which tensors
            an ``int8-mixed`` artifact leaves in float around it; empty where there is no such
            variant.
        scalers: Function of (data, factor): the file after the weights of its largest layer were
            multiplied, None where it has none; empty where self-tests are not tried on that.
        target: ``NAME==VERSION`` of the oldest runtime that is supported; empty where no table
            says what a runtime holds.
        kernels: Kernel sets of its runtimes that answers are compared between.
    """

    name: str
    suffix: str
    makers: str
    linters: str
    locators: str
    variants: tuple[str, ...] | None = None
    begins: tuple[int, bytes] | None = None
    probes: str = ""
    hidden: str = ""
    islands: str = ""
    scalers: str = ""
    target: str = ""
    kernels: tuple[str, ...] = ("default",)

    def has(self, variant: str) -> bool:
        """Tell whether there are artifacts of this format and variant id."""
        return self.variants is None or variant in self.variants

    def maker(self, models: Models) -> Maker:
        """Return what makes the variants of a model. Imports the converter."""
        maker: Maker = _find(self.makers)(models)
        return maker

    def lint(
        self, data: bytes, variant: Variant, float_layers: Sequence[str]
    ) -> tuple[Description, list[str]]:
        """Return what a file holds, and what is wrong with it.

        Args:
            data: The file.
            variant: What it is to be.
            float_layers: What the settings of an ``int8-mixed`` artifact left in float.
        """
        seen: tuple[Description, list[str]] = _find(self.linters)(data, variant, float_layers)
        return seen

    def locate(self, data: bytes, layers: frozenset[str]) -> tuple[LocatedOp, ...]:
        """Return every op of a file, see ``convert.artifact.locate.locate_ops``."""
        ops: tuple[LocatedOp, ...] = _find(self.locators)(data, layers)
        return ops

    def probe(self, data: bytes) -> Probe:
        """Return a file that shows its tensors. Imports the interpreter."""
        probe: Probe = _find(self.probes)(data)
        return probe

    def hidden_ops(self, data: bytes, twin: bytes, probe: Probe) -> Mapping[str, Hidden]:
        """Return the ops that lose the signal unseen: tensor that such an op writes -> the op.

        Args:
            data: The file.
            twin: Its float32 twin.
            probe: What shows the tensors of the file.
        """
        ops: Mapping[str, Hidden] = _find(self.hidden)(data, twin, probe) if self.hidden else {}
        return ops

    def island_around(self, data: bytes, tensor: str) -> tuple[str, ...]:
        """Return what must stay float for one activation of a float32 artifact to stay float."""
        tensors: tuple[str, ...] = _find(self.islands)(data, tensor)
        return tensors

    def scale_largest_layer(self, data: bytes, factor: float) -> bytes | None:
        """Return a file whose layer with the most parameters has its weights multiplied."""
        scaled: bytes | None = _find(self.scalers)(data, factor) if self.scalers else None
        return scaled


def _find(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


# In the order in which they are made.
FORMATS: dict[str, Format] = {
    "tflite": Format(
        name="tflite",
        suffix="tflite",
        makers="edgeward.convert.export.tflite:TfliteMaker",
        linters="edgeward.convert.artifact.tflite_lint:lint_tflite",
        locators="edgeward.convert.artifact.locate:locate_tflite",
        begins=(4, b"TFL3"),
        scalers="edgeward.convert.measure.scaled:scale_tflite",
        probes="edgeward.convert.layers.tflite_probe:TfliteProbe",
        hidden="edgeward.convert.layers.hidden:hidden_ops",
        islands="edgeward.convert.artifact.tflite_lint:island_around",
        target="tflite-runtime==2.14.0",
        # The interpreter with its default delegate, without, and the kernels that define the
        # result.
        kernels=("default", "no-delegate", "reference"),
    ),
    "onnx": Format(
        name="onnx",
        suffix="onnx",
        makers="edgeward.convert.export.onnx:OnnxMaker",
        linters="edgeward.convert.artifact.onnx_lint:lint_onnx",
        locators="edgeward.convert.artifact.locate:locate_onnx",
        variants=("fp32", "fp16", "dynamic", "int8"),
        scalers="edgeward.convert.measure.scaled:scale_onnx",
        probes="edgeward.convert.layers.onnx_probe:OnnxProbe",
        # The oldest that reads the opset of ``convert.export.onnx``.
        target="onnxruntime==1.12",
        kernels=("default", "reference"),
    ),
}


def format_of(data: bytes) -> Format:
    """Return the format of a file, as its first bytes tell it.

    Args:
        data: The file.

    >>> format_of(bytes(4) + b"TFL3").name, format_of(b"anything else").name
    ('tflite', 'onnx')
    """
    for format_ in FORMATS.values():
        offset, begins = format_.begins or (0, b"")
        if begins and data[offset : offset + len(begins)] == begins:
            return format_
    return next(format_ for format_ in FORMATS.values() if format_.begins is None)
