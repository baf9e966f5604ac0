"""Runs on the device itself: self-test and real samples, the raw outputs written for comparison.

    python child.py BUNDLE SAMPLES.npz OUTPUTS.npz SECONDS --backend NAME [--kernels KERNELS]

It needs ``runtime``, numpy and one interpreter, prints one JSON object, and does not compare
anything but the golden vectors: what the samples must give is known on the other side.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array, Column
from edgeward.runtime.artifact import Artifact
from edgeward.runtime.backends import BACKENDS, Backend, open_backend
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.console import guarded, print_json
from edgeward.runtime.errors import EdgewardError, InvalidBundleError
from edgeward.runtime.predictor import BATCH, Runner
from edgeward.runtime.samples import load_samples
from edgeward.runtime.self_test import check_runner
from edgeward.runtime.tasks import evaluate_all

Open = Callable[[Artifact, bytes], Backend]


def probe(
    bundle: Bundle, samples: Path, out: Path, budget: float, chosen: list[Artifact], load: Open
) -> None:
    """Run artifacts and print what they gave.

    Args:
        bundle: The opened bundle.
        samples: Raw samples; where they have targets they are scored, as ``evaluate`` does.
        out: Gets ``ARTIFACT/OUTPUT`` -> raw outputs of the first N samples, ``[N, ...]``.
        budget: Seconds for the samples of one artifact; what is left out is left out.
        chosen: Artifacts to run.
        load: Loads one of them.
    """
    manifest = bundle.manifest
    golden = bundle.golden()
    given = load_samples(samples).named(list(manifest.inputs), list(manifest.outputs))
    arrays: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    for artifact in chosen:
        try:
            backend = load(artifact, bundle.artifact_bytes(artifact))
            runner = Runner(
                artifact, backend, manifest.inputs, manifest.outputs, bundle.vocabularies()
            )
            reference = golden.reference(artifact, backend.runtime, backend.version)
            if reference is None:
                raise InvalidBundleError(f"golden.json has no outputs for {artifact.id}.")
            check = check_runner(runner, golden, reference)
            outputs, seconds = _within(budget, runner, given.inputs)
            metrics = _scored(runner, outputs, given.targets)
        except EdgewardError as error:
            found.append({"artifact": artifact.id, "error": str(error)})
            continue
        arrays |= {f"{artifact.id}/{name}": values for name, values in outputs.items()}
        found.append(
            {
                "artifact": artifact.id,
                "runtime": f"{backend.runtime} {backend.version}",
                "seconds": seconds,
                "check": asdict(check),
                "metrics": metrics,
            }
        )
    np.savez(out, **arrays)
    print_json({"artifacts": found})


def _within(
    budget: float, runner: Runner, inputs: Mapping[str, Column]
) -> tuple[dict[str, Array], float]:
    """Return the outputs of as many samples as the time allows, and the seconds per sample."""
    parts: list[dict[str, Array]] = []
    done, started, seconds = 0, time.perf_counter(), 0.0
    total = len(next(iter(inputs.values())))
    while done < total and (not parts or seconds < budget):
        block = {name: column[done : done + BATCH] for name, column in inputs.items()}
        parts.append(runner.invoke_batch(block))
        done = min(done + BATCH, total)
        seconds = time.perf_counter() - started
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return outputs, seconds / done


def _scored(
    runner: Runner, outputs: Mapping[str, Array], targets: Mapping[str, Array]
) -> dict[str, dict[str, float]]:
    if set(targets) != set(runner.outputs):
        return {}
    count = len(next(iter(outputs.values())))
    first = {name: column[:count] for name, column in targets.items()}
    return evaluate_all(runner.outputs, runner.values(outputs), first)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--backend", required=True, choices=list(BACKENDS))
    parser.add_argument("--kernels", default="default")
    options = parser.parse_args()
    bundle = Bundle.open(options.bundle)
    fitting = [a for a in bundle.manifest.artifacts if a.format == BACKENDS[options.backend][3]]

    def load(artifact: Artifact, data: bytes) -> Backend:
        return open_backend(artifact, data, options.backend, kernels=options.kernels)

    probe(bundle, options.samples, options.out, options.seconds, fitting, load)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("probe", main))
