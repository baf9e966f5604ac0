"""One artifact after the other from one loaded model. Runs in the worker process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeward.convert.export.models import Maker, Models
from edgeward.convert.formats import Format
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.settings import DEFAULT, Settings, Switches, check_settings
from edgeward.convert.variants import ArtifactId
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import TargetError

__all__ = ["Exporter"]


class Exporter:
    """Makes artifacts of every format; what several of them start from is made once.

    Args:
        loaded: The model.
        samples: Input name -> preprocessed calibration samples ``[N, ...]``.
        switches: What the target needs of the converter.
        folder: For files in between.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        samples: Mapping[str, Array],
        switches: Switches,
        folder: Path,
    ) -> None:
        self._models = Models(loaded, samples, switches, folder)
        self._makers: dict[str, Maker] = {}

    def settle(self, artifact_id: str) -> str:
        """Return the nearest artifact that the model can have: this one, but for recurrent nets."""
        artifact = ArtifactId.parse(artifact_id)
        variant, _ = self._maker(artifact.format).nearest(artifact.variant)
        return str(ArtifactId(artifact.format, variant))

    def why_not(self, artifact_id: str) -> str:
        """Return why ``settle`` takes another artifact; empty where it does not."""
        artifact = ArtifactId.parse(artifact_id)
        return self._maker(artifact.format).nearest(artifact.variant)[1]

    def make(self, artifact_id: str, settings: Settings = DEFAULT) -> tuple[bytes, bool]:
        """Return the file, and whether it keeps state between invocations.

        Args:
            artifact_id: What to make.
            settings: Calibration, and layers in float.

        Raises:
            TargetError: The format cannot hold the model as this variant or with these settings.
        """
        artifact = ArtifactId.parse(artifact_id)
        check_settings(settings, artifact)
        maker = self._maker(artifact.format)
        nearest, reason = maker.nearest(artifact.variant)
        if reason:
            raise TargetError(
                f"{artifact_id} cannot be made.", received=reason, fix=f"--{nearest.id}"
            )
        return maker.make(artifact.variant, settings)

    def _maker(self, format_: Format) -> Maker:
        if format_.name not in self._makers:
            self._makers[format_.name] = format_.maker(self._models)
        return self._makers[format_.name]
