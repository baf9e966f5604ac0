"""What a bundle holds: manifest, golden vectors, reports, and what the next conversion knows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from edgeward.convert.bundle.reuse import Kept, Record, with_record
from edgeward.convert.measure.measure import Measured
from edgeward.convert.report.report import ConversionReport
from edgeward.convert.source.source import Source
from edgeward.convert.worker.conversion import Conversion
from edgeward.runtime.golden import Golden
from edgeward.runtime.manifest import Manifest, lowest_version
from edgeward.runtime.manifest import Source as ManifestSource
from edgeward.runtime.samples import Samples

__all__ = ["record_of", "report_files", "runtime_files"]

# What a device should run when nothing else is asked for.
_PREFERRED = (
    "tflite-int8", "tflite-int8-floatio", "onnx-int8", "tflite-int8-mixed",
    "tflite-dynamic", "onnx-dynamic",
    "tflite-int16x8", "tflite-fp16", "onnx-fp16", "tflite-fp32", "onnx-fp32",
)  # fmt: skip


def runtime_files(
    source: Source,
    passed: Sequence[Measured],
    *,
    release: int,
    golden: Samples,
    created_with: Mapping[str, str],
) -> dict[str, bytes]:
    """Return file name -> content of all that a runtime reads of a bundle.

    Args:
        source: The model's data and specs.
        passed: What goes into it.
        release: Number of the bundle.
        golden: The golden inputs.
        created_with: Package -> version.
    """
    artifacts = tuple(m.artifact for m in passed)
    ids = [artifact.id for artifact in artifacts]
    manifest = Manifest(
        name=source.name,
        release=release,
        created_with=created_with,
        source=ManifestSource(source.run, source.model_sha256, source.data_sha256),
        default=next((i for i in _PREFERRED if i in ids), ids[0]),
        inputs=source.inputs,
        outputs=source.outputs,
        artifacts=artifacts,
        format_version=lowest_version(artifacts),
    )
    vectors = [
        {name: column[i] for name, column in golden.inputs.items()} for i in range(len(golden))
    ]
    files = {
        "manifest.json": manifest.to_bytes(),
        "golden.json": Golden(vectors, [e for m in passed for e in m.expected]).to_bytes(),
        **{m.artifact.file: m.data for m in passed},
        **source.vocabularies,
    }
    labels = [spec.labels for spec in source.outputs.values() if spec.labels]
    if len(labels) == 1:
        files["labels.txt"] = "".join(f"{label}\n" for label in labels[0]).encode()
    return files


def report_files(report: ConversionReport, record: Record) -> dict[str, bytes]:
    """Return file name -> content of the reports, of a bundle as of a refusal.

    Args:
        report: Of this conversion.
        record: What the next conversion has to know.
    """
    return {
        "report.html": report.to_html(),
        "report.json": with_record(report.to_bytes(), record),
    }


def record_of(
    request: str,
    conversion: Conversion,
    measured: Sequence[Measured],
    transient: Collection[str],
    key_of: Callable[[str], str],
) -> Record:
    """Return what the next conversion has to know.

    Args:
        request: Hash of what was asked for.
        conversion: What was made, and what was not.
        measured: All artifacts.
        transient: Attempts of repair that may succeed when they are made again.
        key_of: Artifact id -> hash of what it depends on.
    """
    kept = {
        m.artifact.id: Kept(
            key=key_of(m.artifact.id),
            sha256=m.artifact.sha256,
            stateful=m.artifact.stateful,
            instead=conversion.instead.get(m.artifact.id, {}),
        )
        for m in measured
    }
    again = conversion.transient or transient or any(m.transient for m in measured)
    return Record("" if again else request, kept)
