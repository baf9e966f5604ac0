"""The arrows between rooms, and the rules that every file keeps (docs: CONTRIBUTING.md).

Each rule is a function from a file's text to a list of complaints, so that its twin can show it
a file that breaks the rule.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support import REPOSITORY

from edgeward.convert.formats import FORMATS as BY_NAME
from scripts.import_graph import FORMATS as NAMING
from scripts.import_graph import (
    NAME,
    PACKAGES,
    circle,
    edges,
    imports,
    named,
    room_arrows,
    room_of,
    sources,
)

MAX_LINES = 420
MOST_FILES = 10
SOURCES = sources()
FORMATS = tuple(BY_NAME)
FILES = sorted(SOURCES)

# Package -> what it may import from the other packages.
ARROWS: dict[str, tuple[str, ...]] = {
    "runtime": (),
    "train": ("edgeward.runtime",),
    "convert": ("edgeward.runtime", "edgeward.train.run"),
}
EVERYWHERE = ("edgeward.__version__", "edgeward")
# The console script hands over to a stage by name; that is its purpose.
HANDS_OVER = {"runtime/edgeward.py": ("edgeward.train.cli", "edgeward.convert.cli")}

# Files at the top of a package that hold values, which each of its rooms may import.
VALUES: dict[str, tuple[str, ...]] = {
    "convert": ("formats", "options", "settings", "variants"),
    "train": ("cluster", "console", "framework", "options", "recipe", "run", "transfer"),
}
# Room -> the other rooms, and programs at the top of its package, that it may import. One
# exemption: convert/formats.py, which every room may import, names what rooms do for a format as
# MODULE:NAME and imports it when a format is first used. Those are no arrows here; the script
# prints them on a line of their own.
ROOMS: dict[str, str] = {
    "convert/artifact": "",
    "convert/drift": "",
    "convert/model": "",
    "convert/targets": "artifact",
    "convert/weights": "model",
    "convert/export": "artifact model weights",
    "convert/worker": "export model weights",
    "convert/source": "worker",
    "convert/samples": "source",
    "convert/layers": "artifact drift source worker",
    "convert/measure": "artifact drift layers source targets worker",
    "convert/repair": "artifact drift measure samples source worker",
    "convert/report": "drift layers measure repair worker",
    "convert/bundle": "measure report source worker",
    "train/datasets": "",
    "train/unfinished": "",
    "train/loop": "datasets unfinished",
    "train/explain": "loop",
    "train/parts": "loop",
    "train/results": "datasets explain loop",
    "train/recipes": "datasets loop parts results",
    "train/search": "arguments datasets loop pipeline unfinished",
}
# Rooms that may have more files: one for each data set, one for each recipe; and runtime, until it
# has rooms for steps, tasks and bundle.
ROOMY = ("runtime", "train/datasets", "train/recipes")

# Library -> the files that may import it. The table in backends/__init__.py only names them.
SEAMS: dict[str, tuple[str, ...]] = {
    "ai_edge_litert": ("runtime/backends/tflite.py",),
    "tflite_runtime": ("runtime/backends/tflite.py",),
    "onnxruntime": ("runtime/backends/onnx.py", "convert/export/onnx.py"),
}
NAMED_IN = ("runtime/backends/__init__.py",)
# The schema is a description of the file format, no interpreter.
SCHEMA = "ai_edge_litert.schema_py_generated"
ALLOWED = {("convert/artifact/tflite.py", SCHEMA), ("convert/export/tflite.py", SCHEMA)}
NEVER_IN_RUNTIME = ("tensorflow", "keras", "tf2onnx", "onnx", "scipy", "rich", "matplotlib")

# Where alone artifact ids are split and joined, and dashes elsewhere that are in no id.
IDS = "convert/variants.py"
NO_IDS = {
    ("convert/artifact/locate.py", "self.domain"),
    ("convert/export/histogram.py", "method"),
}
CUTTING = ("partition", "rpartition", "split", "rsplit")
ID_BEGINS = rf"(^|\W)({'|'.join(FORMATS)})-$"
# The Android app runs TFLite and nothing else.
ONE_FORMAT = ("convert/bundle/android.py", "convert/cli.py")

STDLIB_ONLY = tuple(
    f"runtime/{name}.py"
    for name in (
        "strict_json",
        "steps",
        "specs",
        "artifact",
        "manifest",
        "errors",
        "files",
        "locks",
    )
)


def within(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(f"{allowed}.")


def top(module: str) -> str:
    return module.partition(".")[0]


def strings(text: str) -> Iterator[str]:
    """Every string of a file that is no docstring."""
    tree = ast.parse(text)
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


# ---- the rules


def wrong_arrows(file: str, text: str) -> list[str]:
    package = file.partition("/")[0]
    bad = []
    for module in imports(text):
        if module.startswith("."):
            bad.append("relative import")
        elif top(module) in PACKAGES:
            bad.append(f"imports {module} by its old name")
        elif top(module) == NAME:
            allowed = (*ARROWS[package], *HANDS_OVER.get(file, ()), f"{NAME}.{package}")
            if module not in EVERYWHERE and not any(within(module, one) for one in allowed):
                bad.append(f"imports {module}")
        elif package == "runtime" and top(module) in NEVER_IN_RUNTIME:
            bad.append(f"imports {module}")
    return bad


def wrong_rooms(file: str, text: str) -> list[str]:
    package, room = file.partition("/")[0], room_of(file)
    if package == "runtime" or room.endswith(".py"):
        return []  # one room; and the programs at the top know the order of the rooms
    if room not in ROOMS:
        return [f"{room} is not among ROOMS"]
    own = room.partition("/")[2]
    allowed = (own, *ROOMS[room].split(), *VALUES[package])
    return [
        f"imports {module}"
        for module in imports(text)
        if within(module, f"{NAME}.{package}")
        and not any(within(module, f"{NAME}.{package}.{one}") for one in allowed)
    ]


def wrong_seams(file: str, text: str) -> list[str]:
    bad = []
    for library, allowed in SEAMS.items():
        if file in allowed:
            continue
        bad += [
            f"imports {module}"
            for module in imports(text)
            if within(module, library)
            and not any(file == where and within(module, what) for where, what in ALLOWED)
        ]
        if library == "onnxruntime" or file in NAMED_IN:
            continue  # also the name of the distribution, which messages and reports hold
        bad += [f"names {s}" for s in strings(text) if within(s.partition("/")[0], library)]
    return bad


def not_stdlib(file: str, text: str) -> list[str]:
    if file not in STDLIB_ONLY:
        return []
    known = {*sys.stdlib_module_names, NAME}
    bad = [f"imports {module}" for module in imports(text) if top(module) not in known]
    pure = {Path(name).stem for name in STDLIB_ONLY}
    for module in imports(text):
        if top(module) == NAME and not any(within(module, f"{NAME}.runtime.{one}") for one in pure):
            bad.append(f"imports {module}")
    return bad


def too_long(file: str, text: str) -> list[str]:
    lines = len(text.splitlines())
    return [f"{lines} lines"] if lines > MAX_LINES else []


def wrong_all(file: str, text: str) -> list[str]:
    if file.endswith("__main__.py"):
        return []
    public = [
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    lists = [
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    if not lists:
        return ["no __all__"] if public else []
    names = ast.literal_eval(lists[0])

    # As ruff sorts it: CONSTANTS, Classes, functions, and 8 before 16.
    def place(name: str) -> tuple[bool, bool, list[object]]:
        parts = re.split(r"(\d+)", name)
        natural: list[object] = [int(part) if part.isdigit() else part for part in parts]
        return not name.isupper(), not name[:1].isupper(), natural

    order = sorted(names, key=place)
    bad = [] if names == order else [f"__all__ is not sorted: expected {order}"]
    bad += ["a name twice in __all__"] if len(set(names)) != len(names) else []
    defined = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    defined |= {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    defined |= {*public}
    return bad + [f"__all__ names {name}" for name in names if name not in defined]


def split_ids(file: str, text: str) -> list[str]:
    """Complain of ids that are taken apart or put together anywhere but in ``ArtifactId``."""
    if not file.startswith("convert/") or file == IDS:
        return []
    bad = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = node.args[0] if node.args else None
            given = first.value if isinstance(first, ast.Constant) else None
            where = (file, ast.unparse(node.func.value))
            if node.func.attr in CUTTING and given == "-" and where not in NO_IDS:
                bad.append(f"{ast.unparse(node)} in line {node.lineno}")
            if node.func.attr in ("startswith", "removeprefix") and _begins_an_id(given):
                bad.append(f"{ast.unparse(node)} in line {node.lineno}")
        if isinstance(node, ast.JoinedStr):
            pieces = [p.value if isinstance(p, ast.Constant) else None for p in node.values]
            begins = isinstance(pieces[0], str) and re.search(ID_BEGINS, pieces[0])
            joins = pieces == [None, "-", None]
            if begins or joins:
                bad.append(f"{ast.unparse(node)} in line {node.lineno}")
    return bad


def _begins_an_id(given: object) -> bool:
    return isinstance(given, str) and given.removesuffix("-") in FORMATS


def asked_formats(file: str, text: str) -> list[str]:
    """Complain of questions for one format by its name: what differs is in ``Format``."""
    if not file.startswith("convert/") or file in ONE_FORMAT:
        return []
    return [
        f"{ast.unparse(node)} in line {node.lineno}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Compare)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value in FORMATS
    ]


def bare_asserts(file: str, text: str) -> list[str]:
    return [
        f"assert in line {node.lineno}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Assert)
    ]


RULES = (
    *(wrong_arrows, wrong_rooms, wrong_seams, not_stdlib, too_long, wrong_all),
    *(split_ids, asked_formats, bare_asserts),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("file", FILES)
def test_the_file_keeps_the_rule(file: str, rule: object) -> None:
    assert rule(file, SOURCES[file]) == []


def test_all_three_packages_are_looked_at() -> None:
    assert len(FILES) > 60
    assert {file.partition("/")[0] for file in FILES} == set(PACKAGES)
    assert set(STDLIB_ONLY) <= set(FILES)
    assert {file for files in SEAMS.values() for file in files} <= set(FILES)
    assert {file for file, _ in ALLOWED} <= set(FILES)
    assert {IDS, *ONE_FORMAT, *(file for file, _ in NO_IDS)} <= set(FILES)


def too_full(files: Mapping[str, str]) -> list[str]:
    rooms = {room_of(file) for file in files} - set(ROOMY)
    count = {
        room: sum(room_of(one) == room and not one.endswith("__init__.py") for one in files)
        for room in rooms
    }
    return [f"{room}: {n} files" for room, n in count.items() if n > MOST_FILES]


def test_no_room_has_more_than_ten_files() -> None:
    assert too_full(SOURCES) == []
    # The twin.
    more = {f"convert/drift/more_{i}.py": "" for i in range(MOST_FILES)}
    assert too_full({**SOURCES, **more}) == ["convert/drift: 15 files"]


def rooms_graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for a, b in room_arrows(files):
        graph.setdefault(a, set()).add(b)
    return graph


def test_neither_files_nor_rooms_import_in_a_circle() -> None:
    assert circle(edges(SOURCES)) == []
    assert circle(rooms_graph(SOURCES)) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("convert/variants.py", "from edgeward.convert.settings import Settings"),
        ("convert/drift/gate.py", "from edgeward.convert.drift.metrics import OutputDrift"),
        ("convert/drift/gate.py", "def f():\n    import edgeward.convert.drift.metrics"),
        ("train/run.py", "from edgeward.train import pipeline"),
    ],
)
def test_a_circle_of_files_would_be_found(file: str, line: str) -> None:
    assert file in circle(edges({**SOURCES, file: SOURCES[file] + "\n" + line}))


def test_a_circle_of_rooms_would_be_found() -> None:
    line = "\nfrom edgeward.convert.worker.isolate import isolated"
    files = {**SOURCES, "convert/model/edges.py": SOURCES["convert/model/edges.py"] + line}
    assert circle(edges(files)) == []  # isolate imports no room
    assert "convert/model" in circle(rooms_graph(files))


def test_what_only_type_checkers_import_is_no_arrow() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import edgeward.train.run\n"
    assert list(imports(text)) == ["typing.TYPE_CHECKING"]
    assert "edgeward.train.run" in list(imports(f"{text}else:\n    import edgeward.train.run\n"))


def test_what_formats_name_is_there() -> None:
    def astray(text: str) -> list[str]:
        files = {one: one.replace(".", "/").removeprefix(f"{NAME}/") + ".py" for one in named(text)}
        return [one for one, file in files.items() if file not in SOURCES]

    text = SOURCES[NAMING]
    assert len(named(text)) > 5
    assert astray(text) == []
    # The twin: a module that was renamed.
    assert astray(text.replace("onnx_lint:", "lint_onnx:")) == [
        "edgeward.convert.artifact.lint_onnx"
    ]


def test_every_room_is_listed_and_says_what_it_is_for() -> None:
    rooms = {room_of(file) for file in FILES if not room_of(file).endswith(".py")}
    assert rooms - {"runtime"} == set(ROOMS)
    for room in ROOMS:
        assert ast.get_docstring(ast.parse(SOURCES[f"{room}/__init__.py"])), room


OFFERING = [room for room in ROOMS if "lazy_names(" in SOURCES[f"{room}/__init__.py"]]


@pytest.mark.parametrize("room", OFFERING)
def test_a_room_offers_the_same_to_people_and_to_type_checkers(room: str) -> None:
    tree = ast.parse(SOURCES[f"{room}/__init__.py"])
    offered = public(SOURCES[f"{room}/__init__.py"])
    (lazy,) = (ast.literal_eval(n.args[1]) for n in ast.walk(tree) if isinstance(n, ast.Call))
    typed = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and within(str(node.module), dotted(room))
        for alias in node.names
    }
    assert typed == lazy
    assert sorted(offered) == sorted(lazy)
    for name, home in lazy.items():
        file = f"{home.removeprefix('edgeward.').replace('.', '/')}.py"
        assert name in public(SOURCES[file]), f"{home} has no {name}"
        # Its module would take the place of the name as soon as anybody imports it.
        assert home.rpartition(".")[2] != name


def dotted(room: str) -> str:
    return f"{NAME}.{room.replace('/', '.')}"


def public(text: str) -> list[str]:
    (names,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        if ast.unparse(node.targets[0]) == "__all__"
    )
    return list(names)


def test_the_script_prints_the_graph() -> None:
    command = [sys.executable, REPOSITORY / "scripts" / "import_graph.py"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "convert/samples" in printed
    assert printed.splitlines()[-2:] == ["circle of files: none", "circle of rooms: none"]


TODAY = "runtime/predictor.py"
LONG = "x = 1\n" * (MAX_LINES + 1)


@pytest.mark.parametrize(
    ("rule", "file", "text"),
    [
        (wrong_arrows, TODAY, "import train"),
        (wrong_arrows, TODAY, "import edgeward.train"),
        (wrong_arrows, TODAY, "import edgeward.train.run"),
        (wrong_arrows, TODAY, "from edgeward.train import run"),
        (wrong_arrows, TODAY, "from edgeward.convert.report.report import ArtifactReport"),
        (wrong_arrows, TODAY, "import tensorflow as tf"),
        (wrong_arrows, TODAY, "def f():\n    import keras.layers"),
        (wrong_arrows, TODAY, "import importlib\nimportlib.import_module('tensorflow')"),
        (wrong_arrows, TODAY, "__import__('edgeward.convert.cli')"),
        (wrong_arrows, TODAY, "importlib.import_module(f'runtime.backends.{file}')"),
        (wrong_arrows, TODAY, "if False:\n    from tensorflow import keras"),
        (wrong_arrows, TODAY, "from . import bundle"),
        (wrong_arrows, TODAY, "from edgeward.train.cli import main"),
        (wrong_arrows, "train/loop/fit.py", "import edgeward.convert"),
        (wrong_arrows, "train/loop/fit.py", "from edgeward.convert import pipeline"),
        (wrong_arrows, "convert/pipeline.py", "import edgeward.train"),
        (wrong_arrows, "convert/pipeline.py", "from edgeward.train import recipes"),
        (wrong_arrows, "convert/pipeline.py", "from edgeward.train import pipeline"),
        (wrong_arrows, "convert/pipeline.py", "import edgeward.train.runner"),
        (wrong_rooms, "convert/drift/gate.py", "import edgeward.convert.report.words"),
        (wrong_rooms, "convert/drift/gate.py", "from edgeward.convert import pipeline"),
        (wrong_rooms, "convert/source/open.py", "from edgeward.convert.samples import check"),
        (
            wrong_rooms,
            "convert/worker/make.py",
            "from edgeward.convert.source.source import Source",
        ),
        (wrong_rooms, "convert/export/onnx.py", "def f():\n    import edgeward.convert.worker.job"),
        (wrong_rooms, "convert/new_room/file.py", ""),
        (wrong_rooms, "train/loop/fit.py", "from edgeward.train.recipes import load_recipe"),
        (wrong_rooms, "train/parts/gan.py", "from edgeward.train import pipeline"),
        (wrong_seams, TODAY, "import onnxruntime"),
        (wrong_seams, TODAY, "from onnxruntime import InferenceSession"),
        (wrong_seams, TODAY, "import ai_edge_litert.interpreter"),
        (wrong_seams, TODAY, "import importlib\nx = importlib.import_module('tflite_runtime')"),
        (wrong_seams, TODAY, "name = 'tflite_runtime.interpreter'"),
        (wrong_seams, "convert/pipeline.py", "import onnxruntime.quantization"),
        (wrong_seams, "convert/artifact/tflite.py", "from ai_edge_litert import interpreter"),
        (wrong_seams, "convert/artifact/lint.py", "from ai_edge_litert import schema_py_generated"),
        (not_stdlib, "runtime/manifest.py", "import numpy"),
        (not_stdlib, "runtime/manifest.py", "from numpy import float32"),
        (not_stdlib, "runtime/steps.py", "from edgeward.runtime.arrays import Array"),
        (not_stdlib, "runtime/steps.py", "import edgeward.runtime"),
        (not_stdlib, "runtime/steps.py", "from edgeward import Predictor"),
        (not_stdlib, "runtime/files.py", "def f():\n    import yaml"),
        (too_long, TODAY, LONG),
        (wrong_all, TODAY, "def f(): pass"),
        (wrong_all, TODAY, "__all__ = ['g', 'f']\ndef f(): pass\ndef g(): pass"),
        (wrong_all, TODAY, "__all__ = ['f', 'F']\ndef f(): pass\nclass F: pass"),
        (wrong_all, TODAY, "__all__ = ['f', 'f']\ndef f(): pass"),
        (wrong_all, TODAY, "__all__ = ['f', 'g']\ndef f(): pass"),
        (split_ids, "convert/drift/gate.py", "artifact_id.partition('-')[0]"),
        (split_ids, "convert/drift/gate.py", "variant = name.split('-', 1)[1]"),
        (split_ids, "convert/drift/gate.py", "artifact_id.startswith('tflite')"),
        (split_ids, "convert/drift/gate.py", "artifact_id.removeprefix('onnx-')"),
        (split_ids, "convert/drift/gate.py", "f'tflite-{variant}'"),
        (split_ids, "convert/drift/gate.py", "f'no onnx-{variant}'"),
        (split_ids, "convert/drift/gate.py", "f'{format_}-{variant.id}'"),
        (asked_formats, "convert/drift/gate.py", "x = format_ == 'tflite'"),
        (asked_formats, "convert/drift/gate.py", "x = format_ not in ('tflite', 'onnx')"),
        (bare_asserts, TODAY, "def f(x):\n    assert x"),
    ],
)
def test_a_file_that_breaks_the_rule_is_reported(rule: object, file: str, text: str) -> None:
    assert rule(file, text) != []


@pytest.mark.parametrize(
    ("rule", "file", "text"),
    [
        (wrong_arrows, TODAY, "import numpy\nfrom edgeward.runtime.bundle import Bundle"),
        (
            wrong_arrows,
            "train/loop/fit.py",
            "import keras\nfrom edgeward.runtime.tasks import score",
        ),
        (
            wrong_arrows,
            "convert/pipeline.py",
            "from edgeward.train.run import Run\nimport edgeward",
        ),
        (wrong_arrows, "convert/pipeline.py", "import edgeward.runtime\nimport tensorflow"),
        (wrong_rooms, "convert/export/onnx.py", "import edgeward.convert.variants"),
        (
            wrong_rooms,
            "convert/export/onnx.py",
            "from edgeward.convert.artifact.lint import describe",
        ),
        (wrong_rooms, "convert/pipeline.py", "from edgeward.convert.bundle.write import locked"),
        (wrong_rooms, "train/search/tune.py", "from edgeward.train.pipeline import train"),
        (wrong_seams, "runtime/backends/onnx.py", "import onnxruntime"),
        (
            wrong_seams,
            "convert/artifact/tflite.py",
            "from ai_edge_litert import schema_py_generated",
        ),
        (wrong_seams, TODAY, '"""What ai_edge_litert does."""'),
        (not_stdlib, "runtime/manifest.py", "import json\nfrom edgeward.runtime.steps import Step"),
        (not_stdlib, TODAY, "import numpy"),
        (too_long, TODAY, LONG[6:]),
        (wrong_all, TODAY, "__all__ = ['F', 'f']\ndef f(): pass\nclass F: pass\ndef _g(): pass"),
        (wrong_all, "runtime/__main__.py", "import sys"),
        (split_ids, "convert/variants.py", "f'{format_}-{variant}'"),
        (split_ids, "convert/export/histogram.py", "float(method.partition('-')[2])"),
        (split_ids, "convert/drift/gate.py", "f'{attempt}-{i}.json', name.partition(':')"),
        (asked_formats, "convert/drift/gate.py", "x = FORMATS['onnx'], metric == 'accuracy'"),
        (bare_asserts, TODAY, "def f(x):\n    if not x: raise ValueError"),
    ],
)
def test_a_file_that_keeps_the_rule_is_not_reported(rule: object, file: str, text: str) -> None:
    assert rule(file, text) == []
