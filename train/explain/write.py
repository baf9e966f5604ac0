"""What decided single answers of a trained model: the folder ``explain/`` of a run.

The samples are chosen so that there is something to learn from them: wrong answers first.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.files import write_atomic
from edgeward.runtime.preprocessing import tokenize
from edgeward.runtime.specs import OutputSpec
from edgeward.runtime.steps import Lookup, Pad
from edgeward.runtime.strict_json import dumps
from edgeward.runtime.tasks import decide
from edgeward.train.explain.attribution import Attribution, attribute
from edgeward.train.explain.plot import Explained, Words, plot_overview, plot_sample
from edgeward.train.loop.session import Session

__all__ = ["FOLDER", "choose", "confidence", "file_name", "write_explanations"]

FOLDER = "explain"


def write_explanations(folder: Path, model: keras.Model, session: Session, outputs: Floats) -> None:
    """Write ``explain/`` into a run folder, anew.

    A model that cannot be explained does not lose its training: the reason is said, and stands
    in ``explain.json`` under ``skipped``.

    Args:
        folder: The run folder in the making.
        model: As saved and read back.
        session: The finished training; ``options.explain`` samples are chosen.
        outputs: The model's outputs for the test split, after postprocessing.
    """
    target = folder / FOLDER
    # Half of one may be there, of a process that was killed.
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    report: dict[str, Any] = {"format_version": 1, "task": session.scorer.output.task}
    report |= {"method": None, "layer": None, "samples": [], "skipped": None}
    try:
        found, shown = _explain(model, session, outputs)
        for one in shown:
            session.setup.interrupts.check()
            plot_sample(target / one.file, one)
        session.setup.interrupts.check()
        plot_overview(target / "overview.png", shown)
        report |= {"method": found.method, "layer": found.layer}
        report["samples"] = [_to_json(one, found) for one in shown]
        session.setup.console.say(
            f"Explained {len(shown)} test samples by {found.method}: {FOLDER}/."
        )
    except OSError:
        raise  # a full disk would take the rest of the run as well
    except Exception as error:  # whatever a model, Keras below it and matplotlib can raise
        for picture in target.glob("*.png"):
            picture.unlink()
        text = error.message if isinstance(error, EdgewardError) else f"{error}".strip()
        report["skipped"] = f"{type(error).__name__}: {text}"
        session.setup.console.say(f"Nothing is explained. {error}")
    write_atomic(target / "explain.json", dumps(report))


def choose(spec: OutputSpec, outputs: Floats, targets: Array, count: int) -> list[int]:
    """Choose up to ``count`` of N samples.

    Half of them (rounded up) are the wrong answers that the model was surest of; of a regression,
    those with the largest errors. The others are right answers, one of each class in turn; of a
    regression, spread evenly over the split. Where one half is short, the other gives more.

    Args:
        spec: The output.
        outputs: float32 [N, ...] after postprocessing.
        targets: Class indices [N], or numbers.
        count: >= 1.

    Returns:
        Indices, without one twice: the wrong ones first.
    """
    half = (count + 1) // 2
    if spec.task == "regression":
        order = np.argsort(-_errors(outputs, targets), kind="stable")
        rest = np.sort(order[half:])
        spread = np.linspace(0, len(rest) - 1, min(count - half, len(rest)))
        return [*order[:half].tolist(), *rest[np.round(spread).astype(np.int64)].tolist()]
    truth, answers = targets.reshape(-1), decide(spec, outputs)
    sure = confidence(spec, outputs)
    wrong = np.flatnonzero(answers != truth)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    right = np.flatnonzero(answers == truth)
    # The place of each among those of its own class: firsts before seconds, class by class.
    turn = np.zeros(len(right), np.int64)
    for label in np.unique(truth[right]):
        of_class = truth[right] == label
        turn[of_class] = np.arange(of_class.sum())
    right = right[np.lexsort((truth[right], turn))]
    wrongs = max(half, count - len(right))
    chosen = wrong[:wrongs].tolist()
    return [*chosen, *right[: count - len(chosen)].tolist()]


def confidence(spec: OutputSpec, outputs: Floats) -> Floats:
    """Return the value of the class that each of N outputs of a classifier answers."""
    flat = outputs.reshape(len(outputs), -1)
    if spec.task == "binary":
        return np.where(decide(spec, outputs) == 1, flat[:, 0], 1 - flat[:, 0])
    return np.asarray(flat.max(axis=1))


def file_name(index: int, truth: str, answer: str, right: bool | None) -> str:
    """Return the name of a picture: of ASCII letters, digits and dashes, whatever a label holds.

    >>> file_name(42, "4", "9", False)
    '0042-wrong-4-as-9.png'
    >>> file_name(7, "T-shirt/top", "T-shirt/top", True)
    '0007-right-T-shirt-top.png'
    """
    if right is None:
        return f"{index:04d}.png"
    plain, other = (
        re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:30] or "x" for text in (truth, answer)
    )
    return (
        f"{index:04d}-right-{plain}.png" if right else f"{index:04d}-wrong-{plain}-as-{other}.png"
    )


@dataclass(frozen=True)
class _Reading:
    """What the text's steps do to the tokens."""

    unknown: int
    length: int | None
    side: str
    padding: int


