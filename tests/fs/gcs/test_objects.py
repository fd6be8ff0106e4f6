"""Files that are objects of a bucket: what others see of them."""

import errno
import os
import stat
from pathlib import Path

import pytest

from gaeport.blobs.object_folder import FolderObjects
from gaeport.blobs.objects import Draft, ObjectStore
from gaeport.fs.gcs.facts import INO
from gaeport.fs.gcs.names import Names
from gaeport.fs.gcs.tree import Tree
from gaeport.fs.gcs.volume import GcsVolume
from tests.fs.gcs.helpers import content, everything, foreign, refused
from tests.fs.volumes import append, get, names, put

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
