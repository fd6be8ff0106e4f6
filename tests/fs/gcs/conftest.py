"""A volume of objects, and several of them on one bucket."""

from pathlib import Path
from typing import Any

import pytest

from gaeport.blobs.object_folder import FolderObjects
from gaeport.blobs.object_memory import MemoryObjects
from gaeport.blobs.objects import ObjectStore
from gaeport.fs.gcs.names import Names
from gaeport.fs.gcs.tree import Tree
from gaeport.fs.gcs.volume import GcsVolume
from tests.fs.gcs.helpers import Instance


@pytest.fixture(autouse=True)
def _embedded(application: Path) -> None:
    """Locks are kept in the embedded Datastore."""


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryObjects() if request.param == "memory" else FolderObjects(tmp_path / "pictures")


@pytest.fixture
def root(application: Path) -> Path:
    folder = application / "uploads"
    folder.mkdir()
    return folder


@pytest.fixture
def instance(store: ObjectStore, root: Path) -> Instance:
    """Makes volumes as several instances of an application have them."""

    def make(**options: Any) -> GcsVolume:
        given = {"overlay": True, **options}
        return GcsVolume(Tree(store, Names("pictures", "media/"), str(root), **given))

    return make


@pytest.fixture
def volume(instance: Instance) -> GcsVolume:
    return instance()
