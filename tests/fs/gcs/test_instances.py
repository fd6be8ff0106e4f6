"""Files that are objects of a bucket: what two instances, and several handles, do to one bucket."""

import errno
import os

from gaeport import meter
from gaeport.blobs.objects import ObjectStore
from gaeport.fs.gcs.reading import WHOLE
from gaeport.fs.gcs.volume import GcsVolume
from tests.fs.gcs.helpers import READ_WRITE, Instance, content, everything, foreign, refused
from tests.fs.volumes import get, names, put

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
