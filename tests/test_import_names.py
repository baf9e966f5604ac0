"""One import name, and the old ones: in a checkout, from the wheel, beside a user's own files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import REPOSITORY, SUBSET, child_environment

STAGES = ("train", "convert", "runtime")
EDGEWARD = "import sys; from edgeward.runtime.edgeward import main; sys.exit(main())"
# What every module of the packages is under its old name; those that only run are left out.
SAME = """
import importlib, pkgutil, sys
import runtime, train, convert
import edgeward.convert, edgeward.runtime, edgeward.train
names = [
    one.name
    for package in ("runtime", "train", "convert")
    for one in pkgutil.walk_packages(getattr(edgeward, package).__path__, f"{package}.")
    if not one.name.endswith("__main__")
]
for name in names:
    old = importlib.import_module(name)
    new = importlib.import_module(f"edgeward.{name}")
    assert old is new, name
    assert new.__name__ == new.__spec__.name == f"edgeward.{name}", new.__spec__
files = [getattr(one, "__file__", None) for one in set(sys.modules.values())]
ours = [file for file in files if file and "/edgeward/" in file]
assert len(ours) == len(set(ours)), "a file was loaded twice"
from runtime import Predictor
from edgeward import Predictor as same
assert Predictor is same
print(len(names))
"""


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the installed wheel, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    subprocess.run([*install, wheel], check=True, capture_output=True)
    return folder


@pytest.fixture(params=["checkout", "wheel"])
def place(request: pytest.FixtureRequest) -> Path:
    """What PYTHONPATH holds: the repository, or the installed wheel."""
    if request.param == "checkout":
        return REPOSITORY
    return request.getfixturevalue("site")


def run(place: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**child_environment(), "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_runs_by_its_old_name_and_as_edgeward(
    place: Path, stage: str, tmp_path: Path
) -> None:
    done = run(place, "-m", stage, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"python -m {stage}" in done.stdout
    verb = "run" if stage == "runtime" else stage
    again = run(place, "-c", EDGEWARD, verb, "--help", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr


@pytest.mark.parametrize("module", ["runtime.cli", "train.cli", "convert.bundle.android"])
def test_a_module_runs_by_its_old_name_too(place: Path, module: str, tmp_path: Path) -> None:
    old = run(place, "-W", "error::RuntimeWarning", "-m", module, "--help", cwd=tmp_path)
    new = run(place, "-m", f"edgeward.{module}", "--help", cwd=tmp_path)
    assert (old.returncode, old.stdout) == (new.returncode, new.stdout), old.stderr


def test_the_installed_wheel_is_what_answers(site: Path, tmp_path: Path) -> None:
    where = "import edgeward.runtime.cli as c; print(c.__file__)"
    assert str(site) in run(site, "-c", where, cwd=tmp_path).stdout
    assert str(site) not in run(REPOSITORY, "-c", where, cwd=tmp_path).stdout


def test_an_old_name_is_the_same_module_and_no_file_is_loaded_twice(
    place: Path, tmp_path: Path
) -> None:
    done = run(place, "-c", SAME, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 150


def test_a_second_copy_would_be_noticed(tmp_path: Path) -> None:
    # The twin: a folder imported by its own name that installs no alias.
    broken = "import edgeward.runtime.aliases as a\na.install = lambda package: None\n"
    done = run(REPOSITORY, "-c", broken + SAME, cwd=tmp_path)
    assert done.returncode != 0
    assert "AssertionError" in done.stderr


def users_files(folder: Path) -> None:
    """Files of a user, named as our packages are; importing one of them is an error."""
    for name in ("runtime.py", "train.py"):
        (folder / name).write_text("raise SystemExit('the file of the user was imported')\n")
    (folder / "convert").mkdir()
    (folder / "convert" / "__init__.py").write_text("raise SystemExit('the folder of the user')\n")


DEVICE = """
import sys
from edgeward.runtime import Predictor
import edgeward.train.run, edgeward.convert.variants
print(Predictor.__module__, "the stage is", sys.argv[1:])
"""


def test_same_named_files_of_a_user_do_not_matter(place: Path, tmp_path: Path) -> None:
    users_files(tmp_path)
    # In the working folder ...
    done = run(place, "-c", DEVICE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "edgeward.runtime.predictor" in done.stdout
    # ... and beside a script that is run from elsewhere.
    (tmp_path / "device.py").write_text(DEVICE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run(place, tmp_path / "device.py", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    for words in (["run", "--help"], ["train", "--list"], ["convert", "--help"]):
        done = run(place, "-c", EDGEWARD, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    # The twin: by the old name it is the file of the user that is imported.
    done = run(place, "-c", "import runtime", cwd=tmp_path)
    assert "the file of the user was imported" in done.stderr


def test_workers_of_a_conversion_do_not_see_them_either(
    site: Path, own_run: Path, tmp_path: Path
) -> None:
    users_files(tmp_path)
    words = ("convert", own_run, "--int8", "--format", "tflite", "--max-drop", "0.015", "--json")
    done = run(site, "-c", EDGEWARD, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"verdict": "pass"' in done.stdout


def test_the_recipe_of_the_documentation_trains_as_it_stands(place: Path, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "your-own-recipe.md").read_text()
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert "from train.recipe import" in example  # as users wrote it before there was edgeward
    (tmp_path / "odd_or_even.py").write_text(example)
    words = ("-m", "train", "odd_or_even.py", "--data", SUBSET, "--epochs", "1", "--json")
    done = run(place, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "odd_or_even" / "001" / "model.keras").is_file()


def test_the_wheel_holds_the_shims_and_nothing_else_at_its_top(site: Path) -> None:
    top = {entry.name for entry in os.scandir(site) if not entry.name.endswith(".dist-info")}
    assert top - {"bin", "__pycache__"} == {"edgeward", *STAGES}
    for stage in STAGES:
        held = {entry.name for entry in os.scandir(site / stage)} - {"__pycache__"}
        assert held == {"__init__.py", "__main__.py"}
