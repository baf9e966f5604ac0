"""What measuring leaves for the report. Read without interpreters and statistics."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Parity", "ParityRow", "Parting", "Reproduction"]


@dataclass(frozen=True)
class ParityRow:
    """One artifact in one runtime with one kernel set, against the first row of its artifact.

    Attributes:
        artifact: Artifact id.
        runtime: Runtime and version, or an emulated device.
        kernels: ``default``, ``no-delegate`` or ``reference``; of a device what it is compared
            with instead of the first row.
        samples: Number of samples.
        max_lsb: Largest difference of an output value in LSB; None where it does not run.
        differing: Share of output values that differ, 0..1.
        flips: Samples with another decision; None where the task has no decisions.
        detail: Why it does not run, or in what a device proof failed; else empty.
    """

    artifact: str
    runtime: str
    kernels: str
    samples: int
    max_lsb: int | None
    differing: float
    flips: int | None
    detail: str = ""


@dataclass(frozen=True)
class Parity:
    """What a comparison of runtimes found.

    Attributes:
        rows: What was compared, and what could not be.
        why_not: Why there are no rows; empty where there are some.
        again: Whether asking again may give more: something failed of a crash, of memory, of time
            or of a network.
    """

    rows: list[ParityRow]
    why_not: str = ""
    again: bool = False


@dataclass(frozen=True)
class Parting:
    """Two runtimes whose answers differ so much that no self-test can forgive both.

    Attributes:
        runtimes: The two, with their versions.
        backends: Their names among the backends.
        lsb: What they differ by, in LSB of the output, decisions included.
        blind: What the self-test would not notice.
        layer: Where they part, in words; empty where it was not found.
    """

    runtimes: tuple[str, str]
    backends: tuple[str, str]
    lsb: int
    blind: tuple[str, ...]
    layer: str = ""

    @property
    def sentence(self) -> str:
        """The reason of a refusal."""
        first, second = self.runtimes
        return (
            f"{first} and {second} differ by {self.lsb:,} LSB, and under a tolerance that forgives "
            f"this the self-test would not notice {', nor '.join(self.blind)}; "
            + (f"they part at {self.layer}; " if self.layer else "")
            + f"--target {first.replace(' ', '==')} bundles for that runtime alone"
        )


@dataclass(frozen=True)
class Reproduction:
    """Whether the float model gives the metric that training noted.

    Attributes:
        metric: Name of the metric.
        expected: Value in the run, or that the user expects; None where nobody said one.
        measured: Value of the float model, fed through the bundle's preprocessing.
        samples: Number of test samples.
    """

    metric: str
    expected: float | None
    measured: float
    samples: int
