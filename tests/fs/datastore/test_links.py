"""Hard links: files with several names, on several volumes that stand for several instances."""

import errno
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import gaeport
from gaeport import meter, settings
from gaeport.fs.commands import stores
from gaeport.fs.datastore import verification
from gaeport.fs.datastore.volume import DatastoreVolume, make_volume
from tests.fs.volumes import LosesAnswers, append, get, names, put, split


@pytest.fixture
def instance(application: Path) -> Callable[[], DatastoreVolume]:
    """Makes volumes with the same files, as several instances have them."""
    return lambda: make_volume(settings.MountSettings(path="data", name="data"), str(application / "data"))


Instances = Callable[[], DatastoreVolume]


def test_both_names_lead_to_one_file_on_every_instance(instance: Instances) -> None:
    one, two = instance(), instance()
    put(one, "a", b"first")
    one.link(("a",), ("b",))
    assert get(two, "b") == b"first"
    assert [two.stat(split(name)).nlink for name in ("a", "b")] == [2, 2]
    assert two.stat(("a",)).ino == two.stat(("b",)).ino
    append(two, "b", b" and second")
    assert get(one, "a") == b"first and second"
    assert {found.nlink for _, found in one.scandir(())} == {2}
    assert {found.size for _, found in one.scandir(())} == {16}


def test_the_content_goes_with_the_last_name(instance: Instances) -> None:
    one = instance()
    put(one, "a", b"x" * 3_000_000)
    one.link(("a",), ("b",))
    one.unlink(("a",))
    assert get(one, "b") == b"x" * 3_000_000
    assert one.stat(("b",)).nlink == 1
    one.unlink(("b",))
    assert names(one) == []
    client = one.connect()
    found = verification.verify(client, stores(), lambda done: None)
    assert (found.entries, found.missing) == (1, []), "the root alone is left"


def test_a_handle_that_was_open_before_writes_to_the_file_of_both_names(instance: Instances) -> None:
    one, two = instance(), instance()
    put(one, "a", b"old")
    handle = one.open(("a",), os.O_RDWR)
    two.link(("a",), ("b",))
    handle.pwrite(b"new", 0)
    handle.sync()
    assert get(two, "b") == b"new"
    two.unlink(("a",))
    handle.pwrite(b"NEW", 0)
    handle.sync()
    assert get(two, "b") == b"NEW"
    two.unlink(("b",))
    handle.pwrite(b"lost", 0)
    handle.close()
    assert names(one) == []
    assert names(two) == []


def test_open_handles_of_this_process_follow_their_own_link(instance: Instances) -> None:
    one = instance()
    handle = one.open(("a",), os.O_RDWR | os.O_CREAT)
    handle.pwrite(b"not committed yet", 0)
    one.link(("a",), ("b",))
    assert handle.attributes().nlink == 2
    handle.append(b", and more")
    one.rename(("a",), ("c",))
    one.unlink(("b",))
    assert handle.attributes().nlink == 1
    handle.close()
    assert get(instance(), "c") == b"not committed yet, and more"


def test_a_name_is_moved_and_replaced_without_the_others(instance: Instances) -> None:
    one = instance()
    one.mkdir(("d",))
    put(one, "a", b"linked")
    put(one, "other", b"other")
    one.link(("a",), ("d", "b"))
    one.rename(("a",), ("d", "c"))
    assert names(one, "d") == ["b", "c"]
    one.rename(("other",), ("d", "b"))
    assert get(one, "d/b") == b"other"
    assert one.stat(("d", "c")).nlink == 1
    one.link(("d", "c"), ("d", "e"))
    one.rename(("d", "c"), ("d", "e"))  # two names of one file: nothing is done
    assert names(one, "d") == ["b", "c", "e"]


def test_deployed_files_and_symbolic_links_can_be_linked(application: Path, instance: Instances) -> None:
    (application / "data").mkdir()
    (application / "data" / "shipped").write_text("as deployed")
    one, two = instance(), instance()
    one.link(("shipped",), ("b",))
    one.unlink(("shipped",))
    assert get(two, "b") == b"as deployed"
    assert names(two) == ["b"]
    one.symlink("b", ("s",))
    one.link(("s",), ("t",))
    assert two.readlink(("t",)) == "b"
    assert get(two, "t") == b"as deployed"


