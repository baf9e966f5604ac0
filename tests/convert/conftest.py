"""What several tests of conversion share: every variant of one real run, made once."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from convert.export.exporter import Exporter
from convert.model.load import load_model
from convert.settings import OLDEST
from convert.variants import FORMATS, VARIANTS, plan
from runtime.preprocessing import preprocess_batch
from train.run import Run


@pytest.fixture(scope="session")
def every_variant(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Artifact id -> file, of the run's model."""
    opened = Run.open(run)
    (name, spec), (output,) = next(iter(opened.info.inputs.items())), opened.info.outputs
    loaded = load_model(run / "model.keras", [name], [output])
    calibration = opened.samples("calibration").take(range(100))
    samples = {name: preprocess_batch(spec, calibration.inputs[name])}
    maker = Exporter(loaded, samples, OLDEST, tmp_path_factory.mktemp("maker"))
    ids, _ = plan(list(VARIANTS), FORMATS, everything=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        return {artifact_id: maker.make(artifact_id)[0] for artifact_id in ids}


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    copy = tmp_path / "runs" / "mnist_cnn" / "001"
    shutil.copytree(run, copy)
    return copy


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, where a conversion of the run would replace it."""
    copy = tmp_path / "bundles" / "mnist_cnn"
    shutil.copytree(bundle, copy)
    return copy
