"""The examples of docs/extending.md are complete: applied to a copy of the packages, they work."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import REPOSITORY, SUBSET, python

from edgeward.convert.formats import FORMATS
from edgeward.convert.variants import VARIANTS

PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS: dict[str, str] = dict(
    re.findall(r"^## A (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
)
# A sentence that names a file ends in the block with its text or what is changed in it.
BLOCK = re.compile(r"^((?:[^\n]+\n)+)\n```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`([\w/.-]+\.(?:py|json))`")


@dataclass(frozen=True)
class Block:
    """A block of the page: the sentence above it, its language, its text, the file it is about."""

    above: str
    language: str
    text: str

    @property
    def file(self) -> str:
        return FILE.findall(self.above)[0]


def blocks(section: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(section)]


def changed(text: str, diff: str) -> str:
    """Return a file with the hunks of a diff in it; each must fit in exactly one place."""
    lines = text.splitlines(keepends=True)
    for hunk in diff.split("@@\n"):
        marked = hunk.splitlines(keepends=True)
        before = [line[1:] for line in marked if line[0] in " -"]
        after = [line[1:] for line in marked if line[0] in " +"]
        places = [i for i in range(len(lines)) if lines[i : i + len(before)] == before]
        if len(places) != 1:
            raise LookupError(f"{len(places)} places for\n{''.join(before)}")
        lines[places[0] : places[0] + len(before)] = after
    return "".join(lines)


def apply(section: str, root: Path) -> None:
    """Put the new files and the changed lines of a section into a copy of the packages."""
    for block in blocks(section):
        path = root / block.file if FILE.search(block.above) else root
        if block.language == "diff":
            path.write_text(changed(path.read_text(), block.text))
        elif "New file" in block.above:
            assert not path.exists(), path
            path.write_text(block.text)


def program(section: str) -> tuple[str, str]:
    """Return the program of a section and what the page says that it prints."""
    (text,) = (one.text for one in blocks(section) if "rogram `try_" in one.above)
    (said,) = (one.text for one in blocks(section) if one.language == "text")
    return text, said


def copied(folder: Path) -> Path:
    """Return a copy of the packages, laid out as the repository is."""
    for package in ("convert", "runtime", "train"):
        ignored = shutil.ignore_patterns("__pycache__", "*.npz")
        shutil.copytree(REPOSITORY / package, folder / package, ignore=ignored)
    shutil.copytree(REPOSITORY / "edgeward", folder / "edgeward", symlinks=True)
    return folder


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with every example in it: they do not get in each other's way."""
    root = copied(tmp_path_factory.mktemp("extended"))
    for section in SECTIONS.values():
        apply(section, root)
    return root


def run_in(root: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return python(*arguments, cwd=folder, PYTHONPATH=str(root))


def run_program(root: Path, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(text)
    return run_in(root, folder, "program.py")


def test_the_page_shows_each_kind_once() -> None:
    assert list(SECTIONS) == ["format", "variant", "target", "task", "recipe"]


def test_neither_format_nor_variant_of_the_examples_is_there_already() -> None:
    assert "json" not in FORMATS
    assert "int16x8-floatio" not in VARIANTS


@pytest.mark.parametrize("kind", ["format", "variant", "target", "task"])
def test_the_example_gives_what_the_page_says(kind: str, extended: Path, tmp_path: Path) -> None:
    text, said = program(SECTIONS[kind])
    done = run_program(extended, text, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == said


@pytest.mark.parametrize(
    "program_text",
    [
        "from edgeward.convert.variants import ArtifactId\nArtifactId.parse('json-fp32')",
        "from edgeward.convert.variants import ArtifactId\n"
        "ArtifactId.parse('tflite-int16x8-floatio')",
        program(SECTIONS["target"])[0],
        "from edgeward.runtime.specs import OutputSpec\nOutputSpec('count')",
    ],
    ids=["format", "variant", "target", "task"],
)
def test_without_the_example_its_name_is_unknown(
    program_text: str, extended: Path, tmp_path: Path
) -> None:
    """The twin of the test above: it proves the examples, and nothing that was there before."""
    done = run_program(REPOSITORY, program_text, tmp_path)
    assert done.returncode == 1
    assert re.search("There is no such artifact|Unknown (target|task)", done.stderr)
    assert run_program(extended, program_text, tmp_path).returncode == 0


def test_a_format_is_one_file_and_one_entry_and_a_variant_an_entry_and_a_name() -> None:
    def places(kind: str) -> Sequence[tuple[str, str, int]]:
        return [
            (one.file, one.language, len(re.findall(r"^@@$", one.text, re.MULTILINE)) + 1)
            for one in blocks(SECTIONS[kind])
            if one.language == "diff" or "New file" in one.above
        ]

    assert places("format") == [
        ("convert/export/json_file.py", "python", 1),
        ("convert/formats.py", "diff", 1),
    ]
    assert places("variant") == [
        ("convert/variants.py", "diff", 2),
        ("runtime/artifact.py", "diff", 1),
    ]
    assert places("target") == [
        ("convert/targets/tables/my-board-1.0.json", "json", 1),
        ("convert/targets/target.py", "diff", 1),
    ]
    # The table at the top of the page counts them.
    assert sum(number for _, _, number in places("task")) == 10
    assert len({file for file, _, _ in places("task")}) == 7
    assert "ten places in seven files" in PAGE


def test_lines_that_are_not_where_the_page_says_are_an_error() -> None:
    assert changed("a\nb\nc\n", " b\n+new\n") == "a\nb\nnew\nc\n"
    assert changed("a\nb\n", "-a\n+x\n@@\n b\n+y\n") == "x\nb\ny\n"
    for text in ("a\nc\n", "b\nb\n", "ab\n"):
        with pytest.raises(LookupError):
            changed(text, " b\n+new\n")


def test_the_example_recipe_trains_by_its_name(extended: Path, tmp_path: Path) -> None:
    arguments = ("--data", SUBSET, "--epochs", "1", "--json")
    done = run_in(extended, tmp_path, "-m", "train", "mnist_linear", *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "mnist_linear" / "001" / "run.json").is_file()
    # The twin: without its line there is none of that name.
    done = run_in(REPOSITORY, tmp_path, "-m", "train", "mnist_linear", *arguments)
    assert done.returncode == 2
    assert "no such recipe" in done.stderr


@pytest.mark.slow
def test_the_example_variant_goes_all_the_way_into_a_bundle(
    extended: Path, run: Path, tmp_path: Path
) -> None:
    """Worker, lint, every runtime, manifest and self-test know it without another line."""
    arguments = ("--all", "--format", "tflite", "--max-drop", "0.02")
    done = run_in(extended, tmp_path, "-m", "convert", run, *arguments)
    assert done.returncode == 0, done.stderr
    assert "tflite-int16x8-floatio" in done.stdout
    bundle = tmp_path / "bundles" / "mnist_cnn"
    assert (bundle / "tflite-int16x8-floatio.tflite").is_file()
    for verb in ("verify", "selftest"):
        done = run_in(extended, tmp_path, "-m", "runtime", verb, bundle)
        assert done.returncode == 0, done.stderr
    # The twin: the contract of a runtime without that line refuses the bundle.
    done = run_in(REPOSITORY, tmp_path, "-m", "runtime", "verify", bundle)
    assert done.returncode == 5
