"""What replicas and workers have to agree on besides gradients."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import tensorflow as tf

from runtime.errors import UsageError

__all__ = ["agree", "check_workers", "make_average"]


def agree(strategy: tf.distribute.Strategy, stop: bool) -> bool:
    """Return True on all workers if one of them wants to stop: one that went on would wait."""
    return bool(stop) if strategy.num_replicas_in_sync == 1 else _sum(strategy, float(stop)) > 0


def check_workers(strategy: tf.distribute.Strategy, text: str) -> None:
    """Compare what this worker starts with to the others'; a difference would train nonsense.

    Raises:
        UsageError: They differ.
    """
    replicas = strategy.num_replicas_in_sync
    # 16 bits, so that the float32 sum is exact.
    own = zlib.crc32(text.encode()) % 2**16
    if replicas > 1 and _sum(strategy, own) != own * replicas:
        raise UsageError(
            "The workers do not train the same.",
            received=f"this worker: {text}",
            expected="the same arguments, data and (for --resume) states on all of them",
        )


def _sum(strategy: tf.distribute.Strategy, value: float) -> float:
    return float(_make_sum(strategy)(tf.constant(float(value))))


@lru_cache(maxsize=1)  # traced once, not once for each epoch
def _make_sum(strategy: tf.distribute.Strategy) -> Callable[[Any], Any]:
    @tf.function  # type: ignore[untyped-decorator]
    def total(number: Any) -> Any:
        each = strategy.run(tf.identity, args=(number,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None)

    return total


def make_average(strategy: tf.distribute.Strategy, variables: Sequence[Any]) -> Callable[[], None]:
    """Return a function that sets all replicas' copies of what is no weight to their mean.

    Batch normalisation keeps moving averages of what its own replica saw. Without this, each
    worker would validate another model, and a state would hold those of the first replica alone.
    """
    chosen = [v for v in variables if not v.trainable and "float" in str(v.dtype)]

    def each() -> None:
        context = tf.distribute.get_replica_context()
        for variable in chosen:
            mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, variable.value.read_value())
            variable.value.assign(mean)

    @tf.function  # type: ignore[untyped-decorator]
    def average() -> None:
        strategy.run(each)

    def nothing() -> None:
        pass

    return average if strategy.num_replicas_in_sync > 1 and chosen else nothing
