"""What to do about an op that a target does not hold.

Each replacement was converted with TensorFlow 2.21 and gives the ops named, which every runtime of
``tables/`` holds; tests/convert/targets/test_target.py converts some of them again.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeward.convert.artifact.locate import CUSTOM, ONNX, ONNX_IR, LocatedOp

__all__ = ["DEMANDS", "remedy_for"]

_PER_TENSOR = (
    "one scale for all weights of a dense layer instead of one per channel: the converter switch "
    "_experimental_disable_per_channel_quantization_for_dense_layers, which is set for targets "
    "that need it; or int8 with calibration, which stays at version 4"
)

_LOOP = "unroll=True in the recurrent layer: its steps become FULLY_CONNECTED, LOGISTIC and TANH"

_MASK = (
    "a mask: m = keras.ops.cast(x > 0, 'float32'), then m * a + (1 - m) * b; it becomes GREATER, "
    "CAST and MUL"
)

_STABLEHLO = (
    "the Keras or TensorFlow op of the same meaning: STABLEHLO ops come from JAX and PyTorch "
    "exporters and from experimental converter flags"
)

_TRAINING = "remove the layer from the inference model, or give its values as an input"

_HOST = "compute it before the model, as preprocessing, or after it on the outputs"

_OPS: Mapping[str, str] = {
    "ATAN2": f"the sine and cosine of the angle as two outputs; or {_HOST}",
    "BIDIRECTIONAL_SEQUENCE_LSTM": _LOOP,
    "BIDIRECTIONAL_SEQUENCE_RNN": _LOOP,
    "BROADCAST_TO": "keras.ops.concatenate of copies, or let MUL and ADD broadcast",
    "COMPLEX_ABS": _HOST,
    "CONV_3D": "2-D convolutions on slices, with the depth in the channels",
    "CONV_3D_TRANSPOSE": "Conv2DTranspose on slices, with the depth in the channels",
    "EMBEDDING_LOOKUP_SPARSE": "an Embedding layer on ids of fixed length",
    "GELU": (
        "x * keras.ops.sigmoid(1.702 * x), which becomes LOGISTIC and MUL; not the tanh form, "
        "which the converter turns into GELU again"
    ),
    "IMAG": _HOST,
    "LOCAL_RESPONSE_NORMALIZATION": "BatchNormalization, which is folded into the convolution",
    "MULTINOMIAL": _TRAINING,
    "NON_MAX_SUPPRESSION_V4": _HOST,
    "NON_MAX_SUPPRESSION_V5": _HOST,
    "ONE_HOT": "tf.gather on the rows of an identity matrix, which becomes GATHER",
    "POW": "x * x for squares; keras.ops.exp(p * keras.ops.log(x)) for x > 0: EXP, LOG and MUL",
    "RANDOM_STANDARD_NORMAL": _TRAINING,
    "RANDOM_UNIFORM": _TRAINING,
    "RANGE": "a constant: give every dimension of the input a size",
    "RANK": "a constant: give every dimension of the input a size",
    "REAL": _HOST,
    "REDUCE_ANY": "keras.ops.max of keras.ops.cast(x, 'float32'), which becomes REDUCE_MAX",
    "REDUCE_PROD": "multiply the slices one by one, which becomes STRIDED_SLICE and MUL",
    "REDUCE_WINDOW": "MaxPooling2D or AveragePooling2D",
    "RELU_0_TO_1": "keras.ops.minimum(keras.ops.relu(x), 1), which becomes RELU and MINIMUM",
    "RELU_N1_TO_1": "keras.ops.clip with other limits, or tanh",
    "REVERSE_SEQUENCE": "sequences of fixed length, reversed as preprocessing",
    "RFFT2D": _HOST,
    "SCATTER_ND": "a product with a constant matrix, which becomes FULLY_CONNECTED",
    "SEGMENT_SUM": "a product with a constant matrix, which becomes FULLY_CONNECTED",
    "SELECT": (
        f"{_MASK}; for an Embedding, which emits it for negative ids, a layer of your own that "
        "calls tf.gather; for selu, elu"
    ),
    "SIGN": (
        "keras.ops.cast(x > 0, 'float32') - keras.ops.cast(x < 0, 'float32'), which becomes "
        "GREATER, LESS, CAST and SUB"
    ),
    "TILE": (
        "keras.ops.concatenate of copies, which becomes CONCATENATION; for UpSampling2D "
        "interpolation='bilinear' (RESIZE_BILINEAR), or Resizing (RESIZE_NEAREST_NEIGHBOR)"
    ),
    "TOPK_V2": "ARG_MAX or REDUCE_MAX for the best one; the order of the others after the model",
    "UNIDIRECTIONAL_SEQUENCE_RNN": _LOOP,
    "UNSORTED_SEGMENT_SUM": "a product with a constant matrix, which becomes FULLY_CONNECTED",
    "WHERE": _MASK,
}

_VERSIONS: Mapping[tuple[str, int], str] = {("FULLY_CONNECTED", 12): _PER_TENSOR}

# Trait of an op -> what the target demands, why and what to do.
DEMANDS: Mapping[str, tuple[str, str]] = {
    "dynamic": ("a static batch", "give the input a batch of 1 before converting"),
    "float16": (
        "no float16 weights",
        "--fp32 or --int8: the kernels take float32 and integers",
    ),
    "hybrid": (
        "integer activations where weights are integers",
        "--int8 with calibration, or --fp32: dynamic-range kernels are not part of this runtime",
    ),
    "int-edge": (
        "float32, int32 or uint8 inputs and outputs",
        "the int8 artifact with float inputs and outputs (tflite-int8-floatio)",
    ),
    "variable": (
        "no state between invocations",
        "unroll=True in the recurrent layers, which makes them stateless",
    ),
}


def remedy_for(op: LocatedOp, missing: bool) -> str:
    """Return what to do about an op that does not fit; empty where nothing special is known.

    Args:
        op: The op.
        missing: Whether the target has it in no version at all.
    """
    if op.domain == CUSTOM:
        return (
            "replace the layer by one of builtin ops, and convert without SELECT_TF_OPS and custom "
            "ops: Flex and custom ops need an interpreter that was built for them"
        )
    if op.domain == ONNX:
        return f"export with a lower opset than {op.version}"
    if op.domain == ONNX_IR:
        return f"set model.ir_version below {op.version} before saving; opset 17 needs 8"
    if (op.op, op.version) in _VERSIONS:
        return _VERSIONS[op.op, op.version]
    if missing and op.op.startswith("STABLEHLO_"):
        return _STABLEHLO
    return _OPS.get(op.op, "") if missing else ""
