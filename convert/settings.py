"""How one artifact is quantised: what repair may change without leaving the variant."""

from __future__ import annotations

from dataclasses import dataclass

from edgeward.convert.variants import INT8_MIXED, ArtifactId
from edgeward.runtime.errors import TargetError, UsageError

__all__ = [
    "DEFAULT",
    "METHODS",
    "MIN_TUNING_SAMPLES",
    "OLDEST",
    "Settings",
    "Switches",
    "check_settings",
]

# Least to most clipping in the usual case; the first is the converters' own.
METHODS = ("min-max", "percentile-99.99", "percentile-99.9", "mse")


@dataclass(frozen=True)
class Settings:
    """How one artifact is quantised; saved with it in the report.

    Attributes:
        method: How the range of an activation follows from its values: ``min-max`` keeps them all
            (one outlier makes the steps of all others coarse), ``percentile-P`` clips the
            outermost 100 - P percent, half of it on each side, ``mse`` takes the range with the
            least mean squared error of rounding and clipping (Nagel et al., "A White Paper on
            Neural Network Quantization", 2021, section 3.1). Inputs and outputs of the model keep
            their whole range: what comes in and what is answered must not saturate.
        samples: How many calibration samples, the first ones; None takes all.
        float_layers: Tensors whose ops stay float, by their name in the float32 artifact;
            ``tflite-int8-mixed`` only.
        equalise: Scale the channels to like size first; see ``convert.weights.equalise``.
    """

    method: str = METHODS[0]
    samples: int | None = None
    float_layers: tuple[str, ...] = ()
    equalise: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(
                "Unknown calibration method.", received=self.method, expected=", ".join(METHODS)
            )
        if self.samples is not None and self.samples < 1:
            raise UsageError(
                "Calibration needs samples.", received=self.samples, expected=">= 1, or all"
            )
        if len(set(self.float_layers)) < len(self.float_layers):
            raise UsageError("A layer is named twice.", received=", ".join(self.float_layers))

    def describe(self) -> str:
        """Return the settings in words, for the report.

        >>> Settings("mse", 200, ("dense/MatMul",)).describe()
        'mse ranges from 200 calibration samples; in float: dense/MatMul'
        """
        text = f"{self.method} ranges from {self.samples or 'all'} calibration samples"
        text += "; channels equalised" if self.equalise else ""
        return text + (f"; in float: {', '.join(self.float_layers)}" if self.float_layers else "")


DEFAULT = Settings()


def check_settings(settings: Settings, artifact: ArtifactId) -> None:
    """Refuse settings that the artifact would not heed.

    Args:
        settings: The settings.
        artifact: What is to be made with them.

    Raises:
        TargetError: The variant cannot have them.
    """
    variant = artifact.variant
    what = f"{artifact} cannot have these settings."
    if bool(settings.float_layers) != (variant is INT8_MIXED):
        raise TargetError(
            what,
            received=f"float_layers: {', '.join(settings.float_layers) or 'none'}",
            expected="layers in float in tflite-int8-mixed, and in no other artifact",
        )
    if settings != DEFAULT and not variant.calibrated:
        raise TargetError(
            what, received=settings.describe(), expected="the default: it is not calibrated"
        )
    # TensorFlow quantises to int16 in one step with calibrating, which knows the extremes only.
    if settings.method != DEFAULT.method and variant.activations == "int16":
        raise TargetError(what, received=settings.method, expected=DEFAULT.method)


@dataclass(frozen=True)
class Switches:
    """What a target needs of the converter to be able to load the files.

    Attributes:
        per_tensor_dense: One scale for all weights of a dense layer in dynamic-range files: scales
            per channel are FULLY_CONNECTED version 12, which runtimes before TensorFlow 2.17 lack.
    """

    per_tensor_dense: bool = True


# What the oldest supported runtimes need.
OLDEST = Switches()

# Samples to fine-tune on: fewer cannot be split into those that teach and those that tell when to
# stop.
MIN_TUNING_SAMPLES = 20
