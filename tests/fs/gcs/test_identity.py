"""Which file an object is, where other programs copy, move and replace objects, or tell more of them."""

import io
import os
import random
from pathlib import Path
from zipfile import ZipFile

import pytest

from gaeport.blobs.objects import ObjectStore
from gaeport.fs import mounts
from gaeport.fs.gcs.volume import GcsVolume
from tests.fs.gcs.helpers import Instance, content, foreign
from tests.fs.volumes import append, get, put


def about(store: ObjectStore, name: str) -> dict[str, str]:
    found = store.stat(name)
    assert found is not None
    return dict(found.metadata)


def test_an_object_that_was_copied_with_its_metadata_is_another_file(volume: GcsVolume, store: ObjectStore) -> None:
    put(volume, "a", b"one")
    foreign(store, "media/b", b"two", **about(store, "media/a"))
    first, second = volume.open(("a",), os.O_RDWR), volume.open(("b",), os.O_RDWR)
    assert (first.pread(9, 0), second.pread(9, 0)) == (b"one", b"two")
    second.pwrite(b"T", 0)
    second.close()
    first.close()
    assert (get(volume, "a"), get(volume, "b")) == (b"one", b"Two")


def test_a_file_that_another_instance_moved_is_opened_where_it_is(instance: Instance) -> None:
    volume, other = instance(), instance()
    put(volume, "log", b"one")
    former = volume.open(("log",), os.O_RDWR)
    other.rename(("log",), ("log.1",))
    append(volume, "log.1", b" more")
    former.close()
    assert get(volume, "log.1") == b"one more"


def test_a_name_that_another_program_uses_again_is_another_file(volume: GcsVolume, store: ObjectStore) -> None:
    foreign(store, "media/a", b"one")
    append(volume, "a", b"!")
    volume.chmod(("a",), 0o600)
    volume.rename(("a",), ("b",))
    foreign(store, "media/a", b"two")
    former, new = volume.open(("b",), os.O_RDWR), volume.open(("a",), os.O_RDWR)
    assert (former.pread(9, 0), new.pread(9, 0)) == (b"one!", b"two")
    assert volume.stat(("a",)).ino != volume.stat(("b",)).ino
    former.close()
    new.close()


def test_anothers_object_is_followed_through_a_rename(volume: GcsVolume, store: ObjectStore) -> None:
    foreign(store, "media/a", b"one")
    former = volume.open(("a",), os.O_RDWR)
    volume.rename(("a",), ("b",))
    later = volume.open(("b",), os.O_WRONLY | os.O_APPEND)
    former.pwrite(b"O", 0)
    later.append(b" more")
    later.close()
    former.close()
    assert get(volume, "b") == b"One more"


def test_anothers_object_in_a_moved_directory_is_followed(volume: GcsVolume, store: ObjectStore) -> None:
    foreign(store, "media/d/a", b"one")
    handle = volume.open(("d", "a"), os.O_RDWR)
    volume.rename(("d",), ("e",))
    handle.pwrite(b"O", 0)
    handle.close()
    assert get(volume, "e/a") == b"One"


def test_a_replaced_file_that_is_still_open_and_its_successor_are_two(instance: Instance) -> None:
    volume, other = instance(), instance()
    put(volume, "a", b"old")
    former = volume.open(("a",), os.O_RDONLY)
    other.unlink(("a",))
    put(other, "a", b"new")
    assert get(volume, "a") == b"new"
    assert former.pread(9, 0) == b"old"
    former.close()
    append(volume, "a", b"er")
    assert get(other, "a") == b"newer"


def test_changes_wait_in_a_replaced_file_too_when_all_are_stored(instance: Instance) -> None:
    """Its writer is told by `commit_all`, although its name leads to another file by now."""
    volume, other = instance(), instance()
    put(volume, "a", b"old")
    former = volume.open(("a",), os.O_RDWR)
    former.pwrite(b"lost", 0)
    other.unlink(("a",))
    put(other, "a", b"new")
    assert get(volume, "a") == b"new"
    with pytest.raises(OSError, match="somebody replaced"):
        volume.commit_all()
    former.discard()


def test_what_others_told_of_an_object_outlives_a_new_content(volume: GcsVolume, store: ObjectStore) -> None:
    foreign(store, "media/a", b"one", author="somebody", gcsfuse_mtime="2020-01-01T00:00:00Z")
    for write in (lambda: append(volume, "a", b"!"), lambda: put(volume, "a", b"two")):
        write()
        told = about(store, "media/a")
        assert told["author"] == "somebody"
        assert told["gcsfuse_mtime"] > "2021"


def test_a_move_gives_the_type_of_the_new_name(volume: GcsVolume, store: ObjectStore) -> None:
    put(volume, "a.png.tmp", b"one")
    volume.rename(("a.png.tmp",), ("a.png",))
    found = store.stat("media/a.png")
    assert found is not None
    assert found.content_type == "image/png"
    store.patch(found, {}, content_type="image/x-own")
    volume.rename(("a.png",), ("a.txt",))
    found = store.stat("media/a.txt")
    assert found is not None
    assert found.content_type == "image/x-own"  # what somebody set is kept


@pytest.mark.parametrize("flags", [os.O_TRUNC, 0, os.O_APPEND, os.O_EXCL])
def test_a_new_large_file_goes_up_while_it_is_written(volume: GcsVolume, store: ObjectStore, flags: int) -> None:
    handle = volume.open(("big",), os.O_WRONLY | os.O_CREAT | flags)
    for number in range(40):
        handle.append(bytes([number]) * (1 << 20))
    kept = sum(len(piece.data) for piece in handle.shared.view.pieces if hasattr(piece, "data"))
    assert kept <= 16 << 20
    handle.close()
    assert content(store, "media/big")[:: 1 << 20] == bytes(range(40))


def test_a_large_archive_is_written(volume: GcsVolume, root: Path, store: ObjectStore) -> None:
    """After each member zipfile goes back to where it began, to tell its size."""
    mounts.attach(str(root), volume)
    member = random.Random(1).randbytes(11 << 20)
    with ZipFile(root / "a.zip", "w") as archive:
        for name in "abcde":
            archive.writestr(name, member)
    with ZipFile(io.BytesIO(content(store, "media/a.zip"))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list("abcde")


def test_a_new_large_file_that_is_to_be_read_as_well_stays(volume: GcsVolume) -> None:
    handle = volume.open(("big",), os.O_RDWR | os.O_CREAT | os.O_EXCL)
    for number in range(20):
        handle.append(bytes([number]) * (1 << 20))
    assert handle.pread(1, 0) == b"\0"
    handle.pwrite(b"x", 0)
    handle.close()
    assert get(volume, "big")[:2] == b"x\0"
