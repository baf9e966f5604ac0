"""``python -m runtime`` and ``edgeward run`` in real processes: output, exit codes, photos."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeward.runtime.cli import main
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.image import read_image
from edgeward.runtime.predictor import Predictor
from edgeward.runtime.samples import Samples, save_samples
from edgeward.runtime.verbs import _read_input

Image = pytest.importorskip("PIL.Image")
ImageDraw = pytest.importorskip("PIL.ImageDraw")

DATA = Path(__file__).parents[1] / "data"
REPOSITORY = Path(__file__).parents[2]

Process = Any


@pytest.fixture
def command(run_python: Callable[..., Process]) -> Callable[..., Process]:
    """Run ``python -m runtime`` in a process of its own."""
    return lambda *arguments, **variables: run_python("-m", "runtime", *arguments, **variables)


def one_json_object(done: Process) -> Any:
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def refused(done: Process, code: int) -> str:
    """Check that a command ended with this exit code, a message and no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return str(done.stderr)


def draw_digit(digit: str, path: Path, **save: Any) -> Path:
    """Draw a 1 or a 0 as a photo: 1200 x 900, dark on white paper."""
    photo = Image.new("RGB", (1200, 900), "white")
    pen = ImageDraw.Draw(photo)
    if digit == "1":
        pen.line([(640, 180), (560, 730)], fill=(20, 20, 20), width=95)
    else:
        pen.ellipse([(350, 170), (850, 740)], outline=(20, 20, 20), width=85)
    photo.save(path, **save)
    return path


# ---- info, verify, selftest, bench


def test_info_says_what_the_bundle_holds(bundle: Path, command: Callable[..., Process]) -> None:
    done = command("info", bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mnist_cnn, release 1, from run mnist_cnn/001")
    assert "* tflite-int8" in done.stdout
    assert "grayscale, resize_bilinear, affine" in done.stdout
    assert done.stdout.count("upper bound of the drop") == 4


def test_info_as_json_is_the_manifest(bundle: Path, command: Callable[..., Process]) -> None:
    shown = one_json_object(command("info", bundle, "--json"))
    assert shown == json.loads((bundle / "manifest.json").read_bytes())


def test_verify_names_every_file(bundle: Path, command: Callable[..., Process]) -> None:
    shown = one_json_object(command("verify", bundle, "--json"))
    assert shown["verdict"] == "intact"
    assert sorted(shown["files"]) == sorted(path.name for path in bundle.iterdir())


def test_verify_of_a_damaged_bundle_exits_5(copy: Path, command: Callable[..., Process]) -> None:
    with (copy / "report.html").open("ab") as file:
        file.write(b" ")
    assert "report.html is damaged" in refused(command("verify", copy), 5)
    assert "report.html" in refused(command("verify", copy, "--json"), 5)


def test_the_selftest_is_exact_on_the_machine_that_converted(
    bundle: Path, command: Callable[..., Process]
) -> None:
    done = command("selftest", bundle)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" exact ") == len(done.stdout.splitlines()) == 6
    shown = one_json_object(command("selftest", bundle, "--json", "--artifact", "onnx-int8"))
    assert shown["verdict"] == "ok"
    assert [check["verdict"] for check in shown["checks"]] == ["exact"]


def test_a_selftest_that_is_wrong_exits_3_and_names_the_artifact(
    copy: Path, edit: Callable[..., None], command: Callable[..., Process]
) -> None:
    edit(copy, "golden.json", lambda tree: tree["inputs"].reverse())
    assert command("verify", copy).returncode == 0  # nothing but the self-test notices
    done = command("selftest", copy, "--artifact", "tflite-int8")
    assert done.returncode == 3
    assert "wrong: tflite-int8 on ai-edge-litert" in done.stderr
    assert "Traceback" not in done.stderr
    done = command("selftest", copy, "--artifact", "tflite-int8", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["verdict"] == "wrong"


def test_bench_times_every_step(bundle: Path, command: Callable[..., Process]) -> None:
    shown = one_json_object(command("bench", bundle, "--seconds", "0.05", "--json"))
    assert 0 < shown["invoke_us"] < shown["predict_us"] <= shown["p90_us"] * 1.001
    assert shown["runs"] >= 8
    done = command("bench", bundle, "--seconds", "0.05", "--backend", "onnx")
    assert "onnx-int8 on onnxruntime" in done.stdout


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_bench_without_time_is_a_usage_error(
    bundle: Path, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(bundle), "--seconds", seconds]) == 2
    assert "No time" in capsys.readouterr().err


