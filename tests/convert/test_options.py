"""One record says what is asked for: to Python, to the command line and in the docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from edgeward.convert import convert
from edgeward.convert.arguments import make_parser, to_options
from edgeward.convert.options import Options
from edgeward.runtime.errors import UsageError


def parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Any, Any]]:
    return {
        name: (one.kind, one.default, one.annotation)
        for name, one in inspect.signature(function).parameters.items()
    }


def undocumented(text: str) -> set[str]:
    told = set(re.findall(r"^ {4}(\w+): \S", inspect.cleandoc(text), re.MULTILINE))
    return {field.name for field in fields(Options)} - told


def test_convert_takes_what_options_has() -> None:
    assert parameters(convert) == parameters(Options)

    def forgets(source: Path | str | None = None, *, variants: Any = ()) -> None: ...

    # The twin: a parameter that is missing or has another default is seen.
    assert parameters(forgets) != parameters(Options)


def test_every_option_is_explained_where_it_is_looked_for() -> None:
    for text in (Options.__doc__, convert.__doc__):
        assert text is not None
        assert undocumented(text) == set()
        assert undocumented(text.replace("keep_passing:", "")) == {"keep_passing"}
    assert "{options}" not in str(convert.__doc__)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_drop": 0.0}, "budget makes no sense"),
        ({"max_drop": 100.0}, "budget makes no sense"),
        ({"max_drop": float("nan")}, "budget makes no sense"),
        ({"calibration_samples": 0}, "No calibration samples"),
        ({"distil": Path("d.npz")}, "no fine-tuning"),
        ({"timeout": 0.0}, "No time to convert in"),
        ({"timeout": float("inf")}, "No time to convert in"),
    ],
)
def test_options_that_make_no_sense_cannot_exist(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Options(**given)
    with pytest.raises(UsageError, match=words):
        convert("runs/none", **given)
    Options(max_drop=0.5, calibration_samples=1, distil=Path("d.npz"), qat=True, timeout=1.0)


def test_every_option_of_the_command_line_arrives() -> None:
    told: list[str] = []
    line = (
        "model.keras --int8 --fp16 --all --format tflite --out b --max-drop 0.1 --target t==1 "
        "--calibration c --test t --validation v --labels l --preprocessing p --shape x=2x3 "
        "--expect accuracy=0.5 --allow-inconclusive --keep-passing --no-reuse --no-repair --qat "
        "--distil d --fallback --timeout 7 --memory 0.5 --parity"
    )
    options = to_options(make_parser().parse_args(line.split()), told.append)
    assert options == Options(
        "model.keras",
        variants=["fp16", "int8"],
        formats=["tflite"],
        out="b",
        everything=True,
        max_drop=0.1,
        target=["t==1"],
        calibration=Path("c"),
        test=Path("t"),
        validation=Path("v"),
        labels=Path("l"),
        preprocessing=Path("p"),
        shapes={"x": (2, 3)},
        expect={"accuracy": 0.5},
        allow_inconclusive=True,
        keep_passing=True,
        repair=False,
        qat=True,
        fallback=True,
        distil=Path("d"),
        with_parity=True,
        reuse=False,
        timeout=7.0,
        memory=2**29,
        progress=told.append,
    )
    # What was not said is as in Python: the same request.
    plain = to_options(make_parser().parse_args(["--int8"]), told.append)
    differing = {
        field.name
        for field in fields(Options)
        if getattr(plain, field.name) != getattr(Options(), field.name)
    }
    assert differing == {"variants", "formats", "shapes", "expect", "progress"}
    # A list for a tuple, and nothing given as an empty mapping.
    assert (list(plain.variants), list(plain.formats)) == (["int8"], ["tflite", "onnx"])
    assert (plain.shapes, plain.expect) == ({}, {})
