"""Contract B in Python: the manifest, its strict JSON and the text of SHA256SUMS."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.runtime.artifact import Limit, Op
from edgeward.runtime.errors import (
    EdgewardError,
    InvalidInputError,
    InvalidManifestError,
    UsageError,
)
from edgeward.runtime.files import is_plain_name, parse_sums, render_sums
from edgeward.runtime.golden import Golden
from edgeward.runtime.manifest import Affine, Manifest, ResizeBilinear, Softmax, lowest_version
from edgeward.runtime.strict_json import Fields, dumps, loads

GOLDEN = Path(__file__).parents[1] / "golden"
TEXT = (GOLDEN / "manifest-v1.json").read_bytes()
TREE = json.loads(TEXT)
MANIFEST = Manifest.from_bytes(TEXT)
TEXT_2 = (GOLDEN / "manifest-v2.json").read_bytes()
LIMITS = {"kind": (Limit(0, 2), Limit(1, 1))}

# Of an output of three values, max_lsb 2.
WRONG_LIMITS: list[Any] = [
    None,
    [],
    {"kind": []},
    {"kind": None},
    {"price": [{"lsb": 0, "values": 1}]},
    {"other": [{"lsb": 0, "values": 1}]},
    {"kind": {"lsb": 0, "values": 1}},
    *(
        {"kind": [{"lsb": lsb, "values": values} for lsb, values in limits]}
        for limits in (
            *([(2, 1)], [(3, 1)], [(-1, 1)], [(0, 0)], [(0, 3)], [(0, -1)], [(0, 2**52)]),
            *([(0, 1), (1, 1)], [(0, 1), (0, 2)], [(1, 2), (0, 1)], [(0, 1), (1, 2)]),
            *([(0.0, 1)], [(0, 1.0)], [(True, 1)], [("0", 1)], [(None, 1)]),
        )
    ),
    {"kind": [{"lsb": 0}]},
    {"kind": [{"lsb": 0, "values": 1, "more": 1}]},
]

Place = tuple[str | int, ...]

# Where any string is allowed as a key, and where null is one of the values.
FREE_KEYS = {("created_with",), ("artifacts", 0, "min_runtime"), ("artifacts", 1, "min_runtime")}
NULLABLE = {"labels", "threshold", "scale", "zero_point", "shape"} | {
    "reference",
    "value",
    "drop",
    "upper_bound",
}

quick = settings(max_examples=150, deadline=None, database=None, derandomize=True)


def places(node: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    yield at, node
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(child, (*at, key))


def changed(place: Place, value: Any) -> bytes:
    tree = copy.deepcopy(TREE)
    if not place:
        return dumps(value)
    node = tree
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return dumps(tree)


def name_of(place: object) -> str:
    return ".".join(map(str, place)) if isinstance(place, tuple) else repr(place)[:40]


LEAVES = [place for place, node in places(TREE) if not isinstance(node, dict | list) and place]
OBJECTS = [place for place, node in places(TREE) if isinstance(node, dict)]


def at(place: Place) -> Any:
    node = TREE
    for key in place:
        node = node[key]
    return node


def test_the_golden_manifest_is_reproduced_byte_for_byte() -> None:
    assert MANIFEST.to_bytes() == TEXT
    assert Manifest.from_bytes(MANIFEST.to_bytes()) == MANIFEST


def test_a_manifest_that_differs_in_one_value_has_other_bytes() -> None:
    other = dataclasses.replace(MANIFEST, release=4)
    assert other.to_bytes() != TEXT
    assert Manifest.from_bytes(other.to_bytes()) == other != MANIFEST


def test_the_golden_manifest_holds_what_was_written_by_hand() -> None:
    assert MANIFEST.artifact().id == "tflite-int8"
    assert MANIFEST.artifact("onnx-fp32").inputs[0].shape == (None, 32, 24, 3)
    assert MANIFEST.inputs["photo"].preprocessing[1] == ResizeBilinear(32, 24)
    assert MANIFEST.inputs["photo"].preprocessing[2] == Affine(
        (0.0078125, 0.015625, 1.5), (-0.5, -0.25, 0.0)
    )
    assert MANIFEST.outputs["kind"].labels == ("Äpfel", "梨", "other")
    assert MANIFEST.outputs["kind"].postprocessing == (Softmax(),)
    assert MANIFEST.outputs["spam"].threshold == 0.5
    assert MANIFEST.artifact().ops[0] == Op("CONV_2D", 3)
    assert MANIFEST.artifact().format == "tflite"


def test_the_manifest_of_a_real_bundle_is_reproduced_byte_for_byte(bundle: Path) -> None:
    data = (bundle / "manifest.json").read_bytes()
    manifest = Manifest.from_bytes(data)
    assert manifest.to_bytes() == data
    assert Golden.from_bytes((bundle / "golden.json").read_bytes(), manifest).to_bytes() == (
        (bundle / "golden.json").read_bytes()
    )


def test_an_artifact_that_is_not_there_is_a_usage_error_that_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="tflite-int8"):
        MANIFEST.artifact("tflite-fp16")


# ---- version 2


def with_limits(limits: Any, version: int = 2) -> Manifest:
    first, *rest = MANIFEST.artifacts
    artifacts = (dataclasses.replace(first, tolerance=limits), *rest)
    return dataclasses.replace(MANIFEST, artifacts=artifacts, format_version=version)


def test_the_golden_manifest_of_version_2_is_reproduced_byte_for_byte() -> None:
    assert with_limits(LIMITS).to_bytes() == TEXT_2
    assert Manifest.from_bytes(TEXT_2) == with_limits(LIMITS)
    # It is version 1 with one key more for each artifact.
    tree = json.loads(TEXT_2)
    assert [artifact.pop("tolerance") for artifact in tree["artifacts"]] == [
        {"kind": [{"lsb": 0, "values": 2}, {"lsb": 1, "values": 1}]},
        {},
    ]
    assert {**tree, "format_version": 1} == TREE


def test_what_needs_version_2_is_not_written_as_version_1() -> None:
    assert [lowest_version(m.artifacts) for m in (MANIFEST, with_limits(LIMITS))] == [1, 2]
    with pytest.raises(InvalidManifestError, match="format_version"):
        with_limits(LIMITS, version=1)
    tree = json.loads(TEXT_2)
    for version in (0, 1, 3):
        with pytest.raises(InvalidManifestError):
            Manifest.from_bytes(dumps({**tree, "format_version": version}))
    with pytest.raises(InvalidManifestError, match="tolerance"):
        Manifest.from_bytes(dumps({**TREE, "format_version": 2}))


@pytest.mark.parametrize("limits", WRONG_LIMITS, ids=repr)
def test_limits_that_make_no_sense_are_refused(limits: Any) -> None:
    tree = json.loads(TEXT_2)
    tree["artifacts"][0]["tolerance"] = limits
    with pytest.raises(InvalidManifestError):
        Manifest.from_bytes(dumps(tree))


# ---- every field, wrong


@pytest.mark.parametrize("place", LEAVES, ids=name_of)
def test_a_value_of_the_wrong_type_is_refused(place: Place) -> None:
    value = at(place)
    wrong: list[Any] = [[], {}, [[1]], {"a": 1}]
    if not isinstance(value, str):
        wrong += ["1", ""]
    if not isinstance(value, bool):
        wrong += [True, False]
    if not isinstance(value, int | float) or isinstance(value, bool):
        wrong += [5, 0.5] if value is not None else []
    elif isinstance(value, int):
        wrong += [value + 0.5]
    if not NULLABLE & set(place):
        wrong += [None]
    for bad in wrong:
        with pytest.raises(InvalidManifestError):
            Manifest.from_bytes(changed(place, bad))


@pytest.mark.parametrize("place", OBJECTS, ids=name_of)
def test_an_object_with_a_missing_or_an_unknown_key_is_refused(place: Place) -> None:
    node = at(place)
    if place in FREE_KEYS:
        Manifest.from_bytes(changed(place, {**node, "extra": "1"}))  # the twin: free keys are free
        return
    with pytest.raises(InvalidManifestError):
        Manifest.from_bytes(changed(place, {**node, "extra": 1}))
    for key in node:
        with pytest.raises(InvalidManifestError):
            Manifest.from_bytes(changed(place, {k: v for k, v in node.items() if k != key}))


A = ("artifacts", 0)
T = (*A, "tensors", "inputs", 0)
D = (*A, "drift", 0)
PHOTO = ("inputs", "photo")
STEPS = (*PHOTO, "preprocessing")
REVIEW = ("inputs", "review", "preprocessing")
BAD_NAMES = ["../x", "", ".", "..", ".x", "a/b", "a\\b", "a b", "a\n", "ä", "x" * 101, "-x", "a\0"]

WRONG: list[tuple[Place, Any]] = [
    *[(("format_version",), bad) for bad in (0, 2, -1, 2**52)],
    *[(("name",), bad) for bad in BAD_NAMES],
    *[(("release",), bad) for bad in (0, -1)],
    (("default",), "onnx-int8"),
    *[
        (("source", key), bad)
        for key in ("model_sha256", "data_sha256")
        for bad in ("", "1" * 63, "1" * 65, "A" * 64, "g" * 64, "1" * 64 + "\n", "١" * 64)
    ],
    (("artifacts",), []),
    (("artifacts",), [TREE["artifacts"][0]] * 2),
    (("inputs",), {}),
    (("outputs",), {}),
    (("inputs", "other"), TREE["inputs"]["photo"]),
    (("outputs", "other"), TREE["outputs"]["price"]),
    ((*A, "id"), "tflite-int4"),
    ((*A, "id"), "onnx-fp32"),
    ((*A, "variant"), "fp32"),
    *[((*A, "file"), bad) for bad in BAD_NAMES],
    *[((*A, "file"), bad) for bad in ("manifest.json", "golden.json", "SHA256SUMS")],
    ((*A, "file"), "model.fp32.onnx"),
    *[((*A, "size"), bad) for bad in (0, -1)],
    *[((*A, "sha256"), bad) for bad in ("", "0" * 63, "A" * 64)],
    ((*A, "batch"), "dynamic"),
    ((*A, "max_lsb"), -1),
    ((*A, "max_lsb"), 2**31),
    ((*A, "drift"), []),
    ((*A, "drift"), TREE["artifacts"][0]["drift"][:2]),
    ((*A, "drift"), [TREE["artifacts"][0]["drift"][0]] * 3),
    ((*A, "tensors", "inputs"), []),
    ((*A, "tensors", "outputs"), []),
    ((*T, "name"), "review"),
    ((*T, "name"), "nobody"),
    *[((*T, "dtype"), bad) for bad in ("float64", "bool", "object", "str", "i1", "int4")],
    *[((*T, "shape"), bad) for bad in ([], [0], [1, -1], [1, 2**31], [1, None], [1.0], [1] * 17)],
    *[((*T, "scale"), bad) for bad in (0, -0.5, None, 1e300, 1e-60, 1e-40)],
    *[((*T, "zero_point"), bad) for bad in (-129, 128, None, 0.5)],
    ((*A, "tensors", "inputs", 1, "scale"), 0.5),
    ((*A, "tensors", "inputs", 1, "zero_point"), 0),
    ((*A, "tensors", "outputs", 1, "dtype"), "floaty"),
    ((*A, "tensors", "outputs", 2, "zero_point"), 256),
    ((*D, "output"), "spam"),
    ((*D, "task"), "regression"),
    ((*D, "task"), "anything"),
    ((*D, "verdict"), "refused"),
    ((*D, "verdict"), "unverified"),
    ((*D, "upper_bound"), 0.0051),
    ((*D, "upper_bound"), None),
    ((*D, "budget"), 0.003),
    ((*D, "samples"), 0),
    ((*D, "samples"), -1),
    (("artifacts", 1, "drift", 0, "value"), 0.9),
    (("artifacts", 1, "drift", 0, "verdict"), "pass"),
    ((*PHOTO, "kind"), "audio"),
    ((*PHOTO, "kind"), "text"),
    ((*PHOTO, "kind"), "tensor"),
    ((*PHOTO, "dtype"), "float32"),
    *[((*PHOTO, "shape"), bad) for bad in ([], [None], [None] * 4, [0, None, 3], [None, 1.5, 3])],
    (("inputs", "review", "shape"), [5]),
    (("inputs", "sensor", "dtype"), "float64"),
    (STEPS, [{"step": "tokenize"}]),
    (STEPS, [{"step": "sigmoid"}]),
    (STEPS, [{"step": "exec"}]),
    (STEPS, ["invert"]),
    (STEPS, [{"step": "affine", "scale": 1.0, "offset": 0.0}, {"step": "invert"}]),
    *[((*STEPS, 1, "height"), bad) for bad in (0, -1, 65536, 1.5, "28", [28])],
    *[((*STEPS, 1, "width"), bad) for bad in (0, -1, 65536, 1.5)],
    *[((*STEPS, 2, "scale"), bad) for bad in ([], "1", [1.0, "1"], [1.0, None], [True], 1e39)],
    *[((*STEPS, 2, "offset"), bad) for bad in ([], -1e39, [[1.0]], {})],
    (REVIEW, []),
    (REVIEW, [{"step": "tokenize"}]),
    (REVIEW, TREE["inputs"]["review"]["preprocessing"][1:]),
    *[((*REVIEW, 1, "vocabulary"), bad) for bad in (*BAD_NAMES, 5, [])],
    *[((*REVIEW, 1, "unknown"), bad) for bad in (-1, 2**31, 1.5, "1")],
    *[((*REVIEW, 2, "length"), bad) for bad in (0, 2**20 + 1, 1.5)],
    *[((*REVIEW, 2, "value"), bad) for bad in (2**31, -(2**31) - 1, 0.5)],
    *[((*REVIEW, 2, "side"), bad) for bad in ("both", "", 1, ["left"])],
    (("outputs", "kind", "task"), "detection"),
    (("outputs", "kind", "task"), "regression"),
    (("outputs", "kind", "threshold"), 0.5),
    (("outputs", "kind", "labels"), []),
    (("outputs", "kind", "labels"), ["a\nb", "c", "d"]),
    (("outputs", "kind", "labels"), ["a", 1, "c"]),
    (("outputs", "kind", "postprocessing"), [{"step": "invert"}]),
    (("outputs", "spam", "labels"), ["one"]),
    (("outputs", "spam", "labels"), ["a", "b", "c"]),
    (("outputs", "spam", "threshold"), None),
    (("outputs", "spam", "threshold"), 1e39),
    (("outputs", "price", "labels"), ["cheap"]),
    (("outputs", "price", "threshold"), 1.0),
    (("created_with", "edgeward"), 1),
    ((*A, "min_runtime"), {"tflite": 2.3}),
]


@pytest.mark.parametrize(("place", "value"), WRONG, ids=name_of)
def test_a_value_that_breaks_a_rule_is_refused(place: Place, value: Any) -> None:
    with pytest.raises(InvalidManifestError) as caught:
        Manifest.from_bytes(changed(place, value))
    assert len(str(caught.value)) < 1500


RIGHT: list[tuple[Place, Any]] = [
    (("release",), 2**52),
    (("name",), "A.b_c-9"),
    ((*D, "upper_bound"), 0.005),
    ((*D, "verdict"), "inconclusive"),
    ((*T, "zero_point"), 127),
    ((*T, "scale"), 2.0**-126),
    ((*A, "max_lsb"), 0),
    (("outputs", "kind", "labels"), None),
    ((*STEPS, 2, "scale"), 2),
    ((*STEPS, 1, "height"), 65535),
    ((*REVIEW, 2, "value"), -1),
    (("inputs", "sensor", "shape"), []),
]


@pytest.mark.parametrize(("place", "value"), RIGHT, ids=name_of)
def test_a_value_at_the_edge_of_a_rule_is_kept(place: Place, value: Any) -> None:
    data = changed(place, value)
    assert Manifest.from_bytes(data).to_bytes() == data


def test_a_valid_object_cannot_be_made_invalid() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MANIFEST.release = 0
    with pytest.raises(InvalidManifestError):
        dataclasses.replace(MANIFEST.artifacts[0].drift[0], upper_bound=float("nan"))
    with pytest.raises(InvalidManifestError):
        dataclasses.replace(MANIFEST.artifacts[0].inputs[0], scale=float("inf"))
    with pytest.raises(InvalidManifestError):
        dataclasses.replace(MANIFEST.outputs["spam"], threshold=float("nan"))
    with pytest.raises(InvalidManifestError):
        Affine(float("nan"))


# ---- strict JSON


def with_release(text: str) -> bytes:
    return TEXT.replace(b'"release": 3', b'"release": ' + text.encode())


@pytest.mark.parametrize(
    "number",
    [
        *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "03", "+3", "0x3", "3.", ".3", "'3'"),
        *("9007199254740992", "-9007199254740993", "9" * 400, "9" * 5000, "true", "null", "3.0"),
        *('"\\ud800"', "3 3", "3,", "[3", "// 3\n3", "3e0"),
    ],
    ids=lambda number: number[:20],
)
def test_a_number_that_is_not_strict_json_is_refused(number: str) -> None:
    assert Manifest.from_bytes(with_release("3")) == MANIFEST  # the twin
    with pytest.raises(InvalidManifestError):
        Manifest.from_bytes(with_release(number))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1e400", "9" * 400, "true"])
def test_a_measured_value_that_is_no_finite_number_is_refused(number: str) -> None:
    with pytest.raises(InvalidManifestError):
        Manifest.from_bytes(TEXT.replace(b'"value": 0.99,', b'"value": %s,' % number.encode()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b"\xef\xbb\xbf" + TEXT,
        TEXT.decode().encode("utf-16"),
        TEXT.replace("Äpfel".encode(), b"\xc4pfel"),
        TEXT.replace("Äpfel".encode(), b"\\udc00"),
        TEXT.replace(b'"run"', b'"\\ud800": 1, "run"'),
        TEXT + b"x",
        TEXT + TEXT,
        TEXT[:-3],
        TEXT.replace(b'"release": 3', b'"release": 3, "release": 3'),
        TEXT.replace(b'"edgeward": ', b'"edgeward": "1", "edgeward": '),
        TEXT.replace(b'"release": 3', b'"release": 3, "\\u0072elease": 3'),
    ],
)
def test_a_text_that_is_not_strict_json_is_refused(data: bytes) -> None:
    assert data != TEXT
    with pytest.raises(InvalidManifestError):
        Manifest.from_bytes(data)


@pytest.mark.parametrize("filling", ["", "1", '"a"', '{"a": {}}'])
def test_nesting_is_allowed_down_to_32_levels_and_no_deeper(filling: str) -> None:
    inside = filling.count("{")
    for levels in (1, 31 - inside, 32 - inside):
        loads(("[" * levels + filling + "]" * levels).encode(), "x.json", 1000)
    for levels in (33 - inside, 34, 400):
        with pytest.raises(InvalidManifestError, match="32 levels"):
            loads(("[" * levels + filling + "]" * levels).encode(), "x.json", 1000)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_very_deep_nesting_is_an_error_and_no_crash(opening: bytes) -> None:
    with pytest.raises(InvalidManifestError):
        Manifest.from_bytes(opening * 150_000)


def test_a_text_above_the_limit_is_refused_before_it_is_parsed() -> None:
    padded = TEXT + b" " * (1_000_000 - len(TEXT))
    assert Manifest.from_bytes(padded) == MANIFEST
    with pytest.raises(InvalidManifestError, match="too large"):
        Manifest.from_bytes(padded + b" ")


def test_a_megabyte_of_duplicate_keys_is_refused_quickly_and_in_few_words() -> None:
    text = "{" + ",".join(f'"{i % 40_000}":1' for i in range(90_000)) + "}"
    started = time.perf_counter()
    with pytest.raises(InvalidManifestError, match="duplicate") as caught:
        Manifest.from_bytes(text.encode())
    assert time.perf_counter() - started < 5
    assert len(str(caught.value)) < 1000


def test_written_json_is_never_nan() -> None:
    assert dumps({"b": 1, "a": "ä"}) == '{\n  "a": "ä",\n  "b": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"a": float("nan")})


# ---- fuzz

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["step", "scale", "shape", "name", "dtype", "x"]), children, max_size=4
        )
    ),
    max_leaves=12,
)
PLACES = [place for place, _ in places(TREE)]


def only_our_errors(data: bytes) -> None:
    try:
        manifest = Manifest.from_bytes(data)
    except InvalidManifestError as error:
        str(error).encode("utf-8", "backslashreplace")
    else:
        assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@quick
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_our_error(data: bytes) -> None:
    only_our_errors(data)


@quick
@given(JSON)
def test_arbitrary_json_raises_nothing_but_our_error(value: Any) -> None:
    only_our_errors(json.dumps(value).encode())


@settings(quick, max_examples=500)
@given(st.sampled_from(PLACES), JSON)
def test_a_manifest_with_one_arbitrary_value_raises_nothing_but_our_error(
    place: Place, value: Any
) -> None:
    tree = json.loads(json.dumps(TREE))
    node: Any = tree
    for key in place[:-1]:
        node = node[key]
    if place:
        node[place[-1]] = value
    only_our_errors(json.dumps(tree if place else value).encode())


@settings(quick, max_examples=300)
@given(st.integers(0, len(TEXT) - 1), st.binary(min_size=1, max_size=4))
def test_a_manifest_with_damaged_bytes_raises_nothing_but_our_error(at: int, data: bytes) -> None:
    only_our_errors(TEXT[:at] + data + TEXT[at + len(data) :])


def test_the_fuzz_would_notice_a_foreign_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fields, "integer", lambda self, key: int(self.raw(key)))
    with pytest.raises(TypeError):
        only_our_errors(changed(("release",), None))


# ---- golden.json

GOLDEN_TREE = {
    "format_version": 1,
    "inputs": [
        {
            "photo": {"dtype": "uint8", "shape": [1, 1, 3], "base64": "AAEC"},
            "review": "naïve",
            "sensor": {
                "dtype": "float32",
                "shape": [6],
                "base64": "A" * 32,
            },
        }
    ]
    * 8,
    "expected": [
        {
            "artifact": artifact,
            "runtime": "r",
            "version": "1",
            "outputs": {
                "kind": {"dtype": kind, "shape": [8, 3], "base64": "A" * (24 * size * 4 // 3)},
                "price": {"dtype": "float32", "shape": [8, 1], "base64": "A" * 42 + "A="},
                "spam": {"dtype": spam, "shape": [8, 1], "base64": spam_text},
            },
        }
        for artifact, kind, size, spam, spam_text in (
            ("tflite-int8", "int8", 1, "uint8", "A" * 11 + "="),
            ("onnx-fp32", "float32", 4, "float32", "A" * 42 + "A="),
        )
    ],
}


def golden_with(place: Place, value: Any) -> bytes:
    tree: Any = copy.deepcopy(GOLDEN_TREE)
    node = tree
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return json.dumps(tree).encode()


ONE = ("inputs", 3)
EXPECTED = ("expected", 0)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("format_version",), 2),
        (("inputs",), GOLDEN_TREE["inputs"][:7]),
        (("inputs",), {}),
        (("inputs", 3), {}),
        (("inputs", 3), []),
        (("expected",), GOLDEN_TREE["expected"][:1]),
        (("expected",), []),
        ((*ONE, "review"), 5),
        ((*ONE, "review"), "\ud800"),
        ((*ONE, "photo"), "text"),
        ((*ONE, "photo", "dtype"), "int8"),
        ((*ONE, "photo", "dtype"), "object"),
        ((*ONE, "photo", "dtype"), "<u1"),
        ((*ONE, "photo", "shape"), [3]),
        ((*ONE, "photo", "shape"), [1, 3, 1]),
        ((*ONE, "photo", "shape"), [1, 1, None]),
        ((*ONE, "photo", "shape"), [1, 1, 2**40]),
        ((*ONE, "photo", "shape"), [1] * 39 + [3]),
        ((*ONE, "photo", "base64"), "AAE"),
        ((*ONE, "photo", "base64"), "AAE\u00e4"),
        ((*ONE, "photo", "base64"), "AAECAAEC"),
        ((*ONE, "photo", "base64"), "AA EC"),
        ((*ONE, "sensor", "base64"), "/////w" + "A" * 26),
        ((*EXPECTED, "artifact"), "tflite-fp32"),
        ((*EXPECTED, "runtime"), None),
        ((*EXPECTED, "outputs"), {}),
        ((*EXPECTED, "outputs", "kind", "dtype"), "uint8"),
        ((*EXPECTED, "outputs", "kind", "shape"), [24]),
        ((*EXPECTED, "outputs", "kind", "shape"), [3, 8]),
        ((*EXPECTED, "outputs", "kind", "shape"), [8, 3, 1]),
    ],
    ids=name_of,
)
def test_golden_vectors_that_do_not_fit_the_manifest_are_refused(place: Place, value: Any) -> None:
    read = Golden.from_bytes(json.dumps(GOLDEN_TREE).encode(), MANIFEST)  # the twin
    assert len(read.inputs) == 8
    assert read.inputs[0]["review"] == "naïve".encode()
    with pytest.raises(InvalidManifestError):
        Golden.from_bytes(golden_with(place, value), MANIFEST)


GOLDEN_PLACES = [place for place, _ in places(GOLDEN_TREE) if place]


@settings(quick, max_examples=300)
@given(st.sampled_from(GOLDEN_PLACES), JSON)
def test_golden_vectors_with_one_arbitrary_value_raise_nothing_but_our_error(
    place: Place, value: Any
) -> None:
    with contextlib.suppress(InvalidManifestError):
        Golden.from_bytes(golden_with(place, value), MANIFEST)


# ---- SHA256SUMS

SUMS = (GOLDEN / "SHA256SUMS-v1").read_bytes()
LINES = SUMS.splitlines(keepends=True)


def test_the_golden_sums_are_reproduced_byte_for_byte() -> None:
    assert render_sums(parse_sums(SUMS)) == SUMS
    assert len(parse_sums(SUMS)) == 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        SUMS[:-1],
        SUMS + b"\n",
        b"\n" + SUMS,
        SUMS + SUMS,
        SUMS + b"x",
        SUMS.replace(b"\n", b"\r\n"),
        SUMS.replace(b"  ", b" "),
        SUMS.replace(b"  ", b" *"),
        SUMS.upper(),
        b"".join(reversed(LINES)),
        LINES[0] + SUMS,
        SUMS.replace(b"empty.txt", b"../empty"),
        SUMS.replace(b"empty.txt", b".empty"),
        SUMS.replace(b"empty.txt", b"em\xc3\xa4pty"),
        SUMS.replace(b"empty.txt", b"empty\x00"),
        LINES[0][1:],
        b"0" + SUMS,
    ],
)
def test_sums_that_differ_from_their_own_content_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        parse_sums(data)


@quick
@given(st.integers(0, len(SUMS) - 1), st.binary(min_size=0, max_size=3))
def test_damaged_sums_are_refused_or_say_something_else(at: int, data: bytes) -> None:
    damaged = SUMS[:at] + data + SUMS[at + 1 :]
    try:
        hashes = parse_sums(damaged)
    except EdgewardError:
        return
    assert (hashes == parse_sums(SUMS)) == (damaged == SUMS)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_a_path_hidden_or_not_plain_is_none(name: str) -> None:
    assert not is_plain_name(name)
    assert is_plain_name("tflite-int8.tflite")