def test_what_linux_refuses_is_refused(instance: Instances) -> None:
    one = instance()
    put(one, "a", b"")
    one.mkdir(("d",))
    for source, target, number in (("d", "x", errno.EPERM), ("no", "x", errno.ENOENT), ("a", "d", errno.EEXIST)):
        with pytest.raises(OSError, match=r".") as failure:
            one.link((source,), (target,))
        assert failure.value.errno == number
    with pytest.raises(FileNotFoundError):
        one.link(("a",), ("nowhere", "x"))
    with pytest.raises(FileExistsError):
        one.open(("a",), os.O_CREAT | os.O_EXCL | os.O_WRONLY)


@pytest.mark.parametrize("applied", [True, False])
def test_an_answer_that_is_lost_counts_once(instance: Instances, applied: bool) -> None:
    one, two = instance(), instance()
    put(one, "a", b"x")
    inner = one.connect().transport
    client = one.connect()
    client.transport = LosesAnswers(inner, lambda number: number == 1, applied=applied)
    one.connect = lambda: client
    one.tree._connect = one.connect
    one.link(("a",), ("b",))
    assert two.stat(("b",)).nlink == 2
    client.transport = LosesAnswers(inner, lambda number: number == 1, applied=applied)
    one.unlink(("a",))
    assert names(two) == ["b"]
    assert two.stat(("b",)).nlink == 1


def test_a_tree_with_links_is_removed_and_files_outside_keep_their_content(application: Path) -> None:
    gaeport.mount(application / "data")
    data = application / "data"
    (data / "tree" / "sub").mkdir(parents=True)
    (data / "tree" / "plain").write_text("1")
    (data / "tree" / "sub" / "a").write_text("2")
    os.link(data / "tree" / "sub" / "a", data / "kept")
    os.link(data / "tree" / "sub" / "a", data / "tree" / "sub" / "b")
    assert os.stat(data / "kept").st_nlink == 3
    shutil.rmtree(data / "tree")
    assert os.listdir(data) == ["kept"]
    assert (data / "kept").read_text() == "2"
    assert os.stat(data / "kept").st_nlink == 1


def test_archives_keep_links(application: Path) -> None:
    gaeport.mount(application / "data")
    data = application / "data"
    (data / "in").mkdir()
    (data / "in" / "a").write_text("content")
    os.link(data / "in" / "a", data / "in" / "b")
    with tarfile.open(data / "x.tar", "w") as archive:
        archive.add(data / "in", "in")
    with tarfile.open(data / "x.tar") as archive:
        assert [found.type for found in archive if found.isfile() or found.islnk()] == [
            tarfile.REGTYPE,
            tarfile.LNKTYPE,
        ]
        archive.extractall(data / "out", filter="data")
    assert os.path.samefile(data / "out" / "in" / "a", data / "out" / "in" / "b")


def test_changes_by_any_name_are_of_the_file_and_a_link_costs_two_calls(instance: Instances) -> None:
    one = instance()
    put(one, "a", b"x")
    with meter.measure() as usage:
        one.link(("a",), ("b",))
    assert usage.calls == {"Lookup": 1, "Commit": 1}
    one.chmod(("b",), 0o600)
    one.utime(("a",), 1, 2)
    found = one.stat(("b",))
    assert (found.mode & 0o777, found.mtime_ns) == (0o600, 2)
    with meter.measure() as usage:
        one.stat(("a",))
    assert usage.calls == {"Lookup": 2}


def test_a_write_changes_both_times_alike(instance: Instances) -> None:
    one = instance()
    put(one, "a", b"x")
    found = one.stat(("a",))
    assert found.ctime_ns == found.mtime_ns


def test_a_deployed_file_is_removed_before_anything_was_written(application: Path, instance: Instances) -> None:
    (application / "data").mkdir()
    (application / "data" / "shipped").write_text("x")
    instance().unlink(("shipped",))
    assert names(instance()) == []
