"""The app's arithmetic gives Python's bytes: preprocessing, quantisation, decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from java_cases import compile_wrong, differing
from support import REPOSITORY, SUBSET

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.preprocessing import preprocess
from edgeward.runtime.quantization import dequantize, quantize
from edgeward.runtime.specs import InputSpec
from edgeward.runtime.steps import Affine, Grayscale, Invert, ResizeBilinear, Step
from edgeward.train.datasets.texts import make_vocabulary
from edgeward.train.recipes.mnist_cnn import RECIPE
from edgeward.train.recipes.text_lstm import text_input
from scripts.android.jvm import Java, array_json, text_json

Case = dict[str, Any]


def use(spec: InputSpec, **vocabularies: bytes) -> Case:
    files = {f"{name}.txt": text_json(data) for name, data in vocabularies.items()}
    return {"op": "use", "input": spec.to_json(), "vocabularies": files}


def cases_of(raws: list[Array]) -> list[Case]:
    return [{"op": "preprocess", "raw": array_json(raw)} for raw in raws]


# ---- images


def digits(count: int) -> Array:
    with np.load(SUBSET, allow_pickle=False) as data:
        return data["x_test"][:count]


def digit_cases(count: int) -> tuple[list[Case], list[Array]]:
    spec = RECIPE.inputs["image"]
    raws = [np.ascontiguousarray(d.reshape(28, 28, 1)) for d in digits(count)]
    return [use(spec), *cases_of(raws)], [preprocess(spec, raw) for raw in raws]


def test_thousand_real_digits_become_the_same_float32_and_int8_bytes(java: Java) -> None:
    cases, wanted = digit_cases(1000)
    quantised = [
        {"op": "quantize", "values": array_json(values), "scale": 1 / 255, "zero_point": -128,
         "dtype": "int8"}
        for values in wanted
    ]  # fmt: skip
    answers = java.answers([*cases, *quantised])
    assert len(wanted) == 1000
    assert differing(answers[1:1001], wanted) == []
    assert differing(answers[1001:], [quantize(v, 1 / 255, -128, "int8") for v in wanted]) == []


def image_cases(count: int) -> tuple[list[Case], list[Array]]:
    rng = np.random.default_rng(7)
    cases: list[Case] = []
    wanted: list[Array] = []
    for i in range(count):
        channels = int(rng.choice([1, 3]))
        shape = [int(side) for side in rng.integers(1, (7, 34, 130)[i % 3], 2)]
        raw = rng.integers(0, 256, (*shape, channels), np.uint8)
        height, width = (int(side) for side in rng.integers(1, (5, 40, 97)[i // 3 % 3], 2))
        gray: tuple[Step, ...] = (Grayscale(),) if i % 2 else ()
        last = 1 if gray else channels
        scale, offset = rng.normal(size=(2, last))
        steps = (
            *gray,
            *((Invert(),) if i % 5 else ()),
            *((ResizeBilinear(height, width),) if i % 7 else ()),
            *((Affine(tuple(scale), tuple(offset)),) if i % 3 else ()),
        )
        spec = InputSpec("image", "uint8", (None, None, channels), steps)
        cases += [use(spec), *cases_of([raw])]
        wanted.append(preprocess(spec, raw))
    return cases, wanted


def test_images_of_any_size_become_the_same_bytes(java: Java) -> None:
    cases, wanted = image_cases(1000)
    assert differing(java.answers(cases)[1::2], wanted) == []


# ---- texts

ODD = [
    b"", b" ", b"\t\n\x0b\x0c\r ", b"...", b"don't", b"A\x00B \x01 \x1f\x7f", b"a\xc2\xa0b",
    "ÄÖÜ straße ΑΒΓ İi Ǆ".encode(), "日本語 テキスト。 \u3000 全角".encode(),
    "🙂 👩‍👩‍👧 \u0301e".encode(),
    "a\u0085b\u2028c\u2029d\x1ce\x1ff".encode(), b"[UNK] [unk] unk", b"x" * 5000, b"w " * 400,
    "\ufeffbom first".encode(), b"\\ ` ~ ^ _ | {curly} <tag/>", "naïve café—dash “quotes”".encode(),
    b"UPPER lower MiXeD", "\U0010ffff \ud7ff \ue000".encode(),
]  # fmt: skip


def sentences(count: int) -> list[bytes]:
    """Sentences of this repository's documents, odd ones, and random text of all of Unicode."""
    rng = np.random.default_rng(3)
    pages = [
        REPOSITORY / "LICENSE",
        *sorted(REPOSITORY.glob("docs/*.md")),
        REPOSITORY / "README.md",
    ]
    lines = [line for page in pages for line in page.read_bytes().splitlines() if line.strip()]
    assert len(lines) >= count // 2
    lines = lines[: count // 2]
    picked: list[bytes] = []
    for length in rng.integers(0, 60, count - len(lines) - len(ODD)):
        high = rng.choice([0x80, 0x250, 0x3000, 0x110000])
        points = rng.integers(0, high, length)
        picked.append("".join(chr(p) for p in points if not 0xD800 <= p < 0xE000).encode())
    return [*ODD, *lines, *picked]


def text_cases(count: int) -> tuple[list[Case], list[Array]]:
    texts = sentences(count)
    vocabulary = make_vocabulary(texts[::2], 2000)
    spec = text_input(200)
    cases = [use(spec, vocabulary=vocabulary)]
    cases += [{"op": "preprocess", "raw": text_json(text)} for text in texts]
    return cases, [preprocess(spec, text, {"vocabulary.txt": vocabulary}) for text in texts]


def test_thousand_sentences_become_the_same_ids(java: Java) -> None:
    cases, wanted = text_cases(1000)
    assert len(wanted) == 1000
    known = np.mean([np.isin(ids, [0, 1]).mean() < 1 for ids in wanted])
    assert known > 0.5  # or all ids were padding and unknown, and equal for no reason
    assert differing(java.answers(cases)[1:], wanted) == []


@pytest.mark.parametrize(
    "raw", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"ok \x80"]
)
def test_bytes_that_are_not_utf8_are_refused_on_both_sides(java: Java, raw: bytes) -> None:
    with pytest.raises(InvalidDataError):
        preprocess(text_input(5), raw, {"vocabulary.txt": b"\n[UNK]\n"})
    spec = use(text_input(5), vocabulary=b"\n[UNK]\n")
    answer = java.answers([spec, {"op": "preprocess", "raw": text_json(raw)}])[1]
    assert answer["error"] == "InvalidDataException"


