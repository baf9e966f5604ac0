"""Compare an artifact layer by layer on test samples, where that makes sense."""

from __future__ import annotations

import numpy as np

from convert.drift.layers import COMPARABLE, LayerReport, layer_drift
from convert.isolate import isolated
from convert.source import Source
from runtime.errors import EdgewardError
from runtime.preprocessing import preprocess_batch

__all__ = ["compare_layers"]

_SAMPLES = 48


def compare_layers(
    artifact_id: str, data: bytes, twin: bytes, source: Source
) -> LayerReport | None:
    """Compare the tensors of an artifact with the float model's.

    It explains a verdict and makes none: where it fails, the report says why, and all else stands.

    Args:
        artifact_id: Its id.
        data: The file.
        twin: The float32 artifact of the same format from the same conversion.
        source: The model's test samples and specs.

    Returns:
        None where the artifact has no quantised activations.
    """
    if artifact_id not in COMPARABLE:
        return None
    count = len(source.test)
    # Spread over the split: the recipes' are shuffled, a user's may be sorted by class.
    chosen = source.test.take(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int))
    feeds = {
        name: preprocess_batch(spec, chosen.inputs[name], source.vocabularies)
        for name, spec in source.inputs.items()
    }
    try:
        return isolated(
            f"comparing {artifact_id} layer by layer",
            *(layer_drift, artifact_id, data, twin, feeds),
        )
    except EdgewardError as error:
        received = "" if error.received is None else str(error.received)
        return LayerReport([], 0, 0, 0, skipped=f"{error.message} {received}".strip())
