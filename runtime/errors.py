"""Every error edgeward raises on purpose, and the exit code each one stands for.

EdgewardError                   1
├── UsageError                  2   the request itself does not make sense
│   └── MissingExtraError       2   a package of an optional extra is not installed
├── RefusedError                3   an artifact drifted too far, or too few samples to tell
│   └── SelfTestError           3   this machine computes something else than was measured
├── TargetError                 4   the target or the format cannot hold the model
│   └── ConverterError          4   the converter crashed, failed or ran out of time
├── InvalidInputError           5   the input is invalid or damaged
│   ├── InvalidDataError        5   samples, labels, images
│   ├── InvalidModelError       5   model files
│   ├── InvalidRunError         5   a run folder (contract A)
│   ├── InvalidBundleError      5   a bundle (contract B): damaged, incomplete, tampered with
│   │   └── InvalidManifestError 5  its manifest.json or golden.json
│   └── ReproductionError       5   the float model does not give the metric it should
└── TrainingError               1   training cannot go on (NaN loss)

The tree is complete on purpose: the three programs are separate processes that share these
exit codes, and a shell script tells them apart by nothing else.
"""

from __future__ import annotations

from typing import Any, Self

__all__ = [
    "ConverterError",
    "EdgewardError",
    "InvalidBundleError",
    "InvalidDataError",
    "InvalidInputError",
    "InvalidManifestError",
    "InvalidModelError",
    "InvalidRunError",
    "MissingExtraError",
    "RefusedError",
    "ReproductionError",
    "SelfTestError",
    "TargetError",
    "TrainingError",
    "UsageError",
]


class EdgewardError(Exception):
    """Base of all deliberate errors.

    Args:
        message: What is wrong, one sentence.
        received: What was found. Printed on its own line.
        expected: What would have been right. Printed on its own line.
        fix: What the user can do about it. Printed on its own line.
        transient: Whether asking for the same again may help: a crash, too little memory or time.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        received: object = None,
        expected: object = None,
        fix: str | None = None,
        transient: bool = False,
    ) -> None:
        self.message = message
        self.received = received
        self.expected = expected
        self.fix = fix
        self.transient = transient
        lines = [message]
        if received is not None:
            lines.append(f"  received: {received}")
        if expected is not None:
            lines.append(f"  expected: {expected}")
        if fix is not None:
            lines.append(f"  how to fix: {fix}")
        super().__init__("\n".join(lines))

    def retold(self, message: str, fix: str | None = None) -> Self:
        """Return the error with another message, which says where it was, and another fix."""
        return type(self)(message, received=self.received, expected=self.expected, fix=fix)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call __init__ with the printed text.
        return _restore, (type(self), self.args, vars(self))


def _restore(kind: type[EdgewardError], args: tuple[Any, ...], state: Any) -> EdgewardError:
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


class UsageError(EdgewardError):
    """The request does not make sense: unknown name, options that exclude each other."""

    exit_code = 2


class MissingExtraError(UsageError):
    """A package of an optional extra is missing; the message holds the pip command."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} is not installed.",
            fix=f"pip install 'edgeward[{extra}]'",
        )
        self.extra = extra


class RefusedError(EdgewardError):
    """An artifact was refused by the drift gate, or the samples are too few to tell.

    Attributes:
        report: The ``convert.ConversionReport``, where a conversion was refused.
    """

    exit_code = 3
    report: Any = None


class SelfTestError(RefusedError):
    """The golden vectors give a wrong answer on this machine."""


class TargetError(EdgewardError):
    """The target or the format cannot hold the model, or an artifact is not what it claims."""

    exit_code = 4


class ConverterError(TargetError):
    """The converter crashed, failed or ran out of time in its child process."""


class InvalidInputError(EdgewardError):
    """Something that was handed in is invalid or damaged."""

    exit_code = 5


class InvalidDataError(InvalidInputError):
    """Samples, labels or images that cannot be used; names the sample."""


class InvalidModelError(InvalidInputError):
    """A model file that cannot be read or holds unusable weights."""


class InvalidRunError(InvalidInputError):
    """A run folder that does not keep contract A."""


class InvalidBundleError(InvalidInputError):
    """A bundle that does not keep contract B: damaged, incomplete or tampered with."""


class InvalidManifestError(InvalidBundleError):
    """A manifest.json or golden.json that does not keep the schema of FORMAT.md."""


class ReproductionError(InvalidInputError):
    """The float model, fed through the bundle's preprocessing, misses the metric it should give.

    Wrong preprocessing, permuted labels and wrong layouts end here: compared with each other,
    float and quantised model would both be wrong in the same way, a drift of zero.
    """


class TrainingError(EdgewardError):
    """Training cannot go on, for example because the loss is NaN."""
