"""Which parts of its input decided a model's answer: numbers per pixel, word or feature.

Two methods, both made of gradients of the answer's log-odds alone:

- **HiResCAM** (Draelos and Carin 2020, arXiv:2011.08891) for images and models with a 2-D
  convolution: gradient times activation at the last convolution whose map is at least 7 x 7, with
  its sign. It is Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) without averaging the gradient
  over the map, and equal to it (but for Grad-CAM's ReLU) where the model itself averages the map.
  Where the map is flattened instead, as in every recipe here, Grad-CAM's average forgets the
  place: on images that one patch decides, it put no more of its heat there than chance
  (tests/train/explain/test_explain.py).
- **Integrated gradients** (Sundararajan et al. 2017, arXiv:1703.01365) otherwise: gradient times
  input, averaged over the path from an input that says nothing. The weights add up to what this
  input changes in the score, also where the gradient at the input itself is saturated.

Log-odds, because the gradient of a saturated softmax vanishes, and because a constant added to
every logit changes no answer and must change no weight.

No library: tf-keras-vis is for Keras 2 and rests since 2024; xplique 2.0 wants TensorFlow <= 2.20
and numpy >= 2; eli5 has Grad-CAM alone; shap has no maps of convolutions and brings numba and
pandas; captum is for PyTorch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidModelError
from edgeward.runtime.specs import OutputSpec
from edgeward.runtime.steps import Affine, Sigmoid, Softmax
from edgeward.train.explain.convolution import spread, traced_map
from edgeward.train.explain.probe import Call, replaced, trace

__all__ = ["HIRESCAM", "INTEGRATED", "Attribution", "attribute"]

HIRESCAM = "HiResCAM"

INTEGRATED = "integrated gradients"

# Points on the path: the sum of the weights misses the change of the score by about a percent.
_STEPS = 32

_SMALLEST = 1e-7


@dataclass(frozen=True)
class Attribution:
    """What decided N answers.

    Args:
        method: ``HIRESCAM`` or ``INTEGRATED``.
        layer: Name of the layer whose output was looked at; None is the input itself.
        weights: N float32 arrays, > 0 for the answer, < 0 against it: [H, W] per pixel of a
            preprocessed image, else the shape of the preprocessed sample. Unit: log-odds of the
            answer; that of the target in a regression.
        without: The score of each answer for the input that says nothing, which the weights add
            up from; None for ``HIRESCAM``. A model has a default answer: where the weights are
            small, it is that.
    """

    method: str
    layer: str | None
    weights: tuple[Floats, ...]
    without: tuple[float, ...] | None


def attribute(
    model: keras.Model,
    spec: OutputSpec,
    tensors: Array,
    answers: Array,
    *,
    kind: str,
    nothing: float = 0,
    tick: Callable[[], None] = lambda: None,
) -> Attribution:
    """Find what decided a model's answers.

    Args:
        model: Of one input and one output.
        spec: The output.
        tensors: Preprocessed samples [N, ...].
        answers: Class index (0 or 1 for ``binary``) of each sample, int [N]; ignored for a
            regression, of which the sum of the outputs is explained.
        kind: ``image``, ``text`` or ``tensor``.
        nothing: Value that fills the input that says nothing: the padding of a text.
        tick: Called before each sample.

    Raises:
        InvalidModelError: The model's answer has no gradient: integer inputs that no layer turns
            into numbers, or an operation without derivative.
    """
    calls = trace(model, tensors[:1])
    score = _score(model, spec, calls, tensors[:1])
    target = traced_map(calls, tensors.shape[1:]) if tensors.ndim == 4 else None
    if target is not None and _hirescam(score, target.call.layer, tensors[:1], 0) is None:
        target = None  # the answer does not come from that map
    point = None if target is not None else _entry(calls, tensors, kind)
    walk = _walker(score, point, nothing)
    found: list[Floats] = []
    for sample, answer in zip(tensors, answers.tolist(), strict=True):
        tick()
        if target is not None:
            place = _hirescam(score, target.call.layer, sample[None], answer)
            weights: Any = spread(np.asarray(place), target, sample.shape[:2])
        else:
            walked = walk(tf.constant(sample[None]), tf.constant(answer))
            if walked is None:
                raise InvalidModelError(
                    "The model's answer has no gradient: nothing can be said of what decided it.",
                    fix="operations with a derivative between input and output",
                )
            weights = walked.numpy()
            weights = weights.sum(axis=-1) if kind == "image" else weights
        if not np.isfinite(weights).all():
            raise InvalidModelError("The gradient of the model's answer is not finite.")
        found.append(weights.astype(np.float32))
    if target is not None:
        return Attribution(HIRESCAM, target.call.layer.name, tuple(found), None)
    empty = np.full_like(tensors[:1], nothing)
    without = tuple(float(score(empty, answer)[0]) for answer in answers.tolist())
    return Attribution(INTEGRATED, None if point is None else point.name, tuple(found), without)


def _hirescam(score: Any, layer: Any, sample: Array, answer: int) -> Floats | None:
    """Return the evidence per place, float32 [h, w]; None without a gradient."""
    seen: list[Any] = []
    original = layer.call
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def call(*arguments: Any, **named: Any) -> Any:
            activation = original(*arguments, **named)
            tape.watch(activation)
            seen.append(activation)
            return activation

        with replaced(layer, "call", call):
            value = tf.reduce_sum(score(sample, answer))
    gradient = tape.gradient(value, seen[-1])
    if gradient is None:
        return None
    return np.asarray(tf.reduce_sum(gradient * seen[-1], axis=-1)[0])


def _walker(score: Any, layer: Any | None, nothing: float) -> Any:
    """Return a function of (sample [1, ...], answer) to weights of the sample's own shape.

    The weights are None where the answer has no gradient.

    The path is walked at the input, or at the output of the first layer that makes numbers of
    integers: between two words there is nothing, between their embeddings there is.
    """

    # One graph for all samples: 200 steps of an LSTM, one by one, take three seconds.
    @tf.function  # type: ignore[untyped-decorator]
    def walk(sample: Any, answer: Any) -> Any:
        first, last = tf.fill(tf.shape(sample), tf.cast(nothing, sample.dtype)), sample
        if layer is not None:
            first, last = (_output(score, layer, each, answer) for each in (first, last))
        share = (np.arange(_STEPS, dtype=np.float32) + 0.5) / _STEPS
        path = first + share.reshape(-1, *[1] * (len(first.shape) - 1)) * (last - first)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(path)
            if layer is None:
                values = score(path, answer)
            else:
                with replaced(layer, "call", lambda *_arguments, **_named: path):
                    values = score(tf.repeat(sample, _STEPS, axis=0), answer)
            value = tf.reduce_sum(values)
        gradient = tape.gradient(value, path)
        if gradient is None:
            return None
        weights = (tf.reduce_mean(gradient, axis=0, keepdims=True) * (last - first))[0]
        if len(weights.shape) > len(sample.shape) - 1:
            weights = tf.reduce_sum(weights, axis=-1)
        return weights

    return walk


def _output(score: Any, layer: Any, sample: Any, answer: Any) -> Any:
    """Return what a layer makes of a sample on its way through the model."""
    seen: list[Any] = []
    original = layer.call

    def call(*arguments: Any, **named: Any) -> Any:
        seen.append(original(*arguments, **named))
        return seen[-1]

    with replaced(layer, "call", call):
        score(sample, answer)
    return seen[0]


def _entry(calls: list[Call], tensors: Array, kind: str) -> Any | None:
    """Return the layer that makes numbers of an integer input; None for an input of numbers.

    Raises:
        InvalidModelError: There is none.
    """
    if tensors.dtype.kind == "f":
        return None
    shape = tuple(tensors.shape[1:])
    for call in calls:
        inner = call.shape[1:]
        same = inner == shape and kind != "text"  # ids made floats are still only names
        if call.floating and (same or (inner[:-1] == shape)):
            return call.layer
    raise InvalidModelError(
        "Integers have no gradient, and no layer of the model makes numbers of each of them.",
        received=f"input {tensors.dtype} {list(shape)}",
        expected=f"a layer such as Embedding, from {list(shape)} to {[*shape, 'numbers']}",
    )


def _score(model: keras.Model, spec: OutputSpec, calls: list[Call], sample: Array) -> Any:
    """Return a function of (inputs, answer) to the answer's score, float32 [N]."""

    def outputs(inputs: Any) -> Any:
        return tf.cast(model(inputs, training=False), tf.float32)

    def number(inputs: Any, _answer: Any) -> Any:
        values = outputs(inputs)
        for step in spec.postprocessing:
            if isinstance(step, Affine):
                values = values * tf.constant(step.scale, tf.float32) + tf.constant(
                    step.offset, tf.float32
                )
        return tf.reduce_sum(values, axis=list(range(1, len(values.shape))))

    if spec.task == "regression":
        return number
    logits = any(isinstance(step, Sigmoid | Softmax) for step in spec.postprocessing)
    stripped = None if logits else _stripped(model, calls, sample)

    def odds(inputs: Any, answer: Any) -> Any:
        with contextlib.ExitStack() as stack:
            if stripped is not None:
                stack.enter_context(stripped.made())
            values = outputs(inputs)
        values = tf.reshape(values, (-1, math.prod(values.shape[1:])))
        if spec.task == "binary":
            value = values[:, 0]
            if not (logits or stripped):
                value = tf.math.log(value + _SMALLEST) - tf.math.log(1 - value + _SMALLEST)
            return value * tf.cast(2 * answer - 1, tf.float32)
        if not (logits or stripped):
            values = tf.math.log(values + _SMALLEST)
        if values.shape[1] == 1:
            return values[:, 0]
        # log p/(1-p) of a softmax: its logit against all others together.
        chosen = tf.one_hot(answer, values.shape[1], on_value=True, off_value=False)
        others = tf.where(chosen, float("-inf"), values)
        return tf.gather(values, answer, axis=1) - tf.reduce_logsumexp(others, axis=1)

    return odds


