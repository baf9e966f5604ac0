"""What the devices are built from: whole or not at all, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.runtime.errors import EdgewardError, MissingExtraError, UsageError
from scripts.android import toolchain
from scripts.devices import android, app, cache, debian, emulate, packages, run


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWARD_DATA", str(tmp_path / "cache"))


def test_a_folder_is_built_once_and_again_when_its_recipe_changes() -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "file").write_text("x")

    first = cache.built("thing", [1], build)
    assert cache.built("thing", [1], build) == first
    assert (first / "file").is_file()
    assert len(built) == 1
    assert cache.built("thing", [2], build) != first
    assert len(built) == 2


def test_a_build_that_fails_leaves_nothing_and_is_tried_again() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise EdgewardError("no")

    with pytest.raises(EdgewardError, match="no"):
        cache.built("thing", [1], fail)
    assert [p.name for p in cache.devices_folder().iterdir()] == [".thing.lock"]
    assert cache.built("thing", [1], lambda folder: None).is_dir()


def test_without_apt_the_error_says_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as caught:
        debian.Apt(tmp_path / "apt", ["arm64"])
    assert "apt-get, dpkg-deb" in str(caught.value.received)
    assert "Debian 12" in str(caught.value.fix)


def test_a_package_that_apt_does_not_know_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = debian.Apt(tmp_path / "apt", [])
    # As if the update had run: this must not depend on a network.
    monkeypatch.setattr(apt, "_updated", True)
    with pytest.raises(EdgewardError) as caught:
        apt.unpack(["no-such-package-at-all"], tmp_path)
    assert "no-such-package-at-all" in str(caught.value.expected)
    assert "no-such-package-at-all" in str(caught.value.received)
    assert "Debian 12" in str(caught.value.fix)


def test_an_emulator_that_does_not_run_is_an_error_not_a_device(tmp_path: Path) -> None:
    from scripts.devices import roots

    with pytest.raises(EdgewardError, match="does not run") as caught:
        roots._succeed([str(tmp_path / "qemu")], {}, "qemu does not run on this machine.")
    assert "No such file" in str(caught.value.received)
    with pytest.raises(EdgewardError) as caught:
        roots._succeed(["/bin/sh", "-c", "echo why >&2; exit 3"], {}, "qemu does not run.")
    assert "exit code 3: why" in str(caught.value.received)
    roots._succeed(["/bin/sh", "-c", "exit 0"], {}, "qemu does not run.")


def test_unknown_devices_and_packages_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="no such emulated device"):
        emulate.run("armv7", "onnx", "-c", "pass")
    with pytest.raises(MissingExtraError):
        packages.pinned("no-such-package-at-all")
    with pytest.raises(UsageError, match="Unknown devices"):
        run._chosen("toaster")


def test_a_group_that_is_named_and_not_here_is_an_error_and_otherwise_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(toolchain, "cached", lambda name: False)
    devices, missing = run._chosen(None)
    assert "android" not in {device.group for device in devices}
    assert "NOT PROVEN" in missing
    assert android.HERE in missing
    assert all(name in missing for name in android.THERE.values())
    with pytest.raises(UsageError, match="not here") as caught:
        run._chosen("android")
    assert caught.value.fix == app.INSTALL


def test_every_device_is_compared_with_one_that_is_there() -> None:
    devices, missing = run._chosen(None)
    names = [device.name for device in devices]
    assert len(set(names)) == len(names) >= 12
    assert {device.baseline for device in devices} - {None} <= set(names)
    groups = {device.group for device in devices}
    assert ("android" in groups) or "android-tflite" in missing
    assert groups - {"android"} == {"host", "aarch64", "armv7", "tflm"}
