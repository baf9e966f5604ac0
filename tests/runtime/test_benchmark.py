"""Calls are timed in turns, after a warm-up, and never fewer than asked for."""

from __future__ import annotations

import itertools
import time
from functools import partial

import pytest

from edgeward.runtime.benchmark import time_calls


@pytest.mark.parametrize("fewest", [1, 2, 3, 7])
def test_calls_are_made_in_turns_after_as_many_that_are_not_timed(fewest: int) -> None:
    made: list[int] = []
    times = time_calls([partial(made.append, i) for i in range(3)], 0.0, fewest=fewest)
    warm = min(fewest, 3)
    assert made == [*range(warm), *itertools.islice(itertools.cycle(range(3)), fewest)]
    assert len(times) == fewest
    assert all(microseconds > 0 for microseconds in times)


def test_calls_go_on_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(seconds))
    # The end is at 5; each look at the clock takes one.
    assert len(time_calls([int], 5, fewest=1)) == 5
    assert len(time_calls([int], 0, fewest=9)) == 9
