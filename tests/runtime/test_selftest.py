"""The self-test: exact, within tolerance or wrong, and that it tells them apart."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import REPOSITORY

from edgeward import runtime
from edgeward.runtime.artifact import Limit, TensorSpec
from edgeward.runtime.benchmark import benchmark
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import InvalidBundleError, MissingExtraError, TargetError, UsageError
from edgeward.runtime.golden import Expected, Golden
from edgeward.runtime.manifest import InputSpec, OutputSpec
from edgeward.runtime.self_test import FLOAT_LSB, Check, check_runner, lsb_difference

BACKENDS = {"litert": "ai-edge-litert", "tflite": "tflite-runtime", "onnx": "onnxruntime"}
Edit = Callable[..., None]


def decoded(tensor: Any) -> Any:
    data = base64.b64decode(tensor["base64"])
    return np.frombuffer(data, tensor["dtype"]).reshape(tensor["shape"]).copy()


def encoded(array: Any) -> dict[str, Any]:
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(array.tobytes()).decode(),
    }


def change_outputs(
    edit: Edit, folder: Path, artifact: str, change: Callable[[Any], None], max_lsb: int = 3
) -> None:
    """Change the golden outputs of one artifact in all runtimes, and set its tolerance."""

    def golden(tree: Any) -> None:
        for entry in tree["expected"]:
            if entry["artifact"] == artifact:
                array = decoded(entry["outputs"]["digit"])
                change(array)
                entry["outputs"]["digit"] = encoded(array)

    def manifest(tree: Any) -> None:
        for entry in tree["artifacts"]:
            if entry["id"] == artifact:
                entry["max_lsb"] = max_lsb

    edit(folder, "golden.json", golden)
    edit(folder, "manifest.json", manifest)
    Bundle.open(folder).verify()  # only the self-test can notice


def clearest(array: Any) -> int:
    """The sample with the largest margin."""
    ordered = np.sort(array.astype(float), axis=1)
    return int((ordered[:, -1] - ordered[:, -2]).argmax())


def weakest_class(by: int) -> Callable[[Any], None]:
    def change(array: Any) -> None:
        row = clearest(array)
        array[row, array[row].argmin()] += by

    return change


def verdicts(folder: Path, **choice: str) -> dict[tuple[str, str], str]:
    return {
        (c.artifact, c.runtime.split()[0]): c.verdict for c in runtime.selftest(folder, **choice)
    }


# ---- the real bundle


def test_a_fresh_bundle_is_exact_in_every_installed_runtime(bundle: Path) -> None:
    checks = runtime.selftest(bundle)
    assert {(c.artifact, c.runtime.split()[0]) for c in checks} == {
        *(("tflite-fp32", "ai-edge-litert"), ("tflite-fp32", "tflite-runtime")),
        *(("tflite-int8", "ai-edge-litert"), ("tflite-int8", "tflite-runtime")),
        *(("onnx-fp32", "onnxruntime"), ("onnx-int8", "onnxruntime")),
    }
    for check in checks:
        assert (check.verdict, check.lsb, check.differing, check.flips) == ("exact", 0, 0, 0), check
        assert check.values >= 80
        assert check.compared_with == check.runtime


def test_one_artifact_in_one_backend_is_one_check(bundle: Path) -> None:
    (check,) = runtime.selftest(bundle, artifact="tflite-int8", backend="tflite")
    assert check.runtime.startswith("tflite-runtime 2.14")


def test_a_change_within_the_tolerance_is_counted_and_accepted(copy: Path, edit: Edit) -> None:
    change_outputs(edit, copy, "tflite-int8", weakest_class(3), max_lsb=3)
    for check in runtime.selftest(copy, artifact="tflite-int8"):
        assert (check.verdict, check.lsb, check.differing) == ("within tolerance", 3, 1)


def test_a_change_beyond_the_tolerance_is_wrong(copy: Path, edit: Edit) -> None:
    change_outputs(edit, copy, "tflite-int8", weakest_class(4), max_lsb=3)
    for check in runtime.selftest(copy, artifact="tflite-int8"):
        assert (check.verdict, check.lsb, check.differing) == ("wrong", 4, 1)
    assert set(verdicts(copy, artifact="tflite-fp32").values()) == {"exact"}


@pytest.mark.parametrize("artifact", ["tflite-fp32", "onnx-fp32", "onnx-int8"])
def test_the_last_bit_of_a_float_is_seen(copy: Path, edit: Edit, artifact: str) -> None:
    def one_bit(array: Any) -> None:
        array[0, 0] = np.nextafter(array[0, 0], np.float32(2))

    change_outputs(edit, copy, artifact, one_bit, max_lsb=1)
    assert set(verdicts(copy, artifact=artifact).values()) == {"within tolerance"}
    change_outputs(edit, copy, artifact, lambda array: None, max_lsb=0)
    assert set(verdicts(copy, artifact=artifact).values()) == {"wrong"}


def test_a_float_beyond_its_tolerance_is_wrong(copy: Path, edit: Edit) -> None:
    change_outputs(edit, copy, "tflite-fp32", weakest_class(2.5 * FLOAT_LSB), max_lsb=2)
    for check in runtime.selftest(copy, artifact="tflite-fp32"):
        assert (check.verdict, check.lsb) == ("wrong", 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_expected_value_that_is_not_finite_is_wrong_and_nothing_crashes(
    copy: Path, edit: Edit, bad: float
) -> None:
    def put(array: Any) -> None:
        array[1, 2] = bad

    change_outputs(edit, copy, "onnx-fp32", put, max_lsb=1000)
    (check,) = runtime.selftest(copy, artifact="onnx-fp32")
    assert (check.verdict, check.differing) == ("wrong", 1)


def test_swapped_golden_outputs_are_wrong(copy: Path, edit: Edit) -> None:
    def swap(array: Any) -> None:
        array[:] = array[::-1].copy()

    change_outputs(edit, copy, "onnx-int8", swap, max_lsb=10)
    (check,) = runtime.selftest(copy, artifact="onnx-int8")
    assert check.verdict == "wrong"
    assert check.flips > 0


def test_swapped_golden_inputs_are_wrong_everywhere(copy: Path, edit: Edit) -> None:
    edit(copy, "golden.json", lambda tree: tree["inputs"].reverse())
    edit(copy, "manifest.json", lambda tree: None)
    assert set(verdicts(copy).values()) == {"wrong"}


def test_an_interpreter_that_cannot_load_an_artifact_does_not_hide_the_others(
    copy: Path, edit: Edit, reseal: Callable[[Path], None]
) -> None:
    from edgeward.runtime.files import sha256_bytes

    garbage = b"no model " * 1000
    (copy / "onnx-fp32.onnx").write_bytes(garbage)

    def describe(tree: Any) -> None:
        for entry in tree["artifacts"]:
            if entry["id"] == "onnx-fp32":
                entry.update(size=len(garbage), sha256=sha256_bytes(garbage))

    edit(copy, "manifest.json", describe)
    checks = {c.artifact: c for c in runtime.selftest(copy)}
    assert checks["onnx-fp32"].verdict == "wrong"
    assert checks["onnx-fp32"].lsb == -1
    assert "cannot load" in checks["onnx-fp32"].detail
    assert checks["onnx-int8"].verdict == "exact"


def test_an_older_runtime_that_never_ran_an_artifact_says_nothing_of_it(
    copy: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["edgeward.runtime.self_test"]
    opened = module.open_backend

    def refuse(artifact: Any, data: bytes, name: str) -> Any:
        if name == "tflite":
            raise TargetError("There is no such op.")
        return opened(artifact, data, name)

    monkeypatch.setattr(module, "open_backend", refuse)

    def verdicts(**chosen: str) -> list[str]:
        checks = runtime.selftest(copy, artifact="tflite-int8", **chosen)
        return [check.verdict for check in checks]

    # It was measured there: now it does not run, and that is wrong.
    assert verdicts() == ["exact", "wrong"]

    def without(tree: Any) -> None:
        tree["expected"] = [e for e in tree["expected"] if e["runtime"] != "tflite-runtime"]

    edit(copy, "golden.json", without)
    assert verdicts() == ["exact"]
    # Asked for by name, or alone, it still has to answer.
    assert verdicts(backend="tflite") == ["wrong"]


def test_a_runtime_of_another_version_is_compared_with_the_nearest_entry(
    copy: Path, edit: Edit
) -> None:
    def age(tree: Any) -> None:
        for entry in tree["expected"]:
            entry["version"] = "0.9"

    edit(copy, "golden.json", age)
    (check,) = runtime.selftest(copy, artifact="tflite-int8", backend="tflite")
    assert check.compared_with == "tflite-runtime 0.9"

    def only_litert(tree: Any) -> None:
        tree["expected"] = [e for e in tree["expected"] if e["runtime"] != "tflite-runtime"]

    edit(copy, "golden.json", only_litert)
    (check,) = runtime.selftest(copy, artifact="tflite-int8", backend="tflite")
    assert check.compared_with == "ai-edge-litert 0.9"


def test_a_bundle_without_golden_vectors_cannot_be_checked(copy: Path, edit: Edit) -> None:
    def unverified(tree: Any) -> None:
        for artifact in tree["artifacts"]:
            for drift in artifact["drift"]:
                drift.update(
                    verdict="unverified", reference=None, value=None, drop=None, upper_bound=None
                )

    def empty(tree: Any) -> None:
        tree.update(inputs=[], expected=[])

    edit(copy, "golden.json", empty)
    with pytest.raises(InvalidBundleError, match="no vectors"):
        Bundle.open(copy).verify()
    edit(copy, "manifest.json", unverified)
    Bundle.open(copy).verify()
    with pytest.raises(InvalidBundleError, match="no golden vectors"):
        runtime.selftest(copy)
    with pytest.raises(InvalidBundleError, match="no golden vectors"):
        benchmark(runtime.Predictor.open(copy), seconds=0.01)


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ({"artifact": "tflite-int4"}, UsageError),
        ({"backend": "tensorflow"}, UsageError),
        ({"backend": "onnx", "artifact": "tflite-int8"}, UsageError),
        ({"backend": "tflite", "artifact": "onnx-int8"}, UsageError),
    ],
    ids=str,
)
def test_a_choice_that_is_not_there_is_a_usage_error(
    bundle: Path, choice: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        runtime.selftest(bundle, **choice)
    assert not isinstance(caught.value, MissingExtraError)


def test_a_missing_runtime_is_named_with_the_command_that_installs_it(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "onnxruntime" else real(n, *a)
    )
    assert {c.artifact for c in runtime.selftest(bundle)} == {"tflite-fp32", "tflite-int8"}
    with pytest.raises(MissingExtraError, match=r"edgeward\[onnx\]"):
        runtime.selftest(bundle, backend="onnx")


# ---- the verdict itself, on prepared outputs


def check(
    vector_model: Callable[..., SimpleNamespace],
    expected: list[list[float]],
    actual: list[list[float]],
    *,
    dtype: str = "int8",
    max_lsb: int = 3,
) -> Check:
    wanted, given = np.array(expected, dtype), np.array(actual, dtype)
    model = vector_model(lambda x: given[int(x[0, 0])][None], dtype, max_lsb=max_lsb)
    inputs = [{"x": np.float32([i, 0, 0])} for i in range(len(expected))]
    golden = Golden(inputs, [Expected("tflite-fp32", "fake", "1.0", {"y": wanted})])
    return check_runner(model.runner, golden, golden.expected[0])


@pytest.mark.parametrize(
    ("expected", "actual", "verdict", "flips"),
    [
        ([10, 6, 0], [10, 6, 0], "exact", 0),
        ([10, 6, 0], [8, 7, 0], "within tolerance", 0),
        ([10, 6, 0], [7, 9, 0], "wrong", 1),  # margin 4 > 3: the decision must hold
        ([10, 7, 0], [8, 9, 0], "within tolerance", 0),  # margin 3: it may tip over
        ([10, 10, 0], [9, 10, 0], "within tolerance", 0),
        ([10, 6, 0], [10, 6, 4], "wrong", 0),
        ([100, 6, -128], [100, 6, 127], "wrong", 1),  # 255 apart, no wrap-around
    ],
)
def test_the_verdict_is_that_of_the_format(
    vector_model: Callable[..., SimpleNamespace],
    expected: list[float],
    actual: list[float],
    verdict: str,
    flips: int,
) -> None:
    steady = [50.0, 0.0, 0.0]
    found = check(vector_model, [steady, expected, steady], [steady, actual, steady])
    assert (found.verdict, found.flips) == (verdict, flips)
    assert found.values == 9
    assert found.lsb == max(abs(a - b) for a, b in zip(expected, actual, strict=True))


@pytest.mark.parametrize(
    ("expected", "actual", "max_lsb", "verdict"),
    [
        # Of 0.1 and 0.3 in float64 the margin would be 1.99999999, in float32 it is 2.00000007.
        (1, 3, 2, "wrong"),
        (1, 3, 3, "within tolerance"),
        (1, 2, 2, "within tolerance"),
        (1, 1, 2, "exact"),
        (0, 3, 2, "wrong"),
    ],
)
def test_margin_of_a_binary_output_is_taken_from_float32_as_in_java(
    fake_model: Callable[..., SimpleNamespace],
    expected: int,
    actual: int,
    max_lsb: int,
    verdict: str,
) -> None:
    wanted = np.array([[expected]], np.int8)
    model = fake_model(
        lambda inputs: {"y": np.array([[actual]], np.int8)},
        {
            "x": (
                InputSpec("tensor", "float32", (3,), ()),
                TensorSpec("x", "x:0", (1, 3), "float32", None, None),
            )
        },
        {
            "y": (
                OutputSpec("binary", None, 0.3),
                TensorSpec("y", "y:0", (1, 1), "int8", 0.1, 0),
            )
        },
        max_lsb=max_lsb,
    )
    inputs = [{"x": np.float32([0, 0, 0])}]
    golden = Golden(inputs, [Expected("tflite-fp32", "fake", "1.0", {"y": wanted})])
    found = check_runner(model.runner, golden, golden.expected[0])
    assert found.verdict == verdict


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_machine_that_computes_no_number_is_wrong_whatever_the_tolerance(
    vector_model: Callable[..., SimpleNamespace], bad: float
) -> None:
    good = [[0.1, 0.7, 0.2]] * 2
    broken = [[0.1, 0.7, 0.2], [0.1, 0.7, bad]]
    kind = {"dtype": "float32", "max_lsb": 10_000}
    assert check(vector_model, good, good, **kind).verdict == "exact"
    assert check(vector_model, good, broken, **kind).verdict == "wrong"


def test_an_expected_infinity_does_not_swallow_the_other_differences(
    vector_model: Callable[..., SimpleNamespace],
) -> None:
    expected = [[np.inf, 0.5, 0.25]]
    kind = {"dtype": "float32", "max_lsb": 1}
    assert check(vector_model, expected, expected, **kind).verdict == "exact"
    other = [[np.inf, 0.9, 0.25]]
    assert check(vector_model, expected, other, **kind).verdict == "wrong"


def test_minus_zero_is_not_bit_for_bit_zero(vector_model: Callable[..., SimpleNamespace]) -> None:
    found = check(vector_model, [[0.0, 1.0, 0.5]], [[-0.0, 1.0, 0.5]], dtype="float32", max_lsb=0)
    assert (found.verdict, found.lsb, found.differing) == ("within tolerance", 0, 1)


LIMIT_CASES = json.loads((REPOSITORY / "tests" / "golden" / "limits-v2.json").read_bytes())


def limited(
    vector_model: Callable[..., SimpleNamespace], case: dict[str, Any], max_lsb: int
) -> Check:
    """Check one answer among right ones, with limits on how many values may differ."""
    wanted = np.array([case["expected"]] * 3, case["dtype"])
    given = wanted.copy()
    given[1] = case["actual"]
    model = vector_model(lambda x: given[int(x[0, 0])][None], case["dtype"], max_lsb=max_lsb)
    model.runner.artifact = SimpleNamespace(
        **{**vars(model.artifact), "tolerance": {"y": [Limit(**one) for one in case["limits"]]}}
    )
    model.runner.outputs = {"y": OutputSpec("regression")}
    inputs = [{"x": np.float32([i, 0, 0])} for i in range(3)]
    golden = Golden(inputs, [Expected("tflite-fp32", "fake", "1.0", {"y": wanted})])
    return check_runner(model.runner, golden, golden.expected[0])


@pytest.mark.parametrize("case", LIMIT_CASES, ids=str)
def test_more_values_that_differ_than_the_limits_allow_are_wrong(
    vector_model: Callable[..., SimpleNamespace], case: dict[str, Any]
) -> None:
    found = limited(vector_model, case, 300)
    assert found.crowded == case["crowded"]
    assert found.verdict == ("wrong" if case["crowded"] else "within tolerance")
    # As FORMAT.md puts it: the differences sorted, the one at place ``values`` is at most ``lsb``.
    differences = lsb_difference(
        np.array(case["actual"], case["dtype"]), np.array(case["expected"], case["dtype"])
    )
    ordered = sorted(differences.tolist(), reverse=True)
    kept = all(ordered[one["values"]] <= one["lsb"] for one in case["limits"])
    assert kept is not case["crowded"]
    # Limits forgive nothing that max_lsb does not.
    assert limited(vector_model, case, 0).verdict == "wrong"


def test_outputs_of_another_shape_or_dtype_are_no_match() -> None:
    one = np.zeros((2, 3), np.int8)
    assert lsb_difference(one, one).tolist() == [[0, 0, 0]] * 2
    for other in (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.int8), np.zeros(6, np.int8)):
        with pytest.raises(InvalidBundleError, match="cannot be compared"):
            lsb_difference(other, one)


@pytest.mark.parametrize(
    ("expected", "actual", "lsb"),
    [
        (0.5, 0.5, 0),
        (0.5, 0.5 + FLOAT_LSB, 1),
        (0.5, 0.5 + 1.01 * FLOAT_LSB, 2),
        (0.5, np.nextafter(np.float32(0.5), np.float32(1)), 1),
        (1000.0, 1000.0 + 1000 * FLOAT_LSB, 1),
        (1000.0, 1000.1, 14),
        (1e30, -1e30, 2**18),
        (0.0, 3e38, 2**31),
        (0.0, np.nan, 2**31),
    ],
)
def test_a_float_difference_is_counted_in_lsb_of_the_largest_value(
    expected: float, actual: float, lsb: int
) -> None:
    assert lsb_difference(np.float32([actual]), np.float32([expected])).tolist() == [lsb]


@pytest.mark.parametrize(("low", "high"), [(-128, 127), (0, 255)])
def test_an_integer_difference_does_not_wrap(low: int, high: int) -> None:
    dtype = np.int8 if low else np.uint8
    assert lsb_difference(np.array([low], dtype), np.array([high], dtype)).tolist() == [255]
