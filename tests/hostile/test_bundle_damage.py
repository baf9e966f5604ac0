"""Two hundred damages anywhere in a real bundle: a clear error each time, no interpreter ever."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from edgeward import runtime
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import EdgewardError, InvalidBundleError
from edgeward.runtime.files import parse_sums, read_regular, render_sums, sha256_bytes, sha256_file

Rng = np.random.Generator
SUMS = "SHA256SUMS"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pick(folder: Path, rng: Rng, but: tuple[str, ...] = ()) -> Path:
    return folder / str(rng.choice([name for name in names(folder) if name not in but]))


# ---- ways to damage a bundle; each leaves something that must be refused


def flip_a_bit(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def overwrite_a_byte(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    data = bytearray(path.read_bytes())
    at = rng.integers(len(data))
    data[at] = (data[at] + int(rng.integers(1, 256))) % 256
    path.write_bytes(data)


def overwrite_a_block_with_zeros(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    data = bytearray(path.read_bytes())
    at = int(np.flatnonzero(np.frombuffer(data, np.uint8))[0])
    data[at : at + 512] = bytes(len(data[at : at + 512]))
    path.write_bytes(data)


def truncate(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    os.truncate(path, int(rng.integers(0, path.stat().st_size)))


def cut_the_start(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    path.write_bytes(path.read_bytes()[int(rng.integers(1, 5)) :])


def empty(folder: Path, rng: Rng) -> None:
    pick(folder, rng).write_bytes(b"")


def append(folder: Path, rng: Rng) -> None:
    with pick(folder, rng).open("ab") as file:
        file.write(rng.bytes(int(rng.integers(1, 100))))


def append_a_line_feed(folder: Path, rng: Rng) -> None:
    with pick(folder, rng).open("ab") as file:
        file.write(b"\n")


def windows_line_ends(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng, tuple(n for n in names(folder) if "." in n and "json" not in n))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def insert_bytes(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    data = path.read_bytes()
    at = int(rng.integers(len(data)))
    path.write_bytes(data[:at] + rng.bytes(3) + data[at:])


def remove(folder: Path, rng: Rng) -> None:
    pick(folder, rng).unlink()


def rename(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    path.rename(path.with_name(path.name.swapcase()))


def add_a_file(folder: Path, rng: Rng) -> None:
    name = [".hidden", "Thumbs.db", "manifest.json~", "a b", "ä.txt", "x" * 200, "MANIFEST.JSON"]
    (folder / str(rng.choice(name))).write_bytes(rng.bytes(int(rng.integers(0, 50))))


def add_a_file_with_a_name_that_is_no_text(folder: Path, rng: Rng) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe" + str(rng.integers(99)).encode())).touch()


def add_a_folder(folder: Path, rng: Rng) -> None:
    (folder / str(rng.choice(["sub", ".git", "__pycache__"]))).mkdir()


def swap_two_files(folder: Path, rng: Rng) -> None:
    one, other = (folder / str(name) for name in rng.choice(names(folder), 2, replace=False))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def replace_with_a_link_to_the_same_bytes(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    aside = folder.parent / "aside"
    path.rename(aside)
    path.symlink_to(aside if rng.random() < 0.5 else Path("..") / "aside")


def replace_with_a_pipe(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    path.unlink()
    os.mkfifo(path)  # a reader that waits for its writer waits for ever


def replace_with_a_folder(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    path.unlink()
    path.mkdir()


def replace_with_a_loop(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    path.unlink()
    path.symlink_to(path.name)


def replace_with_a_socket(folder: Path, rng: Rng) -> None:
    path = pick(folder, rng)
    path.unlink()
    here = Path.cwd()
    os.chdir(folder)  # the name of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def hard_link(folder: Path, rng: Rng) -> None:
    one, other = (folder / str(name) for name in rng.choice(names(folder), 2, replace=False))
    if rng.random() < 0.5:
        other.unlink()  # one file under two names
    else:
        other = folder / "twin.bin"
    os.link(one, other)


def disorder_the_sums(folder: Path, rng: Rng) -> None:
    path = folder / SUMS
    lines = path.read_bytes().splitlines(keepends=True)
    changes: list[Callable[[], list[bytes]]] = [
        lambda: lines[::-1],
        lambda: lines[1:],
        lambda: [*lines, lines[-1]],
        lambda: [lines[0], *lines],
        lambda: [line.upper() for line in lines],
        lambda: [line.replace(b"  ", b" *") for line in lines],
        lambda: [*lines, b"0" * 64 + b"  ../../etc/passwd\n"],
        lambda: [*lines, b"0" * 64 + b"  zzz\n"],
        lambda: [b"#\n", *lines],
    ]
    path.write_bytes(b"".join(changes[rng.integers(len(changes))]()))


DAMAGES: list[Callable[[Path, Rng], None]] = [
    *(flip_a_bit, overwrite_a_byte, overwrite_a_block_with_zeros, truncate, cut_the_start),
    *(empty, append, append_a_line_feed, windows_line_ends, insert_bytes, remove, rename),
    *(add_a_file, add_a_file_with_a_name_that_is_no_text, add_a_folder, swap_two_files),
    *(
        replace_with_a_link_to_the_same_bytes,
        replace_with_a_pipe,
        replace_with_a_folder,
        replace_with_a_loop,
        replace_with_a_socket,
        hard_link,
    ),
    disorder_the_sums,
]
SEEDS = range(200)


@pytest.fixture
def no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> NoReturn:
        pytest.fail("an interpreter was created")

    for module in (
        "edgeward.runtime.backends",
        "edgeward.runtime.predictor",
        "edgeward.runtime.self_test",
    ):
        monkeypatch.setattr(sys.modules[module], "open_backend", refuse)


def damaged(bundle: Path, to: Path, seed: int) -> Path:
    folder = to / "bundle"
    shutil.copytree(bundle, folder)
    DAMAGES[seed % len(DAMAGES)](folder, np.random.default_rng(seed))
    return folder


@pytest.mark.parametrize(
    "seed", SEEDS, ids=[f"{DAMAGES[seed % len(DAMAGES)].__name__}-{seed}" for seed in SEEDS]
)
def test_a_damaged_bundle_is_refused_before_an_interpreter_sees_it(
    bundle: Path, tmp_path: Path, seed: int, no_interpreter: None
) -> None:
    folder = damaged(bundle, tmp_path, seed)
    with pytest.raises(InvalidBundleError) as caught:
        Bundle.open(folder).verify()
    assert caught.value.exit_code == 5
    message = str(caught.value)
    assert 20 < len(message) < 1500
    shutil.rmtree(folder)


def test_a_bundle_that_is_only_copied_is_intact(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    assert sorted(Bundle.open(tmp_path / "b").verify()) == names(bundle)
    assert Bundle.open(bundle).verify()


def test_the_trap_for_interpreters_works(bundle: Path, no_interpreter: None) -> None:
    with pytest.raises(pytest.fail.Exception, match="created"):
        runtime.Predictor.open(bundle)
    with pytest.raises(pytest.fail.Exception, match="created"):
        runtime.selftest(bundle)


@pytest.mark.parametrize("seed", [0, 3, 8, 16, 17, 18, 19, 20, 22])
def test_the_command_line_refuses_it_with_exit_code_5_and_no_traceback(
    bundle: Path, tmp_path: Path, run_python: Callable[..., Any], seed: int
) -> None:
    folder = damaged(bundle, tmp_path, seed)
    done = run_python("-m", "runtime", "verify", folder)
    assert done.returncode == 5, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("runtime: ")
    assert "Traceback" not in done.stderr


def test_the_command_line_accepts_the_bundle_as_it_was(
    bundle: Path, run_python: Callable[..., Any]
) -> None:
    done = run_python("-m", "runtime", "verify", bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("intact")


# ---- tampering that keeps SHA256SUMS right


def reseal(folder: Path) -> None:
    files = [path for path in folder.iterdir() if path.name != SUMS]
    (folder / SUMS).write_bytes(render_sums({path.name: sha256_file(path) for path in files}))


def edit(folder: Path, name: str, change: Callable[[Any], None]) -> None:
    tree = json.loads((folder / name).read_bytes())
    change(tree)
    (folder / name).write_text(json.dumps(tree))
    reseal(folder)


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


ARTIFACTS = ["tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8"]


def file_of(folder: Path, artifact: str) -> Path:
    return folder / Bundle.open(folder).manifest.artifact(artifact).file


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_an_artifact_changed_together_with_the_sums_is_caught_by_the_manifest(
    copy: Path, artifact: str, no_interpreter: None
) -> None:
    path = file_of(copy, artifact)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    reseal(copy)
    with pytest.raises(InvalidBundleError, match=r"differs between SHA256SUMS and manifest\.json"):
        Bundle.open(copy)


def test_two_artifacts_exchanged_together_with_the_sums_are_caught(
    copy: Path, no_interpreter: None
) -> None:
    one, other = file_of(copy, "tflite-fp32"), file_of(copy, "tflite-int8")
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    reseal(copy)
    with pytest.raises(InvalidBundleError, match="differs between"):
        Bundle.open(copy)


def test_an_artifact_with_the_right_hash_and_the_wrong_size_is_caught(
    copy: Path, no_interpreter: None
) -> None:
    path = file_of(copy, "tflite-int8")
    path.write_bytes(path.read_bytes() + b"\0")
    digest = sha256_file(path)

    def describe(tree: Any) -> None:
        next(a for a in tree["artifacts"] if a["id"] == "tflite-int8").update(sha256=digest)

    edit(copy, "manifest.json", describe)
    opened = Bundle.open(copy)
    with pytest.raises(InvalidBundleError, match="size"):
        opened.artifact_bytes(opened.manifest.artifact("tflite-int8"))
    with pytest.raises(InvalidBundleError, match="size"):
        opened.verify()


def put(place: tuple[str | int, ...], value: Any) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for key in place[:-1]:
            tree = tree[key]
        tree[place[-1]] = value

    return change


TENSOR = {"dtype": "int8", "shape": [8, 10], "base64": "AAAA"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("manifest.json", put(("format_version",), 2)),
        ("manifest.json", put(("default",), "c-int8")),
        ("manifest.json", put(("artifacts", 0, "file"), "../model.tflite")),
        ("manifest.json", put(("artifacts", 0, "file"), "/etc/passwd")),
        ("manifest.json", put(("artifacts", 0, "file"), "manifest.json")),
        ("manifest.json", put(("artifacts", 0, "file"), "missing.tflite")),
        ("manifest.json", put(("artifacts", 0, "drift", 0, "upper_bound"), 0.5)),
        ("manifest.json", put(("extra",), 1)),
        ("manifest.json", put(("inputs", "image", "preprocessing"), [{"step": "eval"}])),
        ("golden.json", put(("format_version",), 2)),
        ("golden.json", put(("inputs",), [])),
        ("golden.json", put(("expected",), [])),
        ("golden.json", put(("inputs", 0, "image"), "text")),
        ("golden.json", put(("inputs", 0, "image", "shape"), [28, 28, 2**30])),
        ("golden.json", put(("inputs", 0, "image", "dtype"), "int8")),
        ("golden.json", put(("expected", 0, "artifact"), "onnx-fp16")),
        ("golden.json", put(("expected", 0, "outputs", "digit"), TENSOR)),
        ("golden.json", put(("expected", 0, "outputs", "digit", "shape"), [1] * 40)),
    ],
)
def test_a_manifest_or_golden_file_changed_together_with_the_sums_is_caught(
    copy: Path, name: str, change: Callable[[Any], None], no_interpreter: None
) -> None:
    edit(copy, name, lambda tree: None)
    Bundle.open(copy).verify()  # the twin: written anew, without a change
    edit(copy, name, change)
    with pytest.raises(InvalidBundleError):
        Bundle.open(copy).verify()


def test_a_lookup_whose_vocabulary_is_not_in_the_bundle_is_caught(copy: Path) -> None:
    text = {
        "kind": "text",
        "dtype": "uint8",
        "shape": [None],
        "preprocessing": [
            {"step": "tokenize"},
            {"step": "lookup", "vocabulary": "words.txt", "unknown": 1},
        ],
    }
    edit(copy, "manifest.json", put(("inputs", "image"), text))
    with pytest.raises(InvalidBundleError, match="lacks files"):
        Bundle.open(copy)


# ---- the bytes checked are the bytes used


def test_a_file_replaced_after_the_bundle_was_opened_is_refused(copy: Path) -> None:
    opened = Bundle.open(copy)
    artifact = opened.manifest.artifact()
    (copy / artifact.file).write_bytes(b"another model")
    with pytest.raises(InvalidBundleError, match="damaged"):
        opened.artifact_bytes(artifact)


def test_every_file_is_read_once_and_its_hash_is_that_of_the_bytes_returned(copy: Path) -> None:
    opened = Bundle.open(copy)
    hashes = parse_sums((copy / SUMS).read_bytes())
    for name, digest in hashes.items():
        assert sha256_bytes(opened.read(name)) == digest
    with pytest.raises(InvalidBundleError, match="has no"):
        opened.read("unlisted.txt")
    with pytest.raises(InvalidBundleError, match="has no"):
        opened.read("../bundle/labels.txt")


def test_reading_takes_no_more_memory_than_the_file_needs(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    tracemalloc.start()
    try:
        assert read_regular(path, 2 * 2**30) == b"x" * 1000
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_file_above_its_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    assert len(read_regular(path, 1000)) == 1000
    with pytest.raises(EdgewardError, match="too large"):
        read_regular(path, 999)


def test_the_damages_are_spread_over_every_file(bundle: Path, tmp_path: Path) -> None:
    hit: set[str] = set()
    intact = {name: (bundle / name).read_bytes() for name in names(bundle)}
    for seed in range(0, 184, len(DAMAGES)):
        for kind in (0, 1, 3, 4, 5, 6, 7, 9):
            folder = damaged(bundle, tmp_path, seed + kind)
            hit |= {n for n in intact if (folder / n).read_bytes() != intact[n]}
            shutil.rmtree(folder)
    assert hit >= {SUMS, "manifest.json", "golden.json"}
    assert len(hit) >= len(intact) - 2