def _explain(
    model: keras.Model, session: Session, outputs: Floats
) -> tuple[Attribution, list[Explained]]:
    scorer, test = session.scorer, session.setup.dataset.test
    spec, targets = scorer.output, scorer.targets(test)
    chosen = choose(spec, outputs, targets, session.setup.options.explain)
    samples = test.take(chosen)
    tensors = scorer.tensors(samples)
    classes = spec.task != "regression"
    answers = decide(spec, outputs[chosen]) if classes else np.zeros(len(chosen), np.int64)
    reading = _reading(session)
    found = attribute(
        model,
        spec,
        tensors,
        answers,
        kind=scorer.input.kind,
        nothing=reading.padding,
        tick=session.setup.interrupts.check,
    )
    shown = []
    for place, index in enumerate(chosen):
        raw = scorer.raw(samples)[place]
        right, score = None, None
        if classes:
            truth, answer = (
                _label(spec, int(value)) for value in (targets.reshape(-1)[index], answers[place])
            )
            right = truth == answer
            score = float(confidence(spec, outputs[index : index + 1])[0])
        else:
            truth, answer = _numbers(targets[index]), _numbers(outputs[index])
        weights, words = found.weights[place], None
        if isinstance(raw, bytes):
            words = _words(raw, tensors[place], weights, reading)
        shown.append(
            Explained(
                index=index,
                truth=truth,
                answer=answer,
                right=right,
                score=score,
                raw=raw,
                image=scorer.input.kind == "image",
                weights=weights,
                without=None if found.without is None else found.without[place],
                words=words,
                names=_names(session, weights),
                file=file_name(index, truth, answer, right),
            )
        )
    return found, shown


def _reading(session: Session) -> _Reading:
    unknown, length, side, padding = -1, None, "right", 0
    for step in session.scorer.input.preprocessing:
        if isinstance(step, Lookup):
            unknown = step.unknown
        if isinstance(step, Pad):
            length, side, padding = step.length, step.side, step.value
    return _Reading(unknown, length, side, padding)


def _words(raw: bytes, ids: Array, weights: Floats, reading: _Reading) -> Words:
    """Return the words that the model read, each with its weight."""
    tokens = tokenize(raw)
    read = len(tokens) if reading.length is None else min(len(tokens), reading.length)
    first = 0 if reading.side == "right" or reading.length is None else len(ids) - read
    span = slice(first, first + read)
    return Words(
        tuple(token.decode("utf-8", "replace") for token in tokens[:read]),
        weights.reshape(len(ids), -1).sum(axis=1)[span],
        tuple((ids[span] != reading.unknown).tolist()),
        len(tokens) - read,
    )


def _names(session: Session, weights: Floats) -> tuple[str, ...]:
    """Return the names of a table's features; of other samples their places."""
    columns = getattr(session.setup.dataset, "columns", ())
    if weights.ndim == 1 and len(columns) == len(weights):
        return tuple(str(name) for name in columns)
    return tuple(f"[{at}]" for at in range(len(weights))) if weights.ndim else ("[]",)


def _label(spec: OutputSpec, index: int) -> str:
    return str(index) if spec.labels is None else spec.labels[index]


def _numbers(values: Array) -> str:
    flat = np.asarray(values).reshape(-1)
    return ", ".join(f"{value:.4g}" for value in flat[:4]) + (", ..." if len(flat) > 4 else "")


def _errors(outputs: Floats, targets: Array) -> Array:
    """Return the root mean square error of each sample."""
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    return np.sqrt(np.square(flat - targets.reshape(len(flat), -1)).mean(axis=1))


def _to_json(one: Explained, found: Attribution) -> dict[str, Any]:
    value: dict[str, Any] = {
        "index": one.index,
        "truth": one.truth,
        "answer": one.answer,
        "right": one.right,
        "score": one.score,
        "without": one.without,
        "method": found.method,
        "layer": found.layer,
        "file": one.file,
    }
    if one.words is not None:
        value["words"] = [
            {"word": word, "weight": float(weight), "known": known}
            for word, weight, known in zip(
                one.words.words, one.words.weights, one.words.known, strict=True
            )
        ]
        value["words_not_read"] = one.words.unread
    elif not one.image:
        value["weights"] = one.weights.tolist()
        if one.weights.ndim == 1:
            value["features"] = list(one.names)
    return value
