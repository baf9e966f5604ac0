"""What several tests of conversion share: every variant of one real run, made once."""

from __future__ import annotations

import warnings
from pathlib import Path

import bad_net
import pytest

from edgeward.convert.export.exporter import Exporter
from edgeward.convert.formats import FORMATS
from edgeward.convert.model.load import load_model
from edgeward.convert.settings import OLDEST
from edgeward.convert.variants import VARIANTS, plan
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.train.run import Run


@pytest.fixture(scope="session")
def every_variant(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Artifact id -> file, of the run's model."""
    opened = Run.open(run)
    (name, spec), (output,) = next(iter(opened.info.inputs.items())), opened.info.outputs
    loaded = load_model(run / "model.keras", [name], [output])
    calibration = opened.samples("calibration").take(range(100))
    samples = {name: preprocess_batch(spec, calibration.inputs[name])}
    maker = Exporter(loaded, samples, OLDEST, tmp_path_factory.mktemp("maker"))
    ids, _ = plan(list(VARIANTS), list(FORMATS), everything=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        return {artifact_id: maker.make(artifact_id)[0] for artifact_id in ids}


@pytest.fixture(scope="session")
def bad_net_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose int8 loses accuracy, and its data. Read-only: copy them."""
    folder = tmp_path_factory.mktemp("bad")
    assert bad_net.write_bad_net(folder) >= 0.97
    return folder
