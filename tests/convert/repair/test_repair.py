"""Repair: its rules with made-up measurements, and whole conversions of nets that need it.

The nets have real digits to answer, and channels scaled so badly that plain int8 loses them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bad_net
import numpy as np
import pytest
from support import SUBSET, python

from edgeward.convert.drift.gate import PairedCounts, judge
from edgeward.convert.drift.metrics import OutputDrift
from edgeward.convert.measure.measure import Measured
from edgeward.convert.repair import repair as repair_module
from edgeward.convert.repair import trials as trials_module
from edgeward.convert.repair.holdout import Holdout
from edgeward.convert.repair.ladder import calibration_rung
from edgeward.convert.repair.repair import Allowed, Repaired, repair
from edgeward.convert.repair.trials import Trials, Tried, Workshop, choose, nearest, repairable
from edgeward.convert.settings import DEFAULT, Settings
from edgeward.convert.worker.conversion import Conversion
from edgeward.convert.worker.job import Attempt, Plan
from edgeward.runtime.errors import ConverterError, TargetError

BUDGET = 0.01


def drift(lost: int, samples: int = 2000, budget: float = BUDGET, output: str = "y") -> OutputDrift:
    counts = PairedCounts(samples, lost, 0)
    bound, verdict = judge(counts, budget)
    return OutputDrift(
        *(output, "classification", "accuracy", 0.98, 0.98 - counts.drop, counts.drop),
        *(bound, budget, samples, verdict),
    )


def ratio(drop: float, bound: float, budget: float = 0.05) -> OutputDrift:
    verdict = "pass" if bound <= budget else "refused" if drop > budget else "inconclusive"
    return OutputDrift("y", "regression", "rmse", 1, 1 + drop, drop, bound, budget, 90, verdict)


def seen(artifact_id: str, *drifts: OutputDrift, size: int = 100, **more: Any) -> Measured:
    format_, _, variant = artifact_id.partition("-")
    artifact = SimpleNamespace(
        id=artifact_id,
        format=format_,
        variant=variant.removesuffix("-floatio"),
        size=size,
        stateful=False,
    )
    measured = object.__new__(Measured)
    fields = {"artifact": artifact, "drifts": {"a runtime": list(drifts)}, "data": b""}
    vars(measured).update({**fields, "unverified": (), "layers": None, **more})
    return measured


def tried(*drifts: OutputDrift, settings: Settings = DEFAULT) -> Tried:
    return Tried(Attempt("1", "tflite-int8", settings), seen("tflite-int8", *drifts))


# --- what is repaired, and which attempt is judged


def test_what_missed_a_budget_that_its_samples_can_prove_is_repaired() -> None:
    assert repairable(seen("tflite-int8", drift(90)))
    # Inconclusive, but not for want of samples.
    assert drift(16).verdict == "inconclusive"
    assert repairable(seen("tflite-int8", drift(16)))
    assert repairable(seen("tflite-int8", ratio(-0.01, 0.06)))
    # The twins: it passed, or so few samples prove nothing, or it is not int8.
    assert not repairable(seen("tflite-int8", drift(0)))
    assert not repairable(seen("tflite-int8", drift(90, samples=250)))
    assert not repairable(seen("tflite-int8", drift(90), drift(9, samples=99, output="z")))
    assert not repairable(seen("tflite-int8", unverified=("y",)))
    assert not repairable(seen("tflite-dynamic", drift(90)))
    assert repairable(seen("tflite-dynamic", drift(90)), fallback=True)


def test_fewest_samples_that_can_prove_a_budget_are_those_of_the_gate() -> None:
    counts = [n for n in range(200, 400) if judge(PairedCounts(n, 0, 0), BUDGET)[1] == "pass"]
    assert repairable(seen("tflite-int8", drift(90, samples=counts[0])))
    assert not repairable(seen("tflite-int8", drift(90, samples=counts[0] - 1)))


def test_first_good_attempt_is_judged_and_a_better_one_later_is_not() -> None:
    bad, good, better = tried(drift(90)), tried(drift(5)), tried(drift(0))
    assert choose([bad, good, better]) is good
    assert choose([bad]) is None
    assert choose([]) is None


def test_nearest_is_judged_where_only_samples_are_missing() -> None:
    far, near = tried(drift(1, samples=200)), tried(drift(0, samples=200))
    assert not near.good
    assert choose([far, near]) is near
    # The twin: what is beyond the budget already, or in one output of two, has no hope.
    assert choose([tried(drift(9, samples=200))]) is None
    assert choose([tried(drift(0), drift(90, output="z"))]) is None


def test_budgets_of_unlike_size_are_compared_in_budgets() -> None:
    """Half a point of accuracy and 70 dB have no common unit."""
    close = tried(ratio(70, 71, budget=70), settings=Settings("mse"))
    far = tried(ratio(0.04, 0.09, budget=0.03))
    assert nearest([far, close]) == Settings("mse")
    assert nearest([]) == DEFAULT


# --- the order of things, with trials that are made up


class MadeUp:
    """Trials whose outcome is known: what an attempt's name ends with -> lost samples."""

    chosen: dict[str, int]
    judged: dict[str, int]

    def __init__(self, measured: Sequence[Measured], shop: Workshop) -> None:
        self.steps: list[Any] = []
        self.notes: list[str] = []
        self.transient: set[str] = set()
        self.log: list[str] = shop.progress  # type: ignore[assignment]

    def make(self, name: str, plan: Plan) -> tuple[Conversion, Path]:
        self.log.append(f"{name}: {len(plan.attempts)}, {plan.distil}")
        return Conversion(), Path()

    def islands(self, measured: Measured) -> list[tuple[str, ...]]:
        return [("a",)] if measured.artifact.format == "tflite" else []

    def _find(self, table: dict[str, int], attempt: Attempt) -> int | None:
        return next((v for k, v in table.items() if k in attempt.name), None)

    def try_out(self, wanted: str, attempt: Attempt, made: Any, folder: Path) -> Tried | None:
        lost = self._find(self.chosen, attempt)
        if lost is None:
            return None
        # As the real ones: fp16 is larger than dynamic, mixed larger than both.
        size = {"dynamic": 10, "fp16": 20}.get(attempt.artifact.partition("-")[2], 30)
        return Tried(attempt, seen(attempt.artifact, drift(lost), size=size))

    def judge(self, wanted: str, one: Tried) -> Measured | None:
        self.log.append(f"judge {one.attempt.name}")
        lost = self._find(self.judged, one.attempt) or 0
        final = seen(one.attempt.artifact, drift(lost), size=one.measured.artifact.size)
        return final if final.verdict == "pass" else None