# ---- numbers


def numbers_of(dtype: str) -> Array:
    rng = np.random.default_rng(5)
    if dtype == "float32":
        bits = rng.integers(0, 2**32, 3000, np.uint32).view(np.float32)
        return np.concatenate([bits[np.isfinite(bits)], np.float32([0, -0.0, 1e-45, 3.4e38])])
    limits = np.iinfo(dtype)
    edge = [
        limits.min,
        limits.max,
        0,
        1,
        *(2**k + 1 for k in (24, 25, 53, 60) if 2**k < limits.max),
    ]
    return np.array([*edge, *rng.integers(limits.min, limits.max, 500, dtype)], dtype)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8", "int8"])
def test_affine_rounds_twice_as_python_does(java: Java, dtype: str) -> None:
    values = numbers_of(dtype)
    cases, wanted = [], []
    for scale, offset in ((1 / 255, 0.0), (0.1, -0.3), (3.0, 1e-7), (1e-38, 1.0), (1e38, 0.5)):
        spec = InputSpec("tensor", dtype, (None,), (Affine(scale, offset),))
        cases += [use(spec), *cases_of([values])]
        wanted.append(preprocess(spec, values))
    assert differing(java.answers(cases)[1::2], wanted) == []


def quantise_cases() -> tuple[list[Case], list[Array]]:
    steps = np.arange(-70000, 70000, 37, np.float32)
    ties = np.concatenate([steps + 0.5, np.arange(-300, 300, 0.25, np.float32)])
    extreme = np.float32([np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -0.0, 2.0**31, -(2.0**63)])
    cases, wanted = [], []
    for dtype, zero_points in (
        ("int8", (-128, 0, 3, 127)), ("uint8", (0, 128, 255)), ("int16", (-32768, 0, 32767)),
    ):  # fmt: skip
        for zero_point in zero_points:
            for scale in (1.0, 0.5, 1 / 255, 0.1, 2.0**-126, 3.4e38):
                with np.errstate(over="ignore", under="ignore"):
                    values = np.concatenate([ties * np.float32(scale), extreme])
                values = values[~np.isnan(values)]
                cases.append(
                    {"op": "quantize", "values": array_json(values), "scale": scale,
                     "zero_point": zero_point, "dtype": dtype}
                )  # fmt: skip
                wanted.append(quantize(values, scale, zero_point, dtype))
    return cases, wanted