# ---- evaluate


@pytest.fixture
def some(split: Samples, tmp_path: Path) -> Path:
    save_samples(tmp_path / "some.npz", split.take(range(300)))
    return tmp_path / "some.npz"


@pytest.mark.parametrize("artifact", ["tflite-int8", "onnx-fp32"])
def test_evaluate_gives_the_accuracy_that_numpy_counts(
    bundle: Path, some: Path, split: Samples, artifact: str, command: Callable[..., Process]
) -> None:
    choice = ("--data", some, "--artifact", artifact)
    shown = one_json_object(command("evaluate", bundle, *choice, "--json"))
    predictor = Predictor.open(bundle, artifact=artifact)
    images = split.inputs["image"][:300]
    found = [predictor.predict(image).values.argmax() for image in images]
    right = int(np.sum(np.array(found) == split.targets["digit"][:300]))
    assert shown["metrics"] == {"digit": {"accuracy": right / 300}}
    assert (shown["samples"], shown["artifact"]) == (300, artifact)
    assert f"({right} right)" in command("evaluate", bundle, *choice).stdout


def test_evaluate_notices_permuted_labels(
    bundle: Path, split: Samples, tmp_path: Path, command: Callable[..., Process]
) -> None:
    images, labels = split.inputs["image"][:300], split.targets["digit"][:300]
    np.savez(tmp_path / "x.npz", x=images, y=(labels + 1) % 10)
    shown = one_json_object(command("evaluate", bundle, "--data", "x.npz", "--json"))
    assert shown["metrics"]["digit"]["accuracy"] < 0.1


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"x": np.zeros((2, 28, 28, 1), np.uint8)}, "no targets"),
        ({"x": np.zeros((2, 28, 28, 1), np.uint8), "y": np.array([1, 10])}, "sample 1"),
        ({"x": np.zeros((2, 28, 28, 1), np.uint8), "y": np.array([0.5, 1])}, "class indices"),
        ({"x": np.zeros((2, 28, 28, 1), np.float32), "y": np.array([0, 1])}, "dtype"),
        ({"x": np.zeros((2, 28, 28), np.uint8), "y": np.array([0, 1])}, "shape"),
        ({"in/photo": np.zeros((2, 28, 28, 1), np.uint8), "y": np.array([0, 1])}, "in/image"),
    ],
)
def test_evaluate_of_data_that_does_not_fit_exits_5(
    bundle: Path,
    tmp_path: Path,
    arrays: dict[str, Any],
    word: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    assert main(["evaluate", str(bundle), "--data", str(tmp_path / "x.npz")]) == 5
    assert word in capsys.readouterr().err


# ---- predict


@pytest.mark.parametrize("digit", ["3", "7"])
@pytest.mark.parametrize("artifact", ["tflite-int8", "onnx-int8"])
def test_predict_names_the_digit_of_a_photo_from_another_program(
    bundle: Path, digit: str, artifact: str, command: Callable[..., Process]
) -> None:
    photo = DATA / f"digit-{digit}.png"
    with Image.open(photo) as image:
        assert (image.mode, image.size) == ("RGB", (1200, 900))
    done = command("predict", bundle, photo, "--invert", "--artifact", artifact, "--json")
    (prediction,) = one_json_object(done)["predictions"]
    assert prediction["outputs"]["digit"]["label"] == digit
    assert prediction["outputs"]["digit"]["index"] == int(digit)
    assert len(prediction["outputs"]["digit"]["values"]) == 10


@pytest.mark.parametrize("digit", ["0", "1"])
def test_predict_names_a_digit_drawn_on_a_large_canvas(
    bundle: Path, tmp_path: Path, digit: str, command: Callable[..., Process]
) -> None:
    draw_digit(digit, tmp_path / "photo.png")
    done = command("predict", bundle, "photo.png", "--invert")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"photo.png: {digit} 0.")
    assert "hint" not in done.stderr


def test_without_invert_a_light_photo_gets_a_hint_and_another_answer(
    bundle: Path, tmp_path: Path, command: Callable[..., Process]
) -> None:
    draw_digit("0", tmp_path / "photo.png")
    light = command("predict", bundle, "photo.png", "--json")
    dark = command("predict", bundle, "photo.png", "--json", "--invert")
    assert "--invert" in light.stderr
    values = [
        one_json_object(done)["predictions"][0]["outputs"]["digit"]["values"]
        for done in (light, dark)
    ]
    assert values[0] != values[1]


