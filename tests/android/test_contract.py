"""The app refuses what Python refuses, and reads the rest the same: JSON, manifest, SHA256SUMS."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from java_cases import compile_wrong
from support import REPOSITORY

from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.files import parse_sums
from edgeward.runtime.manifest import Manifest
from edgeward.runtime.strict_json import loads
from scripts.android.jvm import Java, array_json, text_json

GOLDEN = REPOSITORY / "tests" / "golden"

TEXTS = [
    b"", b" ", b"{}", b"[]", b'{"a":1}', b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b"[1,]", b"[,1]",
    b'{"a":1,}', b"{'a':1}", b"{a:1}", b"[1 2]", b"[1]x", b"[1] \n\t\r ", b"\xef\xbb\xbf[1]",
    b"[1]\x00",
    b"[1]\x0c", b"\xa0[1]", b"// x\n[1]", b"nul", b"null", b"nulll", b"True", b"true", b"NaN",
    b"[NaN]",
    b"Infinity", b"-Infinity", b"0", b"-0", b"-0.0", b"00", b"01", b"-01", b"+1", b"1.", b".5",
    b"1.e2",
    b"1e5", b"1E+5", b"1e-5", b"1e", b"1e+", b"-", b"1e308", b"1e309", b"-1e309", b"1e-400",
    b"0x10",
    b"9007199254740991", b"9007199254740992", b"-9007199254740991", b"-9007199254740992",
    b"9007199254740993", b"123456789012345678901234567890", b"9007199254740993.0", b"4.9e-324",
    b"0.1", b"3.0000000000000004", b"2.2250738585072011e-308", b"179769313486231580793e289",
    b'"\\u00e9"', b'"\\uD83D\\uDE00"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud800x"', b'"\\u12"',
    b'"\\u12g4"', b'"\\x41"', b'"\\/\\b\\f\\n\\r\\t\\"\\\\"', b'"a\nb"', b'"a\tb"', b'"\x7f"',
    b'"\x1f"',
    b'"open', b'"\xff"', b'"\xed\xa0\x80"', b'"\xf0\x9f\x99\x82"', "\"\u2028\uffff\"".encode(),
    '["\uff11"]'.encode(), "[\uff11]".encode(), b'{"\\ud800":1}',
    b'"\\u\xd9\xa1\xd9\xa2\xd9\xa3\xd9\xa4"',
    *(b"[" * n + b"]" * n for n in (31, 32, 33, 34, 500)),
    *(b'{"a":' * n + b"1" + b"}" * n for n in (32, 33)), b"[" * 32 + b"1" + b"]" * 32,
]  # fmt: skip


def refuses(read: Callable[[], Any]) -> bool:
    try:
        read()
    except EdgewardError:
        return True
    return False


def test_strict_json_reads_and_refuses_the_same_texts(java: Java) -> None:
    answers = java.answers({"op": "json", "bytes": text_json(text)} for text in TEXTS)
    refused = 0
    for text, answer in zip(TEXTS, answers, strict=True):
        if "error" in answer:
            refused += 1
            assert refuses(lambda text=text: loads(text, "x", 10**6)), (text, answer)
        else:
            value = loads(text, "x", 10**6)
            assert (value, repr(value)) == (answer["value"], repr(answer["value"])), text
    assert 30 < refused < len(TEXTS) - 20


# ---- every field of a manifest, spoilt in a dozen ways

WRONG: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, 1.0, 1e300, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 - 1, "",
    "x", "no/path", "a" * 64, "A" * 64, "0" * 65, ".hidden", "a" * 101, "SHA256SUMS", "float32",
    "int8", "image", "text", "tensor", "binary", "regression", "static", "tflite-int8",
    "line\nfeed",
    [], [None], [1], [0], [-1], [1.0], [True], ["x"], [1, None], [None] * 3, [1] * 17, [[1]], {},
    {"x": 1}, {"x": "y"}, {"step": "softmax"}, {"step": "invert"}, [{"step": "softmax"}],
    [{"step": "invert"}], [{"step": "tokenize"}], [{"step": "unheard-of"}],
    [{"step": "affine", "scale": 1, "offset": [0, 1.5]}], [{"step": "affine", "scale": []}],
    [{"step": "affine", "scale": [], "offset": 0}], [{"step": "affine", "scale": 3.4e38,
    "offset": 0}],
    [{"step": "affine", "scale": True, "offset": 0}], [{"step": "affine", "scale": "1",
    "offset": 0}],
    [{"step": "resize_bilinear", "height": 65535, "width": 1}],
    [{"step": "resize_bilinear", "height": 65536, "width": 1}],
    [{"step": "resize_bilinear", "height": 28.0, "width": 1}],
    [{"step": "resize_bilinear", "height": 0, "width": 1}], [{"step": "softmax"},
    {"step": "sigmoid"}],
    [{"step": "tokenize"}, {"step": "lookup", "vocabulary": "v.txt", "unknown": 1}],
    [{"step": "tokenize"}, {"step": "lookup", "vocabulary": "../v", "unknown": 1}],
    [{"step": "lookup", "vocabulary": "v.txt", "unknown": -1}],
    [{"step": "grayscale"}, {"step": "affine", "scale": 1, "offset": 0}, {"step": "invert"}],
]  # fmt: skip

CHAINS = [
    ("text", [None], steps)
    for steps in (
        [{"step": "tokenize"}, {"step": "lookup", "vocabulary": "v.txt", "unknown": 1},
         {"step": "pad", "length": length, "value": value, "side": side}]
        for length in (1, 2**20, 2**20 + 1, 0, 5.0) for value in (0, -(2**31), 2**31) for side in
        ("left", "right", "both", None)
    )
]  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from places(value, (*path, key))


def spoil(tree: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    fresh = copy.deepcopy(tree)
    holder = fresh
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return fresh


def put(value: Any) -> Callable[[Any, Any], None]:
    return lambda holder, key: holder.__setitem__(key, value)


def rename(holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[f"{key}-x"] = holder.pop(key)
    else:
        holder.append(holder[key])


def add(holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[f"{key}-x"] = holder[key]


def manifests(version: int = 1) -> list[bytes]:
    tree = json.loads((GOLDEN / f"manifest-v{version}.json").read_bytes())
    spots = [path for path in places(tree) if path]
    rng = random.Random(1)
    trees = [tree]
    for path in spots:
        trees.append(spoil(tree, path, lambda holder, key: holder.__delitem__(key)))
        trees += [spoil(tree, path, change) for change in (rename, add)]
        steps = str(path[-1]).endswith("processing")
        values = WRONG if steps else rng.sample(WRONG, 15)
        trees += [spoil(tree, path, put(value)) for value in values]
    first = next(iter(tree["inputs"]))
    for kind, shape, steps in CHAINS:
        spec = {"kind": kind, "dtype": "uint8", "shape": shape, "preprocessing": steps}
        trees.append(spoil(tree, ("inputs", first), put(spec)))
    return [json.dumps(one).encode() for one in trees]


def limits() -> list[bytes]:
    """A manifest of version 2 with every kind of limits, right and wrong."""
    tree = json.loads((GOLDEN / "manifest-v2.json").read_bytes())
    numbers = (-1, 0, 1, 2, 3, 2**31, 2**52, 1.0, None, "1")
    found: list[Any] = [None, [], {}, {"kind": []}, {"price": []}, {"other": []}]
    found += [
        {"kind": [{"lsb": lsb, "values": values}, *more]}
        for lsb in numbers
        for values in numbers
        for more in ([], [{"lsb": 1, "values": 1}])
    ]
    found += [{"kind": [{"lsb": i, "values": 20 - i} for i in range(count)]} for count in (8, 9)]
    trees = [spoil(tree, ("artifacts", 0, "max_lsb"), put(most)) for most in (2, 100)]
    return [
        json.dumps(spoil(one, ("artifacts", 0, "tolerance"), put(value))).encode()
        for one in trees
        for value in found
    ]


def disagreements(java: Java, texts: list[bytes] | None = None) -> tuple[list[bytes], int]:
    texts = manifests() if texts is None else texts
    answers = java.answers({"op": "manifest", "bytes": text_json(text)} for text in texts)
    refused = [refuses(lambda text=text: Manifest.from_bytes(text)) for text in texts]
    wrong = [
        text for text, answer, no in zip(texts, answers, refused, strict=True)
        if ("error" in answer) != no
    ]  # fmt: skip
    return wrong, refused.count(False)


def test_every_field_of_a_manifest_is_judged_as_python_judges_it(java: Java) -> None:
    wrong, accepted = disagreements(java)
    assert wrong == []
    assert accepted > 50  # of some thousand: the two do not just refuse everything


def test_version_2_is_judged_as_python_judges_it(java: Java) -> None:
    wrong, accepted = disagreements(java, manifests(version=2))
    assert wrong == []
    assert accepted > 50
    wrong, accepted = disagreements(java, limits())
    assert wrong == []
    assert accepted > 5


def limit_cases() -> tuple[list[dict[str, Any]], list[bool]]:
    read = json.loads((GOLDEN / "limits-v2.json").read_bytes())
    cases = [
        {"op": "crowded", "limits": one["limits"]}
        | {key: array_json(np.array(one[key], one["dtype"])) for key in ("expected", "actual")}
        for one in read
    ]
    return cases, [one["crowded"] for one in read]


def test_how_many_values_may_differ_is_counted_as_in_python(java: Java, tmp_path: Any) -> None:
    cases, wanted = limit_cases()
    assert [answer["crowded"] for answer in java.answers(cases)] == wanted
    for old, new in (("> limit[0]", ">= limit[0]"), ("count > limit[1]", "count >= limit[1]")):
        wrong = compile_wrong(java, tmp_path, "SelfTest", old, new)
        assert [answer["crowded"] for answer in wrong.answers(cases)] != wanted


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("Step", "int MAX_SIDE = 65535;", "int MAX_SIDE = 99999;"),
        ("Fields", "this.value.keySet().equals(wanted)", "this.value.keySet().containsAll(wanted)"),
        ("Artifact", "!verdict.equals(\"pass\") || proven", "true"),
        ("TensorSpec", "read.integer(\"zero_point\", (int) dtype.min, (int) dtype.max)",
         "(int) read.integer(\"zero_point\")"),
    ],
    ids=["side", "unknown keys", "pass without proof", "zero point"],
)  # fmt: skip
def test_an_app_that_checks_less_is_found(
    java: Java, tmp_path: Any, name: str, old: str, new: str
) -> None:
    assert disagreements(compile_wrong(java, tmp_path, name, old, new))[0] != []


def sums() -> list[bytes]:
    good = (GOLDEN / "SHA256SUMS-v1").read_bytes()
    lines = good.splitlines(keepends=True)
    bad = [
        b"", b"\n", good[:-1], good + b"\n", good.replace(b"  ", b" "), good.replace(b"\n",
        b"\r\n"),
        b"".join(reversed(lines)), good + lines[-1], good.upper(), good.replace(b"  ", b" *"),
        b"\xef\xbb\xbf" + good, good + b"# comment\n", b"0" * 64 + b"  ../up\n",
        b"0" * 64 + b"  .x\n",
        b"0" * 63 + b"  a\n", b"0" * 64 + b"  " + b"a" * 101 + b"\n", b"0" * 64 + b"  \xff\n",
    ]  # fmt: skip
    return [good, b"0" * 64 + b"  a\n", b"f" * 64 + b"  A.b_c-d\n", *bad]


def test_sha256sums_is_read_and_refused_the_same(java: Java) -> None:
    answers = java.answers({"op": "sums", "bytes": text_json(text)} for text in sums())
    for text, answer in zip(sums(), answers, strict=True):
        if "error" in answer:
            assert refuses(lambda text=text: parse_sums(text)), text
        else:
            assert parse_sums(text) == answer["hashes"]
    assert [("error" in answer) for answer in answers[:4]] == [False, False, False, True]
