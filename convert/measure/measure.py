"""Run an artifact in every installed runtime on the full test split, against the float model.

What is measured is the ``Runner`` that the device will use, on the very bytes that go into the
bundle: its preprocessing, quantisation and decoding are part of the number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgeward.convert.artifact.lint import Description
from edgeward.convert.drift.agreement import Agreement, measure_agreement
from edgeward.convert.drift.metrics import SEVERITY, OutputDrift, measure_drift, worst_of
from edgeward.convert.formats import FORMATS
from edgeward.convert.layers.report import LayerReport
from edgeward.convert.measure.power import SCALED
from edgeward.convert.measure.records import Parting
from edgeward.convert.measure.tolerance import Answers, decide_tolerance, largest_difference
from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.artifact import ARTIFACT_VARIANTS, Artifact, Drift
from edgeward.runtime.backends import BACKENDS, available_backends, open_backend
from edgeward.runtime.benchmark import time_calls
from edgeward.runtime.errors import EdgewardError, MissingExtraError, TargetError
from edgeward.runtime.files import sha256_bytes
from edgeward.runtime.golden import Expected
from edgeward.runtime.predictor import Runner
from edgeward.runtime.samples import Samples

__all__ = ["Measured", "describe_artifact", "latency_us", "measure"]

# Enough for a median that a report can show; ``python -m runtime bench`` takes its time.
_SECONDS = 0.1

_FEWEST = 3


@dataclass(frozen=True)
class Measured:
    """What was seen of one artifact.

    Attributes:
        artifact: Its description, complete with drift.
        data: The file.
        drifts: Runtime -> drift there of each output that has targets.
        agreements: Runtime -> agreement of each output with the float model.
        unverified: Outputs without targets.
        unusable: Runtime -> why it cannot run the artifact.
        expected: Outputs on the golden inputs, per runtime.
        nodes: Size of the graph, for the report.
        latency: Runtime -> median microseconds of one invocation, on this machine.
        layers: Its tensors against the float model's (``convert.layers.compare``); None where
            they were not compared.
        transient: Whether comparing them failed of a crash, of memory or of time.
        notes: What the user should know of its tolerance.
        parting: Why it is refused although it may be near the float model: two runtimes differ so
            much that no self-test could tell a right answer from a wrong one.
    """

    artifact: Artifact
    data: bytes
    drifts: Mapping[str, list[OutputDrift]]
    agreements: Mapping[str, list[Agreement]]
    unverified: tuple[str, ...]
    unusable: Mapping[str, str]
    expected: list[Expected]
    nodes: int
    latency: Mapping[str, float]
    layers: LayerReport | None = None
    transient: bool = False
    notes: tuple[str, ...] = ()
    parting: Parting | None = None

    @property
    def worst(self) -> list[OutputDrift]:
        """The drift of each output in the runtime in which it is worst; this one is judged."""
        return worst_of(self.drifts)

    @property
    def verdict(self) -> str:
        """The worst of all outputs and runtimes."""
        if self.parting is not None:
            return "refused"
        verdicts = [drift.verdict for drift in self.worst]
        return max(verdicts + ["unverified"] * bool(self.unverified), key=SEVERITY.index)


def measure(
    artifact: Artifact,
    data: bytes,
    nodes: int,
    source: Source,
    float_values: Mapping[str, Floats],
    golden: Samples,
    max_drop: float | None,
    named: Collection[str] = (),
) -> Measured:
    """Measure one artifact.

    Args:
        artifact: What ``describe_artifact`` gave.
        data: The file.
        nodes: Size of its graph, for the report.
        source: The model's data and specs.
        float_values: Output name -> the float model's values on the test split.
        golden: The golden inputs.
        max_drop: Largest drift allowed; None takes the source's budget of each output.
        named: Backends to measure in; all that are installed where none of these is.

    Raises:
        MissingExtraError: No runtime for the format is installed.
        TargetError: No installed runtime can run it.
    """
    names = available_backends(artifact.format)
    if not names:
        raise MissingExtraError(f"An interpreter to measure {artifact.id}", "litert,onnx")
    installed, names = names, [name for name in names if name in named] or names
    batch = artifact.batch
    runners: dict[str, Runner] = {}
    unusable: dict[str, str] = {}
    for name in names:
        try:
            runner = _runner(artifact, data, name, source)
            runner.invoke(_sample(golden, 0))
        except TargetError as error:
            unusable[name] = str(error)
            continue
        runners[name] = runner
        if batch == "resizable" and not _resizes(runner, golden):
            batch = "static"
    if not runners:
        raise TargetError(
            f"No installed runtime can run {artifact.id}.", received=" | ".join(unusable.values())
        )
    artifact = replace(artifact, batch=batch)
    runners = {name: _runner(artifact, data, name, source) for name in runners}
    drifts: dict[str, list[OutputDrift]] = {}
    agreements: dict[str, list[Agreement]] = {}
    expected: list[Expected] = []
    answers: list[Answers] = []
    latency: dict[str, float] = {}
    scaled = FORMATS[artifact.format].scale_largest_layer(data, SCALED)
    for backend, runner in runners.items():
        raw = runner.invoke_batch(source.test.inputs)
        values = runner.values(raw)
        runtime = f"{runner.backend.runtime} {runner.backend.version}"
        drifts[runtime] = [
            measure_drift(
                output=name,
                spec=spec,
                reference=float_values[name],
                values=values[name],
                targets=source.test.targets[name],
                budget=source.budget_of(name) if max_drop is None else max_drop,
            )
            for name, spec in source.outputs.items()
            if name not in source.unverified
        ]
        agreements[runtime] = [
            measure_agreement(name, spec, float_values[name], values[name])
            for name, spec in source.outputs.items()
        ]
        one_by_one = _one_by_one(runner, golden)
        expected.append(
            Expected(
                artifact=artifact.id,
                runtime=runner.backend.runtime,
                version=runner.backend.version,
                outputs=one_by_one,
            )
        )
        damaged = None if scaled is None else _damaged(artifact, scaled, backend, source, golden)
        answers.append(
            Answers(
                backend=backend,
                runtime=runtime,
                kernels="default",
                golden=one_by_one,
                test=raw,
                scaled=damaged,
            )
        )
        # After the batches: an interpreter that is resized back has to allocate first.
        latency[runtime] = latency_us(runner, golden)
    for backend, runner in runners.items():
        # Those that another build or processor may use.
        for kernels in FORMATS[artifact.format].kernels[1:]:
            other = _one_by_one(_runner(artifact, data, backend, source, kernels), golden)
            runtime = f"{runner.backend.runtime} {runner.backend.version}"
            answers.append(Answers(backend=backend, runtime=runtime, kernels=kernels, golden=other))
    decided = decide_tolerance(next(iter(runners.values())), answers)
    measured = Measured(
        artifact=artifact,
        data=data,
        drifts=drifts,
        agreements=agreements,
        unverified=source.unverified,
        unusable=unusable,
        expected=expected,
        nodes=nodes,
        latency=latency,
        notes=(*_alone(artifact, installed, names), *decided.notes),
        parting=decided.parting,
    )
    entries = _for_manifest(measured, source, max_drop)
    return replace(measured, artifact=replace(decided.artifact, drift=entries))


def describe_artifact(
    artifact_id: str, file: str, data: bytes, description: Description, *, stateful: bool
) -> Artifact:
    """Describe an artifact before it is measured.

    Args:
        artifact_id: Its id.
        file: Its name in the bundle.
        data: The file.
        description: What the lint read from it.
        stateful: Whether it keeps state between invocations; then its batch is static.
    """
    return Artifact(
        id=artifact_id,
        file=file,
        size=len(data),
        sha256=sha256_bytes(data),
        variant=ARTIFACT_VARIANTS[artifact_id],
        inputs=description.inputs,
        outputs=description.outputs,
        ops=description.ops,
        min_runtime=description.min_runtime,
        batch="static" if stateful else "resizable",
        stateful=stateful,
        max_lsb=0,
        drift=(),
    )


def _runner(
    artifact: Artifact, data: bytes, backend: str, source: Source, kernels: str = "default"
) -> Runner:
    loaded = open_backend(artifact, data, backend, kernels=kernels)
    return Runner(artifact, loaded, source.inputs, source.outputs, source.vocabularies)


def _alone(artifact: Artifact, installed: list[str], names: list[str]) -> list[str]:
    """Return a note where installed runtimes were not asked, because others were named."""
    others = [BACKENDS[name][0] for name in installed if name not in names]
    if not others:
        return []
    made_for = " and ".join(BACKENDS[name][0] for name in names)
    return [f"{artifact.id} is made for {made_for} alone: {', '.join(others)} was not measured"]


def _damaged(
    artifact: Artifact, data: bytes, backend: str, source: Source, golden: Samples
) -> dict[str, Array] | None:
    """Return what a damaged file answers; None where it does not run."""
    try:
        return _one_by_one(_runner(artifact, data, backend, source), golden)
    except EdgewardError:
        return None


def _sample(samples: Samples, i: int) -> dict[str, Array | bytes]:
    return {name: column[i] for name, column in samples.inputs.items()}


def _one_by_one(runner: Runner, samples: Samples) -> dict[str, Array]:
    answers = [runner.invoke(_sample(samples, i)) for i in range(len(samples))]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _resizes(runner: Runner, samples: Samples) -> bool:
    """Tell whether a batch gives what its samples give one by one.

    A file may accept another batch and compute nonsense, so the answers are compared.
    """
    three = samples.take(range(min(3, len(samples))))
    try:
        together = runner.invoke_batch(three.inputs)
    except EdgewardError:
        return False
    return largest_difference([together, _one_by_one(runner, three)]) <= 1


def _for_manifest(measured: Measured, source: Source, max_drop: float | None) -> tuple[Drift, ...]:
    entries = []
    first = next(iter(measured.agreements))
    for agreement in measured.agreements[first]:
        if agreement.output in measured.unverified:
            budget = source.budget_of(agreement.output) if max_drop is None else max_drop
            entries.append(agreement.to_drift(budget, first))
    for worst in measured.worst:
        runtime = next(name for name, drifts in measured.drifts.items() if worst in drifts)
        entries.append(
            Drift(
                output=worst.output,
                task=worst.task,
                metric=worst.metric,
                reference=worst.reference,
                value=worst.value,
                drop=worst.drop,
                upper_bound=worst.upper_bound,
                budget=worst.budget,
                samples=worst.samples,
                # A refused artifact is bundled by nobody; its record is in the report.
                verdict="pass" if worst.verdict == "pass" else "inconclusive",
                runtime=runtime,
            )
        )
    return tuple(entries)


def latency_us(runner: Runner, samples: Samples) -> float:
    """Return the median time of one invocation, input tensors ready, in microseconds.

    Args:
        runner: The artifact in its interpreter, batch 1.
        samples: Raw inputs, at least one; they are used in turns.
    """
    tensors = [runner.tensors(_sample(samples, i)) for i in range(min(8, len(samples)))]
    calls = [partial(runner.backend.run, tensor) for tensor in tensors]
    return float(np.median(time_calls(calls, _SECONDS, fewest=_FEWEST)))