def test_predict_takes_several_inputs_and_npy_files(
    bundle: Path, tmp_path: Path, split: Samples, command: Callable[..., Process]
) -> None:
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", split.inputs["image"][i])
    shown = one_json_object(command("predict", bundle, "0.npy", "1.npy", "2.npy", "--json"))
    labels = [one["outputs"]["digit"]["label"] for one in shown["predictions"]]
    assert labels == [
        p.label for p in Predictor.open(bundle).predict_batch(split.inputs["image"][:3])
    ]
    assert [one["input"] for one in shown["predictions"]] == ["0.npy", "1.npy", "2.npy"]
    done = command("predict", bundle, "0.npy", "--top", "2")
    assert done.stdout.count(",") == 1


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "make", "word"),
    [
        ("missing.png", None, "No such file"),
        ("missing.npy", None, "No such file"),
        ("text.png", lambda path: write(path, b"no image"), "cannot identify"),
        ("empty.png", lambda path: write(path, b""), "cannot identify"),
        ("folder.png", lambda path: path.mkdir(), "directory"),
        ("text.npy", lambda path: write(path, b"no array"), "magic"),
        ("empty.npy", lambda path: write(path, b""), "usable .npy"),
        ("zip.npy", lambda path: write(path, b"PK\x03\x04" + bytes(100)), "usable .npy"),
        ("object.npy", lambda path: np.save(path, np.array([{}], object)), "pickle"),
        ("float.npy", lambda path: np.save(path, np.zeros((28, 28, 1))), "dtype"),
        ("flat.npy", lambda path: np.save(path, np.zeros((28, 28), np.uint8)), "shape"),
        ("four.npy", lambda path: np.save(path, np.zeros((28, 28, 4), np.uint8)), "channels"),
    ],
)
def test_predict_of_an_input_that_cannot_be_used_exits_5(
    bundle: Path,
    tmp_path: Path,
    name: str,
    make: Callable[[Path], object] | None,
    word: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if make is not None:
        make(tmp_path / name)
    assert main(["predict", str(bundle), str(tmp_path / name)]) == 5
    shown = capsys.readouterr()
    assert word in shown.err
    assert shown.out == ""


def test_without_pillow_the_message_holds_the_pip_command(
    bundle: Path, tmp_path: Path, command: Callable[..., Process]
) -> None:
    (tmp_path / "without" / "PIL").mkdir(parents=True)
    (tmp_path / "without" / "PIL" / "__init__.py").write_text("raise ImportError('no Pillow')")
    path = os.pathsep.join([str(tmp_path / "without"), str(REPOSITORY)])
    done = command("predict", bundle, DATA / "digit-3.png", PYTHONPATH=path)
    assert "pip install 'edgeward[image]'" in refused(done, 2)
    np.save(tmp_path / "x.npy", np.zeros((28, 28, 1), np.uint8))
    assert command("predict", bundle, "x.npy", PYTHONPATH=path).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["predict"],
        ["predict", "BUNDLE"],
        ["evaluate", "BUNDLE"],
        ["nonsense", "BUNDLE"],
        ["info", "BUNDLE", "--artifact", "tflite-int8"],
        ["predict", "BUNDLE", "x.npy", "--top", "many"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_exits_2(
    bundle: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([a.replace("BUNDLE", str(bundle)) for a in arguments])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["info", "nowhere"], 5),
        (["predict", "BUNDLE", "x.npy", "--artifact", "tflite-int4"], 2),
        (["predict", "BUNDLE", "x.npy", "--backend", "tensorflow"], 2),
        (["predict", "BUNDLE", "x.npy", "--top", "0"], 2),
        (["selftest", "BUNDLE", "--backend", "tensorflow"], 2),
        (["evaluate", "BUNDLE", "--data", "nowhere.npz"], 5),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_met_exits_with_its_code(
    bundle: Path, arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([a.replace("BUNDLE", str(bundle)) for a in arguments]) == code
    shown = capsys.readouterr()
    assert shown.err.startswith("runtime: ")
    assert shown.out == ""


def test_help_names_every_verb_and_every_exit_code(command: Callable[..., Process]) -> None:
    done = command("--help")
    assert done.returncode == 0
    for verb in ("info", "predict", "evaluate", "selftest", "bench", "verify"):
        assert f"  {verb}" in done.stdout
    for code in (0, 2, 3, 4, 5, 130):
        assert f"{code} " in done.stdout


def test_a_closed_pipe_is_no_error(bundle: Path, run_python: Callable[..., Process]) -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'runtime', 'info', "
        f"{str(bundle)!r}, '--json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE);"
        "p.stdout.close(); error = p.stderr.read(); print(p.wait(), error)"
    )
    assert run_python("-c", code).stdout.strip() == "0 b''"


# ---- texts


def text_of(argument: object) -> Any:
    spec = SimpleNamespace(kind="text")
    return _read_input(
        str(argument), SimpleNamespace(manifest=SimpleNamespace(inputs={"review": spec})), False
    )


@pytest.mark.parametrize(
    "text", ["a//b ./c", "", ".", "good " * 2000, "..", "/", "https://x.org/a", "naïve été"]
)
def test_a_text_on_the_command_line_is_taken_letter_by_letter(text: str) -> None:
    assert text_of(text) == text


def test_a_text_file_is_read_and_a_missing_one_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "review.txt").write_bytes("été\r\n".encode())
    assert text_of(tmp_path / "review.txt") == "été\r\n".encode()
    with pytest.raises(InvalidDataError, match="No such file"):
        text_of(tmp_path / "missing.txt")


# ---- edgeward run


EDGEWARD = "import sys; from edgeward.runtime.edgeward import main; sys.exit(main())"


def test_edgeward_run_does_the_same_as_python_m_runtime(
    bundle: Path, run_python: Callable[..., Process], command: Callable[..., Process]
) -> None:
    done = run_python("-c", EDGEWARD, "run", "info", bundle)
    assert done.returncode == 0, done.stderr
    assert done.stdout == command("info", bundle).stdout
    refused(run_python("-c", EDGEWARD, "run", "info", "nowhere"), 5)


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["fly"], 2), (["--help"], 0)], ids=str)
def test_edgeward_without_a_stage_names_the_stages(
    run_python: Callable[..., Process], arguments: list[str], code: int
) -> None:
    done = run_python("-c", EDGEWARD, *arguments)
    assert done.returncode == code
    shown = done.stdout if code == 0 else done.stderr
    for stage in ("train", "convert", "run"):
        assert f"edgeward {stage}" in shown


