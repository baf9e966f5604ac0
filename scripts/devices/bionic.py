"""The native library of TensorFlow Lite for Android, on a Linux with glibc.

It wants Android's C library; ``bionic.c`` is that, as far as it goes. So the very library that a
phone runs (the one in the package) computes here: for x86-64 on this machine, for arm64 and
armeabi-v7a on emulated ones. Its bytes are unchanged, but for one byte of the 32-bit one's header:
it says that floats are passed in integer registers, and Debian's loader for ARM refuses that, which
``bionic32.c`` makes up for.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.files import sha256_file
from scripts.android import toolchain
from scripts.devices.cache import built
from scripts.devices.packages import pip

__all__ = ["AAR", "LIBRARIES", "LIBRARY", "libraries", "missing"]

AAR = "tensorflow-lite.aar"
LIBRARY = "libtensorflowlite_jni.so"
# In the order in which they have to be loaded; all of them come before the library.
LIBRARIES = ("libdl.so", "libm.so", "liblog.so", "libc.so")
# Machine -> its name in an AAR, and what the compiler calls it.
MACHINES = {
    "x86_64": ("x86_64", ("-target", "x86_64-linux-gnu.2.31")),
    "aarch64": ("arm64-v8a", ("-target", "aarch64-linux-gnu.2.31")),
    "armv7": ("armeabi-v7a", ("-target", "arm-linux-gnueabihf.2.36", "-mcpu=cortex_a15")),
}
SOURCE = Path(__file__).with_name("bionic.c")
SOURCES = (SOURCE, SOURCE.with_name("bionic32.c"))
# Of the header of a 32-bit ELF file: the flags, and in them the convention for floats.
FLAGS, SOFT_FLOAT, HARD_FLOAT = 0x24, 0x200, 0x400
# A C compiler for both machines that pip can install. It is removed once it has done its work.
COMPILER = "ziglang==0.17.1"
OPTIONS = ("-shared", "-fPIC", "-O2", "-s", "-fno-builtin", "-fno-sanitize=all", "-Wall", "-Werror")


def missing() -> str:
    """Return what has to be fetched first; empty where it is there."""
    return "" if toolchain.cached(AAR) else AAR


def libraries(machine: str) -> Path:
    """Return the folder that holds LIBRARY and LIBRARIES, built where it is not there yet.

    Args:
        machine: ``x86_64``, ``aarch64`` or ``armv7``.

    Raises:
        EdgewardError: The compiler cannot be had, or does not compile.
    """
    sources = [sha256_file(source) for source in SOURCES]
    recipe = [*sources, toolchain.MAVEN[AAR].sha256, COMPILER, OPTIONS, MACHINES]
    return built("android-library", recipe, _build) / machine


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        pip("install", "--quiet", "--no-deps", "--target", scratch / "zig", COMPILER)
        (scratch / "map").write_text("LIBC { global: *; };\n", encoding="ascii")
        (scratch / "empty.c").write_text("int nothing;\n", encoding="ascii")
        for machine, (abi, target) in MACHINES.items():
            (folder / machine).mkdir()
            with zipfile.ZipFile(toolchain.path(AAR)) as aar:
                content = aar.read(f"jni/{abi}/{LIBRARY}")
            fitting = _hard_float(content) if machine == "armv7" else content
            (folder / machine / LIBRARY).write_bytes(fitting)
            for library in LIBRARIES:
                # The version of symbols, which the real library asks of each of them.
                linked = (f"-Wl,-soname,{library}", f"-Wl,--version-script={scratch / 'map'}")
                source = SOURCE if library == "libc.so" else scratch / "empty.c"
                _compile(scratch, [*target, *linked, "-o", folder / machine / library, source])


def _hard_float(content: bytes) -> bytes:
    """Return the library with the flag of the other convention for floats."""
    (flags,) = struct.unpack_from("<I", content, FLAGS)
    changed = struct.pack("<I", flags & ~SOFT_FLOAT | HARD_FLOAT)
    return content[:FLAGS] + changed + content[FLAGS + len(changed) :]


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
