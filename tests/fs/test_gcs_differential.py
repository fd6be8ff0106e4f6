"""What files of a bucket do as files of a disk do, and the differences that are written down (docs/gcs-mounts.md)."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport.blobs.object_cloud import CloudObjects
from gaeport.blobs.object_folder import FolderObjects
from gaeport.blobs.object_memory import MemoryObjects
from gaeport.blobs.objects import ObjectStore
from gaeport.fs import mounts
from gaeport.fs.gcs.names import Names
from gaeport.fs.gcs.tree import Tree
from gaeport.fs.gcs.volume import GcsVolume
from tests import storage_server
from tests.fs.differential import handles, library, paths, world
from tests.fs.test_differential import LONG, SEED, play_all

SEQUENCES = int(os.environ.get("GAEPORT_SEQUENCES", "2000" if LONG else "25"))
LOSING = int(os.environ.get("GAEPORT_SEQUENCES", "200" if LONG else "10"))

# An object has one name, and a directory's time is that of its making.
LEFT_OUT = ("link", "path_hardlink", "by_directory_descriptor", "times_of_what_changes")


@pytest.fixture
def _differences(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in LEFT_OUT:
        monkeypatch.setitem(world.WEIGHTS, name, 0)

    def shown(status: os.stat_result) -> tuple[object, ...]:
        told = former(status)
        return told[:1] if len(told) == 2 else told  # of directories the mode alone

    former = world.shown
    for module in (world, paths, handles, library):
        monkeypatch.setattr(module, "shown", shown)
    lists = [(names, list(names)) for names in (world.NAMES, world.PLAIN)]
    for names, _ in lists:
        names.remove("\udcff")  # an object's name is UTF-8
    yield
    for names, whole in lists:
        names[:] = whole


@pytest.fixture(params=["memory", "folder"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryObjects() if request.param == "memory" else FolderObjects(tmp_path / "pictures")


@pytest.fixture
def losing(application: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A server of which every ninth answer or so is lost, though it did what was asked."""
    rng = random.Random(SEED)
    with storage_server.in_use(monkeypatch, 0.001) as bucket:
        bucket.lose = lambda call: rng.random() < 0.11
        yield CloudObjects(bucket.name)


def mounted(objects: ObjectStore, folder: Path) -> Path:
    folder.mkdir()
    mounts.attach(str(folder), volume_of(objects, folder))
    return folder


def volume_of(objects: ObjectStore, folder: Path) -> GcsVolume:
    return GcsVolume(Tree(objects, Names("pictures", "media/"), str(folder), overlay=True))


@pytest.mark.usefixtures("_differences")
def test_a_bucket_answers_as_the_disk_does(application: Path, objects: ObjectStore) -> None:
    regular = application / "regular"
    regular.mkdir()
    play_all(SEQUENCES, mounted(objects, application / "uploads"), regular)


@pytest.mark.usefixtures("_differences")
def test_a_bucket_whose_answers_get_lost_answers_as_the_disk_does(application: Path, losing: ObjectStore) -> None:
    regular = application / "regular"
    regular.mkdir()
    play_all(LOSING, mounted(losing, application / "uploads"), regular)
