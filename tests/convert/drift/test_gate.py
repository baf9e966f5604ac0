"""The gate's statistics against published numbers, limits and its own promise."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom, norm
from support import REPOSITORY, load_script

from edgeward.convert.drift.exact import exact_p_value
from edgeward.convert.drift.gate import (
    PairedCounts,
    judge,
    required_samples,
    tango_upper_bound,
    upper_bound,
)
from edgeward.runtime.errors import InvalidDataError

TWO_SIDED_95, TWO_SIDED_90 = 0.975, 0.95
LEVEL = 0.05
Bound = Callable[[PairedCounts], float]


def interval(samples: int, lost: int, gained: int, side: float) -> tuple[float, float]:
    """The interval of P(lost) - P(gained) with both sides at this confidence."""
    upper = tango_upper_bound(PairedCounts(samples, lost, gained), side)
    lower = -tango_upper_bound(PairedCounts(samples, gained, lost), side)
    return lower, upper


@pytest.mark.parametrize(
    ("counts", "side", "bounds", "rounded"),
    [
        # Airway hyper-responsiveness (Bentur et al. 2009), as worked out by Fagerland, Lydersen
        # and Laake, Statistics in Medicine 33, 2850-2875, 2014.
        ((21, 1, 7), TWO_SIDED_95, (-0.517, -0.026), 6e-4),
        # Soft contact lenses: 44 patients, one discordant pair (Tango 1998, section 5).
        ((44, 0, 1), TWO_SIDED_95, (-0.118, 0.059), 6e-4),
        ((44, 0, 1), TWO_SIDED_90, (-0.096, 0.037), 6e-4),
        # The test of Tango's interval in the R package ratesci.
        ((32, 9, 3), TWO_SIDED_95, (-0.027, 0.390), 6e-4),
        # What scoreci.mp(25, 28, 618, 0.90) of the R package PropCIs gives.
        ((618, 28, 25), TWO_SIDED_90, (-0.0148, 0.0247), 6e-5),
    ],
)
def test_bound_equals_published_worked_examples(
    counts: tuple[int, int, int], side: float, bounds: tuple[float, float], rounded: float
) -> None:
    assert interval(*counts, side) == pytest.approx(bounds, abs=rounded)


def test_bound_without_discordant_pairs_has_its_closed_form() -> None:
    z = norm.ppf(0.95)
    for samples in (10, 500, 10_000):
        expected = z * z / (samples + z * z)
        assert tango_upper_bound(PairedCounts(samples, 0, 0)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("samples", [100, 599, 10_000])
def test_exact_bound_without_discordant_pairs_is_that_of_a_binomial(samples: int) -> None:
    expected = 1 - LEVEL ** (1 / samples)
    assert expected <= upper_bound(PairedCounts(samples, 0, 0)) <= 1.003 * expected


@pytest.mark.parametrize("kind", [tango_upper_bound, upper_bound])
def test_bound_grows_with_losses_and_shrinks_with_samples(kind: Bound) -> None:
    bounds = [kind(PairedCounts(1000, lost, 3)) for lost in range(30)]
    assert bounds == sorted(bounds)
    assert kind(PairedCounts(10_000, 30, 30)) < bounds[10]


def test_bound_exceeds_the_measured_drop() -> None:
    for lost, gained in ((0, 0), (5, 0), (0, 5), (900, 3), (1000, 0)):
        counts = PairedCounts(1000, lost, gained)
        assert upper_bound(counts) >= tango_upper_bound(counts) >= counts.drop


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
    assert upper_bound(PairedCounts(needed, 0, 0)) <= 0.005
    assert upper_bound(PairedCounts(int(needed * 0.97), 0, 0)) > 0.005


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


# ---- the promise: a true drop equal to the budget passes at most in 5 % of all cases


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """The script that makes the table of docs/drift.md."""
    return load_script(REPOSITORY / "benchmarks" / "gate_simulation.py")


def rows(simulation: ModuleType) -> list[str]:
    text = simulation.DOCS.read_text(encoding="utf-8")
    return (
        text.split(simulation.BEGIN)[1].partition(simulation.END)[0].splitlines(keepends=True)[2:]
    )


@pytest.mark.parametrize(("budget", "samples"), [(0.002, 500), (0.005, 200)])
def test_row_of_the_documentation_is_what_the_gate_does(
    simulation: ModuleType, budget: float, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert simulation.row(budget, samples) in rows(simulation)
    # The twin: Tango's bound alone makes another row, beyond the promise.
    monkeypatch.setattr(simulation, "judge", lambda counts, budget: (0.0, "pass"))
    assert simulation.row(budget, samples) not in rows(simulation)
    assert max(simulation.pass_rates(budget, samples).values()) > LEVEL


@pytest.mark.slow
def test_table_of_the_documentation_is_what_the_gate_does(simulation: ModuleType) -> None:
    assert simulation.table().splitlines(keepends=True)[2:] == rows(simulation)


def test_documented_false_pass_rates_and_power_keep_the_promise(simulation: ModuleType) -> None:
    found = {}
    for line in rows(simulation):
        budget, samples, *cells = [cell.strip() for cell in line.strip("|\n").split("|")]
        found[float(budget), int(samples.replace(",", ""))] = [
            [float(rate) for rate in cell.split(" / ")] for cell in cells
        ]
    assert len(found) == len(simulation.BUDGETS) * len(simulation.SAMPLES)
    for none, _, at_budget, beyond in found.values():
        assert max(at_budget) <= 5.0
        assert all(b <= a for a, b in zip(at_budget, beyond, strict=True))
        assert all(b <= a for a, b in zip(none, at_budget, strict=True))
    for budget in (0.005, 0.02):
        assert min(found[budget, 10_000][0]) >= 90


def test_sum_over_the_outcomes_is_what_drawing_artifacts_gives(simulation: ModuleType) -> None:
    drawn = simulation.drawn_rate(0.02, 500, "high", 0.5, trials=4000)
    summed = simulation.pass_rates(0.02, 500)["high", 0.5]
    assert drawn == pytest.approx(summed, abs=4 * np.sqrt(summed * (1 - summed) / 4000))


@pytest.mark.parametrize("budget", [0.005, 0.02])
def test_exact_bound_mends_the_sizes_at_which_tangos_passes_too_much(
    simulation: ModuleType, budget: float
) -> None:
    """Just enough samples for none lost: Tango's bound passes 6 % and more at the budget."""
    z = norm.ppf(0.95)
    samples = int(np.ceil(z * z * (1 / budget - 1)))
    assert tango_upper_bound(PairedCounts(samples, 0, 0)) <= budget
    assert binom.pmf(0, samples, budget) > 0.06
    assert upper_bound(PairedCounts(samples, 0, 0)) > budget
    for more in np.geomspace(samples, 2.5 * samples, 4):
        gained = range(12)
        most = np.array(simulation.most_lost(int(more), budget, gained))
        for share in (0, 1e-5, 1e-4, 1e-3):
            chance = binom.pmf(gained, int(more), share) * binom.cdf(
                most, int(more) - np.array(gained), (budget + share) / (1 - share)
            )
            assert chance.sum() <= LEVEL


