"""Files that are objects of a bucket: what others see of them, and what two instances do to one bucket."""

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
from gaeport.blobs.objects import OPERATION, Draft, ObjectStore, Stored
from gaeport.errors import ConfigurationError
from gaeport.fs import mounts, requests
from gaeport.fs.entries import delete
from gaeport.fs.gcs import make_volume
from gaeport.fs.gcs_facts import INO
from gaeport.fs.gcs_inode import KEPT, ONE_REQUEST
from gaeport.fs.gcs_names import Names
from gaeport.fs.gcs_reading import AHEAD, BLOCK, WHOLE
from gaeport.fs.gcs_tree import Tree
from gaeport.fs.gcs_volume import GcsVolume
from gaeport.fs.locks import Span
from tests.fs.volumes import append, get, names, put

READ_WRITE = os.O_RDWR


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


Instance = Callable[..., GcsVolume]


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


# What others see


def test_a_file_is_one_object_of_its_own_name_and_type(volume: GcsVolume, store: ObjectStore) -> None:
    put(volume, "a.png", b"pixels")
    assert everything(store) == ["media/a.png"]
    assert content(store, "media/a.png") == b"pixels"
    found = store.stat("media/a.png")
    assert found is not None
    assert found.content_type == "image/png"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.css", "text/css"),
        ("a.tar.gz", "application/gzip"),
        ("a", "application/octet-stream"),
        ("a.html", "text/html"),
    ],
)
def test_the_type_is_guessed_from_the_name(volume: GcsVolume, store: ObjectStore, name: str, kind: str) -> None:
    put(volume, name, b"x")
    found = store.stat(f"media/{name}")
    assert found is not None
    assert found.content_type == kind


def test_a_type_that_somebody_set_is_kept(volume: GcsVolume, store: ObjectStore) -> None:
    store.write(Draft("media/a.bin", 0, {}, "image/webp"), b"x")
    append(volume, "a.bin", b"y")
    found = store.stat("media/a.bin")
    assert found is not None
    assert (found.content_type, content(store, "media/a.bin")) == ("image/webp", b"xy")


def test_objects_of_others_are_files_and_their_prefixes_directories(volume: GcsVolume, store: ObjectStore) -> None:
    foreign(store, "media/a/b/c.txt")
    foreign(store, "elsewhere/d")
    assert names(volume) == ["a"]
    assert names(volume, "a") == ["b"]
    assert get(volume, "a/b/c.txt") == b"foreign"
    assert stat.S_ISDIR(volume.stat(("a", "b")).mode)
    put(volume, "a/b/new", b"x")
    assert "media/a/b/new" in everything(store)


def test_a_prefix_that_nobody_made_a_directory_ends_with_its_last_object(volume: GcsVolume, store: ObjectStore) -> None:
    foreign(store, "media/a/b")
    volume.unlink(("a", "b"))
    assert names(volume) == []
    refused(errno.ENOENT, lambda: volume.stat(("a",)))


def test_a_directory_that_was_made_stays_when_it_is_empty(volume: GcsVolume, store: ObjectStore) -> None:
    volume.mkdir(("a",))
    put(volume, "a/b", b"x")
    volume.unlink(("a", "b"))
    assert names(volume) == ["a"]
    assert names(volume, "a") == []
    assert everything(store) == ["media/a/"]
    volume.rmdir(("a",))
    assert everything(store) == []


def test_names_that_no_file_can_have_are_left_out(volume: GcsVolume, store: ObjectStore) -> None:
    if isinstance(store, FolderObjects):
        foreign(store, "media/./x")
    else:
        for name in ("media//x", "media/../y", "media/./z"):
            foreign(store, name)
    foreign(store, "media/plain")
    assert names(volume) == ["plain"]


def test_an_object_beside_a_prefix_of_its_name_is_a_file(volume: GcsVolume, store: ObjectStore) -> None:
    if isinstance(store, FolderObjects):
        return  # a disk cannot have both
    foreign(store, "media/a")
    foreign(store, "media/a/b")
    assert names(volume) == ["a"]
    assert stat.S_ISREG(volume.stat(("a",)).mode)
    assert stat.S_ISREG(dict(volume.scandir(()))["a"].mode)


# Attributes


