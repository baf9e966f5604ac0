"""The twins of the proofs: bundles damaged on purpose, which every device has to notice.

``make devices`` shows next to *exact* that each device can say *wrong* as well, of each artifact.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from onnx import numpy_helper

from edgeward.convert.artifact.tflite import FILE_IDENTIFIER, parse
from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact, Limit
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.files import sha256_bytes
from edgeward.runtime.golden import Golden
from edgeward.runtime.self_test import FLOAT_LSB
from scripts.android.damage import seal
from scripts.devices.subject import Device, Measured, Subject

__all__ = ["DAMAGES", "Noticed", "damaged", "noticed", "other_weights"]


@dataclass(frozen=True)
class Noticed:
    """One damage to one artifact on one device.

    Attributes:
        device: The device's name.
        bundle: The bundle's name.
        artifact: Artifact id.
        damage: A key of ``DAMAGES``, or what was done to the Android app.
        passed: The device noticed it, in the way that it has to.
        said: What the device said.
    """

    device: str
    bundle: str
    artifact: str
    damage: str
    passed: bool
    said: str


def damaged(subject: Subject, folder: Path) -> dict[str, Subject]:
    """Return a copy of a bundle for each damage, with every artifact damaged in that way.

    Args:
        subject: The intact bundle.
        folder: An empty folder for the copies.
    """
    found: dict[str, Subject] = {}
    for number, (name, spoil) in enumerate(DAMAGES.items()):
        place = folder / str(number)
        copy = place / subject.bundle.path.name
        shutil.copytree(subject.bundle.path, copy)
        spoil(subject.bundle, copy)
        # The first sample alone: what tells is the golden vectors.
        found[name] = replace(
            subject, bundle=Bundle.open(copy), folder=place, seconds=0.0, commands=False
        )
    return found


def noticed(
    device: Device, bundle: str, found: Mapping[str, Sequence[Measured]], intact: Sequence[str]
) -> list[Noticed]:
    """Tell whether a device noticed.

    Args:
        device: The device.
        bundle: The bundle's name.
        found: Damage -> what the device gave for the damaged bundle.
        intact: Artifacts that this device runs rightly when they are not damaged; no other one
            can show that damage was noticed.
    """
    rows = []
    for damage, measured in found.items():
        answers = {one.artifact: one for one in measured}
        for artifact in intact:
            one = answers.get(artifact)
            verdict = (False, "no answer") if one is None else _judged(damage, one)
            rows.append(Noticed(device.name, bundle, artifact, damage, *verdict))
    return rows


def _judged(damage: str, found: Measured) -> tuple[bool, str]:
    if found.check is None:
        # Only a flipped bit is to be refused, by its hash; an error elsewhere tells nothing.
        return damage == FLIPPED and "is damaged" in found.error, " ".join(found.error.split())
    wrong = damage != FLIPPED and found.check.verdict == "wrong" and found.check.lsb >= 0
    return wrong, f"{found.check.verdict}, {found.check.lsb} LSB"


# ---- the damages


def _flip_a_bit(intact: Bundle, folder: Path) -> None:
    for artifact in intact.manifest.artifacts:
        data = bytearray((folder / artifact.file).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / artifact.file).write_bytes(data)


def _exchange_weights(intact: Bundle, folder: Path) -> None:
    files = {
        a.file: other_weights(a, (folder / a.file).read_bytes()) for a in intact.manifest.artifacts
    }
    tree = json.loads((folder / "manifest.json").read_bytes())
    for entry in tree["artifacts"]:
        data = files[entry["file"]]
        (folder / entry["file"]).write_bytes(data)
        entry["sha256"], entry["size"] = sha256_bytes(data), len(data)
    (folder / "manifest.json").write_text(json.dumps(tree), encoding="utf-8")
    seal(folder)


def _change_golden(intact: Bundle, folder: Path) -> None:
    golden = intact.golden()
    expected = [
        replace(
            one,
            outputs={
                name: _changed(values, intact.manifest.artifact(one.artifact), name)
                for name, values in one.outputs.items()
            },
        )
        for one in golden.expected
    ]
    (folder / "golden.json").write_bytes(Golden(golden.inputs, expected).to_bytes())
    seal(folder)


FLIPPED, EXCHANGED, CHANGED = "flipped bit", "exchanged weights", "changed golden vector"
DAMAGES: dict[str, Callable[[Bundle, Path], None]] = {
    FLIPPED: _flip_a_bit,
    EXCHANGED: _exchange_weights,
    CHANGED: _change_golden,
}


def other_weights(artifact: Artifact, data: bytes) -> bytes:
    """Move the values of one layer's weights by half their number; nothing else changes."""
    return (_tflite if artifact.format == "tflite" else _onnx)(data)


def _tflite(data: bytes) -> bytes:
    model = parse(data)
    used = {t.buffer: t for graph in model.subgraphs for t in graph.tensors}
    sizes = {
        at: 0 if model.buffers[at].data is None else len(model.buffers[at].data) for at in used
    }
    largest = max(sizes, key=lambda at: sizes[at])
    item = max(1, sizes[largest] // int(np.prod(used[largest].shape)))
    buffer = model.buffers[largest]
    buffer.data = _moved(np.asarray(buffer.data, np.uint8).reshape(-1, item)).reshape(-1)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _onnx(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    tensor = max(model.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    values = numpy_helper.to_array(tensor)
    moved = _moved(values.reshape(-1, 1)).reshape(values.shape)
    tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    return bytes(model.SerializeToString())


def _moved(items: Any) -> Any:
    return np.roll(items, len(items) // 2 + 1, axis=0)


def _changed(values: Array, artifact: Artifact, name: str) -> Array:
    """Change as few values by as little as no device may accept, however it rounds."""
    other = values.copy()
    # One value where only the largest difference is bounded; else one more than may differ.
    limit = artifact.tolerance.get(name, (Limit(artifact.max_lsb, 0),))[-1]
    first = other.reshape(-1)[: limit.values + 1]
    steps = 2 * limit.lsb + 1
    if other.dtype.kind == "f":
        first += np.float32(steps * FLOAT_LSB * max(1.0, float(np.abs(values).max())) * 1.01)
    else:
        ends = np.iinfo(other.dtype)
        wide = first.astype(np.int64)
        moved = np.where(wide + steps <= ends.max, wide + steps, wide - steps)
        first[:] = np.clip(moved, ends.min, ends.max)
    return other
