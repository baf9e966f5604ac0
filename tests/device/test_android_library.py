"""The library of the Android package, run by the app's own code: and a wrong app is found."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.android import jvm, toolchain
from scripts.devices import android, bionic
from scripts.devices.judge import judge
from scripts.devices.subject import Device, Subject

pytestmark = [
    pytest.mark.device,
    pytest.mark.slow,
    pytest.mark.skipif(
        android.HERE not in [d.name for d in android.devices()],
        reason="bash scripts/android/setup.sh fetches the library",
    ),
]


def devices() -> dict[str, Device]:
    return {device.name: device for device in android.devices()}


def test_the_library_is_the_one_in_the_package() -> None:
    with zipfile.ZipFile(toolchain.path(bionic.AAR)) as aar:
        for machine, (abi, _) in bionic.MACHINES.items():
            content = (bionic.libraries(machine) / bionic.LIBRARY).read_bytes()
            wanted = aar.read(f"jni/{abi}/{bionic.LIBRARY}")
            differing = [i for i, (a, b) in enumerate(zip(content, wanted, strict=True)) if a != b]
            # Two bits of one byte of the header say how floats are passed.
            assert differing == ([bionic.FLAGS + 1] if machine == "armv7" else [])


@pytest.mark.parametrize("machine", list(android.THERE))
def test_the_apps_code_says_what_the_library_says_on_the_other_processor(
    machine: str, subjects: dict[str, Subject]
) -> None:
    """Both kernels are the same version's; only the processor differs, and who calls them."""
    for subject in subjects.values():
        names = (android.HERE, android.THERE[machine])
        here, there = (devices()[name].measure(subject) for name in names)
        for ours, theirs in zip(here, there, strict=True):
            assert ours.runtime == theirs.runtime == f"android-tflite {toolchain.TFLITE}"
            assert ours.metrics == theirs.metrics != {}
            row = judge(devices()[android.HERE], subject, ours, theirs)
            assert row.passed, row
            assert row.samples == len(subject.samples)


@pytest.mark.parametrize(
    ("old", "new", "model"),
    [
        ("if (artifact.stateful) {", "if (false) {", "text_lstm"),
        ("buffer.put(data).rewind();", "buffer.put(data, 0, 400).rewind();", "mnist_cnn"),
        ("new Tensor(spec.dtype, spec.shape, data)",
         "new Tensor(spec.dtype, spec.shape, new byte[data.length])", "mnist_cnn"),
    ],
    ids=["state is kept", "half the picture is handed over", "answers are zeros"],
)  # fmt: skip
def test_a_wrong_app_is_found(
    old: str,
    new: str,
    model: str,
    subjects: dict[str, Subject],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = android.JAVA.read_text(encoding="utf-8")
    assert text.count(old) == 1
    changed = tmp_path / android.JAVA.name
    changed.write_text(text.replace(old, new), encoding="utf-8")
    right = android._classes()

    def classes() -> Sequence[Path]:
        return [jvm.compile_sources(tmp_path, [changed], *right), *right]

    monkeypatch.setattr(android, "_classes", classes)
    device, subject = devices()[android.HERE], subjects[model]
    verdicts = {
        found.artifact: found.check and found.check.verdict for found in device.measure(subject)
    }
    assert verdicts["tflite-int8"] == "wrong"