Play = Callable[..., tuple[Repaired, list[str]]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    def call(
        failing: Sequence[str],
        chosen: dict[str, int],
        judged: dict[str, int] | None = None,
        there: Sequence[Measured] = (),
        **allowed: Any,
    ) -> tuple[Repaired, list[str]]:
        fake = type("Fake", (MadeUp,), {"chosen": chosen, "judged": judged or {}})
        monkeypatch.setattr(repair_module, "Trials", fake)
        log: list[str] = []
        holdout = Holdout(None, None, {}, "magic")  # type: ignore[arg-type]
        bench = SimpleNamespace(folder=Path())
        shop = Workshop(bench, holdout, None, 500, 2000, log)  # type: ignore[arg-type]
        lost = [seen(name, drift(90)) for name in failing]
        return repair(lost, [*lost, *there], shop, Allowed(**allowed)), log

    return call


def test_calibration_is_tried_for_all_at_once_and_is_enough(play: Play) -> None:
    result, log = play(["tflite-int8", "onnx-int8"], {"calibration.2": 0}, qat=True, fallback=True)
    assert list(result.replaced) == ["tflite-int8", "onnx-int8"]
    assert result.settings["onnx-int8"].startswith("percentile-99.99 ranges from 500")
    assert log[0] == "another calibration: 12, None"
    assert log[1:] == [f"judge {name}.calibration.2" for name in ("tflite-int8", "onnx-int8")]
    assert not result.instead


def test_nothing_is_tuned_and_int8_is_not_left_without_leave(play: Play) -> None:
    result, log = play(["tflite-int8"], {"tuned": 0, "fallback": 0})
    assert (result.replaced, result.instead, result.added) == ({}, {}, [])
    assert log == ["another calibration: 6, None"]
    result, log = play(["tflite-int8"], {"tuned": 0, "fallback": 0}, qat=True, distil=Path("/d"))
    assert list(result.replaced) == ["tflite-int8"]
    assert result.settings["tflite-int8"].startswith("fine-tuned, ")
    assert log[1:] == ["fine-tuning: 2, /d", "judge tflite-int8.tuned.0"]


def test_fine_tuning_goes_on_where_the_judge_refuses_what_was_chosen(play: Play) -> None:
    failed = {"calibration.0": 90}
    result, log = play(["tflite-int8"], {"calibration.0": 0}, failed)
    assert result.replaced == {}
    assert log[-1] == "judge tflite-int8.calibration.0"
    result, log = play(["tflite-int8"], {"calibration.0": 0, "tuned": 0}, failed, qat=True)
    assert list(result.replaced) == ["tflite-int8"]
    assert [one for one in log if "judge" in one] == [
        *("judge tflite-int8.calibration.0", "judge tflite-int8.tuned.0")
    ]


def test_smallest_that_passes_stands_for_all_int8_of_its_format(play: Play) -> None:
    failing = ["tflite-int8", "tflite-int8-floatio", "onnx-int8"]
    passing = {"fallback.1": 0, "fallback.2": 0, "fallback.3": 0, "fallback.4": 0, "mixed": 0}
    result, _ = play(failing, passing, fallback=True)
    assert result.instead == {
        "tflite-int8": "tflite-dynamic",
        "tflite-int8-floatio": "tflite-dynamic",
        "onnx-int8": "onnx-dynamic",
    }
    assert sorted(m.artifact.id for m in result.added) == ["onnx-dynamic", "tflite-dynamic"]
    # They are made as ever: another conversion may take them over.
    assert result.settings == {}
    # The twin: refused by the judge, the next larger one stands.
    result, log = play(failing, passing, {"tflite-dynamic": 90, "fallback.1": 90}, fallback=True)
    assert result.instead["tflite-int8"] == "tflite-fp16"
    assert "judge tflite-int8-mixed.tflite-mixed.0" not in log


def test_mixed_artifact_stands_where_all_that_is_smaller_fails(play: Play) -> None:
    result, _ = play(["tflite-int8"], {"mixed": 0, "fallback.2": 90}, fallback=True)
    assert result.instead == {"tflite-int8": "tflite-int8-mixed"}
    assert "in float: a" in result.settings["tflite-int8-mixed"]


def test_artifact_that_was_asked_for_too_and_passed_stands_for_int8(play: Play) -> None:
    there = [
        seen("tflite-fp32", drift(0), size=40),
        seen("tflite-int16x8", drift(90), size=5),
        seen("tflite-dynamic", drift(0), size=10),
        seen("tflite-fp16", drift(0), size=20),
    ]
    result, log = play(["tflite-int8"], {}, there=there, fallback=True)
    assert result.instead == {"tflite-int8": "tflite-dynamic"}
    assert result.added == []
    assert not any("judge" in one for one in log)
    # The twin: without leave it does not.
    assert play(["tflite-int8"], {}, there=there)[0].instead == {}


def test_nothing_stands_where_nothing_passes(play: Play) -> None:
    result, _ = play(["tflite-int8", "onnx-int8"], {"fallback": 90, "mixed": 90}, fallback=True)
    assert (result.instead, result.added) == ({}, [])


# --- what fails costs an attempt


def trials(tmp_path: Path, make: Callable[..., Conversion]) -> Trials:
    holdout = Holdout(SimpleNamespace(), SimpleNamespace(), {}, "")  # type: ignore[arg-type]
    bench = SimpleNamespace(folder=tmp_path)
    shop = Workshop(bench, holdout, make, 500, 500, lambda text: None)  # type: ignore[arg-type]
    return Trials([], shop)


@pytest.mark.parametrize(
    "error",
    [
        ConverterError("It took too long.", received="9 s passed", transient=True),
        TargetError("No.", received="a loop that crashed in memory"),
    ],
)
def test_dead_worker_costs_its_attempts_with_the_reason(tmp_path: Path, error: Exception) -> None:
    def make(folder: Path, plan: Plan) -> Conversion:
        raise error

    mine = trials(tmp_path, make)
    plan = Plan(calibration_rung("tflite-int8", 500, 500))
    made, folder = mine.make("another calibration", plan)
    assert [mine.try_out("tflite-int8", one, made, folder) for one in plan.attempts] == [None] * 5
    assert {step.verdict for step in mine.steps} == {"failed"}
    assert all(f"{error.message} {error.received}" == step.reason for step in mine.steps)  # type: ignore[attr-defined]
    # Only what may pass is asked again, whatever its words are.
    again = {one.name for one in plan.attempts} if error.transient else set()  # type: ignore[attr-defined]
    assert mine.transient == again


@pytest.mark.parametrize("transient", [True, False])
def test_runtime_that_dies_of_the_judged_file_costs_that_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transient: bool
) -> None:
    mine = trials(tmp_path, lambda folder, plan: Conversion())
    monkeypatch.setattr(trials_module, "replace", lambda bench, **changes: bench)

    def crash(*_: object) -> None:
        raise TargetError("The runtime crashed.", transient=transient)

    monkeypatch.setattr(trials_module, "measure_one", crash)
    assert mine.judge("tflite-int8", tried(drift(0))) is None
    (step,) = mine.steps
    assert (step.verdict, step.samples, step.taken) == ("failed", "test", False)
    assert bool(mine.transient) is transient


