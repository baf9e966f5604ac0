"""The app reads outputs as Python does: sigmoid, softmax, classes, labels and scores."""

from __future__ import annotations

import numpy as np
import pytest

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.preprocessing import postprocess
from edgeward.runtime.specs import OutputSpec
from edgeward.runtime.steps import Sigmoid, Softmax, Step
from edgeward.runtime.tasks import decode
from scripts.android.compare import ulps
from scripts.android.jvm import Java, array, array_json


def logits() -> list[Array]:
    rng = np.random.default_rng(11)
    sizes = [1, 2, 7, 10, 33, 1000]
    return [
        rng.normal(0, rng.choice([0.1, 3, 40]), (1, sizes[i % 6])).astype(np.float32)
        for i in range(1000)
    ] + [np.float32([[-200, 0, 200, -88.8, 88.8, 88.7, -103.9, -104.1]])]


@pytest.mark.parametrize(
    ("step", "allowed"), [(Sigmoid(), 4), (Softmax(), 8)], ids=["sigmoid", "softmax"]
)
def test_sigmoid_and_softmax_differ_by_the_last_bits_of_exp_alone(
    java: Java, step: Step, allowed: int
) -> None:
    # FORMAT.md, section 4: exp may differ in the last bits from one language to another.
    inputs = logits()
    cases = [
        {"op": "after", "steps": [step.to_json()], "values": array_json(values)}
        for values in inputs
    ]
    found = [array(answer) for answer in java.answers(cases)]
    wanted = [postprocess((step,), values) for values in inputs]
    assert max(ulps(a, b) for a, b in zip(found, wanted, strict=True)) <= allowed
    assert all(a.argmax() == b.argmax() for a, b in zip(found, wanted, strict=True))
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-37) for a, b in zip(found, wanted, strict=True))


def decode_cases() -> list[tuple[OutputSpec, Array]]:
    rng = np.random.default_rng(13)
    names = tuple(f"class {i}" for i in range(10))
    many = OutputSpec("classification", names)
    coarse = (rng.integers(0, 4, (500, 10)) / 4).astype(np.float32)  # full of ties
    half = OutputSpec("binary", ("no", "yes"), 0.5)
    third = OutputSpec("binary", None, 0.1)  # float32(0.1) is above 0.1
    near = np.float32([0.5, np.nextafter(np.float32(0.5), 0), 0.1, 0.099999994, 0.10000001, 0, 1])
    return [
        *((many, row) for row in coarse),
        *((OutputSpec("classification", names[:3]), row) for row in coarse[:50]),
        *((spec, near[i : i + 1]) for spec in (half, third) for i in range(len(near))),
        (OutputSpec("regression"), np.float32([1, 2])),
    ]


def test_decoding_gives_the_same_class_label_and_score(java: Java) -> None:
    cases = decode_cases()
    answers = java.answers(
        {"op": "decode", "output": spec.to_json(), "values": array_json(values)}
        for spec, values in cases
    )
    for (spec, values), answer in zip(cases, answers, strict=True):
        wanted = decode(spec, values)
        assert answer["index"] == (-1 if wanted.index is None else wanted.index)
        assert answer["label"] == wanted.label
        assert answer["score"] == (wanted.score or 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_no_decision(java: Java, value: float) -> None:
    spec, values = OutputSpec("classification"), np.float32([0, value])
    with pytest.raises(InvalidDataError):
        decode(spec, values)
    case = {"op": "decode", "output": spec.to_json(), "values": array_json(values)}
    assert java.answers([case])[0]["error"] == "InvalidDataException"
