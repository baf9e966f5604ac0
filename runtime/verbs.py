"""What each verb of ``python -m runtime`` does: parsed options in, lines or JSON out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.benchmark import benchmark
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.console import print_json, say
from edgeward.runtime.errors import InvalidDataError, SelfTestError, UsageError
from edgeward.runtime.image import read_image
from edgeward.runtime.manifest import Manifest
from edgeward.runtime.predictor import Predictor
from edgeward.runtime.samples import load_samples
from edgeward.runtime.self_test import selftest as run_selftest
from edgeward.runtime.tasks import METRIC, Decoded, evaluate_all

__all__ = ["bench", "evaluate", "info", "predict", "selftest", "verify"]


def info(options: argparse.Namespace) -> int:
    """Print what the bundle holds and what was measured."""
    bundle = Bundle.open(options.bundle)
    manifest = bundle.manifest
    if options.json:
        print_json(manifest.to_json())
        return 0
    print(f"{manifest.name}, release {manifest.release}, from run {manifest.source.run}")
    for name, spec in manifest.inputs.items():
        steps = ", ".join(step.name for step in spec.preprocessing) or "none"
        print(f"  input  {name}: {spec.kind} {spec.dtype} {_dims(spec.shape)}; steps: {steps}")
    for name, out in manifest.outputs.items():
        labels = f", {len(out.labels)} labels" if out.labels else ""
        print(f"  output {name}: {out.task}{labels}")
    for artifact in manifest.artifacts:
        mark = "*" if artifact.id == manifest.default else " "
        print(f"{mark} {artifact.id:20} {artifact.size:>12,} bytes  batch {artifact.batch}")
        for drift in artifact.drift:
            print(f"      {_drift_line(drift)}")
    return 0


def _dims(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("any" if d is None else str(d) for d in shape) + "]"


def _drift_line(drift: Any) -> str:
    if drift.value is None:
        return f"{drift.output}: unverified, no test data"
    return (
        f"{drift.output}: {drift.metric} {drift.value:.4f} (float {drift.reference:.4f}), "
        f"upper bound of the drop {drift.upper_bound:+.4f}, budget {drift.budget:.4f}, "
        f"{drift.samples} samples, {drift.verdict}, {drift.runtime}"
    )


def _open(options: argparse.Namespace) -> Predictor:
    return Predictor.open(options.bundle, artifact=options.artifact, backend=options.backend)


def predict(options: argparse.Namespace) -> int:
    """Predict the inputs and print the best classes or values."""
    predictor = _open(options)
    manifest = predictor.bundle.manifest
    if options.top < 1:
        raise UsageError("--top is too small.", received=options.top, expected="at least 1")
    if len(manifest.inputs) != 1:
        raise UsageError(
            "predict takes models with one input.",
            received=sorted(manifest.inputs),
            fix="use Predictor.predict({...}) from Python",
        )
    results = []
    for text in options.inputs:
        raw = _read_input(text, predictor.bundle, options.invert)
        started = time.perf_counter()
        prediction = predictor.predict(raw)
        milliseconds = (time.perf_counter() - started) * 1000
        results.append(
            {
                "input": text,
                "milliseconds": round(milliseconds, 3),
                "outputs": {
                    name: _decoded_json(decoded, manifest, name)
                    for name, decoded in prediction.outputs.items()
                },
            }
        )
        if not options.json:
            for name, decoded in prediction.outputs.items():
                best = _describe(decoded, manifest, name, options.top)
                print(f"{text}: {best}  ({milliseconds:.2f} ms)")
    if options.json:
        print_json({"artifact": predictor.runner.artifact.id, "predictions": results})
    return 0


def _read_input(text: str, bundle: Bundle, invert: bool) -> Any:
    ((name, spec),) = bundle.manifest.inputs.items()
    path = Path(text)
    if spec.kind == "text":
        if path.suffix != ".txt":
            return text
        try:
            return path.read_bytes()
        except OSError as error:
            raise InvalidDataError(f"{path} cannot be read.", received=error.strerror) from None
    if path.suffix == ".npy":
        try:
            with path.open("rb") as file:
                raw = np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, EOFError, MemoryError) as error:
            raise InvalidDataError(
                f"{path} is not a usable .npy.", received=error, expected="one raw sample"
            ) from None
    elif spec.kind == "image":
        raw = read_image(path)
        if not invert:
            _hint_polarity(raw, path, [sample[name] for sample in bundle.golden().inputs])
    else:
        raise InvalidDataError(
            f"{path} cannot be used.", expected="an .npy file with one raw sample"
        )
    if invert:
        if raw.dtype != np.uint8:
            raise UsageError("--invert is for images.", received=str(raw.dtype), expected="uint8")
        raw = np.uint8(255) - raw
    return raw


def _hint_polarity(raw: Any, path: Path, known: Sequence[Any]) -> None:
    """Say so when an image looks like the negative of those that the model was measured on."""
    if not known:
        return
    backgrounds = [_background(image) for image in known]
    if _background(raw) > 192 and max(backgrounds) < 64:
        say(
            f"{path}: hint: the background is light, but dark in the images that this model knows. "
            "If this is dark ink on light paper, add --invert."
        )


def _background(image: Any) -> float:
    """Return the median of the first and the last row."""
    return float(np.median(np.concatenate([image[edge].ravel() for edge in (0, -1)])))


def _describe(decoded: Decoded, manifest: Manifest, name: str, top: int) -> str:
    spec = manifest.outputs[name]
    if spec.task == "classification":
        flat = decoded.values.reshape(-1)
        # Stable, so that ties show the lowest index first, as the decision does.
        order = np.argsort(-flat, kind="stable")[:top]
        return ", ".join(f"{_label(spec.labels, int(i))} {flat[i]:.3f}" for i in order)
    if spec.task == "binary":
        return f"{decoded.label or decoded.index} {decoded.score:.3f}"
    return np.array2string(decoded.values, precision=4, threshold=16)


def _label(labels: Sequence[str] | None, index: int) -> str:
    return labels[index] if labels is not None and index < len(labels) else str(index)


def _decoded_json(decoded: Decoded, manifest: Manifest, name: str) -> dict[str, Any]:
    return {
        "task": manifest.outputs[name].task,
        "index": decoded.index,
        "label": decoded.label,
        "score": decoded.score,
        "values": decoded.values.tolist(),
    }


def evaluate(options: argparse.Namespace) -> int:
    """Score the artifact on labelled samples."""
    predictor = _open(options)
    manifest = predictor.bundle.manifest
    samples = load_samples(options.data).named(list(manifest.inputs), list(manifest.outputs))
    missing = sorted(set(manifest.outputs) - set(samples.targets))
    if missing:
        raise InvalidDataError(
            f"{options.data} has no targets.", received=f"no out/{missing[0]}", expected="labels"
        )
    started = time.perf_counter()
    values = predictor.runner.values(predictor.runner.invoke_batch(samples.inputs))
    seconds = time.perf_counter() - started
    backend = predictor.runner.backend
    result: dict[str, Any] = {
        "artifact": predictor.runner.artifact.id,
        "runtime": f"{backend.runtime} {backend.version}",
        "samples": len(samples),
        "seconds": round(seconds, 3),
        "metrics": evaluate_all(manifest.outputs, values, samples.targets),
    }
    if options.json:
        print_json(result)
        return 0
    for name, spec in manifest.outputs.items():
        metric = METRIC[spec.task]
        value = result["metrics"][name][metric]
        right = f" ({round(value * len(samples))} right)" if metric == "accuracy" else ""
        print(
            f"{result['artifact']} on {result['runtime']}: {name}: {metric} {value:.4f} "
            f"on {len(samples)} samples{right}, {seconds:.2f} s"
        )
        for drift in predictor.runner.artifact.drift:
            if drift.output == name and drift.value is not None:
                print(
                    f"  measured when converted: {drift.value:.4f} on {drift.samples} samples, "
                    f"{drift.runtime}"
                )
    return 0


def selftest(options: argparse.Namespace) -> int:
    """Run the golden vectors in the installed runtimes."""
    checks = run_selftest(options.bundle, artifact=options.artifact, backend=options.backend)
    wrong = [check for check in checks if check.verdict == "wrong"]
    if options.json:
        print_json({"checks": [asdict(c) for c in checks], "verdict": "wrong" if wrong else "ok"})
    else:
        for check in checks:
            print(
                f"{check.artifact:20} {check.runtime:24} {check.verdict:16} "
                f"{check.differing} of {check.values} values differ, largest {check.lsb} LSB "
                f"(allowed {check.max_lsb}), {check.flips} decisions; "
                f"compared with {check.compared_with}"
            )
            if check.crowded:
                print(f"    in {check.crowded} answers more values differ than may")
            if check.detail:
                print(f"    {check.detail}")
    if wrong:
        raise SelfTestError(
            "This machine does not compute what was measured when the model was converted.",
            received=f"wrong: {', '.join(f'{c.artifact} on {c.runtime}' for c in wrong)}",
            fix="use another artifact or runtime version; python -m runtime info names what "
            "was measured",
        )
    return 0


def bench(options: argparse.Namespace) -> int:
    """Time one sample."""
    timing = benchmark(_open(options), seconds=options.seconds)
    if options.json:
        print_json(asdict(timing))
    else:
        print(
            f"{timing.artifact} on {timing.runtime}: invoke {timing.invoke_us:.1f} us, "
            f"predict {timing.predict_us:.1f} us (90 %: {timing.p90_us:.1f} us), "
            f"{timing.runs} runs, medians"
        )
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check every byte of the bundle."""
    names = Bundle.open(options.bundle).verify()
    if options.json:
        print_json({"verdict": "intact", "files": names})
    else:
        print(f"intact: {len(names)} files, every byte as bundled")
    return 0
