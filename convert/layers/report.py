"""What was seen layer by layer, and the layer that is to blame. Read without any interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LayerDrift", "LayerReport", "culprit"]

# Ops that have steps of their own, whatever the ranges of the weights are.
_FIXED = ("TANH", "UNIDIRECTIONAL_SEQUENCE_LSTM")


@dataclass(frozen=True)
class LayerDrift:
    """One tensor of the artifact, compared with the float model on the same samples.

    Attributes:
        tensor: Its name, the same in both files.
        layer: Keras layer, where it can be read from the name; else what the name tells. Where an
            op before it that the float twin lacks is to blame: the layer of that op.
        op: The op that computes it, or the one to blame; ``INPUT`` for an input.
        sqnr: Signal to quantisation noise ratio in dB against the float model, all noise that has
            come together up to here; within +-300.
        own_sqnr: The same of the noise that arises in this layer alone; 300 is none.
        low: Smallest value that the artifact's tensor can hold; of a float tensor, that it gave.
        high: Largest such value.
        reference_low: Smallest value of the float model.
        reference_high: Largest value of the float model.
        clipped: Share of the float model's values outside ``low..high``.
        steps: Number of quantisation steps between ``low`` and ``high``; 0 for a float tensor.
        used: How many of them the layer's values reach over.
        cause: Why the signal is lost here, in words; empty where nothing is wrong.
    """

    tensor: str
    layer: str
    op: str
    sqnr: float
    own_sqnr: float
    low: float
    high: float
    reference_low: float
    reference_high: float
    clipped: float
    steps: int
    used: int
    cause: str

    @property
    def tunable(self) -> bool:
        """Whether fine-tuning the weights may help: not against steps that the op itself fixes."""
        return self.op not in _FIXED

    @property
    def sentence(self) -> str:
        """Where and why, for a refusal."""
        return f"layer {self.layer} ({self.op}) keeps {self.own_sqnr:.1f} dB: {self.cause}"


@dataclass(frozen=True)
class LayerReport:
    """The tensors of one artifact against those of its float twin.

    Attributes:
        layers: Worst first: by the noise that arises in the layer.
        matched: Number of the artifact's computed tensors that the float file has too.
        tensors: Number of the artifact's computed tensors with real values.
        samples: Number of samples compared.
        skipped: Why nothing was compared; empty where it was.
    """

    layers: list[LayerDrift]
    matched: int
    tensors: int
    samples: int
    skipped: str = ""

    @property
    def culprit(self) -> LayerDrift | None:
        """The layer in which the signal is lost, see ``culprit``."""
        return culprit(self.layers)


def culprit(layers: Sequence[LayerDrift]) -> LayerDrift | None:
    """Return the layer in which the signal is lost; None where no layer is to blame.

    Damage outside of the file (permuted labels, wrong preprocessing) is in both files alike, and
    no layer is to blame for it.
    """
    lost = (layer for layer in layers if layer.cause)
    return min(lost, key=lambda layer: layer.own_sqnr, default=None)