@dataclass(frozen=True)
class _Replacement:
    """Another attribute for a layer: see ``probe.replaced``."""

    layer: Any
    name: str
    value: Any

    def made(self) -> contextlib.AbstractContextManager[None]:
        """Replace it in the body."""
        return replaced(self.layer, self.name, self.value)


def _stripped(model: keras.Model, calls: list[Call], sample: Array) -> _Replacement | None:
    """Return the replacement that takes the last softmax or sigmoid away, if there is one.

    None where what remains is not what the activation makes the output of: then the logits are
    the logarithms of the probabilities, which has a gradient until they round to 1.
    """
    last = calls[-1].layer if calls else None
    if isinstance(last, keras.layers.Softmax):
        replacement = _Replacement(last, "call", lambda inputs, *_rest, **_named: inputs)
        activation: Any = keras.activations.softmax
    elif getattr(last, "activation", None) in (
        keras.activations.softmax,
        keras.activations.sigmoid,
    ):
        replacement = _Replacement(last, "activation", keras.activations.linear)
        activation = getattr(last, "activation", None)
    else:
        return None
    wanted = np.asarray(model(sample, training=False))
    with replacement.made():
        found = np.asarray(activation(model(sample, training=False)))
    same = found.shape == wanted.shape and np.allclose(found, wanted, atol=1e-5)
    return replacement if same else None
