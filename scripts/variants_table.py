"""The table of docs/variants.md from the bundles of `python -m convert RUN --all`, one per recipe.

python scripts/variants_table.py BUNDLE...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgeward.convert.drift.metrics import OutputDrift
from edgeward.convert.report.words import show
from edgeward.convert.variants import artifact_ids

IDS = [str(artifact) for artifact in artifact_ids()]


def worst(artifact: dict[str, Any]) -> OutputDrift:
    """The drift with the largest bound over all outputs and runtimes."""
    drifts = [OutputDrift(**one) for found in artifact["drifts"].values() for one in found]
    return max(drifts, key=lambda one: one.upper_bound)


def cell(report: dict[str, Any], artifact_id: str) -> str:
    """Bytes and bound of one artifact; the verdict too where it is not `pass`."""
    artifact = next((a for a in report["artifacts"] if a["id"] == artifact_id), None)
    if artifact is None:
        return "not made"
    text = f"{artifact['size']:,}; {show(worst(artifact)).within}"
    return text if artifact["verdict"] == "pass" else f"{text}, {artifact['verdict']}"


def main(paths: list[str]) -> int:
    """Print the table."""
    reports = [json.loads((Path(path) / "report.json").read_text()) for path in paths]
    print(f"| artifact | {' | '.join('`' + r['name'] + '`' for r in reports)} |")
    print("|---" * (len(reports) + 1) + "|")
    floats = [show(worst(report["artifacts"][0])).reference for report in reports]
    print(f"| float | {' | '.join(floats)} |")
    for artifact_id in IDS:
        row = [cell(report, artifact_id) for report in reports]
        if any(one != "not made" for one in row):
            print(f"| `{artifact_id}` | {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
