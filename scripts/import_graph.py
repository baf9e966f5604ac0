"""Print which room imports which, and every circle of imports.

    python scripts/import_graph.py [--files]

A room is a folder of ``train/`` or ``convert/``, and ``runtime/`` as a whole; the files at the top
of ``train/`` and ``convert/`` stand for themselves. Imports inside functions count, those for type
checkers alone do not. ``tests/test_architecture.py`` lists the arrows that are allowed.

What ``convert/formats.py`` names as ``MODULE:NAME`` is imported when a format is first used. These
are no arrows here, since every room may import that file: they are printed on a line of their own.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

__all__ = [
    "FORMATS",
    "NAME",
    "PACKAGES",
    "circle",
    "edges",
    "imports",
    "named",
    "room_arrows",
    "room_of",
    "sources",
]

ROOT = Path(__file__).resolve().parents[1]
NAME = "edgeward"
PACKAGES = ("runtime", "train", "convert")
# The file that names what each room does for a format.
FORMATS = "convert/formats.py"


def sources() -> dict[str, str]:
    """Return file below the repository -> its text, for every Python file of the packages."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _for_type_checkers(node):
            for other in node.orelse:
                yield other
                yield from _nodes(other)
            continue
        yield node
        yield from _nodes(node)


def imports(text: str) -> Iterator[str]:
    """Yield every module that a file imports anywhere, by statement or by ``import_module``.

    ``from a import b`` may import the module ``a.b``, so that is what it yields. What is imported
    by a name in a variable is not seen; ``named`` finds it where it is written as MODULE:NAME.
    """
    for node in _nodes(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            if isinstance(first, ast.JoinedStr):  # what is known of f"package.{name}"
                first = first.values[0]
            if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value).removesuffix(".")


def named(text: str) -> list[str]:
    """Return the modules that a file names in strings of the form ``MODULE:NAME``, sorted.

    >>> named('place = "edgeward.convert.drift.gate:decide"')
    ['edgeward.convert.drift.gate']
    """
    place = re.compile(rf"({NAME}(?:\.\w+)+):\w+")
    strings = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    matches = (place.fullmatch(value) for value in strings if isinstance(value, str))
    return sorted({match[1] for match in matches if match})


def room_of(file: str) -> str:
    """Return the room of a file: its folder, or itself at the top of a package.

    >>> room_of("convert/drift/gate.py"), room_of("convert/pipeline.py")
    ('convert/drift', 'convert/pipeline.py')
    >>> room_of("runtime/backends/onnx.py")
    'runtime'
    """
    package, _, rest = file.partition("/")
    if package == "runtime":
        return package
    return f"{package}/{rest.partition('/')[0]}"


def _file_of(module: str, files: Mapping[str, str]) -> str | None:
    parts = module.split(".")
    if parts[0] != NAME:
        return None
    for end in (len(parts), len(parts) - 1):
        path = "/".join(parts[1:end])
        for file in (f"{path}.py", f"{path}/__init__.py"):
            if file in files:
                return file
    return None


def edges(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Return file -> the files of the packages that it imports.

    Args:
        files: File -> text.
    """
    return {
        file: {
            other
            for module in imports(text)
            if (other := _file_of(module, files)) is not None and other != file
        }
        for file, text in files.items()
    }


def room_arrows(files: Mapping[str, str]) -> Counter[tuple[str, str]]:
    """Return (room, room that it imports) -> number of arrows between their files."""
    return Counter(
        (room_of(file), room_of(other))
        for file, others in edges(files).items()
        for other in others
        if room_of(file) != room_of(other)
    )


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return a circle of a graph, its first member again at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def main() -> None:
    """Print the graph."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--files", action="store_true", help="print arrows between files too")
    options = parser.parse_args()
    files = sources()
    arrows = room_arrows(files)
    for room in sorted({room_of(file) for file in files}):
        count = sum(room_of(file) == room and not file.endswith("/__init__.py") for file in files)
        others = [f"{b} {n}" for (a, b), n in sorted(arrows.items()) if a == room]
        print(f"{room} ({count} files) -> {', '.join(others) or '-'}")
    if options.files:
        for file, found in edges(files).items():
            print(f"{file} -> {', '.join(sorted(found)) or '-'}")
    rooms: dict[str, set[str]] = {}
    for a, b in arrows:
        rooms.setdefault(a, set()).add(b)
    print("named by formats.py:", ", ".join(named(files[FORMATS])))
    print(f"{len(arrows)} pairs of rooms, {sum(arrows.values())} arrows between files of two rooms")
    print("circle of files:", " -> ".join(circle(edges(files))) or "none")
    print("circle of rooms:", " -> ".join(circle(rooms)) or "none")


if __name__ == "__main__":
    main()
