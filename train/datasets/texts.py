"""What every data set of texts in two classes needs: splits and a vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeward.runtime.preprocessing import tokenize
from edgeward.runtime.samples import Samples
from edgeward.train.datasets.cache import Say
from edgeward.train.datasets.dataset import Dataset
from edgeward.train.datasets.group_split import split_groups
from edgeward.train.datasets.split import Shares, split_class

__all__ = ["VOCABULARY", "LabelledText", "TextDataset", "make_vocabulary", "split_texts"]

VOCABULARY = "vocabulary.txt"
# Lines 0 and 1 of a vocabulary, as Keras' TextVectorization writes them; no token equals either,
# since tokens are not empty and hold no brackets.
_RESERVED = (b"", b"[UNK]")


@dataclass(frozen=True)
class LabelledText:
    """One text.

    Args:
        text: UTF-8 bytes.
        label: 0 or 1.
        group: The person or the source that it comes from; empty where that does not count.
    """

    text: bytes
    label: int
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class TextDataset(Dataset):
    """Texts with the names of their two classes.

    Args:
        labels: The negative and the positive class.
    """

    labels: tuple[str, ...]


def split_texts(
    name: str,
    source: str,
    sha256: str,
    texts: Sequence[LabelledText],
    labels: tuple[str, str],
    shares: Shares,
    words: int,
    say: Say,
) -> TextDataset:
    """Return raw samples: ``text``, N texts as bytes; ``label`` int64 [N] of 0 and 1.

    Texts that are the same to a model (equal tokens) are in one split, and so are those of one
    group, where texts have groups. Texts without any word, and texts that are the same in both
    classes, are left out.

    Args:
        name: Name of the data set.
        source: Where the texts came from, in words.
        sha256: Hash of the texts.
        texts: All of them.
        labels: The negative and the positive class.
        shares: Parts of each class that validate and test.
        words: Lines of the vocabulary at most, with the two reserved ones.
        say: Told what was left out.

    Raises:
        InvalidDataError: Fewer than three texts of a class that differ.
    """
    keys = [b" ".join(tokenize(one.text)).decode() for one in texts]
    both = {key for key, one in zip(keys, texts, strict=True) if one.label == 1} & {
        key for key, one in zip(keys, texts, strict=True) if one.label == 0
    }
    dropped = Counter("no word" if not key else "both" for key in keys if not key or key in both)
    if dropped["no word"]:
        say(f"Data: left out, because there is no word in them: {dropped['no word']} texts.")
    if dropped["both"]:
        say(f"Data: left out, because they are in both classes: {dropped['both']} texts.")
    chosen: dict[str, list[LabelledText]] = {"train": [], "validation": [], "test": []}
    grouped = any(one.group for one in texts)
    notes: tuple[str, ...] = ()
    if grouped:
        usable = [
            (key, one) for key, one in zip(keys, texts, strict=True) if key and key not in both
        ]
        found = split_groups(
            groups=[one.group for _, one in usable],
            keys=[key for key, _ in usable],
            classes=[one.label for _, one in usable],
            shares=shares,
            labels=labels,
            where=source,
            say=say,
        )
        chosen = {split: [usable[i][1] for i in at] for split, at in found.places.items()}
        notes = found.notes
    for label in () if grouped else (0, 1):
        kept = [
            (key, one)
            for key, one in zip(keys, texts, strict=True)
            if one.label == label and key and key not in both
        ]
        places = split_class([key for key, _ in kept], shares, f"Class {labels[label]!r}")
        for split, indices in places.items():
            chosen[split] += [kept[index][1] for index in indices]
    splits = {
        split: Samples(
            {"text": [one.text for one in found]},
            {"label": np.array([one.label for one in found], np.int64)},
        )
        for split, found in chosen.items()
    }
    return TextDataset(
        name=name,
        source=source,
        sha256=sha256,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        vocabularies={VOCABULARY: make_vocabulary((one.text for one in chosen["train"]), words)},
        groups={
            split: np.array([one.group for one in kept])
            for split, kept in chosen.items()
            if grouped
        },
        notes=notes,
        labels=labels,
    )


def make_vocabulary(texts: Iterable[bytes], words: int) -> bytes:
    """Return the content of a vocabulary file: one token per line, the most frequent first.

    Args:
        texts: UTF-8 texts of the training split, of no other.
        words: Lines at most, with the two reserved ones.

    Returns:
        Lines 0 (padding) and 1 (unknown), then the tokens; equal counts in the order of bytes.
    """
    counts = Counter(token for text in texts for token in tokenize(text))
    tokens = sorted(counts, key=lambda token: (-counts[token], token))
    return b"".join(line + b"\n" for line in (*_RESERVED, *tokens[: words - len(_RESERVED)]))
