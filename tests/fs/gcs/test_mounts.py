"""Files that are objects of a bucket: what was deployed, what calls cost, large files, locks, and mounts."""

import errno
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gaeport
from gaeport import datastore, meter, settings
from gaeport.blobs import object_connection
from gaeport.blobs.object_folder import FolderObjects
from gaeport.blobs.object_memory import MemoryObjects
from gaeport.blobs.objects import OPERATION, ObjectStore, Stored
from gaeport.datastore.mutations import delete
from gaeport.errors import ConfigurationError
from gaeport.fs import mounts
from gaeport.fs.gcs import make_volume
from gaeport.fs.gcs.inode import KEPT, ONE_REQUEST
from gaeport.fs.gcs.names import Names
from gaeport.fs.gcs.reading import AHEAD, BLOCK
from gaeport.fs.gcs.tree import Tree
from gaeport.fs.gcs.volume import GcsVolume
from gaeport.fs.locks import Span
from gaeport.fs.patching import requests
from tests.fs.gcs.helpers import READ_WRITE, Instance, content, everything, refused
from tests.fs.volumes import append, get, names, put

# What was deployed


@pytest.fixture
def deployed(root: Path) -> Path:
    (root / "static").mkdir()
    (root / "static" / "a.txt").write_text("deployed")
    (root / "b.txt").write_text("also")
    return root


def test_deployed_files_are_read_until_written(deployed: Path, volume: GcsVolume, store: ObjectStore) -> None:
    assert names(volume) == ["b.txt", "static"]
    assert get(volume, "static/a.txt") == b"deployed"
    assert everything(store) == []
    append(volume, "static/a.txt", b" and more")
    assert content(store, "media/static/a.txt") == b"deployed and more"
    assert get(volume, "static/a.txt") == b"deployed and more"
    assert (deployed / "static" / "a.txt").read_text() == "deployed"


def test_deployed_files_cannot_be_removed_or_moved(deployed: Path, volume: GcsVolume) -> None:
    put(volume, "b.txt", b"hides it")
    for call in (
        lambda: volume.unlink(("static", "a.txt")),
        lambda: volume.unlink(("b.txt",)),
        lambda: volume.rename(("b.txt",), ("c",)),
        lambda: volume.rename(("static",), ("c",)),
    ):
        refused(errno.EROFS, call, "deployed.*overlay = false")
    refused(errno.ENOTEMPTY, lambda: volume.rmdir(("static",)))
    assert get(volume, "b.txt") == b"hides it"


def test_an_empty_deployed_directory_cannot_be_removed(root: Path, volume: GcsVolume) -> None:
    (root / "empty").mkdir()
    refused(errno.EROFS, lambda: volume.rmdir(("empty",)), "overlay = false")


def test_attributes_of_a_deployed_file_copy_it(deployed: Path, volume: GcsVolume, store: ObjectStore) -> None:
    volume.chmod(("b.txt",), 0o600)
    assert content(store, "media/b.txt") == b"also"
    assert stat.S_IMODE(volume.stat(("b.txt",)).mode) == 0o600


def test_a_file_moves_over_a_deployed_one(deployed: Path, volume: GcsVolume) -> None:
    put(volume, "new", b"new")
    volume.rename(("new",), ("b.txt",))
    assert get(volume, "b.txt") == b"new"


def test_without_overlay_nothing_deployed_shows(deployed: Path, instance: Instance) -> None:
    bare = instance(overlay=False)
    assert names(bare) == []
    refused(errno.ENOENT, lambda: get(bare, "b.txt"))


# Calls


def calls_of(call: Callable[[], object]) -> dict[str, int]:
    with meter.measure() as measured:
        call()
    return measured.calls


def test_what_calls_cost(volume: GcsVolume) -> None:
    volume.mkdir(("d",))
    new = {"StatObject": 1, "ListObjects": 2, "WriteObject": 1}
    assert calls_of(lambda: put(volume, "d/a", b"x")) == new
    assert calls_of(lambda: put(volume, "d/a", b"y")) == {"StatObject": 1, "WriteObject": 1}
    assert calls_of(lambda: append(volume, "d/a", b"z")) == {"StatObject": 1, "ReadObject": 1, "WriteObject": 1}
    assert calls_of(lambda: get(volume, "d/a")) == {"StatObject": 1, "ReadObject": 1}
    assert calls_of(lambda: volume.stat(("d", "a"))) == {"StatObject": 1}
    assert calls_of(lambda: volume.stat(("d",))) == {"StatObject": 1, "ListObjects": 1}
    assert calls_of(lambda: volume.unlink(("d", "a"))) == {"StatObject": 1, "DeleteObject": 1}


