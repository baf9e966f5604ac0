"""The command line as people run it: in a process of its own, on the committed digits."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.runtime.samples import load_samples
from edgeward.train.datasets import mnist
from edgeward.train.recipe import Hyperparameters, Recipe
from edgeward.train.recipes import NAMES, load_recipe
from edgeward.train.run import Run

SUBSET = ["--data", str(mnist.SUBSET)]
HEAVY = ("tensorflow", "keras", "matplotlib", "onnxruntime")


def visible(out: Path) -> list[str]:
    """Names of what looks like a finished run."""
    return sorted(path.name for path in out.glob("*/*") if not path.name.startswith("."))


def hidden(out: Path) -> list[Path]:
    return sorted(path for path in out.glob("*/.*"))


# ---- before anything is trained


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "examples:"),
        (["--list"], 0, "mnist_cnn"),
        ([], 2, "mnist_cnn"),
        (["mnist_cmn"], 2, "python -m train mnist_cnn"),
        (["mnist_cnn", "--set", "colour=3"], 2, "units"),
        (["mnist_cnn", "--set", "units"], 2, "KEY=VALUE"),
        (["mnist_cnn", "--set", "units=many"], 2, "int"),
        (["mnist_cnn", "--set", "units=0"], 2, ">= 1"),
        (["mnist_cnn", "--set", "epochs=3"], 2, "--epochs"),
        (["mnist_cnn", "--epochs", "0"], 2, ">= 1"),
        (["mnist_cnn", "--epochs", "x"], 2, "--epochs"),
        (["mnist_cnn", "--learning-rate", "nan"], 2, "finite"),
        (["mnist_cnn", "--seed", "-1"], 2, "seed"),
        (["mnist_cnn", "--device", "tpu"], 2, "--device"),
        (["mnist_cnn", "--no-such-option"], 2, "--no-such-option"),
    ],
)
def test_help_list_and_usage_errors_answer_without_tensorflow(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    program = (
        "import sys\nfrom edgeward.train.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as exit:\n    code = exit.code\n"
        f"heavy = sorted(set(sys.modules) & set({HEAVY!r}))\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = run_python("-c", program, *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_list_as_json_names_every_recipe_and_its_parameters(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    listed = json.loads(run_python("-m", "train", "--list", "--json").stdout)["recipes"]
    assert sorted(listed) == sorted(NAMES)
    for name in NAMES:
        recipe = load_recipe(name)
        assert isinstance(recipe, Recipe)
        assert isinstance(recipe.hyperparameters, Hyperparameters)
        assert listed[name]["hyperparameters"] == recipe.hyperparameters.to_json()


def test_missing_tensorflow_is_said_with_the_pip_command(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    program = (
        "import importlib.util, sys\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: "
        "None if name == 'tensorflow' else find(name, *a)\n"
        "from edgeward.train.cli import main\nsys.exit(main(['mnist_cnn']))"
    )
    done = run_python("-c", program)
    assert done.returncode == 2
    assert "pip install 'edgeward[train]'" in done.stderr
    assert "Traceback" not in done.stderr


# ---- one finished run, looked at from all sides


@pytest.fixture(scope="module")
def finished(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "train", "mnist_cnn", *SUBSET, "--epochs", "2", "--json", "--h5"],
        cwd=tmp_path_factory.mktemp("finished"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def run(
    finished: subprocess.CompletedProcess[str], tmp_path_factory: pytest.TempPathFactory
) -> Run:
    folder = tmp_path_factory.getbasetemp() / "finished0"
    return Run.open(folder / json.loads(finished.stdout)["run"])


def test_json_prints_one_object_on_stdout_and_the_rest_on_stderr(
    finished: subprocess.CompletedProcess[str],
) -> None:
    result = json.loads(finished.stdout)
    assert result["dataset"]["source"] == "committed subset"
    assert set(result["metrics"]) == {"train", "validation", "test"}
    assert finished.stderr.count("Epoch ") == 2
    assert "Device: CPU" in finished.stderr


def test_run_folder_holds_contract_a_and_nothing_half_done(run: Run) -> None:
    assert {path.name for path in run.path.iterdir()} == {
        "run.json",
        "model.keras",
        "model.h5",
        "saved_model",
        "labels.txt",
        "calibration.npz",
        "validation.npz",
        "test.npz",
        "history.csv",
        "curves.png",
        "confusion.png",
        "logs",
    }
    assert not hidden(run.path.parents[1])
    assert (run.path / "labels.txt").read_text() == "".join(f"{digit}\n" for digit in range(10))
    assert run.info.dataset.sha256 == mnist.SUBSET_SHA256
    assert run.info.dataset.splits == {"train": 5400, "validation": 600, "test": 1500}
    for picture in ("curves.png", "confusion.png"):
        assert (run.path / picture).read_bytes().startswith(b"\x89PNG")


def test_history_has_a_row_per_epoch_and_the_loss_falls(run: Run) -> None:
    with (run.path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("step_loss", "train_loss", "validation_loss"):
        assert float(rows[1][name]) < float(rows[0][name])
    # Keras rounds nothing: the last row is what run.json says of the same weights.
    recorded = run.info.metrics["validation"]["accuracy"]
    assert float(rows[1]["validation_accuracy"]) == recorded


def test_every_saved_model_reproduces_the_recorded_test_accuracy(run: Run) -> None:
    import keras
    import tensorflow as tf

    samples = run.samples("test")
    inputs = preprocess_batch(run.info.inputs["image"], samples.inputs["image"])
    restored = tf.saved_model.load(str(run.path / "saved_model"))  # owns the variables
    serve = restored.serve
    outputs = {
        name: keras.models.load_model(run.path / name, compile=False)(inputs).numpy()
        for name in ("model.keras", "model.h5")
    } | {"saved_model": serve(tf.constant(inputs)).numpy()}
    for name, values in outputs.items():
        accuracy = (values.argmax(axis=1) == samples.targets["digit"]).mean()
        assert accuracy == run.info.metrics["test"]["accuracy"], name
        np.testing.assert_allclose(values, outputs["model.keras"], atol=1e-5, err_msg=name)
    # The twin that must fail: pixels that were not preprocessed.
    raw = np.asarray(samples.inputs["image"]).astype(np.float32)
    wrong = serve(tf.constant(255 - raw)).numpy().argmax(axis=1)
    assert (wrong == samples.targets["digit"]).mean() < run.info.metrics["test"]["accuracy"] - 0.1


def test_sample_files_are_raw_disjoint_and_of_their_split(run: Run) -> None:
    dataset = mnist.load(mnist.SUBSET, lambda line: None)
    for split in ("validation", "test"):
        samples = load_samples(run.path / f"{split}.npz")
        assert np.asarray(samples.inputs["image"]).dtype == np.uint8
        np.testing.assert_array_equal(
            samples.inputs["image"], dataset.splits[split].inputs["image"]
        )
    train = {image.tobytes() for image in dataset.train.inputs["image"]}
    calibration = run.samples("calibration")
    assert len(calibration) == 2000
    assert all(image.tobytes() in train for image in calibration.inputs["image"])
    assert np.bincount(calibration.targets["digit"][:500]).tolist() == [50] * 10


# ---- stopped runs


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Started]]:
    processes: list[subprocess.Popen[str]] = []

    def begin(*command: str) -> Started:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        return Started(process)

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


class Started:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if text in line:
                return
        raise AssertionError(f"{text!r} was never said: {seen}")

    def stop(self, how: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(how)
        rest = self.process.communicate(timeout=60)[1]
        return self.process.returncode, rest


LONG = ["-m", "train", "mnist_cnn", *SUBSET, "--epochs", "500"]


@pytest.mark.parametrize("moment", ["Training", "Epoch 1/"])
def test_kill_leaves_nothing_that_looks_like_a_run(
    start: Callable[..., Started], tmp_path: Path, moment: str
) -> None:
    training = start(*LONG)
    training.wait_for(moment)
    time.sleep(0.2)
    training.stop(signal.SIGKILL)
    assert visible(tmp_path / "runs") == []
    assert len(hidden(tmp_path / "runs")) == 1, "nothing was there to be half-written"


def test_kill_while_the_run_is_written_leaves_nothing_that_looks_like_a_run(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    training = start("-m", "train", "mnist_cnn", *SUBSET, "--epochs", "1")
    training.wait_for("Epoch 1/")
    model = tmp_path / "runs" / "mnist_cnn" / ".001.partial" / "model.keras"
    deadline = time.monotonic() + 60
    while not model.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    training.stop(signal.SIGKILL)
    assert visible(tmp_path / "runs") == []
    assert model.exists()


def test_ctrl_c_exits_130_and_keeps_the_last_finished_epoch(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    import keras

    training = start(*LONG)
    training.wait_for("Epoch 2/")
    code, rest = training.stop(signal.SIGINT)
    assert code == 130
    assert "last_good.keras" in rest
    assert "--resume" in rest
    assert "Traceback" not in rest
    assert visible(tmp_path / "runs") == []
    (partial,) = hidden(tmp_path / "runs")
    keras.models.load_model(partial / "last_good.keras", compile=False)


def test_ctrl_c_before_the_first_epoch_leaves_no_folder_at_all(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    training = start(*LONG)
    training.wait_for("Training")
    code, rest = training.stop(signal.SIGINT)
    assert code == 130
    assert "Traceback" not in rest
    assert visible(tmp_path / "runs") == []
    assert hidden(tmp_path / "runs") == []


_POISON = """
import sys
import numpy as np
from edgeward.train.loop import feed
clean = feed.TrainingFeed.epoch
def epoch(self, number):
    inputs, targets = clean(self, number)
    return (inputs * np.float32("nan") if number == 1 else inputs), targets
