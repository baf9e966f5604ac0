"""The Android package: built twice to the same bytes, verified in place, and damage to it found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from java_cases import need_java
from support import REPOSITORY

from scripts.android import build_apk, toolchain

SCRIPTS = REPOSITORY / "scripts" / "android"
DEMO = REPOSITORY / "android_demo"


def test_gradle_and_the_script_build_the_same_app() -> None:
    gradle = (DEMO / "app" / "build.gradle").read_text()
    assert re.findall(r"minSdk (\d+)", gradle) == [str(toolchain.MIN_API)]
    assert re.findall(r"targetSdk (\d+)", gradle) == [str(toolchain.TARGET_API)]
    wanted = toolchain.MAVEN["tensorflow-lite.aar"].coordinates.removesuffix(":aar")
    assert re.findall(r"implementation '(.*)'", gradle) == [wanted]
    build = (SCRIPTS / "build_apk.py").read_text()
    assert re.findall(r"namespace '(.*)'", gradle) == re.findall(r'PACKAGE = "(.*)"', build)
    abis = re.findall(r"abiFilters (.*)", gradle)[0].replace("'", '"')
    assert f"ABIS = ({abis})" in build


def test_the_logic_knows_nothing_of_android_nor_of_the_interpreter() -> None:
    logic = DEMO / "app" / "src" / "main" / "java" / "edgeward" / "demo" / "logic"
    found = {
        name for path in logic.glob("*.java")
        for name in re.findall(r"\b(?:android|org)\.[a-z]\w*", path.read_text())
    }  # fmt: skip
    assert found <= {"org.json"}, found  # named in a comment, as what is not used
    for path in logic.parent.glob("*.java"):
        tflite = "org.tensorflow" in path.read_text()
        assert tflite == (path.name == "TfliteModel.java"), path.name


@pytest.fixture(scope="session")
def apks(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same APK, built twice."""
    need_java()
    if toolchain.absent():
        names = ", ".join(toolchain.absent())
        pytest.skip(f"{names} missing: bash scripts/android/setup.sh installs them")
    folder = tmp_path_factory.mktemp("apk")
    paths = [folder / str(i) / "edgeward.apk" for i in range(2)]
    for path in paths:
        done = subprocess.run(
            [sys.executable, SCRIPTS / "build_apk.py", bundle, "--out", path],
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "tflite-int8.tflite: stored" in done.stdout
    return paths


def verdict(apk: Path) -> str:
    done = subprocess.run(
        [sys.executable, SCRIPTS / "verify_apk.py", apk],
        capture_output=True, text=True, timeout=600, env=None, cwd=REPOSITORY,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr


@pytest.mark.slow
def test_two_builds_are_equal_byte_for_byte(apks: list[Path]) -> None:
    one, two = apks
    assert one.with_suffix(".unsigned").read_bytes() == two.with_suffix(".unsigned").read_bytes()
    assert one.read_bytes() == two.read_bytes()


def flip(apk: Path, name: str) -> None:
    """Flip a bit in the middle of a file of the APK."""
    with zipfile.ZipFile(apk) as archive:
        info = archive.getinfo(name)
    data = bytearray(apk.read_bytes())
    at = data.find(b"PK\x03\x04", info.header_offset) + 30 + len(name) + info.compress_size // 2
    data[at] ^= 1
    apk.write_bytes(data)


def repack(apk: Path, work: Path, change: Callable[[str, bytes], bytes], stored: bool) -> None:
    """Write the APK anew, as somebody who tampers with it would, and sign it again."""
    fresh, aligned = work / "fresh.apk", work / "aligned.apk"
    with zipfile.ZipFile(apk) as old, zipfile.ZipFile(fresh, "w") as new:
        for info in old.infolist():
            kind = info.compress_type if stored else zipfile.ZIP_DEFLATED
            new.writestr(info.filename, change(info.filename, old.read(info)), kind)
    build_apk.run("zipalign", "-f", "-p", 4, fresh, aligned)
    build_apk.sign(aligned, apk)


def one_bit(name: str, data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:] if name.endswith("tflite-int8.tflite") else data


@pytest.mark.slow
def test_damage_to_the_package_is_found(apks: list[Path], tmp_path: Path) -> None:
    assert verdict(apks[0]) == ""
    with zipfile.ZipFile(apks[0]) as archive:
        model = next(n for n in archive.namelist() if n.endswith("tflite-int8.tflite"))
    copy = tmp_path / "copy.apk"
    for name in (model, "classes.dex"):
        shutil.copyfile(apks[0], copy)
        flip(copy, name)
        assert "apksigner refuses the APK" in verdict(copy), name
    shutil.copyfile(apks[0], copy)
    repack(copy, tmp_path, lambda _, data: data, stored=True)
    assert verdict(copy) == ""
    repack(copy, tmp_path, lambda _, data: data, stored=False)
    assert "is compressed" in verdict(copy)
    shutil.copyfile(apks[0], copy)
    repack(copy, tmp_path, one_bit, stored=True)
    assert "tflite-int8.tflite is damaged" in verdict(copy)
    # Not signed at all.
    assert "apksigner refuses" in verdict(apks[0].with_suffix(".unsigned"))


@pytest.mark.slow
def test_what_android_7_lacks_is_found(apks: list[Path], tmp_path: Path) -> None:
    for name, body in {"Old": "new java.util.ArrayList<String>()",
                       "New": "java.util.Base64.getDecoder()"}.items():  # fmt: skip
        source = tmp_path / name / f"{name}.java"
        source.parent.mkdir()
        source.write_text(f"class {name} {{ Object made = {body}; }}")
        subprocess.run(["javac", "--release", "8", "-d", source.parent, source], check=True)
        checker = f"{toolchain.path('animal-sniffer.jar')}:{toolchain.path('asm.jar')}"
        done = subprocess.run(
            ["java", "-cp", checker, SCRIPTS / "ApiCheck.java", source.parent,
             toolchain.path("api.signature")], capture_output=True, text=True,
        )  # fmt: skip
        # Its own field is of a class that neither Android nor the app has; that is not looked at.
        assert ("java.util.Base64" in done.stdout) == (name == "New"), done.stdout
        if name == "New":
            assert done.returncode == 1
