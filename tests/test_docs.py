"""The documentation says what the programs do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import REPOSITORY, RunPython

CLI = (REPOSITORY / "docs" / "cli.md").read_text()
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")


def documented(program: str) -> set[str]:
    """Options in the tables of a program's section of docs/cli.md."""
    section = CLI.split(f"## `python -m {program}`")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {option for row in rows for option in OPTION.findall(row.split("|")[1])}


def offered(program: str, run_python: RunPython) -> set[str]:
    """Options that --help lists, in all verbs of the runtime."""
    verbs = {"runtime": ("", "info", "predict", "evaluate", "selftest", "bench", "verify")}
    found: set[str] = set()
    for verb in verbs.get(program, ("",)):
        done = run_python("-m", program, *filter(None, [verb]), "--help")
        assert done.returncode == 0, done.stderr
        listed = done.stdout.split("examples:")[0]
        found |= {o for line in listed.splitlines() for o in OPTION.findall(line)}
    return found - {"--help"}


def compare(listed: set[str], shown: set[str]) -> list[str]:
    return sorted(listed ^ shown)


@pytest.mark.parametrize("program", ["train", "convert", "runtime"])
def test_cli_page_and_help_list_the_same_options(program: str, run_python: RunPython) -> None:
    shown = offered(program, run_python)
    assert compare(documented(program), shown) == []
    # The twin: an option that only one of the two knows is found.
    assert compare(documented(program) | {"--invented"}, shown) == ["--invented"]
    assert compare(documented(program), shown - {"--json"}) == ["--json"]


def test_every_relative_link_of_the_documentation_leads_somewhere() -> None:
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_tree_names_files_that_exist() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    tree = readme.split("## What is here")[1].split("```")[1]
    package = ""
    for line in tree.splitlines():
        match = re.match(r"^(\s*)([\w/.]+)", line)
        if match:
            package = match[2] if not match[1] else package
            path = match[2] if not match[1] else package + match[2]
            assert (REPOSITORY / path).exists(), path


@pytest.mark.slow
def test_example_of_a_model_of_ones_own_runs_as_it_stands(
    run_python: RunPython, tmp_path: Path
) -> None:
    page = (REPOSITORY / "docs" / "your-own-model.md").read_text()
    program, options, shell = (
        re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)[0]
        for language in ("python", "json", "sh")
    )
    (tmp_path / "make_model.py").write_text(program)
    (tmp_path / "preprocessing.json").write_text(options)
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
    made = run_python("make_model.py")
    assert made.returncode == 0, made.stderr
    known = made.stdout.splitlines()[-1]
    assert "labels.txt" in shell
    assert "--expect" in shell
    arguments = (
        *("-m", "convert", "patterns.keras", "--int8", "--calibration", "calibration.npz"),
        *("--test", "test.npz", "--labels", "labels.txt", "--preprocessing", "preprocessing.json"),
    )
    done = run_python(*arguments, "--expect", known)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundles" / "patterns" / "manifest.json").is_file()
    # The twin: without the preprocessing file the float model does not give what was measured.
    wrong = run_python(*arguments[:-2], "--expect", known)
    assert wrong.returncode == 5
    assert "does not give the accuracy" in wrong.stderr


def test_library_example_runs_as_it_stands(
    run: Path, run_python: RunPython, tmp_path: Path
) -> None:
    page = (REPOSITORY / "docs" / "library.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.py").write_text(program)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mnist_cnn").symlink_to(run.parent)
    done = run_python("example.py")
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "bundles/mnist_cnn, release 1"
    assert "tflite-int8: pass" in done.stdout
    assert any(re.match(r"  digit on .* accuracy 0\.9\d+.* at most 0\.0\d+ with", x) for x in lines)
    assert re.search(r"^tflite-int8 is (refused|inconclusive): \S", done.stdout, re.MULTILINE)
    assert not (tmp_path / "strict" / "mnist_cnn").exists()
    # The twin: where the error is not caught, the program ends with it.
    (tmp_path / "example.py").write_text(program.replace("RefusedError as", "ZeroDivisionError as"))
    uncaught = run_python("example.py")
    assert uncaught.returncode == 1
    assert "upper bound" in uncaught.stderr