def test_a_listing_with_attributes_is_one_call(volume: GcsVolume) -> None:
    volume.mkdir(("d",))
    for number in range(20):
        put(volume, f"d/{number}", b"x" * number)
    with meter.measure() as measured:
        found = dict(volume.scandir(("d",)))
    assert measured.calls == {"ListObjects": 1}
    assert found["7"].size == 7
    assert found["7"] == volume.stat(("d", "7"))


def test_a_large_file_is_read_ahead(volume: GcsVolume) -> None:
    size = 12 << 20
    put(volume, "a", bytes(size))
    handle = volume.open(("a",), os.O_RDONLY)
    with meter.measure() as measured:
        for offset in range(0, size, 256 << 10):
            assert len(handle.pread(256 << 10, offset)) == 256 << 10
    assert measured.calls["ReadObject"] == 1 + -(-(size - BLOCK) // AHEAD)
    handle.close()


def test_what_was_looked_at_is_remembered_for_a_while(instance: Instance) -> None:
    one, two = instance(attr_ttl=60.0), instance()
    put(two, "a", b"x")
    assert one.stat(("a",)).size == 1
    put(two, "a", b"longer")
    with meter.measure() as measured:
        assert one.stat(("a",)).size == 1
    assert measured.calls == {}
    assert get(one, "a") == b"longer"
    put(one, "b", b"y")
    assert one.stat(("a",)).size == 6
    one.scandir(())
    with meter.measure() as measured:
        assert one.stat(("b",)).size == 1
    assert measured.calls == {}


# Large files


def test_a_large_file_is_written_in_bounded_memory(volume: GcsVolume, store: ObjectStore) -> None:
    piece = bytes(range(256)) * 4096
    handle = volume.open(("big",), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number in range(40):
        handle.pwrite(piece, number * len(piece))
        assert sum(len(one.data) for one in handle._inode.view.pieces if hasattr(one, "data")) <= KEPT + ONE_REQUEST
    assert everything(store) == []
    handle.close()
    found = volume.stat(("big",))
    assert found.size == 40 << 20
    stored = store.stat("media/big")
    assert stored is not None
    assert store.read("media/big", stored.generation, (20 << 20) - 1, 3) == b"\xff\x00\x01"


@pytest.mark.parametrize("how", ["discard", "drop"])
def test_a_large_file_that_is_given_up_leaves_nothing(volume: GcsVolume, store: ObjectStore, how: str) -> None:
    handle = volume.open(("big",), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    handle.pwrite(bytes(20 << 20), 0)
    handle.discard() if how == "discard" else volume.drop()
    assert everything(store) == []
    if isinstance(store, FolderObjects):
        assert list((store._folder / "incoming").iterdir()) == []


def test_what_was_sent_cannot_be_changed_before_the_end(volume: GcsVolume) -> None:
    handle = volume.open(("big",), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    handle.pwrite(bytes(44 << 20), 0)
    refused(errno.ESPIPE, lambda: handle.pwrite(b"x", 0), "in order")
    refused(errno.ESPIPE, lambda: handle.pread(1, 0), "in order")
    refused(errno.ESPIPE, lambda: handle.truncate(5), "in order")
    handle.pwrite(b"end", (44 << 20) - 3)
    handle.sync()
    handle.pwrite(b"x", 0)
    assert handle.pread(2, 0) == b"x\0"
    handle.close()
    assert get(volume, "big") == b"x" + bytes((44 << 20) - 4) + b"end"


def test_a_large_file_may_be_begun_anew(volume: GcsVolume) -> None:
    handle = volume.open(("big",), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    handle.pwrite(bytes(44 << 20), 0)
    handle.truncate(0)
    handle.pwrite(b"short", 0)
    handle.close()
    assert get(volume, "big") == b"short"


def test_a_large_file_that_another_stored_meanwhile_is_refused(instance: Instance, store: ObjectStore) -> None:
    one, two = instance(), instance()
    handle = one.open(("big",), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    handle.pwrite(bytes(20 << 20), 0)
    put(two, "big", b"faster")
    refused(errno.ESTALE, handle.close)
    assert content(store, "media/big") == b"faster"


def test_an_append_to_a_large_file_keeps_it(instance: Instance, store: ObjectStore) -> None:
    one, two = instance(), instance()
    put(one, "big", bytes(10 << 20))
    handle = one.open(("big",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"mine")
    append(two, "big", b"other")
    handle.close()
    assert content(store, "media/big")[10 << 20 :] == b"othermine"


# Locks


def test_a_lock_has_one_holder_and_shows_what_the_last_one_wrote(instance: Instance) -> None:
    one, two = instance(), instance()
    put(one, "a", b"0")
    first, second = one.open(("a",), READ_WRITE), two.open(("a",), READ_WRITE)
    first.lock("flock", Span(), wait=False)
    with pytest.raises(BlockingIOError):
        second.lock("flock", Span(), wait=False)
    first.truncate(0)
    first.pwrite(b"1", 0)
    first.unlock("flock", None)
    second.lock("flock", Span(), wait=False)
    assert second.pread(9, 0) == b"1"
    second.close()
    first.lock("flock", Span(), wait=False)
    first.close()


def test_a_holder_that_lost_its_lock_cannot_write(instance: Instance, store: ObjectStore) -> None:
    one, two = instance(), instance()
    put(one, "a", b"old")
    handle = one.open(("a",), READ_WRITE)
    handle.lock("flock", Span(), wait=False)
    ino = one.stat(("a",)).ino
    client = datastore.own_client()
    found = client.lookup([client.key("Lease", ino)])[0]
    assert found is not None
    client.commit([delete(client.key("Lease", ino), found.version)])  # as a contender does after the lease time
    handle.pwrite(b"late", 0)
    refused(errno.EIO, handle.close, "lock was lost")
    assert content(store, "media/a") == b"old"
    assert get(two, "a") == b"old"


# Mounted


@pytest.fixture
def mounted(root: Path, volume: GcsVolume) -> Path:
    mounts.attach(str(root), volume)
    return root


def test_descriptors_and_maps_work(mounted: Path, store: ObjectStore) -> None:
    fd = os.open(mounted / "a", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"0123456789")
    with mmap.mmap(fd, 10) as view:
        view[2:4] = b"XX"
    os.close(fd)
    assert content(store, "media/a") == b"01XX456789"
    with open(mounted / "a", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        assert bytes(view) == b"01XX456789"


def test_a_request_that_fails_drops_what_it_was_writing(mounted: Path, store: ObjectStore) -> None:
    request = requests.begin_request()
    kept = [open(mounted / "w", "w"), open(mounted / "a", "a")]  # noqa: SIM115
    for file in kept:
        file.write("text")
    requests.end_request(request, failed=True)
    assert everything(store) == ["media/a"]
    request = requests.begin_request()
    kept.append(open(mounted / "w", "w"))  # noqa: SIM115
    kept[-1].write("text")
    requests.end_request(request)
    assert everything(store) == ["media/a", "media/w"]
    for file in kept:
        file.close()


@pytest.fixture
def in_memory(application: Path) -> ObjectStore:
    return object_connection.object_store("pictures")


def test_a_mount_in_memory(application: Path, in_memory: ObjectStore) -> None:
    gaeport.mount(application / "media", store="gcs", bucket="pictures", prefix="m/")
    (application / "media" / "a.txt").write_text("hello")
    assert everything(in_memory) == ["m/a.txt"]


def test_a_mount_in_the_data_folder(application: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings.configure(root=application, data=str(data))
    gaeport.mount(application / "media", store="gcs", bucket="pictures")
    os.makedirs(application / "media" / "d")
    (application / "media" / "d" / "a.txt").write_text("hello")
    gaeport.unmount(application / "media")
    assert (data / "objects" / "pictures" / "files" / "d" / "a.txt").read_text() == "hello"


def test_an_object_put_into_the_data_folder_by_hand_is_a_file(tmp_path: Path, root: Path) -> None:
    (tmp_path / "objects" / "files" / "media").mkdir(parents=True)
    (tmp_path / "objects" / "files" / "media" / "by-hand").write_text("hello")
    volume = GcsVolume(Tree(FolderObjects(tmp_path / "objects"), Names("pictures", "media/"), str(root), overlay=False))
    assert get(volume, "by-hand") == b"hello"
    append(volume, "by-hand", b" world")
    assert (tmp_path / "objects" / "files" / "media" / "by-hand").read_text() == "hello world"


def test_two_mounts_of_the_same_objects_are_refused(application: Path) -> None:
    gaeport.mount(application / "one", store="gcs", bucket="pictures", prefix="m/")
    with pytest.raises(ConfigurationError, match="same bucket and prefix"):
        gaeport.mount(application / "two", store="gcs", bucket="pictures", prefix="m/")
    gaeport.mount(application / "two", store="gcs", bucket="pictures", prefix="n/")


def test_without_a_bucket_there_is_no_mount_in_production(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAE_ENV", "standard")
    with pytest.raises(ConfigurationError, match="bucket ="):
        make_volume(settings.MountSettings(path="uploads", store="gcs"), str(root))


def test_the_real_bucket_is_out_of_reach_while_only_datastore_is_emulated(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    made = make_volume(settings.MountSettings(path="uploads", store="gcs", bucket="real"), str(root))
    assert isinstance(made.objects, MemoryObjects)


def test_each_write_tells_its_operation_and_those_before(volume: GcsVolume, store: ObjectStore) -> None:
    for number in range(20):
        append(volume, "a", b"%d" % number)
    found = store.stat("media/a")
    assert found is not None
    marks = found.metadata[OPERATION].split()
    assert len(marks) == len(set(marks)) == 16


# Whole directories


def test_a_directory_is_removed_by_one_listing_and_a_call_an_object(volume: GcsVolume, store: ObjectStore) -> None:
    for folder in ("d", "d/e"):
        volume.mkdir(tuple(folder.split("/")))
    for number in range(20):
        put(volume, f"d/{number}", b"x")
        put(volume, f"d/e/{number}", b"y")
    put(volume, "d2", b"beside")
    with meter.measure() as counted:
        assert volume.rmtree(("d",))
    assert counted.calls["DeleteObject"] == 42
    assert sum(counted.calls.values()) <= 46
    assert [one.name for one in store.scan("", deep=True) if isinstance(one, Stored)] == ["media/d2"]


def test_handles_of_files_in_a_removed_directory_keep_their_content_and_store_nothing(volume: GcsVolume) -> None:
    volume.mkdir(("d",))
    put(volume, "d/a", b"kept")
    handle = volume.open(("d", "a"), READ_WRITE)
    assert volume.rmtree(("d",))
    handle.pwrite(b"KE", 0)
    assert handle.pread(10, 0) == b"KEpt"
    handle.close()
    assert names(volume) == []


def test_what_is_deployed_or_being_created_is_left_to_the_caller(volume: GcsVolume, root: Path) -> None:
    (root / "shipped").mkdir()
    (root / "shipped" / "a").write_text("deployed")
    put(volume, "shipped/b", b"x")
    assert not volume.rmtree(("shipped",))
    volume.mkdir(("d",))
    handle = volume.open(("d", "new"), os.O_WRONLY | os.O_CREAT)
    assert not volume.rmtree(("d",))
    handle.close()
    assert (names(volume, "shipped"), names(volume, "d")) == (["a", "b"], ["new"])


def test_what_another_instance_changes_meanwhile_stays(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = instance(), instance()
    here.mkdir(("d",))
    put(here, "d/a", b"old")
    put(here, "d/b", b"old")
    listed = here.directories.everything

    def then_changed(path: Any) -> list[Stored]:
        found = list(listed(path))
        put(there, "d/a", b"new")
        return found

    monkeypatch.setattr(here.directories, "everything", then_changed)
    assert not here.rmtree(("d",))
    assert names(there, "d") == ["a"]
    assert get(there, "d/a") == b"new"
