"""The native library of TensorFlow Lite for Android, its bytes unchanged, on a Linux with glibc.

It wants Android's C library; ``bionic.c`` is that, as far as it goes. So the very library that a
phone runs (the one in the package) computes here: for x86-64 on this machine, for arm64 on the
emulated one. 32-bit ARM is left out: there the two C libraries differ in the size of a mutex.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import EdgewardError
from runtime.files import sha256_file
from scripts.android import toolchain
from scripts.devices.cache import built
from scripts.devices.packages import pip

__all__ = ["AAR", "LIBRARIES", "LIBRARY", "libraries", "missing"]

AAR = "tensorflow-lite.aar"
LIBRARY = "libtensorflowlite_jni.so"
# In the order in which they have to be loaded; all of them come before the library.
LIBRARIES = ("libdl.so", "libm.so", "liblog.so", "libc.so")
# Machine -> its name in an AAR.
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64-v8a"}
SOURCE = Path(__file__).with_name("bionic.c")
# A C compiler for both machines that pip can install. It is removed once it has done its work.
COMPILER = "ziglang==0.17.1"
GLIBC = "2.31"
OPTIONS = ("-shared", "-fPIC", "-O2", "-s", "-fno-builtin", "-fno-sanitize=all", "-Wall", "-Werror")


def missing() -> str:
    """Return what has to be fetched first; empty where it is there."""
    return "" if toolchain.cached(AAR) else AAR


def libraries(machine: str) -> Path:
    """Return the folder that holds LIBRARY and LIBRARIES, built where it is not there yet.

    Args:
        machine: ``x86_64`` or ``aarch64``.

    Raises:
        EdgewardError: The compiler cannot be had, or does not compile.
    """
    recipe = [sha256_file(SOURCE), toolchain.MAVEN[AAR].sha256, COMPILER, GLIBC, OPTIONS]
    return built("android-library", recipe, _build) / machine


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        pip("install", "--quiet", "--no-deps", "--target", scratch / "zig", COMPILER)
        (scratch / "map").write_text("LIBC { global: *; };\n", encoding="ascii")
        (scratch / "empty.c").write_text("int nothing;\n", encoding="ascii")
        for machine, abi in MACHINES.items():
            (folder / machine).mkdir()
            with zipfile.ZipFile(toolchain.path(AAR)) as aar:
                content = aar.read(f"jni/{abi}/{LIBRARY}")
            (folder / machine / LIBRARY).write_bytes(content)
            for library in LIBRARIES:
                # The version of symbols, which the real library asks of each of them.
                linked = (f"-Wl,-soname,{library}", f"-Wl,--version-script={scratch / 'map'}")
                source = SOURCE if library == "libc.so" else scratch / "empty.c"
                target = ("-target", f"{machine}-linux-gnu.{GLIBC}")
                _compile(scratch, [*target, *linked, "-o", folder / machine / library, source])


def _compile(scratch: Path, words: Sequence[object]) -> None:
    variables = {"PYTHONPATH": scratch / "zig"}
    variables |= {f"ZIG_{kind}_CACHE_DIR": scratch / "cache" for kind in ("LOCAL", "GLOBAL")}
    done = subprocess.run(
        list(map(str, [sys.executable, "-m", "ziglang", "cc", *OPTIONS, *words])),
        env=os.environ | {name: str(path) for name, path in variables.items()},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise EdgewardError(
            f"{SOURCE.name} does not compile.", received=done.stderr.strip()[-1000:]
        )
