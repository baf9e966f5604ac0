"""What an artifact and a whole conversion depend on, as hashes. Nothing here imports TensorFlow."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

import edgeward
from edgeward.convert.options import Options
from edgeward.convert.settings import DEFAULT, Settings, Switches
from edgeward.convert.source.files import Hashes, bundle_name, model_kind, read_specs
from edgeward.convert.source.source import Source
from edgeward.convert.variants import ArtifactId
from edgeward.convert.worker.packages import DECISIVE, versions
from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.files import sha256_bytes, sha256_file
from edgeward.runtime.samples import Samples
from edgeward.train.run import REQUIRED_FILES, Run, latest_run

__all__ = ["Request", "artifact_key", "environment"]

# Options that name files, by a path or by a text: their content counts.
_FILES = ("calibration", "distil", "labels", "preprocessing", "test", "validation")

# Options that do not change what comes out. An option that is not named here does: one that is
# added to ``Options`` and forgotten here costs a conversion too many, and never one too few.
_WITHOUT_EFFECT = ("memory", "out", "progress", "reuse", "runs", "source", "timeout")


@dataclass(frozen=True)
class Request:
    """What is asked of a conversion.

    Attributes:
        name: Name of the bundle.
        key: Hash of options, files, packages and this program: equal keys, equal result.
    """

    name: str
    key: str

    @classmethod
    def of(cls, options: Options, hashes: Hashes) -> Request | None:
        """Return the request; None where a file cannot be read: opening the source says which.

        Args:
            options: What is asked for.
            hashes: Of the files that were read already; gets those that are read here.
        """
        try:
            name, source = _source(options.source, Path(options.runs), hashes)
            # First, so that no folder is read that only says where things are.
            effective = {f.name: getattr(options, f.name) for f in fields(options)}
            effective = {k: v for k, v in effective.items() if k not in _WITHOUT_EFFECT}
            # No shapes is nothing said, as the command line gives it and Python does.
            effective = {k: v for k, v in effective.items() if v is not None and v != {}}
            asked = {
                name: _content(Path(value) if name in _FILES else value, hashes)
                for name, value in effective.items()
            }
            if options.preprocessing is not None:
                # The vocabularies lie beside the file that names them.
                texts = read_specs(Path(options.preprocessing)).vocabularies
                asked["vocabularies"] = _hashes(texts)
        except (EdgewardError, OSError):
            return None
        return cls(name, _digest({"source": source, "options": asked, "made by": environment()}))


def artifact_key(
    artifact_id: str,
    source: Source,
    switches: Switches,
    calibration: Samples,
    settings: Settings = DEFAULT,
) -> str:
    """Return the hash of everything that one artifact depends on.

    Args:
        artifact_id: Its id.
        source: The model; its test data decide no artifact.
        switches: What the target needs of the converter.
        calibration: The samples to calibrate with.
        settings: How it is quantised.
    """
    calibrated = ArtifactId.parse(artifact_id).variant.calibrated
    return _digest(
        {
            "artifact": artifact_id,
            "model": source.model_sha256,
            "inputs": {name: spec.to_json() for name, spec in source.inputs.items()},
            "outputs": list(source.outputs),
            "vocabularies": _hashes(source.vocabularies),
            "shapes": {name: list(shape) for name, shape in source.shapes.items()},
            "switches": asdict(switches),
            "settings": asdict(settings),
            "calibration": _columns(calibration) if calibrated else None,
            "made by": environment(),
        }
    )


def environment() -> dict[str, str]:
    """Return the versions of packages, Python, machine and this program, without importing any.

    >>> sorted(environment())[:3]
    ['ai-edge-litert', 'code', 'flatbuffers']
    """
    # Another version of any of them may give other files or numbers.
    return {
        "code": _code(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions(DECISIVE),
    }


@functools.cache
def _code() -> str:
    """Return the hash of this program: its version does not change while one works on it."""
    root = Path(edgeward.__file__).parent
    files = [root / "train" / "run.py"]
    for package in ("convert", "runtime"):
        files += [f for f in (root / package).rglob("*") if f.suffix in (".py", ".json", ".j2")]
    return _digest({f.relative_to(root).as_posix(): sha256_file(f) for f in files})


def _source(source: Path | str | None, runs: Path, hashes: Hashes) -> tuple[str, Any]:
    """Return the name of the bundle, and what the model and its own data are."""
    if source is not None and model_kind(Path(source)) != "run":
        model = Path(source)
        return bundle_name(model), [model.resolve().name, hashes.of(model)]
    run = latest_run(runs) if source is None else Run.open(source)
    files = {name: hashes.of(run.path / name) for name in REQUIRED_FILES}
    return run.info.recipe, [run.id, files, _hashes(run.vocabularies())]


def _content(value: Any, hashes: Hashes) -> Any:
    """Return an option as JSON: a file is its name, which messages tell, and its content."""
    if isinstance(value, Path):
        return [value.name, hashes.of(value)]
    if isinstance(value, Mapping):
        return {str(key): _content(item, hashes) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_content(item, hashes) for item in value]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    # JSON knows no number of numpy's.
    return value.item() if isinstance(value, np.generic) else value


def _hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256_bytes(data) for name, data in files.items()}


def _columns(samples: Samples) -> dict[str, list[str]]:
    """Return dtype and hash of each input; targets calibrate nothing."""
    found = {}
    for name, column in samples.inputs.items():
        digest = hashlib.sha256()
        if isinstance(column, np.ndarray):
            what = f"{column.dtype.str} {column.shape}"
            digest.update(np.ascontiguousarray(column).data)
        else:
            what = f"{[len(text) for text in column]}"
            digest.update(b"".join(column))
        found[name] = [what, digest.hexdigest()]
    return found


def _digest(value: Any) -> str:
    return sha256_bytes(json.dumps(value, sort_keys=True).encode())
