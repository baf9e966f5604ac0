"""Fine-tuning for int8: the model learns, on unlabelled inputs, to give its own float answers.

Quantisation-aware training by distillation: teacher is the float model, student the same model with
fake-quantised weights and activations (Jacob et al. 2018), trained for a few epochs. What it leaves
are float weights that survive rounding; the ordinary post-training conversion takes them from
there. Runs in the worker process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.settings import MIN_TUNING_SAMPLES
from edgeward.convert.weights.distil import Student
from edgeward.convert.weights.fake_quant import Graph
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError, TargetError

__all__ = ["FineTuned", "FineTuning", "fine_tune"]

EPOCHS = 20

# Of a weight's own size per step: Adam's steps do not depend on the size of the gradient.
LEARNING_RATE = 3e-2


@dataclass(frozen=True)
class FineTuning:
    """What fine-tuning did.

    Attributes:
        epochs: Passes over the training samples.
        best_epoch: The epoch whose weights were kept; 0 are the original ones.
        samples: Samples trained on.
        held_out: Samples that the epoch was chosen on.
        loss_before: Distillation loss of the fake-quantised model on the held-out samples.
        loss_after: The same of the weights kept.
        agreement_before: Share of held-out samples with the float model's decision, 0..1; None
            where no output ends in a softmax or a sigmoid.
        agreement_after: The same of the weights kept.
        sqnr_before: Signal to quantisation noise ratio of the scores on the held-out samples in dB,
            of the worst output.
        sqnr_after: The same of the weights kept.
        seconds: Wall time.
        kernels: Names of the variables that were trained as int8.
        activations: Number of tensors that were rounded to int8.
        skipped: What int8 rounds and fine-tuning did not, with the reason.
    """

    epochs: int
    best_epoch: int
    samples: int
    held_out: int
    loss_before: float
    loss_after: float
    agreement_before: float | None
    agreement_after: float | None
    sqnr_before: float
    sqnr_after: float
    seconds: float
    kernels: tuple[str, ...]
    activations: int
    skipped: tuple[str, ...]

    def describe(self) -> str:
        """Return one line for the report."""
        return (
            f"fine-tuned {len(self.kernels)} kernels and {self.activations} activations on "
            f"{self.samples:,} samples in {self.seconds:.0f} s: epoch {self.best_epoch} of "
            f"{self.epochs}, SQNR {self.sqnr_before:.1f} -> {self.sqnr_after:.1f} dB"
        )


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned model and how it became one.

    Attributes:
        loaded: The model with float weights that int8 can hold; for ``Exporter``. The original is
            as it was.
        record: What fine-tuning did.
    """

    loaded: LoadedModel
    record: FineTuning


def fine_tune(
    loaded: LoadedModel,
    inputs: Mapping[str, Array],
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    learning_rate: float = LEARNING_RATE,
    progress: Callable[[str], None] | None = None,
) -> FineTuned:
    """Fine-tune a model so that int8 changes its answers less.

    Args:
        loaded: The float model; it is not changed.
        inputs: Input name -> preprocessed samples ``[N, ...]``, without targets. A tenth of them is
            held out to choose the epoch.
        epochs: Passes over the samples.
        seed: Seed of the split and of the order of the samples.
        learning_rate: Step relative to each weight's size; falls to 0 as a cosine.
        progress: Called with one line per epoch.

    Raises:
        InvalidDataError: Too few samples.
        TargetError: The model has loops, or no kernel that can be trained.
        TrainingError: The loss is not finite.
    """
    started = time.monotonic()
    count = len(next(iter(inputs.values())))
    if count < MIN_TUNING_SAMPLES:
        raise InvalidDataError(
            "Too few samples to fine-tune with.",
            received=count,
            expected=f"{MIN_TUNING_SAMPLES} or more; hundreds are better",
            fix="--distil FILE with unlabelled samples of the training split",
        )
    if loaded.loops:
        raise TargetError(
            "The model cannot be fine-tuned for int8.",
            received="a SavedModel with a loop",
            expected="the Keras file, whose recurrent layers can be unrolled",
            fix="convert model.keras instead of the SavedModel",
        )
    recurrent = bool(loaded.recurrent)
    graph = Graph(loaded.unrolled() if recurrent else loaded, activations=not recurrent)
    order = np.random.default_rng(seed).permutation(count)
    arrays = [np.asarray(inputs[name])[order] for name in loaded.inputs]
    student = Student(graph, arrays, max(count // 10, 1), learning_rate)
    before = best = student.judge()
    kept, best_epoch = student.values(), 0
    generator = np.random.default_rng(seed + 1)
    student.schedule(epochs)
    for epoch in range(1, epochs + 1):
        student.train(generator)
        now = student.judge()
        if progress:
            progress(f"epoch {epoch}/{epochs}: {now}")
        # The loss, not the share of equal decisions: of 200 samples that share moves in steps of
        # half a point, and an epoch would be chosen by luck.
        if now.loss < best.loss:
            best, best_epoch, kept = now, epoch, student.values()
    record = FineTuning(
        epochs=epochs,
        best_epoch=best_epoch,
        samples=student.trained_on,
        held_out=student.held_out,
        loss_before=before.loss,
        loss_after=best.loss,
        agreement_before=before.agreement,
        agreement_after=best.agreement,
        sqnr_before=before.sqnr,
        sqnr_after=best.sqnr,
        seconds=time.monotonic() - started,
        kernels=tuple(weight.name for weight in graph.weights if weight.kernel),
        activations=len(graph.points),
        skipped=tuple(graph.skipped),
    )
    places = [weight.place for weight in graph.weights]
    tuned = loaded.with_values(
        dict(zip(places, kept, strict=True)), lambda: graph.with_values(kept)
    )
    return FineTuned(tuned, record)
