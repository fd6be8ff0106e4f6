"""Mounts with attr_ttl: what is told from memory, for how long, and what is not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import gaeport
from gaeport import meter, settings
from gaeport.errors import ConfigurationError
from gaeport.fs.datastore import remembered
from gaeport.fs.datastore.volume import DatastoreVolume, make_volume
from tests.fs.volumes import get, put


class Clock:
    """A clock that stands still unless it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(remembered, "time", clock)
    return clock


@pytest.fixture
def one(application: Path, clock: Clock) -> DatastoreVolume:
    """A volume that remembers for ten seconds."""
    mount = settings.MountSettings(path="data", name="data", attr_ttl=10.0)
    return make_volume(mount, str(application / "data"))


@pytest.fixture
def other(application: Path) -> DatastoreVolume:
    """The same files on another instance."""
    return make_volume(settings.MountSettings(path="data", name="data"), str(application / "data"))


def calls(do: Callable[[], object]) -> int:
    """Count the calls that something makes."""
    with meter.measure() as usage:
        do()
    return usage.total_calls


def absent(volume: DatastoreVolume, name: str) -> bool:
    try:
        volume.stat((name,))
    except FileNotFoundError:
        return True
    return False


def test_attributes_and_absence_are_told_from_memory_until_the_time_is_over(
    one: DatastoreVolume, other: DatastoreVolume, clock: Clock
) -> None:
    put(other, "f", b"1")
    assert one.stat(("f",)).size == 1
    assert absent(one, "g")
    put(other, "f", b"22")
    put(other, "g", b"")
    assert calls(lambda: one.stat(("f",))) == 0
    assert calls(lambda: absent(one, "g")) == 0
    assert one.stat(("f",)).size == 1
    clock.now += 10.1
    assert one.stat(("f",)).size == 2
    assert not absent(one, "g")


def test_what_this_process_changes_shows_at_once(one: DatastoreVolume) -> None:
    assert absent(one, "f")
    put(one, "f", b"1")
    assert one.stat(("f",)).size == 1
    put(one, "f", b"22")
    assert one.stat(("f",)).size == 2
    one.link(("f",), ("h",))
    assert one.stat(("f",)).nlink == 2
    one.chmod(("h",), 0o600)
    assert one.stat(("f",)).mode & 0o777 == 0o600
    one.rename(("f",), ("g",))
    assert absent(one, "f")
    one.unlink(("g",))
    assert absent(one, "g")
    one.mkdir(("d",))
    before = one.stat(("d",)).mtime_ns
    put(one, "d/x", b"")
    one.flush_times()
    assert one.stat(("d",)).mtime_ns > before
    one.unlink(("d", "x"))
    one.rmdir(("d",))
    assert absent(one, "d")


def test_a_listing_answers_for_its_entries(one: DatastoreVolume, other: DatastoreVolume) -> None:
    for number in range(5):
        put(other, f"f{number}", b"x")
    one.scandir(())
    assert calls(lambda: [one.stat((f"f{number}",)) for number in range(5)]) == 0


def test_files_of_a_listed_directory_are_read_by_the_dozen(
    one: DatastoreVolume, other: DatastoreVolume, clock: Clock
) -> None:
    other.mkdir(("d",))
    for number in range(50):
        put(other, f"d/f{number:02}", b"%d" % number)
    put(other, "d/large", b"x" * 60_000)

    def read_all() -> None:
        names = sorted(name for name, _ in one.scandir(("d",)))
        contents = [get(one, f"d/{name}") for name in names]
        assert contents == [*(b"%d" % number for number in range(50)), b"x" * 60_000]

    assert calls(read_all) <= 6
    put(other, "d/f07", b"changed")
    clock.now += 10.1
    assert get(one, "d/f07") == b"changed"
    put(one, "d/f08", b"mine")
    assert get(one, "d/f08") == b"mine"


def test_opening_without_a_listing_reads_what_is_stored_now(one: DatastoreVolume, other: DatastoreVolume) -> None:
    put(other, "f", b"1")
    assert get(one, "f") == b"1"
    put(other, "g", b"2")
    assert one.stat(("f",)).size == 1
    put(other, "f", b"3")
    assert get(one, "f") == b"3"
    put(other, "f", b"22")
    handle = one.open(("f",), os.O_RDWR)
    assert handle.pread(10, 0) == b"22"
    handle.close()


def test_without_attr_ttl_nothing_is_remembered(other: DatastoreVolume) -> None:
    put(other, "f", b"1")
    assert calls(lambda: other.stat(("f",))) == 1
    assert calls(lambda: other.stat(("f",))) == 1


def test_memory_is_bounded(one: DatastoreVolume, other: DatastoreVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 10)
    monkeypatch.setattr(remembered, "CONTENT", 4000)
    for number in range(30):
        put(other, f"f{number:02}", b"x" * 1000)
    one.scandir(())
    for number in range(30):
        assert get(one, f"f{number:02}") == b"x" * 1000
    memory = one.tree.remembered
    assert memory is not None
    assert len(memory._answers) <= 10
    assert memory._content <= 4000


def test_gaeport_toml_and_mount_take_attr_ttl(application: Path) -> None:
    gaeport.mount(application / "data", attr_ttl=2)
    with pytest.raises(ConfigurationError, match="attr_ttl = -1 must be at least 0 seconds"):
        gaeport.mount(application / "more", attr_ttl=-1)