def test_google_tools_find_mode_and_times_where_they_look(volume: GcsVolume, store: ObjectStore) -> None:
    put(volume, "a", b"x")
    volume.chmod(("a",), 0o600)
    volume.utime(("a",), 5_000_000_006, 1_700_000_000_123_456_789)
    found = store.stat("media/a")
    assert found is not None
    assert found.metadata["goog-reserved-posix-mode"] == "600"
    assert found.metadata["goog-reserved-file-mtime"] == "1700000000"
    assert found.metadata["goog-reserved-file-atime"] == "5"
    assert found.metadata["gcsfuse_mtime"] == "2023-11-14T22:13:20.123456789Z"
    seen = volume.stat(("a",))
    assert (seen.mtime_ns, seen.atime_ns, stat.S_IMODE(seen.mode)) == (1_700_000_000_123_456_789, 5_000_000_006, 0o600)


@pytest.mark.parametrize(
    ("metadata", "mtime"),
    [
        ({"goog-reserved-file-mtime": "1500000000"}, 1_500_000_000 * 10**9),
        ({"gcsfuse_mtime": "2017-07-14T02:40:00.5Z"}, 1_500_000_000_500_000_000),
        ({"goog-reserved-file-mtime": "7", "gcsfuse_mtime": "2017-07-14T02:40:00.5Z"}, 7 * 10**9),
    ],
)
def test_times_that_google_tools_told_are_read(
    volume: GcsVolume, store: ObjectStore, metadata: dict[str, str], mtime: int
) -> None:
    foreign(store, "media/a", **metadata)
    assert volume.stat(("a",)).mtime_ns == mtime
    assert dict(volume.scandir(()))["a"].mtime_ns == mtime


def test_metadata_that_are_nonsense_do_no_harm(volume: GcsVolume, store: ObjectStore) -> None:
    nonsense = ("goog-reserved-file-mtime", "gcsfuse_mtime", "goog-reserved-posix-mode", "goog-reserved-posix-uid", INO)
    made = foreign(store, "media/a", **dict.fromkeys(nonsense, "soon"))
    found = volume.stat(("a",))
    assert (found.mtime_ns, stat.S_IMODE(found.mode), found.uid) == (made.created_ns, 0o644, os.getuid())
    put(volume, "a", b"new")
    assert get(volume, "a") == b"new"


@pytest.mark.parametrize("moment", [-1_500_000_000, 0, 1, 253_402_300_800 * 10**9, 2**62])
def test_any_time_comes_back(volume: GcsVolume, moment: int) -> None:
    put(volume, "a", b"x")
    volume.utime(("a",), moment, moment)
    found = volume.stat(("a",))
    if moment < 253_402_300_800 * 10**9:
        assert (found.atime_ns, found.mtime_ns) == (moment, moment)
    else:  # after the year 9999 in seconds only
        assert found.mtime_ns == moment // 10**9 * 10**9


def test_attributes_outlive_a_new_content(volume: GcsVolume) -> None:
    put(volume, "a", b"x")
    volume.chmod(("a",), 0o640)
    ino = volume.stat(("a",)).ino
    put(volume, "a", b"longer")
    found = volume.stat(("a",))
    assert (stat.S_IMODE(found.mode), found.ino, found.size) == (0o640, ino, 6)


def test_a_usual_mode_can_be_set_again(volume: GcsVolume) -> None:
    put(volume, "a", b"x")
    for mode in (0o600, 0o644, 0o755):
        volume.chmod(("a",), mode)
        assert stat.S_IMODE(volume.stat(("a",)).mode) == mode


def test_attributes_of_a_prefix_give_it_a_placeholder(volume: GcsVolume, store: ObjectStore) -> None:
    foreign(store, "media/a/b")
    volume.chmod(("a",), 0o700)
    volume.utime(("a",), 1, 2)
    assert everything(store) == ["media/a/", "media/a/b"]
    found = dict(volume.scandir(()))["a"]
    assert (stat.S_IMODE(found.mode), found.mtime_ns) == (0o700, 2)
    assert found == volume.stat(("a",))


def test_the_root_without_a_prefix_has_no_attributes_to_set(store: ObjectStore, root: Path) -> None:
    bare = GcsVolume(Tree(store, Names("pictures", ""), str(root), overlay=False))
    put(bare, "a", b"x")
    assert everything(store) == ["a"]
    assert names(bare) == ["a"]
    refused(errno.EPERM, lambda: bare.chmod((), 0o700), "prefix")


# Links