@pytest.mark.parametrize("lost", [0, 90])
def test_output_without_targets_does_not_stand_in_the_way_of_the_judged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    mine = trials(tmp_path, lambda folder, plan: Conversion())
    monkeypatch.setattr(trials_module, "replace", lambda bench, **changes: bench)
    final = seen("tflite-int8", drift(lost), unverified=("z",))
    monkeypatch.setattr(trials_module, "measure_one", lambda *_: (final, ""))
    assert mine.judge("tflite-int8", tried(drift(0))) is (final if lost == 0 else None)
    assert mine.steps[0].taken == (lost == 0)


# --- real conversions


def digits(split: Any) -> tuple[np.ndarray, np.ndarray]:
    return bad_net.samples(split)


def random_features(x: np.ndarray, y: np.ndarray, spread: float) -> Any:
    """A dense net without a training step: random features, and a least squares fit on them.

    Its second output, the sum of all scores, gets no targets.
    """
    import keras

    generator = np.random.default_rng(0)
    flat = x.reshape(len(x), -1) / np.float32(255)
    weights = generator.normal(size=(784, 64)).astype(np.float32) / 8
    hidden = np.maximum(flat @ weights, 0)
    fit = np.linalg.lstsq(hidden, 4 * np.eye(10)[y] - 2, rcond=None)[0].astype(np.float32)
    factors = generator.permutation(np.geomspace(1, spread, 64)).astype(np.float32)
    image = keras.Input((28, 28, 1), name="image")
    features = keras.layers.Dense(64, activation="relu", use_bias=False, name="features")
    scores = keras.layers.Dense(10, use_bias=False, name="scores")
    found = scores(features(keras.layers.Flatten()(image)))
    model = keras.Model(
        image,
        [
            keras.layers.Softmax(name="digit")(found),
            keras.layers.Activation("sigmoid", name="each")(found),
        ],
    )
    features.kernel.assign(weights * factors)
    scores.kernel.assign(fit / factors[:, None])
    return model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's net without validation samples; one of its two outputs has targets."""
    from edgeward.train.datasets import mnist

    folder = tmp_path_factory.mktemp("small")
    data = mnist.load(SUBSET, lambda _line: None)
    x, y = digits(data.train)
    random_features(x, y, 300.0).save(folder / "small.keras")
    np.savez(folder / "calibration.npz", **{"in/image": x[:300]})
    tx, ty = digits(data.test)
    np.savez(folder / "test.npz", **{"in/image": tx, "out/digit": ty})
    spec = {"inputs": {"image": bad_net.INPUT.to_json()}}
    (folder / "preprocessing.json").write_text(json.dumps(spec))
    return folder