def test_exact_probability_is_the_sum_over_outcomes_that_look_no_worse() -> None:
    """By brute force, for the one rate of gained samples that is worst."""
    samples, lost, gained, delta = 25, 1, 2, 0.2

    def score(a: int, b: int) -> float:
        rates = np.linspace(0, (1 - delta) / 2, 20_001)
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = (
                np.where(b, b * np.log(rates), 0)
                + a * np.log(rates + delta)
                + (samples - a - b) * np.log(1 - 2 * rates - delta)
            )
        rate = rates[np.nanargmax(likelihood)]
        return (a - b - samples * delta) / np.sqrt(samples * (2 * rate + delta * (1 - delta)))

    pairs = [(a, b) for a in range(samples + 1) for b in range(samples + 1 - a)]
    seen = score(lost, gained)
    extreme = [(a, b) for a, b in pairs if score(a, b) <= seen + 1e-6]
    worst = max(
        sum(
            binom.pmf(b, samples, rate) * binom.pmf(a, samples - b, (rate + delta) / (1 - rate))
            for a, b in extreme
        )
        for rate in np.linspace(0, 0.39, 60)
    )
    assert exact_p_value(samples, lost, gained, delta) == pytest.approx(worst, abs=1e-3)


@pytest.mark.parametrize("discordant", [0.002, 0.01])
def test_power_is_that_of_the_sample_size_formula(
    simulation: ModuleType, discordant: float
) -> None:
    """n = ((z_a sqrt(V0) + z_b sqrt(V1)) / budget)^2 for 80 % power at no drop: J.-M. Nam,
    Biometrics 53, 1422-1430, 1997, with V0 at the limit of the restricted estimate."""
    budget, share = 0.005, discordant / 2
    b = -discordant + 2 * budget
    rate = (np.sqrt(b * b + 8 * share * budget * (1 - budget)) - b) / 4
    null = 2 * rate + budget * (1 - budget)
    samples = ((norm.ppf(0.95) * np.sqrt(null) + norm.ppf(0.8) * np.sqrt(discordant)) / budget) ** 2
    samples = int(np.ceil(samples))
    gained = np.arange(int(samples * share + 8 * np.sqrt(samples * share) + 8))
    most = np.array(simulation.most_lost(samples, budget, [int(count) for count in gained]))
    chance = binom.pmf(gained, samples, share) * binom.cdf(
        most, samples - gained, share / (1 - share)
    )
    assert chance.sum() == pytest.approx(0.8, abs=0.06)