def test_quantising_rounds_half_to_even_and_clips_as_python_does(java: Java) -> None:
    cases, wanted = quantise_cases()
    assert differing(java.answers(cases), wanted) == []


def test_a_nan_is_refused_on_both_sides(java: Java) -> None:
    values = np.float32([0.0, np.nan])
    with pytest.raises(InvalidDataError):
        quantize(values, 0.5, 0, "int8")
    case = {"op": "quantize", "values": array_json(values), "scale": 0.5, "zero_point": 0}
    assert java.answers([{**case, "dtype": "int8"}])[0]["error"] == "InvalidDataException"


def test_dequantising_every_integer_gives_the_same_float32(java: Java) -> None:
    cases, wanted = [], []
    for dtype in ("int8", "uint8", "int16"):
        limits = np.iinfo(dtype)
        values = np.arange(limits.min, limits.max + 1, dtype=dtype)
        for scale, zero_point in ((1 / 256, limits.min), (0.1, limits.max), (3.0517578e-05, 0)):
            cases.append(
                {"op": "dequantize", "values": array_json(values), "scale": scale,
                 "zero_point": int(zero_point)}
            )  # fmt: skip
            wanted.append(dequantize(values, scale, int(zero_point)))
    assert differing(java.answers(cases), wanted) == []


# ---- the twins: each of these mistakes is seen by the comparison


@pytest.mark.parametrize(
    ("mutation", "make"),
    [
        (("Quantization", "Math.rint(values.real(i) / scale)",
          "Math.floor(values.real(i) / scale + 0.5)"), quantise_cases),
        (("Quantization", "Math.min(Math.max(steps, dtype.min - zeroPoint), dtype.max - zeroPoint)",
          "steps"), quantise_cases),
        (("Images", "+ 32768", ""), lambda: image_cases(200)),
        (("Images", "(2 * sum + total)", "(2 * sum)"), lambda: image_cases(200)),
        (("Images", "2 * Math.max(n, m)", "3 * Math.max(n, m)"), lambda: image_cases(200)),
        (("Preprocessing", "product + step.offset.of(i % channels)",
          "(float) ((double) values.real(i) * step.scale.of(i % channels)"
          " + step.offset.of(i % channels))"),
         lambda: image_cases(200)),
        (("Tokens", "unit >= 'A' && unit <= 'Z' ? (char) (unit + 32) : unit",
          "Character.toLowerCase(unit)"), lambda: text_cases(300)),
        (("Tokens", "SPACE.indexOf(unit) >= 0", "Character.isWhitespace(unit)"),
         lambda: text_cases(300)),
        (("Tokens", "step.left ? step.length - kept : 0", "0"), lambda: text_cases(50)),
        (("Tokens", "line >= RESERVED", "line >= 0"), lambda: reserved_cases()),
    ],
    ids=["half up", "no clip", "luma cut", "resize cut", "wider filter", "one rounding",
         "Unicode lower case", "Unicode space", "padding right", "reserved ids match"],
)  # fmt: skip
def test_a_wrong_app_does_not_give_pythons_bytes(
    java: Java, tmp_path: Path, mutation: tuple[str, str, str], make: Any
) -> None:
    cases, wanted = make()
    answers = compile_wrong(java, tmp_path, *mutation).answers(cases)
    found = [answer for answer in answers if answer]
    assert any("error" in answer for answer in found) or differing(found, wanted) != []


def reserved_cases() -> tuple[list[Case], list[Array]]:
    # A vocabulary whose reserved line 1 is a word: it must not match.
    files = {"vocabulary.txt": b"pad\nword\nother\n"}
    cases = [use(text_input(4), vocabulary=files["vocabulary.txt"])]
    cases.append({"op": "preprocess", "raw": text_json(b"pad word other")})
    return cases, [preprocess(text_input(4), b"pad word other", files)]
