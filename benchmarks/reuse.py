"""Time of a second ``python -m convert`` with nothing changed, as a ratio to the first.

Both are timed from outside, start of the interpreter included, in turns: each round converts anew
and asks again. The run is mnist_cnn's unless another one is named. Run it on a machine that does
nothing else:

    python benchmarks/reuse.py RUN [ROUNDS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def timed(run: Path, folder: Path) -> tuple[float, list[str]]:
    """Return the seconds of ``--int8``, and the artifacts that were reused."""
    command = [sys.executable, "-m", "convert", str(run), "--int8", "--json", "--out", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds, json.loads(done.stdout)["reused"]


def main() -> None:
    """Print a line per round, and the ratio."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    run = Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    ratios = []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as name:
            (first, anew), (second, reused) = (timed(run, Path(name)) for _ in range(2))
        if anew or not reused:
            raise SystemExit(f"reused in the first {anew}, in the second {reused}")
        ratios.append(first / second)
        print(f"round {number}: {first:.1f} s, then {second:.2f} s, ratio {ratios[-1]:.1f}")
    print(f"first / second: median {statistics.median(ratios):.1f}, least {min(ratios):.1f}")


if __name__ == "__main__":
    main()