def convert(folder: Path, model: str, out: Path, *options: object) -> tuple[int, Any, str]:
    """Convert to int8; returns the exit code, report.json of bundle or refusal, and stderr."""
    files = ["calibration", "test", "preprocessing", *(
        ["validation"] if (folder / "validation.npz").exists() else []
    )]  # fmt: skip
    done = python(
        *("-m", "convert", folder / model, "--int8", "--format", "tflite", "--out", out),
        *(part for name in files for part in (f"--{name}", next(folder.glob(f"{name}.*")))),
        *options,
        cwd=folder,
    )
    name = Path(model).stem
    found = out / (name if done.returncode == 0 else f"{name}.refused") / "report.json"
    assert found.exists(), done.stderr
    return done.returncode, json.loads(found.read_text()), done.stderr


def by_id(report: Any) -> dict[str, Any]:
    return {artifact["id"]: artifact for artifact in report["artifacts"]}


def path_of(report: Any) -> list[tuple[str, str, bool]]:
    return [(step["samples"], step["verdict"], step["taken"]) for step in report["repair"]]


@pytest.mark.slow
def test_equalised_net_passes_and_is_answered_at_once_when_asked_again(
    small: Path, tmp_path: Path
) -> None:
    code, report, stderr = convert(small, "small.keras", tmp_path, "--max-drop", "0.02")
    assert code == 0
    # What a user reads has no inner names.
    assert "repair: made tflite-int8, attempt 1: min-max ranges from 300 " in stderr
    assert "repair: judging tflite-int8, attempt 1: min-max ranges from 300 " in stderr
    assert ".calibration." not in stderr
    assert path_of(report) == [("validation", "pass", False), ("test", "pass", True)]
    repaired = by_id(report)["tflite-int8"]
    assert repaired["bundled"]
    assert "equalised" in repaired["repaired"]
    # Without --validation a third of the test samples chose, and did not judge.
    chose, judged = (step["drifts"][0]["samples"] for step in report["repair"])
    assert chose + judged == by_id(report)["tflite-fp32"]["drifts"].popitem()[1][0]["samples"]
    assert any(f"repair chose by {chose:,} of the" in note for note in report["notes"])
    # Asked again, it answers at once, with the path.
    code, again, stderr = convert(small, "small.keras", tmp_path, "--max-drop", "0.02")
    assert code == 0
    assert again["repair"] == report["repair"]
    assert "measuring" not in stderr


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("six")
    assert bad_net.write_bad_net(folder, six=True) >= 0.97
    return folder


