"""The arrows between the packages, and the rules that every file keeps (docs: DESIGN.md).

Each rule is a function from a file's text to a list of complaints, so that its twin can show it
a file that breaks the rule.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("runtime", "train", "convert")
MAX_LINES = 420

FILES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for package in PACKAGES
    for path in (REPOSITORY / package).rglob("*.py")
    if "__pycache__" not in path.parts
)

# Package -> what it may import from the other packages.
ARROWS: dict[str, tuple[str, ...]] = {
    "runtime": (),
    "train": ("runtime",),
    "convert": ("runtime", "train.run"),
}
# The console script hands over to a stage by name; that is its purpose.
HANDS_OVER = {"runtime/edgeward.py": ("train.cli", "convert.cli")}

# Library -> the files that may import it. The table in backends/__init__.py only names them.
SEAMS: dict[str, tuple[str, ...]] = {
    "ai_edge_litert": ("runtime/backends/tflite.py",),
    "tflite_runtime": ("runtime/backends/tflite.py",),
    "onnxruntime": ("runtime/backends/onnx.py", "convert/export/onnx.py"),
}
NAMED_IN = ("runtime/backends/__init__.py",)
# The schema is a description of the file format, no interpreter.
SCHEMA = "convert/artifact/tflite.py"
ALLOWED = {
    (SCHEMA, "ai_edge_litert.schema_py_generated"),
    ("convert/export/tflite.py", "ai_edge_litert.schema_py_generated"),
}
NEVER_IN_RUNTIME = ("tensorflow", "keras", "tf2onnx", "onnx", "scipy", "rich", "matplotlib")

STDLIB_ONLY = tuple(
    f"runtime/{name}.py"
    for name in ("strict_json", "steps", "specs", "artifact", "manifest", "errors", "files")
)


def imports(text: str) -> Iterator[str]:
    """Every module that a file imports anywhere, by statement or by ``import_module``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level
            # ``from a import b`` may import the module a.b.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value)


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
        elif top(module) in PACKAGES and top(module) != package:
            allowed = (*ARROWS[package], *HANDS_OVER.get(file, ()))
            if not any(within(module, one) for one in allowed):
                bad.append(f"imports {module}")
        elif package == "runtime" and top(module) in NEVER_IN_RUNTIME:
            bad.append(f"imports {module}")
    return bad


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
    known = {*sys.stdlib_module_names, "runtime"}
    bad = [f"imports {module}" for module in imports(text) if top(module) not in known]
    pure = {Path(name).stem for name in STDLIB_ONLY}
    for module in imports(text):
        parts = module.split(".")
        if parts[0] == "runtime" and (len(parts) < 2 or parts[1] not in pure):
            bad.append(f"imports {module}")
    return bad


def too_long(file: str, text: str) -> list[str]:
    lines = len(text.splitlines())
    return [f"{lines} lines"] if lines >= MAX_LINES else []


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


def bare_asserts(file: str, text: str) -> list[str]:
    return [
        f"assert in line {node.lineno}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Assert)
    ]


RULES = (wrong_arrows, wrong_seams, not_stdlib, too_long, wrong_all, bare_asserts)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("file", FILES)
def test_the_file_keeps_the_rule(file: str, rule: object) -> None:
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    assert rule(file, text) == []


def test_all_three_packages_are_looked_at() -> None:
    assert len(FILES) > 60
    assert {file.partition("/")[0] for file in FILES} == set(PACKAGES)
    assert set(STDLIB_ONLY) <= set(FILES)
    assert {file for files in SEAMS.values() for file in files} <= set(FILES)
    assert {file for file, _ in ALLOWED} <= set(FILES)


TODAY = "runtime/predictor.py"
LONG = "x = 1\n" * MAX_LINES