feed.TrainingFeed.epoch = epoch
from edgeward.train.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_nan_loss_exits_1_and_keeps_the_last_good_weights(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    import keras

    done = run_python("-c", _POISON, "mnist_cnn", *SUBSET, "--epochs", "3")
    assert done.returncode == 1
    assert "is not finite in epoch 2" in done.stderr
    assert "last_good.keras" in done.stderr
    assert "Traceback" not in done.stderr
    assert visible(tmp_path / "runs") == []
    (partial,) = hidden(tmp_path / "runs")
    model = keras.models.load_model(partial / "last_good.keras", compile=False)
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


def test_learning_rate_that_explodes_exits_1_and_leaves_nothing(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = run_python("-m", "train", "mnist_cnn", *SUBSET, "--learning-rate", "1e30")
    assert done.returncode == 1
    assert "is not finite in epoch 1" in done.stderr
    assert "--learning-rate" in done.stderr
    assert visible(tmp_path / "runs") == []
    assert hidden(tmp_path / "runs") == []


def test_data_that_are_not_there_exit_5(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = run_python("-m", "train", "mnist_cnn", "--data", tmp_path / "nowhere")
    assert done.returncode == 5
    assert "train-images-idx3-ubyte" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_out_that_cannot_be_written_is_an_error_without_traceback(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file")
    done = run_python("-m", "train", "mnist_cnn", *SUBSET)
    assert done.returncode == 1
    assert "runs" in done.stderr
    assert "Traceback" not in done.stderr