# ---- image files of every mode


@pytest.fixture
def strokes() -> Any:
    """A gray image that no transposition leaves as it is."""
    pixels = np.full((60, 40), 250, np.uint8)
    pixels[5:50, 6:12] = 10
    pixels[5:11, 6:30] = 90
    return pixels


def saved(image: Any, path: Path, **more: Any) -> Any:
    image.save(path, **more)
    return read_image(path)


def test_gray_and_colour_are_read_pixel_by_pixel(tmp_path: Path, strokes: Any) -> None:
    gray = saved(Image.fromarray(strokes), tmp_path / "l.png")
    assert (gray.dtype, gray.shape) == (np.uint8, (60, 40, 1))
    assert np.array_equal(gray[..., 0], strokes)
    rgb = np.stack([strokes, strokes // 2, 255 - strokes], axis=-1)
    assert np.array_equal(saved(Image.fromarray(rgb), tmp_path / "rgb.png"), rgb)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white_paper(tmp_path: Path, strokes: Any, mode: str) -> None:
    ink = strokes < 100
    layer = np.zeros((60, 40, 4), np.uint8)  # transparent black: without the alpha all is black
    layer[ink] = (10, 10, 10, 255)
    image = Image.fromarray(layer)
    if mode == "P":
        palette = Image.fromarray(ink.astype(np.uint8)).convert("P")
        palette.putpalette([0, 0, 0, 10, 10, 10])
        found = saved(palette, tmp_path / "x.png", transparency=0)
    else:
        found = saved(image.convert(mode), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as check:
        assert check.mode == mode
    assert found.shape == (60, 40, 3)
    assert set(found[ink].ravel().tolist()) == {10}
    assert set(found[~ink].ravel().tolist()) == {255}


def test_half_transparent_black_is_gray(tmp_path: Path) -> None:
    layer = np.zeros((2, 2, 4), np.uint8)
    layer[..., 3] = 128
    found = saved(Image.fromarray(layer), tmp_path / "x.png")
    assert set(found.ravel().tolist()) == {127}


def test_a_palette_without_transparency_is_read_as_its_colours(tmp_path: Path) -> None:
    palette = Image.fromarray(np.uint8([[0, 1], [1, 0]])).convert("P")
    palette.putpalette([200, 10, 30, 5, 6, 7])
    found = saved(palette, tmp_path / "x.png")
    assert found.tolist() == [[[200, 10, 30], [5, 6, 7]], [[5, 6, 7], [200, 10, 30]]]


def test_one_bit_is_black_and_white(tmp_path: Path, strokes: Any) -> None:
    image = Image.fromarray(strokes).point(lambda v: 255 * (v > 128)).convert("1")
    found = saved(image, tmp_path / "x.png")
    assert found.shape == (60, 40, 1)
    assert np.array_equal(found[..., 0] == 0, strokes <= 128)
    assert set(found.ravel().tolist()) == {0, 255}


def test_sixteen_bits_are_divided_by_257_and_rounded_half_up(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 385, 386, 32896, 65535]], np.uint16)
    found = saved(Image.fromarray(values), tmp_path / "x.png")
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 1, 2, 128, 255]
    dark = np.array([[0, 100, 255]], np.uint16)  # the brightest pixel does not change the rule
    assert saved(Image.fromarray(dark), tmp_path / "y.png")[0, :, 0].tolist() == [0, 0, 1]


