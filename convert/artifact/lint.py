"""Whether a file is what its name says: dtypes of edges, weights and activations, float islands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgeward.convert.variants import INT8_MIXED, ArtifactId
from edgeward.runtime.artifact import Op, TensorSpec
from edgeward.runtime.errors import TargetError

__all__ = ["Description", "describe"]

# Bytes of a float32 file; from here on weights are what it consists of.
_TELLING_SIZE = 128 * 1024


@dataclass(frozen=True)
class Description:
    """What the file of an artifact holds, in the manifest's terms.

    Attributes:
        inputs: Input tensors.
        outputs: Output tensors.
        ops: Ops and versions.
        min_runtime: Runtime -> lowest version known to hold them.
        nodes: Number of tensors (TFLite) or nodes (ONNX), for the report.
        remark: What the user should know about it; mostly empty.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: tuple[Op, ...]
    min_runtime: Mapping[str, str]
    nodes: int
    remark: str = ""


def describe(
    artifact_id: str, data: bytes, twin_size: int | None, float_layers: Sequence[str] = ()
) -> Description:
    """Lint an artifact and describe it.

    Args:
        artifact_id: What it is to be called.
        data: The file.
        twin_size: Bytes of its float32 twin; None for the twin itself.
        float_layers: What the settings of an ``int8-mixed`` artifact left in float.

    Raises:
        TargetError: It is not what its name says, or has scales that TFLite's kernels cannot
            compute with; names the tensors or ops.
    """
    artifact = ArtifactId.parse(artifact_id)
    description, problems = artifact.format.lint(data, artifact.variant, float_layers)
    if twin_size is not None and len(data) >= twin_size:
        text = f"{len(data)} bytes, not smaller than its float32 twin's {twin_size}"
        if twin_size >= _TELLING_SIZE:
            problems.append(text)
        else:
            # Scales and unrolled steps outweigh the weights of a small net: no fault of the file.
            remark = f"{artifact_id} has {text}: float32 is enough"
            remarks = [one for one in (description.remark, remark) if one]
            description = replace(description, remark="; ".join(remarks))
    if problems:
        raise TargetError(
            f"{artifact_id} is not what its name says.",
            received="; ".join(problems),
            expected=f"a {artifact.format.name} file that is {artifact.variant.id} throughout"
            if artifact.variant is not INT8_MIXED
            else "int8 but for the layers named in its settings",
        )
    return description
