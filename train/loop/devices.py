"""Devices and strategies, and what replicas and workers have to agree on besides gradients."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tensorflow as tf

from edgeward.runtime.errors import UsageError
from edgeward.train.cluster import worker_from_environment

__all__ = ["Device", "agree", "check_workers", "choose_device", "make_average"]

# Tensor cores, which make float16 faster than float32, begin with Volta.
_FLOAT16_CAPABILITY = (7, 0)

# What TensorFlow calls them inside, and what people know them as.
_STRATEGY_NAMES = {
    "_DefaultDistributionStrategy": "none",
    "CollectiveAllReduceStrategy": "MultiWorkerMirroredStrategy",
}


@dataclass(frozen=True)
class Device:
    """What a model is built and trained on.

    Args:
        strategy: Scope for model and optimizer, and the way a step runs.
        policy: Keras dtype policy: ``float32``, ``mixed_float16`` or ``mixed_bfloat16``.
        description: One line for people.
        is_chief: False for all but one of several workers; only the chief writes the run.
    """

    strategy: tf.distribute.Strategy
    policy: str
    description: str
    is_chief: bool = True

    def to_json(self) -> dict[str, str]:
        """Return what ``run.json`` records."""
        name = type(self.strategy).__name__
        return {
            "strategy": _STRATEGY_NAMES.get(name, name),
            "replicas": str(self.strategy.num_replicas_in_sync),
            "precision": self.policy,
            "description": self.description,
        }


def choose_device(device: str = "auto", precision: str = "auto") -> Device:
    """Choose strategy and precision from what the machine has.

    Args:
        device: ``auto`` (GPU when present), ``cpu`` or ``gpu``.
        precision: ``auto`` (mixed where it is known to be faster), ``float32`` or ``mixed``.

    Returns:
        The choice. GPUs are set to grow their memory instead of taking all of it.

    Raises:
        UsageError: ``gpu`` asked for without one, or TF_CONFIG is not valid.
    """
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    if device == "gpu" and not gpus:
        raise UsageError(
            "There is no GPU that TensorFlow can use.",
            received="--device gpu",
            fix="--device cpu, or install a TensorFlow with GPU support and its drivers",
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    policy = _policy(gpus, precision)
    what = _describe(gpus)

    worker = worker_from_environment()
    if worker is not None:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        text = f"{what}, worker {worker.index + 1} of {worker.count}, {policy}"
        return Device(strategy, policy, text, worker.is_chief)
    # Logical devices count: a test splits one CPU in two to run the mirrored path.
    logical = tf.config.list_logical_devices("GPU" if gpus else "CPU")
    if len(logical) > 1:
        strategy = tf.distribute.MirroredStrategy([d.name for d in logical])
        return Device(strategy, policy, f"{len(logical)} mirrored devices ({what}), {policy}")
    return Device(tf.distribute.get_strategy(), policy, f"{what}, {policy}")


def _policy(gpus: list[tf.config.PhysicalDevice], precision: str) -> str:
    if precision == "float32":
        return "float32"
    if not gpus:
        # bfloat16 pays only on CPUs with AMX or AVX512-BF16, which TensorFlow does not tell.
        return "mixed_bfloat16" if precision == "mixed" else "float32"
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in gpus
    ]
    capable = min(capabilities) >= _FLOAT16_CAPABILITY
    return "mixed_float16" if precision == "mixed" or capable else "float32"


def _describe(gpus: list[tf.config.PhysicalDevice]) -> str:
    if not gpus:
        return f"CPU ({os.cpu_count()} cores)"
    names = {
        tf.config.experimental.get_device_details(gpu).get("device_name", "unknown") for gpu in gpus
    }
    return f"{len(gpus)} GPU ({', '.join(sorted(names))})"


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
