"""A text bundle trained on real reviews in the app: verdicts, tensors and answers as Python's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from java_cases import compile_wrong

from edgeward.convert.bundle.android import export_assets
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.samples import load_samples
from scripts.android.compare import Difference, compare
from scripts.android.damage import HARMS
from scripts.android.jvm import Java
from scripts.android.recording import (
    Answer,
    Change,
    Played,
    Sample,
    answering,
    opening,
    play,
    same_checks,
)

pytestmark = pytest.mark.slow

SEED = 23

# What stands between words: white space of ASCII, white space of Unicode alone, what is no white
# space at all although Java or Python call it so, and marks that turn the direction of writing.
BETWEEN = [
    " ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\u00a0", "\u0085", "\u1680", "\u2003",
    "\u2009", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", "\u200b", "\u200d",
    "\u200f", "\u202e", "\u2066", "\x00", "\x1c", "\x1d", "\x1e", "\x1f", "\x7f", "-", "—", "...",
    "'", "’", "/", "，", "。", "\u0301",
]  # fmt: skip
EXTRA = [
    "🙂",
    "👩‍👩‍👧", "🏳️‍🌈", "👍🏽", "🇹🇷", "שלום", "مرحبا", "कि", "한글", "日本語", "ﬁ", "ß", "ẞ", "ſ",
    "Ω", "e\u0301", "A\u030a", "\u0345", "\U0010ffff", "\ue000",
]  # fmt: skip


def full_width(word: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in word)


WAYS: list[Callable[[str], str]] = [
    str,
    str,
    str.upper,
    str.title,
    full_width,
    lambda word: word.replace("i", "ı"),
    lambda word: word.upper().replace("I", "İ"),
    lambda word: f"{word[:1]}\u0301{word[1:]}",
    lambda word: f"{word}\ufe0f",
    lambda word: f"'{word}'",
    lambda word: f"{word[:2]}.{word[2:]}",
    lambda word: word[::-1],
]


def unicode_sentences(words: list[str], count: int) -> list[bytes]:
    """Words of the vocabulary, written in ways and set apart by what a wrong tokenizer mistakes."""
    rng = np.random.default_rng(SEED)
    foreign = [word for word in words if not word.isascii()]
    found = []
    for length in rng.integers(1, 70, count):
        text = ""
        for _ in range(length):
            some = foreign if rng.random() < 0.05 else words
            word = some[int(len(some) * rng.random() ** 4)]
            way = WAYS[int(rng.integers(len(WAYS)))]
            text += way(word) if rng.random() < 0.93 else EXTRA[int(rng.integers(len(EXTRA)))]
            # Mostly one space, or there would be nothing but unknown words.
            text += " " if rng.random() < 0.6 else BETWEEN[int(rng.integers(len(BETWEEN)))]
        found.append(text.encode())
    return found


def broken_texts(texts: list[bytes]) -> list[bytes]:
    """Texts with bytes in them that are not UTF-8, at any place."""
    rng = np.random.default_rng(SEED)
    wrong = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2("]
    found = []
    for i, text in enumerate(texts):
        at = len(text[: int(rng.integers(len(text)))].decode(errors="ignore").encode())
        found.append(text[:at] + wrong[i % len(wrong)] + text[at:])
    return found


@pytest.fixture(scope="module")
def opened(texts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of the reviews as it lies in the app's assets."""
    return Bundle.open(export_assets(texts[1], tmp_path_factory.mktemp("assets")))


@pytest.fixture(scope="module")
def samples(texts: tuple[Path, Path], opened: Bundle) -> dict[str, list[Sample]]:
    """Real reviews of the test split, sentences of all of Unicode, the rest by what is odd."""
    reviews = load_samples(texts[0] / "test.npz").named(["text"], ["label"]).inputs["text"]
    words = opened.vocabularies()["vocabulary.txt"].decode().split("\n")[:-1]
    sentences = unicode_sentences(words, 500)
    longest = [
        b" ".join(reviews)[:300_000],
        b"great " * 50_000,
        b"x" * 300_000,
        "é".encode() * 9999,
    ]
    kinds = {
        "reviews": list(reviews),
        "Unicode": sentences,
        "empty": [b"", b" ", b"\t\r\n", b"...", "\u3000".encode(), b"\x00"],
        "long": longest,
        "broken": broken_texts(sentences[:70]),
    }
    return {kind: [{"text": bytes(text)} for text in some] for kind, some in kinds.items()}


