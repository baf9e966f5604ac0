"""Data sets of texts: splits that leak nothing, vocabularies, archives, a user's own folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sentences import sentences, write_folder

from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.preprocessing import tokenize
from edgeward.train.datasets import reviews, text_folder
from edgeward.train.datasets.cache import KnownFile
from edgeward.train.datasets.idx import SourceError
from edgeward.train.datasets.split import Shares
from edgeward.train.datasets.texts import (
    VOCABULARY,
    LabelledText,
    TextDataset,
    make_vocabulary,
    split_texts,
)

SHARES = Shares(0.1, 0.15)


def silent(line: str) -> None:
    pass


def split(texts: list[LabelledText], say: Callable[[str], None] = silent) -> TextDataset:
    return split_texts("name", "here", "0" * 64, texts, ("bad", "good"), SHARES, 10_000, say)


def test_equal_texts_never_straddle_the_splits() -> None:
    shouted = [LabelledText(one.text.upper() + b" ...", one.label) for one in sentences(200)]
    data = split(sentences(200) + shouted)
    found = {
        name: {b" ".join(tokenize(text)) for text in part.inputs["text"]}
        for name, part in data.splits.items()
    }
    assert sum(len(part) for part in data.splits.values()) == 400
    assert sum(len(keys) for keys in found.values()) == 200
    raw = {name: set(part.inputs["text"]) for name, part in data.splits.items()}
    assert sum(len(texts) for texts in raw.values()) == 400, "the twin: as bytes they all differ"


def test_vocabulary_holds_words_of_the_training_split_only() -> None:
    data = split(sentences(200))
    words = set(data.vocabularies[VOCABULARY].split(b"\n"))
    assert {token for text in data.train.inputs["text"] for token in tokenize(text)} <= words
    unseen = {token for text in data.test.inputs["text"] for token in tokenize(text)} - words
    assert len(unseen) == len(data.test), "the number in each sentence occurs nowhere else"


def test_vocabulary_is_sorted_by_count_then_bytes_and_cut() -> None:
    texts = [b"b b B a c c", "ä c".encode()]
    assert make_vocabulary(texts, 10) == "\n[UNK]\nb\nc\na\nä\n".encode()
    assert make_vocabulary(texts, 4) == b"\n[UNK]\nb\nc\n"


def test_texts_without_words_and_in_both_classes_are_left_out_and_said() -> None:
    said: list[str] = []
    odd = [LabelledText(b"?!", 0), LabelledText(b"So so.", 0), LabelledText(b"so SO", 1)]
    data = split(sentences(40) + odd, said.append)
    assert sum(len(part) for part in data.splits.values()) == 40
    assert [line.rsplit(": ", 1)[1] for line in said] == ["1 texts.", "2 texts."]


def test_ratings_become_classes_and_neutral_ones_are_dropped() -> None:
    lines = b"1\t0.5\tFine.\r\n2\t0.0\tHm.\r\n3\t-3.25\tBad\r\n"
    assert reviews.parse(lines) == [LabelledText(b"Fine.", 1), LabelledText(b"Bad", 0)]


def pack(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def known(name: str, data: bytes) -> KnownFile:
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return KnownFile(name, len(data), md5, hashlib.sha256(data).hexdigest())


def test_archive_in_the_archive_is_read_and_another_one_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = b"1\t2.5\tA joy.\r\n"
    data = pack(reviews._INNER, pack(reviews._MEMBER, content))
    monkeypatch.setattr(reviews, "_ARCHIVE", known("a.tar.gz", data))
    monkeypatch.setattr(reviews, "FILE", known("ratings.txt", content))
    assert reviews.read_archive(data) == content
    with pytest.raises(SourceError, match="wrong checksum"):
        reviews.read_archive(data[:-1] + b"x")
    monkeypatch.setattr(reviews, "FILE", known("ratings.txt", content + b"x"))
    with pytest.raises(SourceError, match="wrong checksum"):
        reviews.read_archive(data)


def test_folder_of_texts_is_two_classes_in_alphabetical_order(tmp_path: Path) -> None:
    said: list[str] = []
    folder = write_folder(tmp_path / "mail")
    (folder / "ham" / "0.txt").write_bytes(b"\xef\xbb\xbfMarked by an editor")
    (folder / ".DS_Store").write_bytes(b"x")
    data = text_folder.load(folder, 10_000, SHARES, said.append)
    assert data.labels == ("ham", "spam")
    texts = {text for part in data.splits.values() for text in part.inputs["text"]}
    assert b"Marked by an editor" in texts
    assert any(".DS_Store" in line for line in said)
    again = text_folder.load(folder, 10_000, SHARES, silent)
    assert again.sha256 == data.sha256
    (folder / "ham" / "2.txt").write_bytes(b"another one")
    assert text_folder.load(folder, 10_000, SHARES, silent).sha256 != data.sha256


def test_damaged_folders_are_refused_by_name(tmp_path: Path) -> None:
    def refuse(match: str) -> None:
        with pytest.raises(InvalidDataError, match=match):
            text_folder.load(folder, 10_000, SHARES, silent)

    folder = tmp_path / "mail"
    refuse("no such folder")
    write_folder(folder)
    (folder / "ham" / "0.txt").write_bytes("Grüße".encode("latin-1"))
    refuse(r"0\.txt is no UTF-8 text")
    (folder / "ham" / "0.txt").write_bytes(b"a" * 1_000_001)
    refuse(r"0\.txt is too long")
    (folder / "ham" / "0.txt").unlink()
    (folder / "ham" / "more").mkdir()
    refuse("holds a folder")
    (folder / "ham" / "more").rmdir()
    (folder / "eggs").mkdir()
    refuse("A class is empty")
    (folder / "eggs" / "1.txt").write_bytes(b"a")
    refuse("two classes")


def test_a_class_of_two_texts_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="'spam' has too few"):
        text_folder.load(write_folder(tmp_path, 5), 10_000, SHARES, silent)
