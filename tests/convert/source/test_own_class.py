"""A run whose model has a class that only the user's recipe knows, through all three programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support import REPOSITORY, SUBSET, RunPython

GATE = '''
class Gate(keras.layers.Layer):
    """Weighs each channel; nothing registers this class."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")

    def call(self, x):
        return x * self.gain


'''


def recipe() -> str:
    """The complete recipe of the documentation, with a layer of its own."""
    page = (REPOSITORY / "docs" / "your-own-recipe.md").read_text()
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    text = found[1].replace("def build(hyper):", f"{GATE.strip()}\n\n\ndef build(hyper):")
    dense = "    x = keras.layers.Dense(32"
    assert dense in text
    return text.replace(dense, f'    x = Gate(name="gate")(x)\n{dense}')


@pytest.mark.slow
def test_run_with_a_class_of_the_recipe_converts_from_its_saved_model(
    run_python: RunPython, tmp_path: Path
) -> None:
    (tmp_path / "gated.py").write_text(recipe())
    trained = run_python("-m", "train", "gated.py", "--data", SUBSET)
    assert trained.returncode == 0, trained.stderr
    done = run_python("-m", "convert", "--int8", "--max-drop", "0.03", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [a["verdict"] for a in report["artifacts"]] == ["pass"] * 4
    assert any("'Gate', which only the recipe knows" in note for note in report["notes"])
    run = "runs/odd_or_even/001"
    scored = run_python(
        *("-m", "runtime", "evaluate", "bundles/odd_or_even"),
        *("--data", f"{run}/test.npz", "--json"),
    )
    assert scored.returncode == 0, scored.stderr
    # The twin: without the SavedModel nobody can read the class, and the message says which.
    for file in (tmp_path / run / "saved_model").rglob("*.pb"):
        file.unlink()
    lost = run_python("-m", "convert", "--int8", "--max-drop", "0.03", "--no-reuse")
    assert lost.returncode == 5, lost.stderr
    assert "Gate" in lost.stderr
