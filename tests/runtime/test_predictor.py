"""Raw samples in, answers out: real interpreters, and a fake one through the seam."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeward import runtime
from edgeward.runtime import predictor as runtime_predictor
from edgeward.runtime.artifact import TensorSpec
from edgeward.runtime.backends import BACKENDS, available_backends, open_backend
from edgeward.runtime.backends.tflite import TfliteBackend
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import (
    EdgewardError,
    InvalidBundleError,
    InvalidDataError,
    MissingExtraError,
    TargetError,
    UsageError,
)
from edgeward.runtime.manifest import Affine, InputSpec, Lookup, OutputSpec, Pad, Sigmoid, Tokenize
from edgeward.runtime.predictor import Predictor
from edgeward.runtime.samples import Samples

WAYS = [
    *(("litert", "tflite-int8"), ("litert", "tflite-fp32"), ("tflite", "tflite-int8")),
    *(("tflite", "tflite-fp32"), ("onnx", "onnx-int8"), ("onnx", "onnx-fp32")),
]
COUNT = 400


@pytest.fixture(params=WAYS, ids=lambda way: "-on-".join(reversed(way)))
def predictor(request: pytest.FixtureRequest, bundle: Path) -> Predictor:
    backend, artifact = request.param
    pytest.importorskip(BACKENDS[backend][1])
    return Predictor.open(bundle, artifact=artifact, backend=backend)


@pytest.fixture(scope="session")
def digits(split: Samples) -> Any:
    return split.inputs["image"]


# ---- real interpreters


def test_predict_gives_what_predict_batch_gives(predictor: Predictor, digits: Any) -> None:
    few = digits[:67]  # two full batches and a rest
    together = predictor.predict_batch(few)
    alone = [predictor.predict(image) for image in few]
    assert [p.index for p in together] == [p.index for p in alone]
    assert [p.label for p in together] == [p.label for p in alone]
    # Kernels for a batch may sum in another order; an int8 answer has no room for that.
    tolerance = 0 if "int8" in predictor.runner.artifact.id else 1e-5
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.values - other.values).max() <= tolerance
    assert [p.index for p in together] != [p.index for p in alone[1:] + alone[:1]]


def test_every_artifact_in_every_runtime_names_the_digits(
    predictor: Predictor, digits: Any, split: Samples
) -> None:
    found = np.array([p.index for p in predictor.predict_batch(digits[:COUNT])])
    wanted = split.targets["digit"][:COUNT]
    assert (found == wanted).mean() > 0.9
    assert (found == np.roll(wanted, 1)).mean() < 0.3
    assert predictor.predict(digits[0]).label == str(wanted[0])


def test_all_backends_agree_on_the_labels(bundle: Path, digits: Any) -> None:
    answers = {}
    for backend, artifact in WAYS:
        opened = Predictor.open(bundle, artifact=artifact, backend=backend)
        assert opened.runner.backend.runtime == BACKENDS[backend][0]
        answers[backend, artifact] = [p.label for p in opened.predict_batch(digits[:COUNT])]
    reference = answers["litert", "tflite-fp32"]
    for way, labels in answers.items():
        differing = sum(a != b for a, b in zip(labels, reference, strict=True))
        assert differing <= 0.015 * COUNT, way
    # The same int8 file gives the same labels up to documented kernel differences.
    pairs = zip(answers["litert", "tflite-int8"], answers["tflite", "tflite-int8"], strict=True)
    assert sum(a != b for a, b in pairs) <= 0.005 * COUNT


def test_an_image_of_any_size_and_of_three_channels_is_taken(
    predictor: Predictor, digits: Any
) -> None:
    small = digits[0]
    large = np.repeat(np.repeat(small, 10, axis=0), 10, axis=1)
    colour = np.repeat(large, 3, axis=2)
    labels = {predictor.predict(image).label for image in (small, large, colour)}
    assert len(labels) == 1
    assert predictor.predict(np.uint8(255) - small).values.tolist() != (
        predictor.predict(small).values.tolist()
    )


def test_a_prediction_holds_values_index_label_and_score(predictor: Predictor, digits: Any) -> None:
    prediction = predictor.predict(digits[0])
    decoded = prediction["digit"]
    assert prediction.values is decoded.values
    assert decoded.values.dtype == np.float32
    assert decoded.values.shape == (10,)
    assert decoded.score == decoded.values.max() == decoded.values[decoded.index]
    assert decoded.values.sum() == pytest.approx(1, abs=0.02)
    with pytest.raises(AttributeError):
        prediction.nonsense  # noqa: B018


def test_several_threads_get_the_answers_of_one(predictor: Predictor, digits: Any) -> None:
    few = digits[:120]
    alone = [predictor.predict(image).values.tobytes() for image in few]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: predictor.predict(image).values.tobytes(), few))
    assert together == alone
    assert len(set(alone)) > 10  # a mix-up would be seen


def fake_tflite_module(shape: tuple[int, ...] = (1, 3)) -> Any:
    """An interpreter module that echoes its input, slowly enough for two threads to meet in it."""

    class Interpreter:
        def __init__(self, **options: Any) -> None:
            self.memory = np.zeros(shape, np.float32)

        def detail(self, name: str) -> list[dict[str, Any]]:
            return [
                {
                    "name": name,
                    "dtype": np.float32,
                    "shape": shape,
                    "quantization": (0, 0),
                    "index": 0,
                }
            ]

        def get_input_details(self) -> list[dict[str, Any]]:
            return self.detail("x:0")

        def get_output_details(self) -> list[dict[str, Any]]:
            return self.detail("y:0")

        def allocate_tensors(self) -> None:
            pass

        def set_tensor(self, index: int, value: Any) -> None:
            self.memory = value.copy()

        def invoke(self) -> None:
            time.sleep(0.002)

        def get_tensor(self, index: int) -> Any:
            return self.memory.copy()

    return SimpleNamespace(Interpreter=Interpreter)


@pytest.mark.parametrize("locked", [True, False])
def test_the_lock_is_what_keeps_threads_apart(
    vector_model: Callable[..., SimpleNamespace], locked: bool
) -> None:
    artifact = vector_model().artifact
    backend = TfliteBackend(artifact, b"", "numpy", fake_tflite_module(), "default")
    if not locked:
        backend._lock = contextlib.nullcontext()
    inputs = [np.full((1, 3), i, np.float32) for i in range(40)]
    barrier = threading.Barrier(4)

    def work(part: int) -> bool:
        barrier.wait()
        return all(backend.run({"x": x})["y"].tobytes() == x.tobytes() for x in inputs[part::4])

    with ThreadPoolExecutor(4) as pool:
        right = all(list(pool.map(work, range(4))))
    assert right == locked


# ---- choosing artifact and backend


def test_the_default_artifact_and_the_preferred_backend_are_taken(bundle: Path) -> None:
    opened = Predictor.open(bundle)
    assert opened.runner.artifact.id == opened.bundle.manifest.default == "tflite-int8"
    assert opened.runner.backend.runtime == "ai-edge-litert"


def test_a_backend_alone_chooses_the_int8_artifact_that_it_can_run(bundle: Path) -> None:
    assert Predictor.open(bundle, backend="onnx").runner.artifact.id == "onnx-int8"
    assert Predictor.open(bundle, backend="tflite").runner.artifact.id == "tflite-int8"


def test_an_opened_bundle_a_path_and_a_text_are_taken(bundle: Path) -> None:
    for form in (bundle, str(bundle), Bundle.open(bundle)):
        assert Predictor.open(form).bundle.manifest.name == "mnist_cnn"


@pytest.mark.parametrize(
    "choice",
    [
        {"artifact": "tflite-int4"},
        {"artifact": ""},
        {"artifact": "tflite-int16x8"},
        {"backend": "tensorflow"},
        {"artifact": "onnx-int8", "backend": "tflite"},
        {"artifact": "tflite-int8", "backend": "onnx"},
    ],
    ids=str,
)
def test_an_artifact_or_backend_that_is_not_there_is_a_usage_error(
    bundle: Path, choice: dict[str, str]
) -> None:
    with pytest.raises(UsageError) as caught:
        Predictor.open(bundle, **choice)
    assert caught.value.exit_code == 2
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("hidden", "choice", "extra"),
    [
        (("ai_edge_litert", "tflite_runtime"), {}, r"edgeward\[litert\]"),
        (("onnxruntime",), {"artifact": "onnx-fp32"}, r"edgeward\[onnx\]"),
        (("onnxruntime",), {"backend": "onnx"}, r"edgeward\[onnx\]"),
        (("tflite_runtime",), {"backend": "tflite"}, r"edgeward\[tflite\]"),
    ],
    ids=str,
)
def test_a_missing_interpreter_is_named_with_the_command_that_installs_it(
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    hidden: tuple[str, ...],
    choice: dict[str, str],
    extra: str,
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n in hidden else real(n, *a)
    )
    with pytest.raises(MissingExtraError, match=extra):
        Predictor.open(bundle, **choice)


def test_where_litert_is_missing_tflite_runtime_is_taken(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, digits: Any
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "ai_edge_litert" else real(n, *a)
    )
    assert available_backends("tflite") == ["tflite"]
    opened = Predictor.open(bundle)
    assert opened.runner.backend.runtime == "tflite-runtime"
    assert opened.predict(digits[0]).label is not None


@pytest.mark.parametrize(("backend", "artifact"), WAYS)
def test_bytes_that_are_no_model_are_an_error_of_ours(
    bundle: Path, backend: str, artifact: str
) -> None:
    described = Bundle.open(bundle).manifest.artifact(artifact)
    for data in (b"", b"x", b"no model at all " * 100):
        with pytest.raises(TargetError, match="cannot load"):
            open_backend(described, data, backend)


@pytest.mark.parametrize(("backend", "artifact"), [w for w in WAYS if "int8" in w[1]])
def test_a_manifest_that_describes_another_model_is_refused(
    bundle: Path, backend: str, artifact: str
) -> None:
    opened = Bundle.open(bundle)
    described = opened.manifest.artifact(artifact)
    data = opened.artifact_bytes(described)
    open_backend(described, data, backend)  # the twin
    (spec,) = described.inputs
    others: list[TensorSpec] = [
        replace(spec, tensor="other"),
        replace(spec, shape=(*spec.shape[:-1], 3)),
        replace(spec, dtype="uint8", scale=None, zero_point=None),
    ]
    if spec.scale is not None:
        others += [replace(spec, scale=spec.scale * 2), replace(spec, zero_point=5)]
    for other in others:
        with pytest.raises(InvalidBundleError, match="manifest"):
            open_backend(replace(described, inputs=(other,)), data, backend)


def test_a_bundle_that_a_killed_writer_left_aside_is_found(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidBundleError, match="no such bundle"):
        Predictor.open(tmp_path / "b")
    shutil.copytree(bundle, tmp_path / ".b.previous")
    assert Predictor.open(tmp_path / "b").bundle.manifest.name == "mnist_cnn"


# ---- samples that do not fit


@pytest.mark.parametrize(
    "raw",
    [
        np.zeros((28, 28), np.uint8),
        np.zeros((28, 28, 2), np.uint8),
        np.zeros((28, 28, 1), np.float32),
        np.full((28, 28, 1), np.nan, np.float32),
        "text",
        b"bytes",
        None,
        [[1], [1, 2]],
        {},
        {"picture": np.zeros((28, 28, 1), np.uint8)},
        {"image": np.zeros((28, 28, 1), np.uint8), "more": 1},
    ],
)
def test_a_sample_that_does_not_fit_is_an_error_of_ours(bundle: Path, raw: Any) -> None:
    opened = Predictor.open(bundle)
    assert opened.predict({"image": np.zeros((28, 28, 1), np.uint8)}).label  # the twin
    with pytest.raises(InvalidDataError):
        opened.predict(raw)


@pytest.mark.parametrize(
    "raws",
    [
        [],
        np.zeros((0, 28, 28, 1), np.uint8),
        np.array(3, np.uint8),
        np.zeros((28, 28), np.uint8),
        [np.zeros((28, 28, 1), np.uint8), np.zeros((29, 28, 1), np.uint8)],
        [[[1], [1, 2]], [[1], [1, 2]]],
        ["a", "b"],
        {},
        {"image": []},
        {"image": np.zeros((0, 28, 28, 1), np.uint8)},
        {"picture": np.zeros((2, 28, 28, 1), np.uint8)},
    ],
)
def test_a_batch_that_does_not_fit_is_an_error_of_ours(bundle: Path, raws: Any) -> None:
    opened = Predictor.open(bundle)
    assert len(opened.predict_batch([np.zeros((28, 28, 1), np.uint8)] * 3)) == 3  # the twin
    with pytest.raises(InvalidDataError):
        opened.predict_batch(raws)


def test_the_bad_sample_of_a_large_batch_is_named_by_its_number(
    vector_model: Callable[..., SimpleNamespace],
) -> None:
    batch = np.zeros((2500, 3), np.float32)
    assert len(vector_model().predictor.predict_batch(batch)) == 2500
    batch[2222, 1] = np.inf
    with pytest.raises(InvalidDataError, match="sample 2222 "):
        vector_model().predictor.predict_batch(batch)


# ---- a fake backend through the seam


def test_the_seam_takes_any_backend(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, digits: Any
) -> None:
    given = []

    class Backend:
        runtime, version = "fake", "1"

        def run(self, inputs: Any) -> Any:
            given.append(inputs)
            answer = np.full((1, 10), -128, np.int8)
            answer[0, 4] = 100
            return {"digit": answer}

    monkeypatch.setattr(runtime_predictor, "open_backend", lambda *a, **k: Backend())
    prediction = Predictor.open(bundle).predict(digits[0])
    assert prediction.label == "4"
    assert prediction.score == np.float32(228 / 256)
    assert given[0]["image"].dtype == np.int8
    # Of 28 x 28 pixels in 0..1 with scale 1/255 and zero point -128: the pixel minus 128.
    assert np.array_equal(given[0]["image"][0].astype(int), digits[0].astype(int) - 128)


def two_outputs(fake_model: Callable[..., SimpleNamespace], **more: Any) -> SimpleNamespace:
    def answer(inputs: Any) -> Any:
        x, words = inputs["x"], inputs["words"]
        return {
            "sign": (x.sum(axis=1, keepdims=True)).astype(np.float32),
            "sum": words.sum(axis=1, keepdims=True).astype(np.float32),
        }

    text = InputSpec("text", "uint8", (None,), (Tokenize(), Lookup(), Pad(4)))
    vector = InputSpec("tensor", "float32", (2,), (Affine(2.0),))
    return fake_model(
        answer,
        {
            "x": (vector, TensorSpec("x", "x", (1, 2), "float32")),
            "words": (text, TensorSpec("words", "w", (1, 4), "int32")),
        },
        {
            "sign": (
                OutputSpec("binary", ("minus", "plus"), 0.5, (Sigmoid(),)),
                TensorSpec("sign", "s", (1, 1), "float32"),
            ),
            "sum": (
                OutputSpec("regression", postprocessing=(Affine(10.0),)),
                TensorSpec("sum", "t", (1, 1), "float32"),
            ),
        },
        vocabularies={"vocabulary.txt": b"\n\na\nb\n"},
        **more,
    )


def test_a_model_with_two_inputs_and_two_outputs_is_answered_by_name(
    fake_model: Callable[..., SimpleNamespace],
) -> None:
    predictor = two_outputs(fake_model).predictor
    prediction = predictor.predict({"x": np.float32([1, 0.5]), "words": "B, a b!"})
    assert prediction["sign"].label == "plus"
    assert prediction["sign"].index == 1
    assert prediction["sign"].score == pytest.approx(1 / (1 + np.exp(-3)))
    assert prediction["sum"].values.tolist() == [80.0]
    assert prediction["sum"].label is None
    with pytest.raises(AttributeError, match="name one"):
        prediction.label  # noqa: B018
    with pytest.raises(KeyError):
        prediction["other"]
    negative = predictor.predict({"x": np.float32([-1, 0.5]), "words": ""})
    assert negative["sign"].label == "minus"


@pytest.mark.parametrize("batch", ["static", "resizable"])
def test_a_batch_of_two_inputs_gives_what_single_samples_give(
    fake_model: Callable[..., SimpleNamespace], batch: str
) -> None:
    model = two_outputs(fake_model, batch=batch)
    xs = np.random.default_rng(1).normal(size=(70, 2)).astype(np.float32)
    words = [b"a b" if i % 3 else b"b b b" for i in range(70)]
    together = model.predictor.predict_batch({"x": xs, "words": words})
    sizes = {len(inputs["x"]) for inputs in model.backend.seen}
    assert sizes == ({32} if batch == "resizable" else {1})
    for i in range(70):
        alone = model.predictor.predict({"x": xs[i], "words": words[i]})
        assert alone["sign"] == together[i]["sign"] or np.array_equal(
            alone["sign"].values, together[i]["sign"].values
        )
        assert alone["sum"].values.tolist() == together[i]["sum"].values.tolist()


def test_columns_of_different_length_are_refused(
    fake_model: Callable[..., SimpleNamespace],
) -> None:
    predictor = two_outputs(fake_model).predictor
    good = {"x": np.zeros((2, 2), np.float32), "words": [b"a", b"b"]}
    assert len(predictor.predict_batch(good)) == 2
    for words in ([b"a"], [b"a"] * 3, []):
        with pytest.raises(InvalidDataError, match="same number"):
            predictor.predict_batch({**good, "words": words})


def test_one_unnamed_sample_for_two_inputs_is_a_usage_error(
    fake_model: Callable[..., SimpleNamespace],
) -> None:
    with pytest.raises(UsageError, match="several inputs"):
        two_outputs(fake_model).predictor.predict(np.zeros(2, np.float32))


def test_ties_take_the_lowest_index_and_positive_means_at_least_the_threshold(
    vector_model: Callable[..., SimpleNamespace], fake_model: Callable[..., SimpleNamespace]
) -> None:
    predictor = vector_model().predictor
    assert predictor.predict(np.float32([1, 1, 1])).index == 0
    assert predictor.predict(np.float32([0, 1, 1])).label == "b"
    binary = two_outputs(fake_model).predictor
    at = {"x": np.float32([0, 0]), "words": ""}
    assert binary.predict(at)["sign"].score == 0.5
    assert binary.predict(at)["sign"].index == 1
    below = {"x": np.float32([-1e-6, 0]), "words": ""}
    assert binary.predict(below)["sign"].index == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_no_answer(
    vector_model: Callable[..., SimpleNamespace], bad: float
) -> None:
    model = vector_model(lambda x: x * np.float32(bad))
    with pytest.raises(InvalidDataError, match="not finite"):
        model.predictor.predict(np.float32([1, 2, 3]))


# ---- what `import runtime` does


HEAVY = (
    "tensorflow keras onnxruntime ai_edge_litert tflite_runtime PIL scipy rich onnx train convert "
    "edgeward.train edgeward.convert"
)


@pytest.mark.parametrize(
    "module", ["edgeward", "edgeward.runtime", "edgeward.runtime.cli", "edgeward.runtime.edgeward"]
)
def test_importing_the_runtime_loads_nothing_heavy(
    run_python: Callable[..., Any], module: str
) -> None:
    code = f"import {module}, sys; print([m for m in {HEAVY.split()} if m in sys.modules])"
    done = run_python("-c", code)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_loading_something_heavy_would_be_noticed(run_python: Callable[..., Any]) -> None:
    code = "import edgeward.runtime, sys, onnxruntime;"
    code += f"print([m for m in {HEAVY.split()} if m in sys.modules])"
    assert "onnxruntime" in run_python("-c", code).stdout


def test_the_contracts_need_the_standard_library_only(run_python: Callable[..., Any]) -> None:
    code = (
        "import sys, edgeward.runtime.manifest, edgeward.runtime.files;"
        "print('numpy' in sys.modules)"
    )
    done = run_python("-c", code)
    assert done.stdout.strip() == "False", done.stderr


def test_the_package_exports_what_it_says() -> None:
    assert runtime.__all__ == sorted(runtime.__all__)
    for name in runtime.__all__:
        assert hasattr(runtime, name)
    assert issubclass(runtime.EdgewardError, Exception)
    assert runtime.EdgewardError is EdgewardError
