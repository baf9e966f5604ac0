"""The gate's statistics against published numbers, limits and its own promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from convert.drift.gate import PairedCounts, judge, required_samples, tango_upper_bound
from runtime.errors import InvalidDataError

TWO_SIDED_95 = 0.975


def interval(samples: int, lost: int, gained: int) -> tuple[float, float]:
    """The two-sided 95 % interval of P(lost) - P(gained)."""
    upper = tango_upper_bound(PairedCounts(samples, lost, gained), TWO_SIDED_95)
    lower = -tango_upper_bound(PairedCounts(samples, gained, lost), TWO_SIDED_95)
    return lower, upper


@pytest.mark.parametrize(
    ("samples", "lost", "gained", "lower", "upper"),
    [
        # Airway hyper-responsiveness (Bentur et al. 2009), as worked out by Fagerland, Lydersen
        # and Laake, Statistics in Medicine 33, 2850-2875, 2014.
        (21, 1, 7, -0.517, -0.026),
        # Soft contact lenses: 44 patients, one discordant pair (Tango 1998, section 5).
        (44, 0, 1, -0.118, 0.059),
    ],
)
def test_bound_equals_published_worked_examples(
    samples: int, lost: int, gained: int, lower: float, upper: float
) -> None:
    assert interval(samples, lost, gained) == pytest.approx((lower, upper), abs=6e-4)


def test_bound_without_discordant_pairs_has_its_closed_form() -> None:
    z = norm.ppf(0.95)
    for samples in (10, 500, 10_000):
        expected = z * z / (samples + z * z)
        assert tango_upper_bound(PairedCounts(samples, 0, 0)) == pytest.approx(expected, rel=1e-6)


def test_bound_grows_with_losses_and_shrinks_with_samples() -> None:
    bounds = [tango_upper_bound(PairedCounts(1000, lost, 3)) for lost in range(30)]
    assert bounds == sorted(bounds)
    assert tango_upper_bound(PairedCounts(10_000, 30, 30)) < bounds[10]


def test_bound_exceeds_the_measured_drop() -> None:
    for lost, gained in ((0, 0), (5, 0), (0, 5), (900, 3), (1000, 0)):
        counts = PairedCounts(1000, lost, gained)
        assert tango_upper_bound(counts) >= counts.drop


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (PairedCounts(10_000, 3, 1), "pass"),
        (PairedCounts(10_000, 200, 10), "refused"),
        (PairedCounts(100, 0, 0), "inconclusive"),
        (PairedCounts(10_000, 75, 35), "inconclusive"),
    ],
)
def test_verdicts(counts: PairedCounts, verdict: str) -> None:
    assert judge(counts, 0.005)[1] == verdict


def test_required_samples_are_just_enough() -> None:
    needed = required_samples(PairedCounts(100, 0, 0), 0.005)
    assert needed is not None
    assert tango_upper_bound(PairedCounts(needed, 0, 0)) <= 0.005
    assert tango_upper_bound(PairedCounts(int(needed * 0.97), 0, 0)) > 0.005


def test_no_number_of_samples_helps_when_the_drop_is_the_budget() -> None:
    assert required_samples(PairedCounts(1000, 10, 5), 0.005) is None


@pytest.mark.parametrize(
    ("counts", "budget"),
    [((10, 5, 5), 0.2), ((2, 1, 1), 0.4), ((4, 2, 2), 0.4), ((3, 1, 2), 0.001)],
)
def test_required_samples_of_tiny_sets_are_a_number(
    counts: tuple[int, int, int], budget: float
) -> None:
    needed = required_samples(PairedCounts(*counts), budget)
    assert needed is not None
    assert needed >= counts[0]


def test_impossible_counts_are_refused() -> None:
    for counts in ((0, 0, 0), (10, -1, 0), (10, 6, 6)):
        with pytest.raises(InvalidDataError):
            PairedCounts(*counts)


def test_false_pass_rate_at_the_budget_and_power_at_no_drop() -> None:
    """The promise, by simulation: a true drop equal to the budget passes at most 5.5 %."""
    generator = np.random.default_rng(0)
    samples, budget, trials = 10_000, 0.005, 4000
    passes = {}
    for drop in (budget, 0.0):
        gained_rate = 0.002
        rates = [drop + gained_rate, gained_rate, 1 - drop - 2 * gained_rate]
        draws = generator.multinomial(samples, rates, size=trials)
        verdicts = {
            (lost, gained): judge(PairedCounts(samples, int(lost), int(gained)), budget)[1]
            for lost, gained in {(int(a), int(b)) for a, b, _ in draws}
        }
        passes[drop] = np.mean([verdicts[int(a), int(b)] == "pass" for a, b, _ in draws])
    assert passes[budget] <= 0.055
    assert passes[0.0] >= 0.90
