"""The runtime that must accept an artifact: every op and version is checked before it is bundled.

``--target NAME==VERSION``; docs/targets.md tells what is checked and where the tables come from.
That an op is registered proves nothing about its answers: artifacts are measured as well.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from packaging.version import InvalidVersion, Version

from edgeward.convert.artifact.locate import ONNX, TFLITE, LocatedOp, locate_ops
from edgeward.convert.formats import FORMATS
from edgeward.convert.settings import Switches
from edgeward.convert.targets.remedies import DEMANDS, remedy_for
from edgeward.convert.targets.table import OpTable, read_tables
from edgeward.convert.variants import ArtifactId, with_float_edges
from edgeward.runtime.backends import BACKENDS
from edgeward.runtime.errors import TargetError, UsageError

__all__ = [
    "TARGETS",
    "Misfit",
    "Target",
    "adapt",
    "choose_targets",
    "default_target",
    "min_runtimes",
    "misfits",
    "parse_target",
    "switches_for",
]

_TRAITS: Mapping[str, tuple[str, ...]] = {
    # Its JavaScript knows Float32Array, Int32Array and Uint8Array only, in a browser it wants a
    # static batch, and its loader says "Variable tensors not yet supported".
    "litert.js": ("dynamic", "int-edge", "variable"),
    # Its kernels say "filter type: INT8 not supported" to float input, and its DEQUANTIZE takes
    # no float16.
    "tflite-micro": ("float16", "hybrid"),
}

# Runtime -> the backend that measures in it.
_BACKENDS = {distribution: name for name, (distribution, *_) in BACKENDS.items()}

_SPELLING = re.compile(r"([a-z][a-z.-]*)(?:==(\d+(?:\.(?:dev)?\d+)*))?", re.ASCII)

# Scales per channel of a dense layer's weights are this version (tensorflow#80736).
_PER_CHANNEL_DENSE = LocatedOp("FULLY_CONNECTED", 12, 0, "", TFLITE)


@dataclass(frozen=True)
class Target:
    """A runtime and version that must accept an artifact.

    Attributes:
        name: Name of the runtime, e.g. ``tflite-runtime``.
        version: Its version, as asked for.
        format: ``tflite`` or ``onnx``.
        demands: Traits that no op may have, see ``convert.targets.remedies.DEMANDS``.
        table: What it registers; of the newest known version that is not newer.
        named: Whether it was asked for by name.
    """

    name: str
    version: str
    format: str
    demands: tuple[str, ...]
    table: OpTable = field(repr=False, compare=False)
    named: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def backend(self) -> str:
        """Name of the backend that measures in it; empty where there is none."""
        return _BACKENDS.get(self.name, "")

    @property
    def installed(self) -> bool:
        """Whether this very version is installed here."""
        try:
            found = importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        return Version(self.version) == Version(found)

    @property
    def note(self) -> str:
        """Which table stands in where the version itself has none; empty otherwise."""
        asked, known = Version(self.version), Version(self.table.version)
        if self.table.whole_minor:
            asked = Version(f"{asked.major}.{asked.minor}")
        if asked == known:
            return ""
        return f"{self} has no table; checked against {self.table.version}, the newest not newer"

    def check(self, artifact_id: str, data: bytes, layers: Collection[str] = ()) -> None:
        """Check that the target holds every op of an artifact.

        Args:
            artifact_id: Its id, for the message.
            data: The file.
            layers: Names of the model's layers, see ``locate_ops``.

        Raises:
            TargetError: It does not; names op, version, layer and remedy.
        """
        unfit = misfits(self, locate_ops(data, layers))
        if not unfit:
            return
        # One line for each kind, however many layers have it.
        kinds: dict[tuple[str, int, str, str], dict[str, None]] = {}
        for misfit in unfit:
            kind = (misfit.op, misfit.version, misfit.has, misfit.remedy)
            kinds.setdefault(kind, {})[misfit.layer] = None
        raise TargetError(
            f"{artifact_id} does not fit {self}.",
            received="; ".join(
                f"{op} v{version} in {', '.join(where)}"
                for (op, version, _, _), where in kinds.items()
            ),
            expected="; ".join(dict.fromkeys(f"{op}: {has}" for op, _, has, _ in kinds)),
            fix="; ".join(dict.fromkeys(f"{op}: {remedy}" for op, _, _, remedy in kinds)),
        )

    def check_measured(self, artifact_id: str, unusable: Mapping[str, str]) -> None:
        """Check that the target ran an artifact, where it is installed.

        Args:
            artifact_id: Its id, for the message.
            unusable: Backend -> why it cannot run the artifact.

        Raises:
            TargetError: The target itself is installed and cannot.
        """
        reason = unusable.get(self.backend)
        if reason is not None and self.installed:
            raise TargetError(
                f"{artifact_id} does not run on {self}, although all its ops are registered.",
                received=reason,
                fix="choose another variant or another --target",
            )


@dataclass(frozen=True)
class Misfit:
    """An op that a target cannot hold.

    Attributes:
        op: Its name.
        version: The version that the artifact asks for.
        has: What the target has or demands, e.g. ``v1 to v10`` or ``no such op``.
        layer: Where it is.
        remedy: What to do.
    """

    op: str
    version: int
    has: str
    layer: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.op} v{self.version} in {self.layer}: has {self.has}; {self.remedy}"


def _target(version: str, table: OpTable) -> Target:
    return Target(table.runtime, version, table.format, _TRAITS.get(table.runtime, ()), table)


TARGETS: tuple[Target, ...] = tuple(
    _target(table.version, table) for tables in read_tables().values() for table in tables
)


def parse_target(text: str) -> Target:
    """Read ``NAME==VERSION``.

    A version between two known ones takes the older table (``Target.note`` says so). Without a
    version it is the oldest known one.

    Raises:
        UsageError: An unknown runtime, a version older than all known ones, or no version at all.

    >>> str(parse_target("tflite-runtime==2.14.0"))
    'tflite-runtime 2.14.0'
    >>> parse_target("ai-edge-litert==2.2.0").note
    'ai-edge-litert 2.2.0 has no table; checked against 2.1.0, the newest not newer'
    """
    tables = read_tables()
    spelt = _SPELLING.fullmatch(text.strip().lower())
    name = spelt[1] if spelt else re.split(r"[=<>~! ]", text.strip().lower())[0]
    if name not in tables:
        raise UsageError("Unknown target.", received=text, expected=_choices(tables.values()))
    known = tables[name]
    version = spelt[2] or known[0].version if spelt else ""
    if not _is_version(version):
        raise UsageError(
            f"The target is not of the form {name}==VERSION.",
            received=text,
            expected=_choices([known]),
        )
    older = [table for table in known if Version(table.version) <= Version(version)]
    if not older:
        raise UsageError(
            f"{name} {version} is older than every version that is known.",
            received=text,
            expected=_choices([known]),
            fix="docs/targets.md tells how to add a table",
        )
    return _target(version, older[-1])


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _choices(tables: Iterable[Sequence[OpTable]]) -> str:
    return ", ".join(f"{table.runtime}=={table.version}" for known in tables for table in known)


def default_target(format_: str) -> Target:
    """Return the oldest runtime that is supported for a format.

    Raises:
        UsageError: A format without runtimes.
    """
    with_target = [name for name, entry in FORMATS.items() if entry.target]
    if format_ not in with_target:
        raise UsageError("No target for this format.", received=format_, expected=with_target)
    return parse_target(FORMATS[format_].target)


def misfits(target: Target, located_ops: Iterable[LocatedOp]) -> list[Misfit]:
    """Return the ops that a target cannot hold, in the order of the file.

    Args:
        target: The target.
        located_ops: What ``locate_ops`` found in a file of the target's format.

    Raises:
        UsageError: The file is of another format.
    """
    unfit = []
    for op in located_ops:
        _same_format(target, op)
        has = target.table.lacks(op)
        if has is not None:
            remedy = remedy_for(op, missing=has == "no such op") or _general(op)
            unfit.append(Misfit(op.op, op.version, has, op.layer, remedy))
            continue
        for trait in op.traits:
            if trait in target.demands:
                demand, remedy = DEMANDS[trait]
                unfit.append(Misfit(op.op, op.version, demand, op.layer, remedy))
    return unfit


def _same_format(target: Target, op: LocatedOp) -> None:
    format_ = op.format.name
    if format_ != target.format:
        raise UsageError(f"{target} holds {target.format} files.", received=f"a {format_} file")


def _general(op: LocatedOp) -> str:
    holders = [str(target) for target in TARGETS if target.table.lacks(op) is None]
    text = f"replace the layer {op.layer!r} by one of other ops"
    if not op.domain.startswith((TFLITE, ONNX)):
        text = "leave this op to onnxruntime's own optimiser, which makes it when it loads a file"
    return f"{text}, or choose a target that holds it ({', '.join(holders)})" if holders else text


def min_runtimes(located_ops: Iterable[LocatedOp]) -> dict[str, str]:
    """Return runtime -> lowest known version that holds every op; without those that cannot.

    Lowest *known*: an older version may hold them, but nobody asked it.
    """
    ops = tuple(located_ops)
    if not ops:
        return {}
    format_ = ops[0].format.name
    lowest: dict[str, str] = {}
    for target in TARGETS:  # of each runtime the oldest version first
        if target.format == format_ and target.name not in lowest and not misfits(target, ops):
            lowest[target.name] = target.version
    return dict(sorted(lowest.items()))


def choose_targets(
    asked: str | Sequence[str] | None, formats: Sequence[str]
) -> dict[str, tuple[Target, ...]]:
    """Return format -> the runtimes that must accept its artifacts, at least one.

    Args:
        asked: ``NAME==VERSION``, or several; None, and a format that none of them has, take the
            oldest supported runtime.
        formats: What is made.

    Raises:
        UsageError: An unknown runtime or version, or one of a format that is not made.
    """
    texts = [asked] if isinstance(asked, str) else list(asked or ())
    named: dict[str, dict[str, Target]] = {}
    for text in texts:
        target = replace(parse_target(text), named=True)
        if target.format not in formats:
            raise UsageError(
                f"{target} runs {target.format} files, and none is to be made.",
                received=f"--format {','.join(formats)}",
                fix=f"--format {target.format}, or another --target",
            )
        named.setdefault(target.format, {})[str(target)] = target
    return {
        name: tuple(named[name].values()) if name in named else (default_target(name),)
        for name, entry in FORMATS.items()
        if entry.target
    }


def switches_for(targets: Mapping[str, Sequence[Target]]) -> Switches:
    """Return what the converter has to do so that the targets hold what it makes."""
    held = [one.table.lacks(_PER_CHANNEL_DENSE) for one in targets[_PER_CHANNEL_DENSE.format.name]]
    return Switches(per_tensor_dense=any(lack is not None for lack in held))


def adapt(
    ids: Sequence[str], targets: Mapping[str, Sequence[Target]]
) -> tuple[list[str], list[str]]:
    """Return the artifacts to make for the targets, and notes on what was exchanged.

    A target that takes no integers at a model's edges gets int8 with float edges.
    """
    chosen: dict[str, None] = {}
    notes = []
    for artifact_id in ids:
        asked = targets.get(ArtifactId.parse(artifact_id).format.name, ())
        target = next((one for one in asked if "int-edge" in one.demands), None)
        fitting = artifact_id if target is None else with_float_edges(artifact_id)
        chosen[fitting] = None
        if fitting != artifact_id:
            notes.append(
                f"{fitting} instead of {artifact_id}: {target} takes no integers at the edges"
            )
    return list(chosen), notes
