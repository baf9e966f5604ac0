"""Debian packages of any architecture, unpacked without installing and without root.

The package source is the machine's own apt configuration; only the lists, the cache and the set of
installed packages are private, so that neither the machine nor its lists are changed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgeward.runtime.errors import EdgewardError, UsageError

__all__ = ["Apt"]

NEEDED = ("apt-get", "dpkg-deb")
FIX = (
    "run it on Debian 12, or in its container, as root or not; every other proof runs without: "
    "python -m scripts.devices.run --devices host"
)


class Apt:
    """A private apt state in a folder.

    Args:
        folder: An empty folder; the caller removes it.
        architectures: Debian architectures beside the machine's own, e.g. ``arm64``.

    Raises:
        UsageError: This machine has no apt.
    """

    def __init__(self, folder: Path, architectures: Sequence[str]) -> None:
        missing = [name for name in NEEDED if shutil.which(name) is None]
        if missing:
            raise UsageError(
                "The emulated devices are made of Debian packages, and apt is not here.",
                received=f"no {', '.join(missing)} on PATH",
                expected=" and ".join(NEEDED),
                fix=FIX,
            )
        self._folder = folder.resolve()
        self._updated = False
        for name in ("lists/partial", "cache/archives/partial", "packages"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "status").touch()
        print_own = ("dpkg", "--print-architecture")
        own = subprocess.run(print_own, capture_output=True, text=True, check=True).stdout.strip()
        listed = " ".join(f'"{name}";' for name in dict.fromkeys((own, *architectures)))
        # As root apt would download as the user _apt, who may not write here; the hooks after an
        # update belong to the machine's own lists.
        (self._folder / "apt.conf").write_text(
            f'Dir::State "{self._folder}";\n'
            f'Dir::State::lists "{self._folder}/lists";\n'
            f'Dir::State::status "{self._folder}/status";\n'
            f'Dir::Cache "{self._folder}/cache";\n'
            f"APT::Architectures {{ {listed} }};\n"
            'APT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\n'
            'Acquire::Retries "3";\n'
            "#clear APT::Update::Post-Invoke;\n"
            "#clear APT::Update::Post-Invoke-Success;\n"
        )

    def download(self, packages: Sequence[str]) -> list[Path]:
        """Download packages.

        Args:
            packages: Names, with ``:ARCHITECTURE`` for another one than the machine's.

        Raises:
            EdgewardError: A package is unknown or cannot be had.
        """
        # One list of a mirror that is being changed may fail; what counts is the packages.
        updated = "" if self._updated else self._apt("update").stderr
        self._updated = True
        into = Path(self._folder / "packages" / f"{len(list(self._folder.glob('packages/*')))}")
        into.mkdir()
        done = self._apt("download", *packages, cwd=into)
        found = sorted(into.glob("*.deb"))
        if done.returncode or len(found) != len(packages):
            raise EdgewardError(
                "apt cannot download what the emulated devices are made of.",
                received=_last_lines(done.stderr or updated),
                expected=f"{', '.join(packages)}, from the sources that apt is configured for",
                fix="the sources must be those of Debian 12 (Python 3.11); see that apt-get update "
                f"works on this machine. Or {FIX}",
            )
        return found

    def unpack(self, packages: Sequence[str], into: Path) -> None:
        """Download packages and unpack them into one folder.

        Raises:
            EdgewardError: As ``download``.
        """
        for package in self.download(packages):
            subprocess.run(["dpkg-deb", "-x", package, into], check=True, capture_output=True)

    def _apt(
        self, verb: str, *names: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = ["apt-get", "-q", "-c", str(self._folder / "apt.conf"), verb, *names]
        return subprocess.run(command, cwd=cwd or self._folder, capture_output=True, text=True)


def _last_lines(text: str) -> str:
    return "\n    ".join(text.strip().splitlines()[-4:]) or "no message"
