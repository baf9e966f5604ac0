"""Folders that hold a small Debian of another processor: Python, numpy, the interpreters.

They are built once, into the cache. Debian's minimal Python and these packages are all there is,
so that an import of anything more fails here as it would on a small device.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edgeward.runtime.errors import EdgewardError
from scripts.devices.cache import built, devices_folder
from scripts.devices.debian import Apt
from scripts.devices.packages import pinned, wheels_for

__all__ = ["ROOTS", "Root", "ready", "site"]

QEMU = ("qemu-aarch64-static", "qemu-arm-static")
PYTHON = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0"),
    *("liblzma5", "libcrypt1", "libssl3", "libuuid1"),
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
)
# LiteRT and onnxruntime read the processor's features from here, and crash on the host's file.
CORTEX_A72 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
CORTEX_A15 = """\
processor\t: 0
model name\t: ARMv7 Processor rev 4 (v7l)
BogoMIPS\t: 38.40
Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae
CPU implementer\t: 0x41
CPU architecture: 7
CPU variant\t: 0x2
CPU part\t: 0xc0f
CPU revision\t: 4

Hardware\t: Generic
"""
# As many processors as are in there: Android's TFLite crashes on any difference.
ONE = {f"sys/devices/system/cpu/{name}": "0\n" for name in ("possible", "present")}


@dataclass(frozen=True)
class Root:
    """One emulated device.

    Args:
        name: What it is called here.
        debian: Debian's name of the architecture.
        machine: The wheels' name of it.
        emulator: The program of qemu-user-static.
        cpu: What is emulated. Always pinned: ``max`` of qemu 7.2 gives wrong int8 with LiteRT.
        runtimes: Backend -> its distribution, each in a folder of its own.
        shared: Distributions that all of them need.
        packages: Debian packages beside Python.
        libraries: Folders for LD_LIBRARY_PATH, inside the root.
        files: Path -> text of files that programs read instead of the host's.
    """

    name: str
    debian: str
    machine: str
    emulator: str
    cpu: str
    runtimes: Mapping[str, str]
    shared: Sequence[str] = ()
    packages: Sequence[str] = ()
    libraries: Sequence[str] = field(default=())
    files: Mapping[str, str] = field(default_factory=dict)

    def command(self, root: Path, qemu: Path) -> list[str]:
        """Return the words that start Python in this root."""
        python = root / "usr" / "bin" / "python3.11"
        return [str(qemu / self.emulator), "-cpu", self.cpu, "-L", str(root), str(python)]

    def environment(self, root: Path, paths: Sequence[Path]) -> dict[str, str]:
        """Return all variables of a process in this root; nothing of the host's gets in."""
        libraries = [str(root / folder) for folder in self.libraries]
        variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(map(str, paths))}
        variables |= {"PYTHONNOUSERSITE": "1", "LC_ALL": "C.UTF-8"}
        return variables | ({"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {})


ROOTS: dict[str, Root] = {
    "aarch64": Root(
        "aarch64",
        *("arm64", "aarch64", "qemu-aarch64-static", "cortex-a72"),
        runtimes={
            "tflite": "tflite-runtime",
            "litert": "ai-edge-litert",
            "onnx": "onnxruntime",
        },
        shared=("numpy",),
        files={"proc/cpuinfo": CORTEX_A72, **ONE},
    ),
    # There is neither a LiteRT nor a numpy wheel for armv7; Debian has numpy.
    "armv7": Root(
        "armv7",
        *("armhf", "armv7l", "qemu-arm-static", "cortex-a15"),
        runtimes={"tflite": "tflite-runtime"},
        packages=("python3-numpy", "libblas3", "liblapack3", "libgfortran5"),
        libraries=("usr/lib/arm-linux-gnueabihf/blas", "usr/lib/arm-linux-gnueabihf/lapack"),
        files={"proc/cpuinfo": CORTEX_A15, **ONE},
    ),
}
MODULES = {"tflite": "tflite_runtime.interpreter", "litert": "ai_edge_litert.interpreter"}


def site(folder: Path, backend: str) -> list[Path]:
    """Return what PYTHONPATH needs for one interpreter, which is then the only one there."""
    return [folder / "site" / backend, folder / "site" / "shared"]


def ready(name: str) -> tuple[Root, Path, Path]:
    """Return a root, built where it is not there yet.

    Args:
        name: ``aarch64`` or ``armv7``.

    Returns:
        The root, its folder, qemu's folder.

    Raises:
        EdgewardError: What it is made of cannot be had, or it does not work.
        UsageError: This machine has no apt.
    """
    root = ROOTS[name]
    qemu = built("qemu", QEMU, _build_qemu)
    pins = {key: [pinned(one)] for key, one in root.runtimes.items()}
    pins["shared"] = [pinned(one) for one in root.shared]

    def build(folder: Path) -> None:
        with _apt(root.debian) as apt:
            names = [f"{package}:{root.debian}" for package in (*PYTHON, *root.packages)]
            Apt(Path(apt), [root.debian]).unpack(names, folder)
        for part, requirements in pins.items():
            (folder / "site" / part).mkdir(parents=True)
            if requirements:
                wheels_for(root.machine, requirements, folder / "site" / part)
        for name, text in root.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="ascii")
        for backend in root.runtimes:
            _check(root, folder, qemu, backend)

    return root, built(name, [asdict(root), PYTHON, pins], build), qemu


def _apt(purpose: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=f".apt-{purpose}-", dir=devices_folder())


def _build_qemu(folder: Path) -> None:
    with _apt("qemu") as apt:
        (package,) = Apt(Path(apt), []).download(["qemu-user-static"])
        # Two of its 64 emulators, 24 of 300 MB.
        content = Path(apt) / "content.tar"
        with content.open("wb") as file:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=file, check=True)
        with tarfile.open(content) as archive:
            for name in QEMU:
                member = archive.extractfile(f"./usr/bin/{name}")
                if member is not None:
                    with (folder / name).open("wb") as file:
                        shutil.copyfileobj(member, file)
                    (folder / name).chmod(0o755)
    for name in QEMU:
        _succeed([str(folder / name), "--version"], {}, f"{name} does not run on this machine.")


def _check(root: Root, folder: Path, qemu: Path, backend: str) -> None:
    """Import numpy and the interpreter. It also leaves the compiled modules of Python there."""
    module = MODULES.get(backend, "onnxruntime")
    code = f"import numpy, {module}, json, zipfile, platform; print(platform.machine())"
    _succeed(
        [*root.command(folder, qemu), "-c", code],
        root.environment(folder, site(folder, backend)),
        f"The emulated {root.name} cannot import {backend}.",
    )


def _succeed(command: list[str], environment: dict[str, str], message: str) -> None:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        problem = f"exit code {done.returncode}: {done.stderr.strip()[-500:]}"
    except OSError as error:
        done, problem = None, str(error.strerror)
    if done is None or done.returncode:
        raise EdgewardError(
            message,
            received=problem,
            expected="qemu-user-static of Debian 12 on x86-64 Linux, where programs may be run "
            "from the cache folder",
            fix="set EDGEWARD_DATA to a folder that is not mounted noexec",
        )
