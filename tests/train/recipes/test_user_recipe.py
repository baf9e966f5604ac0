"""A user's own file is a recipe like any other, and its mistakes are told with their line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from support import REPOSITORY, SUBSET, RunPython

from edgeward.runtime.errors import UsageError
from edgeward.train.recipes import load_recipe
from edgeward.train.run import Run

PAGE = (REPOSITORY / "docs" / "your-own-recipe.md").read_text()
EXAMPLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]


def write(folder: Path, text: str, name: str = "my_recipe.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_example_of_the_documentation_trains_with_all_options_and_leaves_a_run(
    tmp_path: Path, run_python: RunPython
) -> None:
    # It prints while it loads, which must not spoil --json.
    write(tmp_path, "print('hello from the recipe')\n" + EXAMPLE, "odd_or_even.py")
    arguments = ("--data", SUBSET, "--epochs", "1", "--seed", "3", "--json")
    done = run_python("-m", "train", "odd_or_even.py", *arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    run = Run.open(tmp_path / "runs" / "odd_or_even" / "001")
    assert (tmp_path / result["run"]).resolve() == run.path
    assert run.info.recipe == "odd_or_even"
    assert run.info.hyperparameters["epochs"] == 1
    assert run.info.outputs["parity"].labels == ("even", "odd")
    # Half of the digits are odd: chance is 0.5.
    assert run.info.metrics["test"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nRECIPE = Recipe(\n", ["my_recipe.py, line 2", "SyntaxError"]),
        ("x = 1\n\nimport no_such_module\n", ["my_recipe.py, line 3", "no_such_module"]),
        ("def f():\n    return 1 / 0\nf()\n", ["my_recipe.py, line 2", "ZeroDivisionError"]),
        ("import helper\n", ["helper.py, line 2", "NameError"]),
        ("import sys\nsys.exit(7)\n", ["my_recipe.py, line 2", "SystemExit"]),
        ("from edgeward.runtime.steps import Affine\nAffine('x', 0)\n", ["my_recipe.py, line 2"]),
        ("x = 1\n", ["defines no recipe", "no RECIPE"]),
        ("RECIPE = 3\n", ["defines no recipe", "RECIPE is a int"]),
        (EXAMPLE.replace('name="odd_or_even",\n    title', 'name="../up",\n    title'), ["../up"]),
        ("x = '\0'\n", ["my_recipe.py"]),
    ],
)
def test_a_mistake_in_the_file_is_a_usage_error_that_names_the_line(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    write(tmp_path, "\nundefined\n", "helper.py")
    with pytest.raises(UsageError) as caught:
        load_recipe(str(write(tmp_path, text)))
    for words in said:
        assert words in str(caught.value)
    assert str(tmp_path) not in sys.path


def test_a_mistake_is_shown_without_a_traceback_and_a_missing_file_as_well(
    tmp_path: Path, run_python: RunPython
) -> None:
    write(tmp_path, "def f(:\n")
    for name, said in (("my_recipe.py", "line 1"), ("missing.py", "No such file")):
        done = run_python("-m", "train", name)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_modules_beside_the_file_can_be_imported_while_it_loads_and_only_then(
    tmp_path: Path,
) -> None:
    write(tmp_path, "TITLE = 'from the neighbour'\n", "my_neighbour.py")
    own = EXAMPLE.replace('"is a handwritten digit odd?"', "my_neighbour.TITLE")
    before = list(sys.path)
    recipe = load_recipe(str(write(tmp_path, "import my_neighbour\n" + own)))
    assert recipe.title == "from the neighbour"
    assert sys.path == before


def test_a_file_that_is_called_like_a_package_does_not_become_that_package(tmp_path: Path) -> None:
    import numpy

    assert load_recipe(str(write(tmp_path, EXAMPLE, "numpy.py"))).name == "odd_or_even"
    assert sys.modules["numpy"] is numpy
