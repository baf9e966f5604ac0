"""Preprocessing against a second implementation, written from FORMAT.md alone in slow loops."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.runtime.errors import InvalidBundleError, InvalidDataError
from edgeward.runtime.manifest import (
    Affine,
    Grayscale,
    InputSpec,
    Invert,
    Lookup,
    Pad,
    ResizeBilinear,
    Sigmoid,
    Softmax,
    Tokenize,
)
from edgeward.runtime.preprocessing import (
    check_raw,
    check_raw_column,
    postprocess,
    preprocess,
    preprocess_batch,
)
from edgeward.runtime.samples import load_samples

quick = settings(max_examples=60, deadline=None, database=None, derandomize=True)

Image = list[list[list[int]]]

VOCABULARY = {"vocabulary.txt": "\n[UNK]\nthe\nfilm\nwasn't\nwasnt\nÉtÉ\nété\n7\n".encode()}


# ---- the second implementation


def slow_grayscale(image: Image) -> Image:
    return [
        [
            [(19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 32768) // 65536] if len(p) == 3 else p
            for p in row
        ]
        for row in image
    ]


def slow_invert(image: Image) -> Image:
    return [[[255 - v for v in p] for p in row] for row in image]


def slow_resize_line(line: list[int], m: int) -> list[int]:
    n = len(line)
    result = []
    for i in range(m):
        total = weighted = 0
        for j in range(n):
            w = max(0, 2 * max(n, m) - abs((2 * i + 1) * n - (2 * j + 1) * m))
            total += w
            weighted += w * line[j]
        result.append((2 * weighted + total) // (2 * total))
    return result


def slow_resize(image: Image, height: int, width: int) -> Image:
    channels = range(len(image[0][0]))
    wide = []
    for row in image:
        lines = [slow_resize_line([p[c] for p in row], width) for c in channels]
        wide.append([[lines[c][x] for c in channels] for x in range(width)])
    result: Image = [[[0 for _ in channels] for _ in range(width)] for _ in range(height)]
    for x in range(width):
        for c in channels:
            for y, value in enumerate(slow_resize_line([row[x][c] for row in wide], height)):
                result[y][x][c] = value
    return result


def slow_affine(value: float, scale: float, offset: float) -> np.float32:
    return np.float32(np.float32(np.float32(value) * np.float32(scale)) + np.float32(offset))


def slow_tokenize(text: bytes) -> list[bytes]:
    tokens: list[bytes] = []
    token = b""
    for byte in text:
        if byte in (9, 10, 11, 12, 13, 32):
            tokens.append(token)
            token = b""
        elif byte in string.punctuation.encode():
            continue
        else:
            token += bytes([byte + 32 if 65 <= byte <= 90 else byte])
    return [t for t in [*tokens, token] if t]


def image_spec(*steps: Any, channels: int | None = None) -> InputSpec:
    return InputSpec("image", "uint8", (None, None, channels), steps)


def tensor_spec(dtype: str, shape: tuple[int | None, ...], *steps: Any) -> InputSpec:
    return InputSpec("tensor", dtype, shape, steps)


TEXT = InputSpec("text", "uint8", (None,), (Tokenize(), Lookup(), Pad(6)))


def noise(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# ---- images


@pytest.mark.parametrize("seed", range(5))
def test_grayscale_is_the_formula_of_the_format(seed: int) -> None:
    image = noise(seed, 100, 90, 3)  # enough colours to notice a factor that is off by one
    found = preprocess(image_spec(Grayscale()), image)
    assert found.dtype == np.uint8
    assert found.tolist() == slow_grayscale(image.tolist())


def test_grayscale_of_every_gray_is_that_gray_and_one_channel_stays() -> None:
    grays = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    spec = image_spec(Grayscale())
    assert np.array_equal(preprocess(spec, np.repeat(grays, 3, axis=2)), grays)
    assert np.array_equal(preprocess(spec, grays), grays)


def test_grayscale_knows_red_from_blue() -> None:
    red, blue = np.uint8([[[255, 0, 0]]]), np.uint8([[[0, 0, 255]]])
    spec = image_spec(Grayscale())
    assert preprocess(spec, red).item() == 76
    assert preprocess(spec, blue).item() == 29


@pytest.mark.parametrize("channels", [2, 4])
def test_grayscale_refuses_another_number_of_channels(channels: int) -> None:
    with pytest.raises(InvalidDataError, match="channels"):
        preprocess(image_spec(Grayscale()), noise(0, 4, 4, channels))


def test_invert_is_255_minus_p() -> None:
    image = noise(1, 4, 3, 3)
    assert preprocess(image_spec(Invert()), image).tolist() == slow_invert(image.tolist())
    assert np.array_equal(preprocess(image_spec(Invert(), Invert()), image), image)


SIZES = [
    *((1, 1, 1, 1), (1, 1, 5, 7), (9, 8, 1, 1), (5, 7, 7, 5), (28, 28, 14, 14), (14, 14, 28, 28)),
    *((40, 31, 28, 28), (3, 50, 28, 28), (17, 2, 3, 40), (28, 28, 28, 9), (2, 3, 3, 2)),
]


@pytest.mark.parametrize(("h", "w", "height", "width"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_the_formula_of_the_format(
    h: int, w: int, height: int, width: int, channels: int
) -> None:
    image = noise(h * 100 + w, h, w, channels)
    found = preprocess(image_spec(ResizeBilinear(height, width)), image)
    assert found.shape == (height, width, channels)
    assert found.tolist() == slow_resize(image.tolist(), height, width)


@pytest.mark.parametrize(("h", "w", "height", "width"), [*SIZES, (600, 450, 28, 28)])
def test_resize_is_within_one_of_pillow(h: int, w: int, height: int, width: int) -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = noise(h + w, h, w, 1)
    theirs = np.asarray(
        pillow.fromarray(image[..., 0]).resize((width, height), pillow.Resampling.BILINEAR)
    ).astype(int)
    ours = preprocess(image_spec(ResizeBilinear(height, width)), image)[..., 0].astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_resize_by_picking_the_nearest_pixel_would_not_be_within_one_of_pillow() -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = pillow.fromarray(noise(3, 40, 31))
    smooth = np.asarray(image.resize((28, 28), pillow.Resampling.BILINEAR)).astype(int)
    picked = np.asarray(image.resize((28, 28), pillow.Resampling.NEAREST)).astype(int)
    assert np.abs(picked - smooth).max() > 1


@pytest.mark.parametrize(("height", "width"), [(28, 28), (5, 9)])
def test_resize_to_the_same_size_changes_nothing(height: int, width: int) -> None:
    image = noise(4, height, width, 3)
    assert np.array_equal(preprocess(image_spec(ResizeBilinear(height, width)), image), image)


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_resize_keeps_a_flat_image_flat(value: int) -> None:
    image = np.full((37, 11, 1), value, np.uint8)
    assert set(preprocess(image_spec(ResizeBilinear(28, 28)), image).ravel().tolist()) == {value}


def test_resize_keeps_a_thin_stroke_of_a_large_photo() -> None:
    image = np.zeros((1000, 1000, 1), np.uint8)
    image[:, 500] = 255
    found = preprocess(image_spec(ResizeBilinear(28, 28)), image)
    assert found.max() >= 3  # a filter of two pixels would lose it altogether
    assert found[..., 0].argmax(axis=1).tolist() == [14] * 28


def test_resize_of_a_transposed_image_is_the_transposed_result_within_rounding() -> None:
    image = noise(5, 30, 20, 1)
    one = preprocess(image_spec(ResizeBilinear(9, 13)), image)[..., 0].astype(int)
    other = preprocess(image_spec(ResizeBilinear(13, 9)), image.swapaxes(0, 1))[..., 0].astype(int)
    assert np.abs(one - other.T).max() <= 1
    assert np.abs(one - other.T[::-1]).max() > 1


# ---- affine


@quick
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9),
    st.floats(-3e38, 3e38),
    st.floats(-3e38, 3e38),
)
def test_affine_rounds_twice_to_float32(values: list[float], scale: float, offset: float) -> None:
    found = preprocess(
        tensor_spec("float32", (None,), Affine(scale, offset)), np.array(values, np.float32)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.array([slow_affine(v, scale, offset) for v in values], np.float32)
    assert found.dtype == np.float32
    assert found.tobytes() == expected.tobytes() or np.isnan(expected).any()


def test_affine_with_a_fused_multiply_add_would_give_other_bits() -> None:
    x, scale, offset = np.float32(1 + 2**-12), np.float32(1 + 2**-12), np.float32(-1)
    fused = np.float32(float(x) * float(scale) + float(offset))
    found = preprocess(tensor_spec("float32", (1,), Affine(float(scale), float(offset))), x[None])
    assert found[0] == slow_affine(float(x), float(scale), float(offset)) != fused


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "int8", "int64"])
def test_affine_takes_every_raw_dtype(dtype: str) -> None:
    raw = np.array([[0, 1, 100], [7, 50, 127]], dtype)
    step = Affine((0.1, 0.25, -3.0), (1.0, 0.0, 0.7))
    found = preprocess(tensor_spec(dtype, (2, 3), step), raw)
    for y in range(2):
        for x in range(3):
            want = slow_affine(float(raw[y, x]), step.scale[x], step.offset[x])
            assert found[y, x] == want


def test_affine_per_channel_refuses_another_number_of_channels() -> None:
    spec = image_spec(Affine((1.0, 2.0, 3.0)))
    assert preprocess(spec, noise(0, 2, 2, 3)).shape == (2, 2, 3)
    with pytest.raises(InvalidDataError, match="last dimension"):
        preprocess(spec, noise(0, 2, 2, 1))
    with pytest.raises(InvalidDataError, match="offset"):
        preprocess(image_spec(Affine(1.0, (1.0, 2.0))), noise(0, 2, 2, 3))


def test_the_scale_is_rounded_to_float32_before_it_is_used() -> None:
    scale, x = 1 / 255, 253
    found = preprocess(image_spec(Affine(scale)), np.uint8([[[x]]])).item()
    assert found == np.float32(x) * np.float32(scale)
    different = [
        v for v in range(256) if np.float32(v * scale) != np.float32(v) * np.float32(scale)
    ]
    assert different  # rounding the scale later would change these pixels


# ---- one by one and in a batch


STEPS = (Grayscale(), Invert(), ResizeBilinear(28, 28), Affine(1 / 255, -0.5))


@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28, 3), (33, 20, 3), (9, 64, 1)])
def test_a_batch_gives_bit_for_bit_what_single_samples_give(shape: tuple[int, ...]) -> None:
    batch = noise(6, 11, *shape)
    spec = image_spec(*STEPS)
    together = preprocess_batch(spec, batch)
    assert together.dtype == np.float32
    for i, image in enumerate(batch):
        assert preprocess(spec, image).tobytes() == together[i].tobytes()
    assert preprocess(spec, batch[0]).tobytes() != together[1].tobytes()


def test_real_digits_give_bit_for_bit_what_the_slow_loops_give(run: Path) -> None:
    digits = load_samples(run / "test.npz").inputs["image"][:3]
    found = preprocess_batch(image_spec(*STEPS), digits)
    for image, one in zip(digits, found, strict=True):
        pixels = slow_resize(slow_invert(slow_grayscale(image.tolist())), 28, 28)
        slow = [[[slow_affine(v, 1 / 255, -0.5) for v in p] for p in row] for row in pixels]
        assert np.array(slow, np.float32).tobytes() == one.tobytes()


def test_preprocessing_does_not_change_the_raw_sample() -> None:
    image = noise(7, 28, 28, 1)
    before = image.copy()
    preprocess(image_spec(*STEPS), image)
    preprocess(image_spec(), image)
    image.setflags(write=False)
    preprocess(image_spec(*STEPS), image)
    assert np.array_equal(image, before)


def test_texts_in_a_batch_give_what_single_texts_give() -> None:
    texts = [b"", b"the film", "Été 7 the THE film film film".encode(), b"..."]
    together = preprocess_batch(TEXT, texts, VOCABULARY)
    for text, one in zip(texts, together, strict=True):
        assert preprocess(TEXT, text, VOCABULARY).tolist() == one.tolist()
    assert together.dtype == np.int32


# ---- text

TEXTS = [
    b"",
    b" \t\n\x0b\x0c\r ",
    b"The FILM wasn't  good.\nReally!",
    string.punctuation.encode(),
    b"a" + string.punctuation.encode() + b"b",
    "ÉTÉ naïve Straße İstanbul ΣΑΣ 映画 🎬!".encode(),
    "no\u00a0break\u2003space\u0085next\u2028line\x1cfs\x1funit".encode(),
    b"\x00 null\x00byte",
    bytes(range(128)),
]


def tokens(text: bytes) -> list[bytes]:
    """The tokens as the package sees them, through a vocabulary of exactly the slow ones."""
    words = sorted(set(slow_tokenize(text)))
    spec = InputSpec(
        "text", "uint8", (None,), (Tokenize(), Lookup("v.txt", unknown=0), Pad(512, -1))
    )
    ids = preprocess(spec, text, {"v.txt": b"".join(w + b"\n" for w in [b"", b"?", *words])})
    return [words[i - 2] if i >= 2 else b"UNKNOWN" for i in ids.tolist() if i != -1]


@pytest.mark.parametrize("text", TEXTS, ids=lambda t: repr(t)[:30])
def test_tokens_are_those_of_the_format(text: bytes) -> None:
    assert tokens(text) == slow_tokenize(text)


@quick
@given(st.text(max_size=60))
def test_tokens_of_any_text_are_those_of_the_format(text: str) -> None:
    assert tokens(text.encode()) == slow_tokenize(text.encode())


def test_python_s_own_lower_and_split_would_give_other_tokens() -> None:
    text = "ÉTÉ no\u00a0break"
    assert slow_tokenize(text.encode()) == ["ÉtÉ".encode(), "no\u00a0break".encode()]
    assert [t.encode() for t in text.lower().split()] != slow_tokenize(text.encode())


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("the film", [2, 3, 0, 0, 0, 0]),
        ("The FILM!", [2, 3, 0, 0, 0, 0]),
        ("wasn't wasnt", [5, 5, 0, 0, 0, 0]),  # the apostrophe is gone before the lookup
        ("ÉTÉ été ÉtÉ", [6, 7, 6, 0, 0, 0]),
        ("[UNK] unk", [1, 1, 0, 0, 0, 0]),
        ("the the the the the the film", [2] * 6),
        ("the film the film the 7 film", [2, 3, 2, 3, 2, 8]),
        ("", [0] * 6),
    ],
)
def test_texts_become_the_line_numbers_of_the_vocabulary(text: str, ids: list[int]) -> None:
    found = preprocess(TEXT, text, VOCABULARY)
    assert found.dtype == np.int32
    assert found.tolist() == ids
    assert preprocess(TEXT, text.encode(), VOCABULARY).tolist() == ids


def test_the_reserved_lines_never_match() -> None:
    vocabulary = {"vocabulary.txt": b"pad\nunk\nword\n"}
    spec = InputSpec("text", "uint8", (None,), (Tokenize(), Lookup(unknown=7), Pad(4, -1)))
    assert preprocess(spec, "pad unk word", vocabulary).tolist() == [7, 7, 2, -1]


@pytest.mark.parametrize(
    ("side", "ids", "expected"),
    [
        ("left", "the film", [9, 9, 2, 3]),
        ("right", "the film", [2, 3, 9, 9]),
        ("left", "the film the 7 7", [2, 3, 2, 8]),
        ("right", "the film the 7 7", [2, 3, 2, 8]),
        ("left", "", [9] * 4),
        ("left", "the the the the", [2] * 4),
    ],
)
def test_padding_fills_one_side_and_cuts_the_end(side: str, ids: str, expected: list[int]) -> None:
    spec = InputSpec("text", "uint8", (None,), (Tokenize(), Lookup(), Pad(4, 9, side)))
    assert preprocess(spec, ids, VOCABULARY).tolist() == expected


def test_a_damaged_or_missing_vocabulary_is_an_error() -> None:
    with pytest.raises(InvalidBundleError, match="line feed"):
        preprocess(TEXT, "the", {"vocabulary.txt": b"\n\nthe"})
    with pytest.raises(InvalidBundleError, match="missing"):
        preprocess(TEXT, "the", {})


def test_a_windows_vocabulary_does_not_match_by_accident() -> None:
    assert preprocess(TEXT, "the", {"vocabulary.txt": b"\r\n\r\nthe\r\n"}).tolist()[0] == 1


# ---- raw samples that do not fit


IMAGE = InputSpec("image", "uint8", (28, None, 3), (Grayscale(),))
VECTOR = tensor_spec("float32", (4,))


@pytest.mark.parametrize(
    ("spec", "raw", "word"),
    [
        (IMAGE, noise(0, 28, 28), "shape"),
        (IMAGE, noise(0, 28, 28, 1), "shape"),
        (IMAGE, noise(0, 28, 28, 4), "shape"),
        (IMAGE, noise(0, 27, 28, 3), "shape"),
        (IMAGE, noise(0, 28, 0, 3), "shape"),
        (IMAGE, noise(0, 1, 28, 28, 3), "shape"),
        (IMAGE, noise(0, 28, 28, 3).astype(np.float32), "dtype"),
        (IMAGE, noise(0, 28, 28, 3).astype(np.int8), "dtype"),
        (IMAGE, noise(0, 28, 28, 3).astype(np.int64).tolist(), "dtype"),
        (IMAGE, noise(0, 28, 28, 3).astype(bool), "dtype"),
        (IMAGE, b"bytes", "dtype"),
        (IMAGE, "text", "dtype"),
        (IMAGE, None, "dtype"),
        (IMAGE, [[1], [1, 2]], "array"),
        (VECTOR, np.float32([1, 2, np.nan, 4]), "finite"),
        (VECTOR, np.float32([1, 2, np.inf, 4]), "finite"),
        (VECTOR, np.float64([1, 2, 3, 4]), "dtype"),
        (VECTOR, np.array([1, 2, 3, 4], ">f4"), "dtype"),
        (VECTOR, np.float32([1, 2, 3]), "shape"),
        (VECTOR, np.float32(1), "shape"),
        (TEXT, np.uint8([65, 66]), "text"),
        (TEXT, 5, "text"),
        (TEXT, b"\xff\xfe", "UTF-8"),
        (TEXT, "half \ud800", "UTF-8"),
    ],
)
def test_a_raw_sample_that_does_not_fit_is_refused_and_named(
    spec: InputSpec, raw: Any, word: str
) -> None:
    with pytest.raises(InvalidDataError, match=word) as caught:
        preprocess(spec, raw, VOCABULARY, "sample 17 of the test")
    assert "sample 17 of the test" in str(caught.value)


def test_raw_samples_that_fit_are_taken_as_they_are() -> None:
    image = noise(0, 28, 40, 3)
    assert check_raw(IMAGE, image, "x") is image
    assert check_raw(VECTOR, np.float32([1, 2, 3, -4e38 / 2]), "x") is not None
    assert check_raw(TEXT, "été", "x") == "été".encode()


def test_in_a_batch_the_bad_sample_is_named_by_its_number() -> None:
    batch = np.zeros((9, 4), np.float32)
    batch[6, 2] = np.nan
    with pytest.raises(InvalidDataError, match=r"sample 6.*\n.*nan at \[2\]"):
        preprocess_batch(VECTOR, batch)
    with pytest.raises(InvalidDataError, match="sample 1030 "):
        preprocess_batch(VECTOR, batch, first=1024)
    with pytest.raises(InvalidDataError, match="sample 2 "):
        preprocess_batch(TEXT, [b"a", b"b", b"\xff"], VOCABULARY)
    with pytest.raises(InvalidDataError, match="no samples"):
        preprocess_batch(VECTOR, batch[:0])


def test_a_column_is_checked_whole_and_its_bad_samples_are_named_or_counted() -> None:
    batch = np.zeros((9, 4), np.float32)
    check_raw_column(VECTOR, batch)
    check_raw_column(TEXT, [b"a", "b"])
    batch[6, 2] = batch[8] = np.inf
    with pytest.raises(InvalidDataError, match="train sample 16 holds") as caught:
        check_raw_column(VECTOR, batch, "train sample", first=10)
    assert caught.value.received == "inf at [2]"
    with pytest.raises(InvalidDataError, match="2 of 9 samples hold") as caught:
        check_raw_column(VECTOR, batch, first=10, count=True)
    assert caught.value.received == "inf at [2] of sample 16"
    # What is wrong with the values comes first, and one sample speaks for shape and dtype.
    with pytest.raises(InvalidDataError, match="sample 6 holds"):
        check_raw_column(VECTOR, batch[:, :3])
    for wrong in (batch[:6, :3], batch[:6].astype(np.float64)):
        with pytest.raises(InvalidDataError, match="sample 0 has the wrong"):
            check_raw_column(VECTOR, wrong, count=True)
    with pytest.raises(InvalidDataError, match="sample 1 is not UTF-8"):
        check_raw_column(TEXT, [b"a", b"\xff"])


# ---- postprocessing


def slow_sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-np.float64(x)))


def test_sigmoid_and_softmax_are_those_of_the_textbook_within_float32() -> None:
    values = np.float32([[-3.0, 0.0, 8.5], [1e-3, 20.0, -20.0]])
    sigmoid = postprocess([Sigmoid()], values)
    softmax = postprocess([Softmax()], values)
    for row in range(2):
        exps = [np.exp(np.float64(v)) for v in values[row]]
        for i in range(3):
            assert sigmoid[row, i] == pytest.approx(slow_sigmoid(values[row, i]), rel=1e-6)
            assert softmax[row, i] == pytest.approx(exps[i] / sum(exps), rel=1e-6)
    assert sigmoid.dtype == softmax.dtype == np.float32
    assert not np.allclose(sigmoid, softmax)


def test_sigmoid_and_softmax_of_extreme_values_are_finite_and_silent() -> None:
    extreme = np.float32([[-1e30, 0, 1e30], [88.8, -88.8, 1000]])
    assert postprocess([Sigmoid()], extreme)[0].tolist() == [0.0, 0.5, 1.0]
    assert postprocess([Softmax()], extreme)[0].tolist() == [0.0, 0.0, 1.0]
    assert np.isfinite(postprocess([Softmax()], extreme)).all()


def test_affine_after_the_model_gives_the_values_their_unit() -> None:
    found = postprocess([Affine(12.5, 1.0)], np.float32([[2.0], [-1.0]]))
    assert found.tolist() == [[26.0], [-11.5]]
