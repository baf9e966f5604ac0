"""Yearly numbers of sunspots, 1700 to 2008 (public domain, US National Geophysical Data Center).

The package statsmodels ships the table. Only that file is read: importing statsmodels would take
seconds, and pandas with it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError, MissingExtraError, UsageError
from edgeward.runtime.files import sha256_bytes
from edgeward.runtime.samples import Samples
from edgeward.train.datasets.cache import KnownFile, Say
from edgeward.train.datasets.dataset import Dataset

__all__ = ["CYCLE", "FILE", "NAME", "SunspotDataset", "load", "parse", "split_series"]

NAME = "sunspots"
FILE = KnownFile(
    "sunspots.csv",
    2944,
    "59e2e1f967d47313166dc1b035c0b2bd",
    "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
)
# Years of the solar cycle (Schwabe 1844): the season of a seasonal-naive forecast.
CYCLE = 11
# First years of the validation and of the test split.
_VALIDATION, _TEST = 1880, 1930


@dataclass(frozen=True, kw_only=True)
class SunspotDataset(Dataset):
    """The series with what is known of the training years.

    Args:
        mean: Mean of the years before the validation split.
        deviation: Their standard deviation.
    """

    mean: float
    deviation: float


def load(path: Path | None, window: int, headroom: float, say: Say) -> SunspotDataset:
    """Load windows as raw samples: ``years`` float32 [N, window, 1], ``next`` float32 [N, 1].

    A sample is asked for the year after its window. The test years are the last ones, 1930 to
    2008; those before, from 1880, validate. A window reaches back into earlier splits, as a
    forecaster may; a target never does.

    Args:
        path: The table ``sunspots.csv``; None takes the one of the package statsmodels.
        window: Years that the model sees, at least 11.
        headroom: See ``split_series``.
        say: Told in one line where the data come from.

    Raises:
        MissingExtraError: statsmodels is not installed.
        InvalidDataError: The file is missing or another one.
    """
    source = "package statsmodels" if path is None else str(path)
    file = _packaged() if path is None else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidDataError(f"{file} cannot be read.", received=error.strerror) from None
    if not FILE.matches(data):
        raise InvalidDataError(
            f"{file} is damaged or not the table of sunspots.",
            received=f"{len(data)} bytes, sha256 {sha256_bytes(data)}",
            expected=f"{FILE.size} bytes, sha256 {FILE.sha256}",
        )
    say(f"Data: sunspots 1700 to 2008 from {source}.")
    years, spots = parse(data)
    return split_series(years, spots, window, headroom, source)


def _packaged() -> Path:
    found = importlib.util.find_spec("statsmodels")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("statsmodels", "train")
    return Path(found.submodule_search_locations[0]) / "datasets" / "sunspots" / FILE.name


def parse(data: bytes) -> tuple[Array, Array]:
    """Return years, int64 [N], and sunspot numbers, float32 [N], of the CSV file."""
    rows = [line.split(b",") for line in data.splitlines()[1:]]
    years = np.array([int(year) for year, _ in rows], np.int64)
    return years, np.array([float(spots) for _, spots in rows], np.float32)


def split_series(
    years: Array, spots: Array, window: int, headroom: float, source: str
) -> SunspotDataset:
    """Cut a series into windows and their following years, split by the year asked for.

    Args:
        years: int64 [N], ascending without gaps.
        spots: float32 [N].
        window: Years in a window.
        headroom: Above 0, the training split holds each window a second time, larger by this part:
            the next maximum may be higher than any that was seen, and what is calibrated on the
            seen ones alone clips it.
        source: Where they came from, in words.

    Raises:
        UsageError: A window that leaves fewer than 10 years to train on.
    """
    most = _VALIDATION - int(years[0]) - 10
    if not CYCLE <= window <= most:
        raise UsageError(
            "Hyper-parameter 'window' is wrong.", received=window, expected=f"{CYCLE}..{most}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(spots, window)[:-1, :, None]
    targets, asked = spots[window:, None], years[window:]

    def split(first: int, last: int) -> Samples:
        rows = (asked >= first) & (asked < last)
        return Samples({"years": windows[rows].copy()}, {"next": targets[rows].copy()})

    seen = split(0, _VALIDATION)
    if headroom:
        past, following = np.asarray(seen.inputs["years"]), seen.targets["next"]
        larger = np.float32(1 + headroom)
        seen = Samples(
            {"years": np.concatenate([past, past * larger])},
            {"next": np.concatenate([following, following * larger])},
        )
    known = spots[years < _VALIDATION].astype(np.float64)
    return SunspotDataset(
        name=NAME,
        source=source,
        sha256=FILE.sha256,
        train=seen,
        validation=split(_VALIDATION, _TEST),
        test=split(_TEST, 9999),
        mean=float(known.mean()),
        deviation=float(known.std()),
    )
