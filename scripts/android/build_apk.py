"""Build the Android package without Android Studio, and prove what can be proven of it here.

    python scripts/android/build_apk.py BUNDLE... [--out android_demo/build/edgeward.apk]

A package proof: compiled, within Android 7's API, packed, aligned, signed, its bundles verified in
place. No emulator runs here, so nothing is said about how it behaves on a phone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgeward.convert.bundle.android import export_assets
from edgeward.runtime.console import guarded
from edgeward.runtime.errors import EdgewardError, UsageError
from edgeward.runtime.files import sha256_file
from scripts.android.toolchain import CACHE, FRAMEWORK, MAVEN, MIN_API, TARGET_API, absent, path
from scripts.android.verify_apk import verify

__all__ = ["build", "classes_recipe", "compile_classes", "run", "sign"]

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "android_demo" / "app" / "src" / "main"
API_CHECK = Path(__file__).with_name("ApiCheck.java")
PACKAGE = "edgeward.demo"
ABIS = ("arm64-v8a", "armeabi-v7a", "x86_64")
KEY = CACHE / "throw-away.keystore"
# As Android's own debug key: it says who built the package to nobody.
PASSWORD = "throwaway"


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a program.

    Raises:
        EdgewardError: It failed; with its output.
    """
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=600, cwd=cwd
    )
    if done.returncode:
        raise EdgewardError(
            f"{' '.join(map(str, command[:4]))} ... failed.",
            received=f"{done.stdout}{done.stderr}"[-3000:],
        )
    return done.stdout


def classes_recipe() -> list[str]:
    """Return the hashes of what the classes are compiled from, to tell when to do it again."""
    files = [Path(__file__), API_CHECK, *sorted((MAIN / "java").rglob("*.java"))]
    return [*map(sha256_file, files), *(file.sha256 for file in MAVEN.values())]


def compile_classes(work: Path) -> Path:
    """Compile the app, and check that Android 7 has what it calls; returns classes.dex."""
    jars = []
    for name in ("tensorflow-lite", "tensorflow-lite-api"):
        with zipfile.ZipFile(path(f"{name}.aar")) as archive:
            jars.append(work / f"{name}.jar")
            jars[-1].write_bytes(archive.read("classes.jar"))
    classes = work / "classes"
    known = ":".join(map(str, [path("android.jar"), *jars]))
    sources = sorted((MAIN / "java").rglob("*.java"))
    run("javac", "--release", "8", "-Xlint:all,-options", "-Werror", "-encoding", "UTF-8",
        "-cp", known, "-d", classes, *sources)  # fmt: skip
    checker = f"{path('animal-sniffer.jar')}:{path('asm.jar')}"
    run("java", "-cp", checker, API_CHECK, classes, path("api.signature"))
    compiled = sorted(classes.rglob("*.class"))
    run("java", "-cp", path("r8.jar"), "com.android.tools.r8.D8", "--release",
        "--min-api", MIN_API, "--lib", path("android.jar"), "--output", work,
        *compiled, *jars)  # fmt: skip
    return work / "classes.dex"


def package(work: Path, assets: Path) -> Path:
    """Pack manifest, assets, classes and native libraries; returns the aligned, unsigned APK."""
    manifest = (MAIN / "AndroidManifest.xml").read_text(encoding="utf-8")
    # Gradle takes these from build.gradle; aapt wants the name in the manifest.
    named = re.sub(r"<manifest ", f'<manifest package="{PACKAGE}" ', manifest, count=1)
    (work / "AndroidManifest.xml").write_text(named, encoding="utf-8")
    packed, aligned = work / "packed.apk", work / "aligned.apk"
    run("aapt", "package", "-f", "-M", work / "AndroidManifest.xml", "-I", FRAMEWORK,
        "-A", assets, "-0", "tflite", "--min-sdk-version", MIN_API,
        "--target-sdk-version", TARGET_API, "--version-code", 1, "--version-name", "1.0",
        "-F", packed)  # fmt: skip
    libraries = []
    with zipfile.ZipFile(path("tensorflow-lite.aar")) as archive:
        for abi in ABIS:
            name = f"lib/{abi}/libtensorflowlite_jni.so"
            (work / name).parent.mkdir(parents=True)
            (work / name).write_bytes(archive.read(name.replace("lib/", "jni/", 1)))
            libraries.append(name)
    run("aapt", "add", packed, "classes.dex", *libraries, cwd=work)
    run("zipalign", "-f", "-p", 4, packed, aligned)
    return aligned


def sign(aligned: Path, out: Path) -> None:
    """Sign with a throw-away key that is made once; the same input gives the same bytes."""
    if not KEY.exists():
        KEY.parent.mkdir(parents=True, exist_ok=True)
        run("keytool", "-genkeypair", "-keystore", KEY, "-storepass", PASSWORD, "-alias", "demo",
            "-keyalg", "RSA", "-keysize", 2048, "-validity", 10000,
            "-dname", "CN=throw-away")  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    run("apksigner", "sign", "--ks", KEY, "--ks-pass", f"pass:{PASSWORD}", "--min-sdk-version",
        MIN_API, "--v1-signing-enabled", "false", "--v4-signing-enabled", "false",
        "--out", out, aligned)  # fmt: skip


def build(bundles: list[Path], out: Path, classes: Path | None = None) -> Path:
    """Build an APK with these bundles in it.

    Args:
        bundles: Their folders.
        out: The file to write.
        classes: What ``compile_classes`` gave; None compiles.

    Raises:
        EdgewardError: A tool failed.
        InvalidBundleError: A bundle is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for bundle in bundles:
            export_assets(bundle, work / "assets")
        if classes is None:
            compile_classes(work)
        else:
            shutil.copyfile(classes, work / "classes.dex")
        aligned = package(work, work / "assets")
        sign(aligned, out)
        shutil.copyfile(aligned, out.with_suffix(".unsigned"))
    return out


def main() -> int:
    """Build, verify and say what was seen."""
    parser = argparse.ArgumentParser(description="Build the Android package.")
    parser.add_argument("bundle", nargs="+", type=Path)
    default = ROOT / "android_demo" / "build" / "edgeward.apk"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    if absent():
        raise UsageError(
            "The Android tools are missing.",
            received=f"no {', '.join(absent())}",
            fix="bash scripts/android/setup.sh",
        )
    build(arguments.bundle, arguments.out)
    for line in verify(arguments.out):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("build_apk", main))