@pytest.fixture(scope="module")
def played(
    opened: Bundle, samples: dict[str, list[Sample]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Played, Path]:
    """What Python says to all of them, and the record of its interpreter."""
    record = tmp_path_factory.mktemp("record") / "record.json"
    every = [sample for some in samples.values() for sample in some]
    return play(opened, record, samples=every), record


def asked(
    app: Java, opened: Bundle, samples: dict[str, list[Sample]], played: tuple[Played, Path]
) -> tuple[dict[str, Difference], bool]:
    """Let the app answer; returns kind -> difference, and whether its verdicts are Python's."""
    wanted, record = played
    every = [sample for some in samples.values() for sample in some]
    verdicts, *answers = app.answers([opening(opened, record), *map(answering, every)])
    found, start = {}, 0
    for kind, some in samples.items():
        end = start + len(some)
        found[kind] = compare(answers[start:end], wanted.answers[start:end])
        start = end
    return found, same_checks(verdicts, wanted.checks)


def scores(answers: list[Answer]) -> set[float]:
    return {answer.outputs["label"].score or 0.0 for answer in answers if answer.outputs}


def test_reviews_and_texts_of_all_of_unicode_get_pythons_answers(
    java: Java, opened: Bundle, samples: dict[str, list[Sample]], played: tuple[Played, Path]
) -> None:
    wanted = list(played[0].answers)
    assert opened.manifest.default == "tflite-int8"
    assert len(samples["reviews"]) >= 1000
    found, _ = asked(java, opened, samples, played)
    assert {kind: difference for kind, difference in found.items() if not difference.none} == {}
    counts = {kind: difference.values for kind, difference in found.items()}
    # Both refuse what is not UTF-8, and nothing else.
    assert counts == {**{kind: len(some) for kind, some in samples.items()}, "broken": 0}
    # Not equal for the reason that everything is the same to this net.
    texts = wanted[len(samples["reviews"]) :][: len(samples["Unicode"])]
    assert len({answer.handed for answer in texts}) > 0.9 * len(texts)
    assert len(scores(wanted)) > 50
    assert len(scores(texts)) > 50
    labels = {answer.outputs["label"].label for answer in texts}
    assert labels == {"negative", "positive"}


def test_the_apps_verdicts_on_every_artifact_are_pythons(
    java: Java, opened: Bundle, played: tuple[Played, Path], tmp_path: Path
) -> None:
    ids = {artifact.id for artifact in opened.manifest.artifacts}
    assert {"tflite-fp32", "tflite-int8"} <= ids
    other = next(harm.outputs for harm in HARMS if not harm.refused and harm.name.startswith("an"))
    chosen = opened.manifest.artifact(None)
    changes: dict[str, Change] = {"intact": lambda outputs: outputs, "other": other(chosen)}
    for name, change in changes.items():
        record = tmp_path / name
        checks = play(opened, record, change).checks
        assert set(checks) == ids
        (answer,) = java.answers([opening(opened, record)])
        assert same_checks(answer, checks), name
        verdicts = {check.verdict for check in checks.values()}
        assert ("wrong" in verdicts) == (name == "other")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("Tokens", "SPACE.indexOf(unit) >= 0", "Character.isWhitespace(unit)"),
        ("Tokens", "SPACE.indexOf(unit) >= 0", "SPACE.indexOf(unit) >= 0 || unit == 0xa0"),
        ("Tokens", "PUNCTUATION.indexOf(unit) < 0", "unit != '.'"),
        ("Tokens", "unit >= 'A' && unit <= 'Z' ? (char) (unit + 32) : unit", "unit"),
        ("Tokens", "unit >= 'A' && unit <= 'Z' ? (char) (unit + 32) : unit",
         "Character.toLowerCase(unit)"),
        ("Tokens", "id == null ? unknown : id", "id == null ? 0 : id"),
        ("Tokens", "end), line)", "end), line + 1)"),
        ("Tokens", "step.left ? step.length - kept : 0", "step.left ? 0 : step.length - kept"),
        ("Tokens", "ids.integer(i - shift)", "ids.integer(i - shift + ids.count - kept)"),
        ("Decoded", "values.real(0) >= spec.threshold", "values.real(0) < spec.threshold"),
    ],
    ids=["Java's white space", "non-breaking space", "punctuation kept", "capitals kept",
         "Latin-1 lower case", "unknown is padding", "ids one off", "padding on the other side",
         "cut at the start", "threshold"],
)  # fmt: skip
def test_a_wrong_app_is_found_on_this_bundle(
    java: Java,
    opened: Bundle,
    samples: dict[str, list[Sample]],
    played: tuple[Played, Path],
    tmp_path: Path,
    name: str,
    old: str,
    new: str,
) -> None:
    wrong = compile_wrong(java, tmp_path, name, old, new)
    found, _ = asked(wrong, opened, samples, played)
    assert not found["Unicode"].none


def test_an_app_that_mends_broken_texts_is_found(
    java: Java,
    opened: Bundle,
    samples: dict[str, list[Sample]],
    played: tuple[Played, Path],
    tmp_path: Path,
) -> None:
    wrong = compile_wrong(
        java, tmp_path, "Utf8", "CodingErrorAction.REPORT", "CodingErrorAction.REPLACE"
    )
    found, same = asked(wrong, opened, samples, played)
    assert same
    assert len(found["broken"].problems) == len(samples["broken"])
    assert found["Unicode"].none