@pytest.mark.slow
def test_badly_scaled_depthwise_net_is_repaired_without_training(
    bad_net_folder: Path, tmp_path: Path
) -> None:
    code, report, _ = convert(bad_net_folder, "bad.keras", tmp_path, "--max-drop", "0.015")
    assert code == 0
    assert path_of(report) == [("validation", "pass", False), ("test", "pass", True)]
    final = report["repair"][1]["drifts"][0]
    assert final["upper_bound"] <= 0.015
    assert final["samples"] == 1500
    # The twin: without repair it is refused, and the repaired file is not taken over for it.
    made = report["reuse"]["artifacts"]["tflite-int8"]["sha256"]
    code, report, _ = convert(
        bad_net_folder, "bad.keras", tmp_path, "--max-drop", "0.015", "--no-repair"
    )
    assert code == 3
    assert report["repair"] == []
    assert report["reuse"]["artifacts"]["tflite-int8"]["sha256"] != made
    plain = by_id(report)["tflite-int8"]
    assert plain["verdict"] == "refused"
    assert min(d[0]["drop"] for d in plain["drifts"].values()) > 0.03


@pytest.mark.slow
def test_relu6_net_stays_refused_until_it_may_be_tuned(six: Path, tmp_path: Path) -> None:
    code, report, stderr = convert(six, "bad.keras", tmp_path, "--max-drop", "0.015")
    assert code == 3
    assert path_of(report) == [("validation", "refused", False)] * 6
    assert "tflite-int8: refused" in stderr
    code, report, _ = convert(
        *(six, "bad.keras", tmp_path, "--max-drop", "0.015"),
        *("--qat", "--distil", six / "distil.npz"),
    )
    assert code == 0
    assert path_of(report)[-1] == ("test", "pass", True)
    assert by_id(report)["tflite-int8"]["repaired"].startswith("fine-tuned, ")
    assert any(note.startswith("fine-tuned 8 kernels") for note in report["notes"])


@pytest.mark.slow
def test_fallback_bundles_the_smallest_that_passes_and_keeps_the_refusal(
    six: Path, tmp_path: Path
) -> None:
    code, report, _ = convert(six, "bad.keras", tmp_path, "--max-drop", "0.015", "--fallback")
    assert code == 0
    artifacts = by_id(report)
    plain = artifacts["tflite-int8"]
    assert (plain["verdict"], plain["bundled"]) == ("refused", False)
    assert plain["reason"]
    stands = artifacts[plain["instead"]]
    assert (stands["verdict"], stands["bundled"]) == ("pass", True)
    good = [
        step["size"]
        for step in report["repair"]
        if step["artifact"] != "tflite-int8" and step["verdict"] == "pass"
    ]
    assert stands["size"] == min(good)
    assert len({step["artifact"] for step in report["repair"]}) == 5
    manifest = json.loads((tmp_path / "bad" / "manifest.json").read_text())
    assert "tflite-int8" not in [one["id"] for one in manifest["artifacts"]]