def test_a_symbolic_link_is_one_for_gcsfuse(volume: GcsVolume, store: ObjectStore) -> None:
    put(volume, "a", b"content")
    volume.symlink("a", ("l",))
    found = store.stat("media/l")
    assert found is not None
    assert found.metadata["gcsfuse_symlink_target"] == "a"
    assert found.size == 0
    assert get(volume, "l") == b"content"
    assert volume.readlink(("l",)) == "a"
    assert stat.S_ISLNK(dict(volume.scandir(()))["l"].mode)


def test_a_link_to_a_directory_leads_into_it(volume: GcsVolume) -> None:
    volume.mkdir(("d",))
    volume.symlink("d", ("l",))
    put(volume, "l/a", b"x")
    assert get(volume, "d/a") == b"x"
    assert names(volume, "l") == ["a"]
    volume.unlink(("l",))
    assert names(volume) == ["d"]


def test_a_link_out_of_the_mount_leads_nowhere(volume: GcsVolume) -> None:
    volume.symlink("/etc/hostname", ("l",))
    volume.symlink("../../x", ("m",))
    for name in ("l", "m"):
        refused(errno.ENOENT, lambda name=name: get(volume, name), "out of the mount")  # type: ignore[misc]


def test_a_second_name_is_refused(volume: GcsVolume) -> None:
    put(volume, "a", b"x")
    refused(errno.EPERM, lambda: volume.link(("a",), ("b",)), "one name")


# Names


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (("x" * 256,), errno.ENAMETOOLONG),
        (("é" * 128,), errno.ENAMETOOLONG),
        (tuple("x" * 200 for _ in range(6)), errno.ENAMETOOLONG),
        (("a\udcff",), errno.EILSEQ),
        (("a\nb",), errno.EINVAL),
        (("a\rb",), errno.EINVAL),
    ],
)
def test_a_name_that_no_object_can_have_is_refused(volume: GcsVolume, path: tuple[str, ...], number: int) -> None:
    for depth in range(1, len(path)):
        try:
            volume.mkdir(path[:depth])
        except OSError:
            break
    refused(number, lambda: volume.open(path, os.O_WRONLY | os.O_CREAT).close())
    refused(number, lambda: volume.mkdir(path))


def test_what_cannot_be_named_is_not_there(volume: GcsVolume) -> None:
    for name in ("a\udcff", "a\nb"):
        refused(errno.ENOENT, lambda name=name: volume.stat((name,)))  # type: ignore[misc]


# Several instances


def test_an_exclusive_create_has_one_winner(instance: Instance) -> None:
    one, two = instance(), instance()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    handle = one.open(("a",), flags, 0o644)
    refused(errno.EEXIST, lambda: two.open(("a",), flags, 0o644))
    handle.pwrite(b"mine", 0)
    handle.close()
    assert get(two, "a") == b"mine"


def test_an_exclusive_create_that_loses_between_look_and_write(instance: Instance, store: ObjectStore) -> None:
    one = instance()
    node = one.tree.resolve(("a",))
    foreign(store, "media/a")
    refused(errno.EEXIST, lambda: one._exclusive(node, os.O_WRONLY, 0o644))


def test_a_directory_is_made_once(instance: Instance) -> None:
    one, two = instance(), instance()
    one.mkdir(("d",))
    refused(errno.EEXIST, lambda: two.mkdir(("d",)))


def test_what_one_closed_the_other_reads(instance: Instance) -> None:
    one, two = instance(), instance()
    handle = one.open(("a",), os.O_WRONLY | os.O_CREAT, 0o644)
    handle.pwrite(b"content", 0)
    refused(errno.ENOENT, lambda: get(two, "a"))
    handle.close()
    assert get(two, "a") == b"content"