@pytest.mark.parametrize(
    ("rule", "file", "text"),
    [
        (wrong_arrows, TODAY, "import train"),
        (wrong_arrows, TODAY, "import train.run"),
        (wrong_arrows, TODAY, "from train import run"),
        (wrong_arrows, TODAY, "from convert.report import Report"),
        (wrong_arrows, TODAY, "import tensorflow as tf"),
        (wrong_arrows, TODAY, "def f():\n    import keras.layers"),
        (wrong_arrows, TODAY, "import importlib\nimportlib.import_module('tensorflow')"),
        (wrong_arrows, TODAY, "__import__('convert.cli')"),
        (wrong_arrows, TODAY, "if False:\n    from tensorflow import keras"),
        (wrong_arrows, TODAY, "from . import bundle"),
        (wrong_arrows, TODAY, "from train.cli import main"),
        (wrong_arrows, "train/loop/fit.py", "import convert"),
        (wrong_arrows, "train/loop/fit.py", "from convert import pipeline"),
        (wrong_arrows, "convert/pipeline.py", "import train"),
        (wrong_arrows, "convert/pipeline.py", "from train import recipes"),
        (wrong_arrows, "convert/pipeline.py", "from train import pipeline"),
        (wrong_arrows, "convert/pipeline.py", "import train.runner"),
        (wrong_seams, TODAY, "import onnxruntime"),
        (wrong_seams, TODAY, "from onnxruntime import InferenceSession"),
        (wrong_seams, TODAY, "import ai_edge_litert.interpreter"),
        (wrong_seams, TODAY, "import importlib\nx = importlib.import_module('tflite_runtime')"),
        (wrong_seams, TODAY, "name = 'tflite_runtime.interpreter'"),
        (wrong_seams, "convert/pipeline.py", "import onnxruntime.quantization"),
        (wrong_seams, SCHEMA, "from ai_edge_litert import interpreter"),
        (wrong_seams, "convert/artifact/lint.py", "from ai_edge_litert import schema_py_generated"),
        (not_stdlib, "runtime/manifest.py", "import numpy"),
        (not_stdlib, "runtime/manifest.py", "from numpy import float32"),
        (not_stdlib, "runtime/steps.py", "from runtime.arrays import Array"),
        (not_stdlib, "runtime/steps.py", "import runtime"),
        (not_stdlib, "runtime/files.py", "def f():\n    import yaml"),
        (too_long, TODAY, LONG),
        (wrong_all, TODAY, "def f(): pass"),
        (wrong_all, TODAY, "__all__ = ['g', 'f']\ndef f(): pass\ndef g(): pass"),
        (wrong_all, TODAY, "__all__ = ['f', 'F']\ndef f(): pass\nclass F: pass"),
        (wrong_all, TODAY, "__all__ = ['f', 'f']\ndef f(): pass"),
        (wrong_all, TODAY, "__all__ = ['f', 'g']\ndef f(): pass"),
        (bare_asserts, TODAY, "def f(x):\n    assert x"),
    ],
)
def test_a_file_that_breaks_the_rule_is_reported(rule: object, file: str, text: str) -> None:
    assert rule(file, text) != []


@pytest.mark.parametrize(
    ("rule", "file", "text"),
    [
        (wrong_arrows, TODAY, "import numpy\nfrom runtime.bundle import Bundle"),
        (wrong_arrows, "train/loop/fit.py", "import keras\nfrom runtime.tasks import score"),
        (wrong_arrows, "convert/pipeline.py", "from train.run import Run\nfrom train import run"),
        (wrong_arrows, "convert/pipeline.py", "import runtime\nimport tensorflow"),
        (wrong_seams, "runtime/backends/onnx.py", "import onnxruntime"),
        (
            wrong_seams,
            "convert/artifact/tflite.py",
            "from ai_edge_litert import schema_py_generated",
        ),
        (wrong_seams, TODAY, '"""What ai_edge_litert does."""'),
        (not_stdlib, "runtime/manifest.py", "import json\nfrom runtime.steps import Step"),
        (not_stdlib, TODAY, "import numpy"),
        (too_long, TODAY, LONG[6:]),
        (wrong_all, TODAY, "__all__ = ['F', 'f']\ndef f(): pass\nclass F: pass\ndef _g(): pass"),
        (wrong_all, "runtime/__main__.py", "import sys"),
        (bare_asserts, TODAY, "def f(x):\n    if not x: raise ValueError"),
    ],
)
def test_a_file_that_keeps_the_rule_is_not_reported(rule: object, file: str, text: str) -> None:
    assert rule(file, text) == []
