"""What a format says of itself is there, and its files are told from those of the others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from edgeward.convert.formats import FORMATS, Format, _find, format_of
from edgeward.convert.targets.target import default_target
from edgeward.convert.variants import FLOAT32, INT8_MIXED, VARIANTS
from edgeward.runtime.backends import available_backends


def wrong(format_: Format) -> list[str]:
    """What a format names that is not there."""
    places = (format_.makers, format_.linters, format_.locators, format_.probes, format_.islands)
    bad = []
    for place in filter(None, places):
        try:
            bad += [] if callable(_find(place)) else [place]
        except (AttributeError, ImportError):
            bad.append(place)
    known = {*VARIANTS, INT8_MIXED.id}
    bad += [variant for variant in format_.variants or () if variant not in known]
    # Every artifact has a float twin, and the mixed one needs to know what stays in float.
    bad += [] if format_.has(FLOAT32.id) else ["no float32"]
    bad += ["islands"] if format_.has(INT8_MIXED.id) != bool(format_.islands) else []
    return bad


@pytest.mark.parametrize("name", FORMATS)
def test_everything_that_a_format_names_is_there(name: str) -> None:
    format_ = FORMATS[name]
    assert format_.name == name
    assert wrong(format_) == []
    assert default_target(name).format == name
    assert available_backends(name)
    assert "default" in format_.kernels


@pytest.mark.parametrize(
    "damage",
    [
        {"makers": "edgeward.convert.export.tflite:NoMaker"},
        {"linters": "edgeward.convert.artifact.no_lint:lint"},
        {"probes": "edgeward.convert.layers.probe:__all__"},
        {"variants": ("fp32", "int4")},
        {"variants": ("fp16",)},
        {"islands": ""},
    ],
)
def test_what_is_not_there_is_found(damage: dict[str, object]) -> None:
    assert wrong(replace(FORMATS["tflite"], **damage)) != []


def test_files_are_told_apart_by_how_they_begin(every_variant: dict[str, bytes]) -> None:
    for artifact_id, data in every_variant.items():
        assert artifact_id.startswith(format_of(data).name)
    assert [name for name, format_ in FORMATS.items() if format_.begins is None] == ["onnx"]
    # The twin: the same file with another beginning is no TFLite file.
    data = every_variant["tflite-int8"]
    assert format_of(data[:4] + b"XXXX" + data[8:]).name == "onnx"


def test_formats_are_known_without_what_makes_reads_or_runs_them() -> None:
    heavy = ("tensorflow", "keras", "onnx", "onnxruntime", "ai_edge_litert", "flatbuffers")
    program = (
        "import sys, edgeward.convert.variants, edgeward.convert.export.models\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
