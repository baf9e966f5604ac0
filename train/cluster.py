"""Which worker of a cluster this process is, from TF_CONFIG. No TensorFlow here."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from edgeward.runtime.errors import UsageError

__all__ = ["Worker", "worker_from_environment"]


@dataclass(frozen=True)
class Worker:
    """One of the processes of a cluster.

    Args:
        index: Counts from 0.
        count: Workers of the cluster.
        is_chief: Whether this one writes the run.
    """

    index: int
    count: int
    is_chief: bool


def worker_from_environment() -> Worker | None:
    """Return which worker this process is; None without TF_CONFIG.

    Raises:
        UsageError: TF_CONFIG is not valid.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        workers = len(cluster.get("chief", [])) + len(cluster["worker"])
        index = int(task["index"])
        is_chief = task["type"] == "chief" or (index == 0 and "chief" not in cluster)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            "TF_CONFIG is not valid.",
            received=text[:200],
            expected='{"cluster": {"worker": ["host:port", ...]}, '
            '"task": {"type": "worker", "index": 0}}',
        ) from None
    if "chief" in cluster and task["type"] != "chief":
        index += 1
    return Worker(index, workers, is_chief)
