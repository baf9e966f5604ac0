"""A pull request that drifts, checked by the workflow of docs/ci.md: main passes, the branch fails.

Makes a git repository with a trained model and runs the ``run:`` steps of the workflow in it, as
GitHub would: on main, on main again with the bundles of the first time, and on a branch whose
calibration samples are wrong. Ends with 0 when main passes and the branch is refused.

    python scripts/pull_request_example.py [RUN]   # RUN: a run folder to start from
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "ci.md"
FILES = (
    "run.json", "model.keras", "labels.txt", "calibration.npz", "validation.npz", "test.npz",
)  # fmt: skip
DARKER = 24


def steps() -> list[str]:
    """Return the commands of the workflow, without installing what runs this."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (job,) = yaml.safe_load(text)["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    return [command for command in commands if not command.startswith("pip install")]


def environment() -> dict[str, str]:
    """Return variables with which ``python`` is this interpreter and finds this repository."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    packages = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PATH": path, "PYTHONPATH": packages, "TF_CPP_MIN_LOG_LEVEL": "2"}


def git(repository: Path, *arguments: str) -> None:
    """Run git without anybody's configuration."""
    nobody = ("-c", "user.name=example", "-c", "user.email=example@localhost")
    plain = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", *nobody, "-c", "commit.gpgsign=false", *arguments]
    subprocess.run(command, cwd=repository, env=plain, check=True, stdout=subprocess.DEVNULL)


def train(folder: Path) -> Path:
    """Train a small model on the committed digits, and return the run folder."""
    data = ROOT / "train" / "datasets" / "mnist_subset.npz"
    subprocess.run(
        [sys.executable, "-m", "train", "mnist_mlp", "--data", str(data), "--epochs", "2"],
        cwd=folder, env=environment(), check=True,
    )  # fmt: skip
    return folder / "runs" / "mnist_mlp" / "001"


def make_repository(repository: Path, run: Path) -> None:
    """Commit a run to main, and spoil its calibration samples on a branch."""
    model = repository / "model"
    model.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(run / name, model / name)
    (repository / ".gitignore").write_text("bundles/\n")
    git(repository, "init", "--quiet", "--initial-branch", "main")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "A model that converts well")
    git(repository, "checkout", "--quiet", "-b", "night-pictures")
    with np.load(model / "calibration.npz", allow_pickle=False) as file:
        samples = dict(file)
    spoilt = {k: v // DARKER if v.dtype == np.uint8 else v for k, v in samples.items()}
    np.savez_compressed(model / "calibration.npz", **spoilt)
    git(repository, "commit", "--quiet", "--all", "--message", "Calibrate with new pictures")


def check(repository: Path, branch: str) -> tuple[int, str]:
    """Check a branch out and run the steps; return the exit code and the summary of the job."""
    git(repository, "checkout", "--quiet", branch)
    summary = repository.parent / "summary.md"
    summary.write_text("")
    print(f"\n--- {branch}", flush=True)
    code, started = 0, time.perf_counter()
    for command in steps():
        print(f"$ {command}", flush=True)
        done = subprocess.run(
            ["bash", "-e", "-c", command], cwd=repository,
            env={**environment(), "GITHUB_STEP_SUMMARY": str(summary)},
        )  # fmt: skip
        code = done.returncode
        if code:  # GitHub skips what follows
            break
    text = summary.read_text(encoding="utf-8")
    print(f"{text}\n--- {branch}: exit {code} after {time.perf_counter() - started:.1f} s")
    return code, text


def main() -> int:
    """Play the pull request; return 0 where the workflow told good from bad."""
    with tempfile.TemporaryDirectory(prefix="edgeward-pr-") as name:
        folder = Path(name)
        run = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else train(folder)
        repository = folder / "repository"
        make_repository(repository, run)
        first, _ = check(repository, "main")
        again, reused = check(repository, "main")
        pull, report = check(repository, "night-pictures")
    expected = {
        "main passes": first == 0,
        "main passes again, with nothing converted": again == 0 and "was reused" in reused,
        "the branch is refused": pull == 3,
        "its report says why": "**refused**" in report and "alibrat" in report,
    }
    print()
    for what, true in expected.items():
        print(f"{'yes' if true else 'NO '}  {what}")
    return 0 if all(expected.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
