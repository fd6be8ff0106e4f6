"""What tests of mounts of objects share."""

import os
from collections.abc import Callable

import pytest

from gaeport.blobs.objects import Draft, ObjectStore, Stored
from gaeport.fs.gcs.volume import GcsVolume

READ_WRITE = os.O_RDWR
Instance = Callable[..., GcsVolume]


def foreign(store: ObjectStore, name: str, data: bytes = b"foreign", **metadata: str) -> Stored:
    """Store an object as another program does, whatever was there."""
    found = store.stat(name)
    return store.write(Draft(name, found.generation if found is not None else 0, metadata), data)


def content(store: ObjectStore, name: str) -> bytes:
    found = store.stat(name)
    assert found is not None, name
    return store.read(name, found.generation, 0, found.size)


def everything(store: ObjectStore) -> list[str]:
    return sorted(item.name for item in store.scan("", deep=True) if isinstance(item, Stored))


def refused(number: int, call: Callable[[], object], words: str = r"\[Errno") -> None:
    with pytest.raises(OSError, match=words) as caught:
        call()
    assert caught.value.errno == number, caught.value
