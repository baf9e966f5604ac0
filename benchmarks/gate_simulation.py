"""How often the drift gate passes an artifact whose true drop is known: table of docs/drift.md.

The probabilities are exact: for each number of gained samples the most lost ones that ``judge``
still passes are found, and the trinomial distribution is summed up over them. Four cells are drawn
too (20,000 artifacts each, fixed seed), against an error in the sum.

    python -m benchmarks.gate_simulation [--write]
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binom

from edgeward.convert.drift.gate import PairedCounts, judge, tango_upper_bound

DOCS = Path(__file__).parents[1] / "docs" / "drift.md"
BEGIN, END = "<!-- gate-simulation -->\n", "<!-- /gate-simulation -->"

BUDGETS = (0.002, 0.005, 0.02)
SAMPLES = (200, 500, 1000, 2000, 5000, 10_000)
# Share of samples that only the artifact has right: few flips, as int8 causes, many, and wild.
GAINED = {"low": 0.0002, "medium": 0.002, "high": 0.01}
DROPS = (0.0, 0.5, 1.0, 1.5)
DRAWN = ((0.005, 1000, "low", 1.0), (0.005, 10_000, "medium", 1.0), (0.005, 2000, "high", 0.0),
         (0.02, 500, "high", 0.5))  # fmt: skip


def most_lost(samples: int, budget: float, gained: Sequence[int]) -> list[int]:
    """Return for each number of gained samples the most lost ones that pass, or -1."""
    found: list[int] = []
    lost = -1
    for count in gained:
        # One gained sample more seldom allows another number of lost ones: the search is short.
        while lost >= 0 and not _passes(samples, lost, count, budget):
            lost -= 1
        while lost + 1 + count <= samples and _passes(samples, lost + 1, count, budget):
            lost += 1
        found.append(lost)
    return found


def _passes(samples: int, lost: int, gained: int, budget: float) -> bool:
    counts = PairedCounts(samples, lost, gained)
    # The bound is at least Tango's, which takes a hundredth of the time.
    return tango_upper_bound(counts) <= budget and judge(counts, budget)[1] == "pass"


def pass_rates(budget: float, samples: int) -> dict[tuple[str, float], float]:
    """Return the probability of a pass for each discordance and true drop / budget."""
    reach = int(samples * GAINED["high"] + 8 * np.sqrt(samples * GAINED["high"]) + 8)
    gained = np.arange(min(samples, reach) + 1)
    lost = np.array(most_lost(samples, budget, [int(count) for count in gained]))
    rates: dict[tuple[str, float], float] = {}
    for (level, share), part in itertools.product(GAINED.items(), DROPS):
        chance = (part * budget + share) / (1 - share)
        each = binom.pmf(gained, samples, share) * binom.cdf(lost, samples - gained, chance)
        rates[level, part] = float(each.sum())
    return rates


def drawn_rate(budget: float, samples: int, level: str, part: float, trials: int = 20_000) -> float:
    """Return the same for one cell, by drawing artifacts."""
    share, drop = GAINED[level], part * budget
    rates = [drop + share, share, 1 - drop - 2 * share]
    draws = np.random.default_rng(0).multinomial(samples, rates, size=trials)
    pairs, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    passed = [_passes(samples, int(a), int(b), budget) for a, b in pairs]
    return float(times[passed].sum() / trials)


def row(budget: float, samples: int) -> str:
    """Return one line of the table."""
    rates = pass_rates(budget, samples)
    cells = [" / ".join(f"{100 * rates[level, part]:.1f}" for level in GAINED) for part in DROPS]
    return f"| {budget} | {samples:,} | " + " | ".join(cells) + " |\n"


def table() -> str:
    """Return the whole table."""
    head = (
        "| budget | samples | no drop | half the budget | the budget | 1.5 x the budget |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "".join(row(b, n) for b, n in itertools.product(BUDGETS, SAMPLES))


def main() -> None:
    """Print the table, or write it between its marks in docs/drift.md."""
    made = table()
    for cell in DRAWN:
        summed = pass_rates(cell[0], cell[1])[cell[2], cell[3]]
        print(f"{cell}: summed {summed:.4f}, drawn {drawn_rate(*cell):.4f}", file=sys.stderr)
    if "--write" in sys.argv[1:]:
        text = DOCS.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}{made}{END}{rest.partition(END)[2]}", encoding="utf-8")
    else:
        print(made, end="")


if __name__ == "__main__":
    main()