def test_values_beyond_sixteen_bits_and_floats_are_refused(tmp_path: Path) -> None:
    for values in (np.array([[0, 70000]], np.int32), np.array([[0.0, np.nan]], np.float32)):
        with pytest.raises(InvalidDataError):
            saved(Image.fromarray(values), tmp_path / "x.tiff")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(tmp_path: Path, strokes: Any, orientation: int) -> None:
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, 3),
    }[orientation]
    stored = Image.fromarray(np.ascontiguousarray(undo(strokes)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = saved(stored, tmp_path / "x.png", exif=exif)
    assert upright.shape == (60, 40, 1)
    assert np.array_equal(upright[..., 0], strokes)
    if orientation != 1:  # the twin: without the tag it lies on its side
        other = saved(stored, tmp_path / "y.png")[..., 0]
        assert other.shape != strokes.shape or not np.array_equal(other, strokes)


def test_other_modes_give_three_channels(tmp_path: Path, strokes: Any) -> None:
    rgb = Image.fromarray(strokes).convert("RGB")
    found = saved(rgb.convert("CMYK"), tmp_path / "x.tiff")
    assert found.shape == (60, 40, 3)
    assert np.abs(found[..., 0].astype(int) - strokes).max() <= 2


def test_no_damage_of_an_image_raises_anything_but_our_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    refusals = 0
    for format_ in ("png", "jpeg", "gif", "tiff", "bmp", "webp"):
        source = Image.effect_noise((24, 20), 50).convert("RGB")
        path = tmp_path / f"x.{format_}"
        source.save(path)
        good = path.read_bytes()
        for _ in range(30):
            data = bytearray(good)
            for at in rng.integers(0, len(data), 3):
                data[at] = int(rng.integers(256))
            if rng.random() < 0.4:
                del data[int(rng.integers(len(data))) :]
            path.write_bytes(data)
            try:
                read_image(path)
            except InvalidDataError:
                refusals += 1
        path.write_bytes(good)
        assert read_image(path).shape == (20, 24, 3)
    assert refusals > 50


@pytest.mark.parametrize("digit", ["2", "5"])
def test_digit_drawn_by_a_browser_is_named(
    bundle: Path, digit: str, run_python: Callable[..., Process]
) -> None:
    """Strokes of an SVG, rendered by Chromium as a 1200 x 900 RGB picture on light paper."""
    picture = REPOSITORY / "tests" / "data" / f"browser-{digit}.png"
    done = run_python("-m", "runtime", "predict", bundle, picture, "--invert", "--json")
    assert done.returncode == 0, done.stderr
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert prediction["outputs"]["digit"]["label"] == digit
    # The twin: not inverted, the digit is lost, and the hint says what to do.
    done = run_python("-m", "runtime", "predict", bundle, picture, "--json")
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert prediction["outputs"]["digit"]["label"] != digit
    assert "--invert" in done.stderr