def test_no_append_is_lost(instance: Instance) -> None:
    one, two = instance(), instance()
    first = one.open(("log",), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    second = two.open(("log",), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in range(3):
        first.append(b"one %d\n" % number)
        first.sync()
        second.append(b"two %d\n" % number)
        second.sync()
    first.close()
    second.close()
    assert sorted(get(one, "log").splitlines()) == sorted(b"%s %d" % (w, n) for w in (b"one", b"two") for n in range(3))


def test_ranges_of_two_writers_merge(instance: Instance, store: ObjectStore) -> None:
    one, two = instance(), instance()
    put(one, "a", b"0123456789")
    first, second = one.open(("a",), READ_WRITE), two.open(("a",), READ_WRITE)
    first.pwrite(b"AA", 0)
    second.pwrite(b"BB", 8)
    first.close()
    second.close()
    assert content(store, "media/a") == b"AA234567BB"


def test_an_append_goes_to_what_another_program_stored(instance: Instance, store: ObjectStore) -> None:
    one = instance()
    foreign(store, "media/a", b"first\n")
    handle = one.open(("a",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"mine\n")
    foreign(store, "media/a", b"second\n")
    handle.close()
    assert content(store, "media/a") == b"second\nmine\n"


def test_the_last_whole_content_wins(instance: Instance) -> None:
    one, two = instance(), instance()
    put(one, "a", b"old")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    first, second = one.open(("a",), flags), two.open(("a",), flags)
    first.pwrite(b"first", 0)
    second.pwrite(b"2nd", 0)
    first.close()
    second.close()
    assert get(one, "a") == b"2nd"


def test_a_writer_whose_file_was_replaced_by_another_file_is_told(instance: Instance, store: ObjectStore) -> None:
    one, two = instance(), instance()
    put(one, "log", b"old\n")
    handle = one.open(("log",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"lost?\n")
    two.rename(("log",), ("log.1",))
    put(two, "log", b"new\n")
    refused(errno.ESTALE, handle.close, "replaced, moved or removed")
    assert content(store, "media/log") == b"new\n"
    assert content(store, "media/log.1") == b"old\n"


def test_a_writer_whose_file_is_gone_is_told(instance: Instance, store: ObjectStore) -> None:
    one, two = instance(), instance()
    put(one, "a", b"old")
    handle = one.open(("a",), READ_WRITE)
    handle.pwrite(b"new", 0)
    two.unlink(("a",))
    refused(errno.ESTALE, handle.sync)
    handle.discard()
    assert everything(store) == []


def test_a_small_file_stays_as_it_was_opened(instance: Instance) -> None:
    one, two = instance(), instance()
    put(one, "a", b"old")
    handle = one.open(("a",), os.O_RDONLY)
    put(two, "a", b"new content")
    assert handle.pread(100, 0) == b"old"
    two.unlink(("a",))
    assert handle.pread(100, 0) == b"old"
    handle.close()


def test_a_large_file_that_was_replaced_says_so(instance: Instance) -> None:
    one, two = instance(), instance()
    put(one, "a", bytes(WHOLE + 1))
    handle = one.open(("a",), os.O_RDONLY)
    put(two, "a", b"new")
    refused(errno.ESTALE, lambda: handle.pread(1, 0), "open it again")
    handle.close()
    assert get(one, "a") == b"new"


def test_a_file_replaced_between_look_and_read_is_opened_as_it_is(instance: Instance, store: ObjectStore) -> None:
    one = instance()
    put(one, "a", b"old")
    former = store.read
    replaced: list[bool] = []

    def read(name: str, generation: int, offset: int, length: int) -> bytes:
        if not replaced:
            replaced.append(True)
            foreign(store, "media/a", b"new")
        return former(name, generation, offset, length)

    store.read = read  # type: ignore[method-assign]
    assert get(one, "a") == b"new"
    assert replaced


# Open files within a process


def test_what_is_written_to_a_removed_file_is_dropped(volume: GcsVolume, store: ObjectStore) -> None:
    put(volume, "a", b"old")
    handle = volume.open(("a",), READ_WRITE)
    volume.unlink(("a",))
    handle.pwrite(b"new", 0)
    assert handle.pread(9, 0) == b"new"
    assert handle.attributes().nlink == 0
    handle.close()
    assert everything(store) == []


def test_a_new_file_that_was_removed_before_it_was_stored(volume: GcsVolume, store: ObjectStore) -> None:
    handle = volume.open(("a",), os.O_RDWR | os.O_CREAT, 0o600)
    handle.pwrite(b"temporary", 0)
    volume.unlink(("a",))
    assert handle.pread(9, 0) == b"temporary"
    handle.close()
    assert everything(store) == []


def test_a_file_is_followed_through_a_rename(volume: GcsVolume, store: ObjectStore) -> None:
    volume.mkdir(("d",))
    put(volume, "d/a", b"old")
    handle = volume.open(("d", "a"), os.O_WRONLY | os.O_APPEND)
    handle.append(b" one")
    volume.rename(("d", "a"), ("d", "b"))
    handle.append(b" two")
    handle.sync()
    volume.rename(("d",), ("e",))
    handle.append(b" three")
    handle.close()
    assert content(store, "media/e/b") == b"old one two three"
    assert everything(store) == ["media/e/", "media/e/b"]


def test_a_large_open_file_is_read_on_after_a_rename(volume: GcsVolume) -> None:
    put(volume, "a", bytes(WHOLE) + b"end")
    handle = volume.open(("a",), os.O_RDONLY)
    volume.rename(("a",), ("b",))
    assert handle.pread(9, WHOLE) == b"end"
    handle.close()


def test_a_new_file_shows_before_it_is_stored(volume: GcsVolume, store: ObjectStore) -> None:
    handle = volume.open(("a",), os.O_WRONLY | os.O_CREAT, 0o600)
    handle.pwrite(b"12345", 0)
    assert volume.stat(("a",)).size == 5
    assert names(volume) == ["a"]
    assert everything(store) == []
    handle.discard()
    assert names(volume) == []
    assert everything(store) == []


# Renames


def test_a_file_is_moved_by_one_call(volume: GcsVolume) -> None:
    put(volume, "a", b"content")
    before = volume.stat(("a",))
    with meter.measure() as measured:
        volume.rename(("a",), ("b",))
    assert measured.calls["MoveObject"] == 1
    assert "WriteObject" not in measured.calls
    after = volume.stat(("b",))
    assert (after.ino, after.mtime_ns, after.mode) == (before.ino, before.mtime_ns, before.mode)


def test_the_time_of_anothers_object_outlives_a_move(volume: GcsVolume, store: ObjectStore) -> None:
    foreign(store, "media/a")
    before = volume.stat(("a",)).mtime_ns
    volume.rename(("a",), ("b",))
    assert volume.stat(("b",)).mtime_ns == before


def test_a_move_replaces_a_file(volume: GcsVolume, store: ObjectStore) -> None:
    put(volume, "a", b"new")
    put(volume, "b", b"old")
    reading = volume.open(("b",), os.O_RDONLY)
    volume.rename(("a",), ("b",))
    assert content(store, "media/b") == b"new"
    assert reading.pread(9, 0) == b"old"
    reading.close()
    assert everything(store) == ["media/b"]


def test_a_directory_is_moved_object_by_object(volume: GcsVolume, store: ObjectStore) -> None:
    volume.mkdir(("d",))
    for number in range(12):
        put(volume, f"d/{number}", b"%d" % number)
    foreign(store, "media/d/e/f")
    with meter.measure() as measured:
        volume.rename(("d",), ("new",))
    assert measured.calls["MoveObject"] == 14
    assert names(volume) == ["new"]
    assert names(volume, "new") == sorted([*(str(number) for number in range(12)), "e"])
    assert get(volume, "new/7") == b"7"


def test_a_directory_goes_onto_an_empty_one_only(volume: GcsVolume) -> None:
    for name in ("a", "b", "c"):
        volume.mkdir((name,))
    put(volume, "c/x", b"")
    put(volume, "a/x", b"content")
    refused(errno.ENOTEMPTY, lambda: volume.rename(("a",), ("c",)))
    refused(errno.EINVAL, lambda: volume.rename(("a",), ("a", "b")))
    volume.rename(("a",), ("b",))
    assert names(volume) == ["b", "c"]
    assert get(volume, "b/x") == b"content"


def test_a_directory_whose_names_would_be_too_long_stays(volume: GcsVolume, store: ObjectStore) -> None:
    volume.mkdir(("d",))
    path = ["d"]
    for _ in range(3):
        path.append("x" * 200)
        volume.mkdir(tuple(path))
    put(volume, "/".join([*path, "y" * 200]), b"content")
    before = everything(store)
    refused(errno.ENAMETOOLONG, lambda: volume.rename(("d",), ("z" * 220,)))
    assert everything(store) == before


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
    handle.pwrite(bytes(20 << 20), 0)
    refused(errno.ESPIPE, lambda: handle.pwrite(b"x", 0), "in order")
    refused(errno.ESPIPE, lambda: handle.pread(1, 0), "in order")
    refused(errno.ESPIPE, lambda: handle.truncate(5), "in order")
    handle.pwrite(b"end", (20 << 20) - 3)
    handle.sync()
    handle.pwrite(b"x", 0)
    assert handle.pread(2, 0) == b"x\0"
    handle.close()
    assert get(volume, "big") == b"x" + bytes((20 << 20) - 4) + b"end"


def test_a_large_file_may_be_begun_anew(volume: GcsVolume) -> None:
    handle = volume.open(("big",), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    handle.pwrite(bytes(20 << 20), 0)
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
