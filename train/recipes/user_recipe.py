"""A recipe from a file of the user's own: ``python -m train my_recipe.py``.

The file is Python that people run on their own machine, like any script; nothing is confined.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from edgeward.runtime.errors import UsageError
from edgeward.runtime.files import is_plain_name
from edgeward.train.framework import prepare_framework
from edgeward.train.recipe import Recipe

__all__ = ["load_user_recipe"]


def load_user_recipe(path: Path) -> Recipe:
    """Return the ``RECIPE`` that a Python file defines.

    Modules beside the file can be imported while it loads, so at its top; what it prints goes to
    standard error.

    Args:
        path: The file.

    Raises:
        UsageError: There is no such file, it does not run (names the line), or it defines no
            recipe.
        MissingExtraError: TensorFlow is not installed.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "The recipe's file cannot be read.",
            received=f"{path}: {error.strerror}",
            expected="a Python file that defines RECIPE = Recipe(...)",
        ) from None
    try:
        compile(source, path, "exec")
    except (SyntaxError, ValueError) as error:
        raise _failure(path, error) from None
    # Before the file is run: it may import keras at its top, and that must be the right backend.
    prepare_framework()
    recipe = getattr(_execute(path), "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise UsageError(
            f"{path.name} defines no recipe.",
            received="no RECIPE" if recipe is None else f"RECIPE is a {type(recipe).__name__}",
            expected="RECIPE = Recipe(...), of train.recipe.Recipe",
        )
    if not is_plain_name(recipe.name) or recipe.name.endswith(".refused"):
        raise UsageError(
            f"{path.name}: the recipe's name names the folder of its runs.",
            received=repr(recipe.name),
            expected="letters, digits, _ and -, such as 'my_recipe'",
        )
    return recipe


def _execute(path: Path) -> ModuleType:
    # Not the file's own name: a my_recipe.py called numpy.py must not become numpy.
    name = f"_edgeward_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError("This is no Python file.", received=path, expected="a name with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up here
    try:
        with _importable(path.resolve().parent), contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file can raise
        del sys.modules[name]
        raise _failure(path, error) from error
    return module


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)


def _failure(path: Path, error: BaseException) -> UsageError:
    """Return the error for people: which line of which file, and what is wrong there."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        name, text, said = error.filename or str(path), error.text, error.msg
        line: int | None = error.lineno
    else:
        # The innermost line that is the user's: of the file, or of a module beside it.
        folder = path.resolve().parent
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).resolve().parent == folder]
        last = own[-1] if own else None
        name, line = (last.filename, last.lineno) if last else (str(path), None)
        text = last.line if last else None
        said = (str(error).strip().splitlines() or [""])[0]
    place = Path(name).name + (f", line {line}" if line else "")
    return UsageError(
        f"The recipe's file does not run: {place}.",
        received=f"{type(error).__name__}: {said}",
        fix=f"correct this line: {text.strip()}" if text else None,
    )
