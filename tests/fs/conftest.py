"""A mounted folder for tests of the layer between Python's file functions and a volume."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport import settings
from gaeport.fs import gcs, mounts
from gaeport.fs.datastore.volume import make_volume
from gaeport.fs.patching import patch, paths
from gaeport.fs.volume import Volume
from tests.fs.memory_volume import MemoryVolume


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Path]:
    """An application's folder, with nothing mounted in it yet; everything is put back afterwards."""
    former = settings._current
    working = os.getcwd()
    root = tmp_path.resolve() / "application"
    root.mkdir()
    settings.configure(root=root, data=":memory:")
    yield root
    os.chdir(working)
    mounts.unmount_all()
    settings._current = former
    assert not patch.is_installed()
    assert paths.mounts() == ()


@pytest.fixture(params=["memory", "datastore", "gcs"])
def any_volume(request: pytest.FixtureRequest, application: Path) -> Volume:
    """What keeps the files of `everywhere`: a volume in memory, and the real ones, embedded."""
    if request.param == "memory":
        return MemoryVolume(str(application / "uploads"))
    root = str(application / "uploads")
    if request.param == "gcs":
        return gcs.make_volume(settings.MountSettings(path="uploads", store="gcs", prefix="media/"), root)
    return make_volume(settings.MountSettings(path="uploads", name="uploads"), root)


@pytest.fixture
def everywhere(application: Path, any_volume: Volume) -> Path:
    """A mounted folder, on each kind of volume in turn."""
    folder = application / "uploads"
    folder.mkdir()
    mounts.attach(str(folder), any_volume)
    return folder


@pytest.fixture
def volume(application: Path) -> MemoryVolume:
    """What keeps the files of `mounted`."""
    return MemoryVolume(str(application / "uploads"))


@pytest.fixture
def mounted(application: Path, volume: MemoryVolume) -> Path:
    """A mounted folder; on the disk it is there and empty."""
    folder = application / "uploads"
    folder.mkdir()
    mounts.attach(str(folder), volume)
    return folder


@pytest.fixture
def beside(application: Path) -> Path:
    """An ordinary folder beside the mounted one."""
    folder = application / "plain"
    folder.mkdir()
    return folder
