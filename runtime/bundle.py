"""Open a bundle and hand out bytes that were checked (FORMAT.md, section 1).

A file is read once; its hash is checked on the bytes read, and those very bytes are what the
interpreter gets. Checking a path and opening it again would leave a gap in between.
"""

from __future__ import annotations

from pathlib import Path

from edgeward.runtime.artifact import Artifact
from edgeward.runtime.errors import InvalidBundleError, InvalidInputError
from edgeward.runtime.files import parse_sums, read_regular, sha256_bytes
from edgeward.runtime.golden import MAX_GOLDEN_BYTES, Golden
from edgeward.runtime.manifest import MAX_MANIFEST_BYTES, Manifest
from edgeward.runtime.specs import vocabulary_names

__all__ = ["Bundle"]

SUMS = "SHA256SUMS"
MAX_FILE_BYTES = 2 * 2**30


class Bundle:
    """An opened bundle.

    Attributes:
        path: The folder.
        manifest: Its validated manifest.
    """

    def __init__(self, path: Path, hashes: dict[str, str], manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._hashes = hashes

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Check the list of files, and the manifest, of a bundle.

        Artifacts are read and checked when they are asked for; ``verify`` checks all.

        Raises:
            InvalidBundleError: Missing, extra, damaged or special files, or an invalid manifest.
        """
        folder = _resolve(Path(path))
        try:
            hashes = parse_sums(read_regular(folder / SUMS, MAX_MANIFEST_BYTES))
        except InvalidInputError as error:
            raise _damaged(folder, error) from None
        found = {entry.name for entry in folder.iterdir()} - {SUMS}
        if found != set(hashes):
            raise InvalidBundleError(
                f"The bundle {folder.name} does not hold the files that {SUMS} lists.",
                received=f"extra {sorted(found - set(hashes))}, "
                f"missing {sorted(set(hashes) - found)}",
                fix="copy the bundle again, whole; nothing may be added to the folder",
            )
        manifest = Manifest.from_bytes(_read(folder, hashes, "manifest.json", MAX_MANIFEST_BYTES))
        bundle = cls(folder, hashes, manifest)
        bundle._check_against_manifest()
        return bundle

    def _check_against_manifest(self) -> None:
        for artifact in self.manifest.artifacts:
            if self._hashes.get(artifact.file) != artifact.sha256:
                raise InvalidBundleError(
                    f"The hash of {artifact.file} differs between {SUMS} and manifest.json.",
                    received=self._hashes.get(artifact.file),
                    expected=artifact.sha256,
                )
        named = {"golden.json", *vocabulary_names(self.manifest.inputs.values())}
        missing = sorted(named - set(self._hashes))
        if missing:
            raise InvalidBundleError(f"The bundle {self.path.name} lacks files.", expected=missing)

    def read(self, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the checked bytes of a file of the bundle.

        Raises:
            InvalidBundleError: The file is not listed or does not match its hash.
        """
        return _read(self.path, self._hashes, name, max_bytes)

    def artifact_bytes(self, artifact: Artifact) -> bytes:
        """Return the checked bytes of an artifact, its size included."""
        data = self.read(artifact.file)
        if len(data) != artifact.size:
            raise InvalidBundleError(
                f"{artifact.file} has the wrong size.",
                received=len(data),
                expected=f"{artifact.size}, as manifest.json says",
            )
        return data

    def vocabularies(self) -> dict[str, bytes]:
        """Return the content of the vocabulary files that ``lookup`` steps name."""
        return {name: self.read(name) for name in vocabulary_names(self.manifest.inputs.values())}

    def golden(self) -> Golden:
        """Return the golden vectors, checked against the manifest."""
        golden = Golden.from_bytes(self.read("golden.json", MAX_GOLDEN_BYTES), self.manifest)
        verified = any(
            drift.verdict != "unverified" for a in self.manifest.artifacts for drift in a.drift
        )
        if verified and not golden.inputs:
            raise InvalidBundleError("golden.json holds no vectors.", expected="at least 8")
        return golden

    def verify(self) -> list[str]:
        """Check every file of the bundle.

        Returns:
            The names of the files checked.

        Raises:
            InvalidBundleError: The first file that is damaged.
        """
        for name in sorted(self._hashes):
            self.read(name)
        for artifact in self.manifest.artifacts:
            self.artifact_bytes(artifact)
        self.golden()
        return [SUMS, *sorted(self._hashes)]


def _resolve(path: Path) -> Path:
    if path.is_dir():
        return path
    # Where folders cannot be exchanged, a writer killed between its two renames leaves this one.
    previous = path.with_name(f".{path.name}.previous")
    if not path.exists() and previous.is_dir():
        return previous
    raise InvalidBundleError(
        "There is no such bundle.",
        received=path,
        expected="a folder written by python -m convert",
    )


def _read(folder: Path, hashes: dict[str, str], name: str, max_bytes: int) -> bytes:
    if name not in hashes:
        raise InvalidBundleError(f"The bundle {folder.name} has no {name}.")
    try:
        data = read_regular(folder / name, max_bytes)
    except InvalidInputError as error:
        raise _damaged(folder, error) from None
    actual = sha256_bytes(data)
    if actual != hashes[name]:
        raise InvalidBundleError(
            f"{name} is damaged: it is not the file that was bundled.",
            received=f"sha256 {actual}, {len(data)} bytes",
            expected=f"sha256 {hashes[name]}",
            fix="copy the bundle again, or run python -m convert again",
        )
    return data


def _damaged(folder: Path, error: InvalidInputError) -> InvalidBundleError:
    return InvalidBundleError(
        f"The bundle {folder.name} is damaged: {error.message}",
        received=error.received,
        expected=error.expected,
        fix="copy the bundle again, or run python -m convert again",
    )
