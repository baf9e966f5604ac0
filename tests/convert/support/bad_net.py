"""A depthwise net whose plain int8 fails: the same answers in float, badly scaled channels.

Channel i of each depthwise layer is multiplied by s_i, and what the pointwise kernel after it
expects of that channel is divided by s_i. ReLU keeps this exact, so the float model is the one
that was trained; int8 gives all channels of a tensor one scale: the small ones become zero.
This is what makes MobileNets lose accuracy (Nagel et al. 2019, section 3.1).

With ReLU6, whose bound does not scale, nobody can undo it (``six``): such a net has to be tuned.

The trained weights are kept beside the tests: a training ends elsewhere on another processor, and
with it the points that int8 loses. ``--train`` makes them again.

    python tests/convert/support/bad_net.py FOLDER [SPREAD [six]] [--train]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.specs import InputSpec
from edgeward.runtime.steps import Affine

FILES = (
    *("bad.keras", "preprocessing.json"),
    *("calibration.npz", "distil.npz", "validation.npz", "test.npz"),
)
INPUT = InputSpec(
    kind="image", dtype="uint8", shape=(28, 28, 1), preprocessing=(Affine(1 / 255, 0.0),)
)
WEIGHTS = Path(__file__).parents[2] / "data" / "bad_net_weights.npz"
SPREAD = 130.0


def write_bad_net(
    folder: Path,
    data: Any = None,
    *,
    spread: float = SPREAD,
    epochs: int = 3,
    six: bool = False,
) -> float:
    """Train a depthwise net on real MNIST, scale its channels badly, write what a user has.

    Args:
        folder: Gets ``FILES``; the samples are raw digits, as ``docs/your-own-model.md`` has them.
        data: A ``train.datasets.dataset.Dataset`` to train on; None takes the committed subset, and
            the weights that a training on it gave.
        spread: Ratio of the largest to the smallest channel factor; 1 leaves the net as it is.
        epochs: Passes over the training split and its four shifted copies.
        six: Bound the scaled layers by ReLU6, far enough from it to change no answer.

    Returns:
        The float model's accuracy on the test split.
    """
    from edgeward.train.datasets import mnist

    read = data or mnist.load(mnist.SUBSET, lambda _line: None)
    splits = {name: samples(getattr(read, name)) for name in ("train", "validation", "test")}
    if data is None:
        model = build()
        with np.load(WEIGHTS) as kept:
            model.set_weights([kept[name] for name in kept.files])
    else:
        model = trained(*splits["train"], epochs=epochs)
    scale_channels(model, spread)
    if six:
        bound_channels(model, splits["train"][0])
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "bad.keras")
    x, y = splits["train"]
    np.savez(folder / "calibration.npz", x=x[:2000])
    np.savez(folder / "distil.npz", x=x)  # for --distil: all training digits, without labels
    for name in ("validation", "test"):
        x, y = splits[name]
        np.savez(folder / f"{name}.npz", x=x, y=y)
    (folder / "preprocessing.json").write_text(json.dumps({"inputs": {"image": INPUT.to_json()}}))
    values = model.predict(x / np.float32(255), batch_size=500, verbose=0)
    return float((values.argmax(1) == y).mean())


def samples(split: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return raw digits uint8 [N, 28, 28, 1] and labels int64 [N]."""
    (x,), (y,) = split.inputs.values(), split.targets.values()
    return np.asarray(x), np.asarray(y)


def build() -> Any:
    """Make the untrained net: MobileNet's blocks, depthwise and pointwise, on 28 x 28 pixels."""
    import keras
    from keras import layers

    def normalised(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    image = keras.Input((28, 28, 1), name="image")
    x = normalised(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(image))
    for filters, strides in ((32, 1), (64, 2), (64, 1)):
        depthwise = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)
        x = normalised(depthwise(x))
        x = normalised(layers.Conv2D(filters, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(x), name="bad")


def trained(x: np.ndarray, y: np.ndarray, *, epochs: int) -> Any:
    """Train the net on the digits and copies shifted by a pixel, rate warmed up and decayed."""
    import keras

    keras.utils.set_random_seed(0)
    shifted = [np.roll(x, by, axis) for by in (-1, 1) for axis in (1, 2)]
    x, y = np.concatenate([x, *shifted]), np.tile(y, 5)
    order = np.random.default_rng(0).permutation(len(x))
    model = build()
    steps = epochs * -(-len(x) // 128)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-3, steps * 4 // 5, warmup_target=1e-2, warmup_steps=steps // 5
    )
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(x[order] / np.float32(255), y[order], batch_size=128, epochs=epochs, verbose=0)
    return model


def scale_channels(model: Any, spread: float, seed: int = 0) -> None:
    """Scale each depthwise layer's channels by 1..spread and undo it after the ReLU."""
    generator = np.random.default_rng(seed)
    layers = model.layers
    for i, layer in enumerate(layers):
        if type(layer).__name__ != "DepthwiseConv2D":
            continue
        normalisation, pointwise = layers[i + 1], layers[i + 3]
        channels = layer.kernel.shape[2]
        factors = generator.permutation(np.geomspace(1, spread, channels)).astype(np.float32)
        normalisation.gamma.assign(np.asarray(normalisation.gamma) * factors)
        normalisation.beta.assign(np.asarray(normalisation.beta) * factors)
        kernel = np.asarray(pointwise.kernel)
        pointwise.kernel.assign(kernel / factors[:, None])


def bound_channels(model: Any, x: np.ndarray) -> None:
    """Scale each depthwise layer as a whole to reach 5 on these digits, and bound it by 6."""
    import keras

    layers = model.layers
    for i, layer in enumerate(layers):
        if type(layer).__name__ != "DepthwiseConv2D":
            continue
        normalisation, relu, pointwise = layers[i + 1], layers[i + 2], layers[i + 3]
        probe = keras.Model(model.inputs, relu.output)
        reached = float(probe.predict(x / np.float32(255), batch_size=500, verbose=0).max())
        factor = np.float32(5 / reached)
        normalisation.gamma.assign(np.asarray(normalisation.gamma) * factor)
        normalisation.beta.assign(np.asarray(normalisation.beta) * factor)
        pointwise.kernel.assign(np.asarray(pointwise.kernel) / factor)
        relu.max_value = 6.0


if __name__ == "__main__":
    arguments = [word for word in sys.argv[2:] if word != "--train"]
    if "--train" in sys.argv:
        from edgeward.train.datasets import mnist

        net = trained(*samples(mnist.load(mnist.SUBSET, print).train), epochs=3)
        np.savez_compressed(WEIGHTS, *[np.asarray(weight) for weight in net.get_weights()])
    ratio = float(arguments[0]) if arguments else SPREAD
    accuracy = write_bad_net(Path(sys.argv[1]), spread=ratio, six="six" in arguments)
    print(f"accuracy={accuracy:.6f}")
