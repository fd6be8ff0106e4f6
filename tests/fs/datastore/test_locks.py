"""flock, lockf and fcntl on mounted files: within a process, and between two volumes that stand for two instances."""

import errno
import fcntl
import os
import struct
import threading
import time
from pathlib import Path

import pytest

import gaeport
from gaeport import datastore, meter, settings
from gaeport.fs import mounts
from gaeport.fs.datastore import leases
from gaeport.fs.datastore.volume import DatastoreVolume, make_volume
from gaeport.fs.locks import Claim, Span, with_span, without
from gaeport.fs.patching import locking
from tests.fs.volumes import get, put

RECORD = struct.Struct("@hhqqi")


@pytest.fixture
def folder(application: Path) -> Path:
    """A mounted folder on the embedded Datastore, with a file in it."""
    gaeport.mount(application / "data")
    (application / "data" / "f").write_text("old")
    return application / "data"


@pytest.fixture
def other(folder: Path) -> DatastoreVolume:
    """The same files as another instance has them."""
    return make_volume(settings.MountSettings(path="data", name="data"), "/nonexistent")


def holds(volume: DatastoreVolume, name: str = "f", *, exclusive: bool = True) -> bool:
    """Try to lock a file from the other instance, and give it back at once."""
    handle = volume.open((name,), os.O_RDWR)
    try:
        handle.lock("flock", Span(exclusive=exclusive), wait=False)
        handle.unlock("flock", None)
    except BlockingIOError:
        return True
    finally:
        handle.close()
    return False


def test_an_exclusive_lock_keeps_other_instances_and_other_handles_out(folder: Path, other: DatastoreVolume) -> None:
    with open(folder / "f") as file, open(folder / "f") as second:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holds(other)
        assert holds(other, exclusive=False)
        with pytest.raises(BlockingIOError) as failure:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert failure.value.errno == errno.EWOULDBLOCK
        fcntl.flock(file, fcntl.LOCK_UN)
        assert not holds(other)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_shared_locks_are_shared_and_closing_gives_them_back(folder: Path, other: DatastoreVolume) -> None:
    file = open(folder / "f")  # noqa: SIM115  # closed below
    fcntl.flock(file.fileno(), fcntl.LOCK_SH)
    assert not holds(other, exclusive=False)
    assert holds(other)
    file.close()
    assert not holds(other)


def test_a_lock_is_changed_from_shared_to_exclusive_and_back(folder: Path, other: DatastoreVolume) -> None:
    with open(folder / "f") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holds(other, exclusive=False)
        fcntl.flock(file, fcntl.LOCK_SH)
        assert not holds(other, exclusive=False)


def test_acquiring_reads_what_was_committed_meanwhile(folder: Path, other: DatastoreVolume) -> None:
    with open(folder / "f", "r+") as file:
        put(other, "f", b"committed by another, and longer")
        fcntl.flock(file, fcntl.LOCK_EX)
        assert file.read() == "committed by another, and longer"
        file.seek(0)
        file.truncate(0)
        file.write("mine")
    assert get(other, "f") == b"mine"


def test_giving_a_lock_back_commits_what_python_buffers(folder: Path, other: DatastoreVolume) -> None:
    with open(folder / "f", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("new")
        assert get(other, "f") == b"old"
        fcntl.flock(file, fcntl.LOCK_UN)
        assert get(other, "f") == b"new"


def test_web2py_keeps_its_sessions_so(folder: Path, other: DatastoreVolume) -> None:
    """Mode "w" is opened as "a", locked, then emptied; the lock goes before the close that flushes."""
    file = open(folder / "session", "ab")  # noqa: SIM115  # closed below
    fcntl.flock(file.fileno(), fcntl.LOCK_EX)
    file.seek(0)
    file.truncate(0)
    file.write(b"pickled")
    fcntl.flock(file.fileno(), fcntl.LOCK_UN)
    file.close()
    assert get(other, "session") == b"pickled"
    with open(folder / "session", "rb+") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        assert holds(other, "session")
        assert file.read() == b"pickled"
        file.seek(0)
        file.write(b"changed")
    assert get(other, "session") == b"changed"


def test_who_lost_its_lock_cannot_write(folder: Path, other: DatastoreVolume) -> None:
    file = open(folder / "f", "r+")  # noqa: SIM115  # closed below
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write("mine")
    key = datastore.own_client().key("Lease", os.stat(folder / "f").st_ino)
    datastore.own_client().commit([datastore.wire.Mutation(delete=key)])  # as a contender does after the lease time
    put(other, "f", b"theirs")
    with pytest.raises(OSError, match="lock was lost") as failure:
        file.close()
    assert failure.value.errno == errno.EIO
    assert get(other, "f") == b"theirs"
    with open(folder / "f", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("again!")
    assert get(other, "f") == b"again!"


class Clock:
    """A monotonic clock that goes on by `step` seconds each time that it is read."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step
        self.sleep = time.sleep

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def test_a_holder_that_does_not_renew_loses_it_after_the_lease_time(
    folder: Path, other: DatastoreVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases._Keeper, "_renew", lambda keeper: (False, False))
    monkeypatch.setattr(leases, "time", Clock(2.0))
    ino = os.stat(folder / "f").st_ino
    other.leases.acquire(ino, Claim("dead", "flock", Span()), wait=False)
    with open(folder / "f") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = other.leases.blocker(ino, Claim("third", "flock", Span()))
        assert holder is not None
        assert holder.owner != "dead"
        assert not other.leases.release(ino, "dead")


def test_a_holder_that_renews_keeps_it(folder: Path, other: DatastoreVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.0)
    monkeypatch.setattr(leases._Keeper, "_renew", lambda keeper: (False, False))
    mine = mounts.paths.mounts()[0].volume.leases  # type: ignore[attr-defined]  # a DatastoreVolume's
    monkeypatch.setattr(leases, "time", clock)
    with open(folder / "f") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for _ in range(5):
            assert holds(other)
            clock.now += leases.SECONDS - 1
            mine.renew()
        clock.now += leases.SECONDS * 2  # a contender sees it for the first time, or it was renewed since it looked
        assert holds(other)
        clock.now += leases.SECONDS + 1
        assert not holds(other)


def test_a_waiting_thread_gets_the_lock_when_it_is_given_back(folder: Path) -> None:
    got = []

    def wait() -> None:
        with open(folder / "f") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            got.append("second")

    with open(folder / "f") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=wait)
        thread.start()
        got.append("first")
        fcntl.flock(file, fcntl.LOCK_UN)
        thread.join(30)
    assert got == ["first", "second"]


def test_record_locks_are_for_ranges_and_belong_to_the_process(folder: Path, other: DatastoreVolume) -> None:
    ino = os.stat(folder / "f").st_ino

    def free(start: int, end: int) -> bool:
        return other.leases.blocker(ino, Claim("other", "posix", Span(start, end))) is None

    with open(folder / "f", "r+") as file, open(folder / "f", "r+") as second:
        fcntl.lockf(file, fcntl.LOCK_EX, 10, 5)
        fcntl.lockf(second, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)  # the same process
        assert [free(0, 5), free(5, 6), free(14, 15), free(15, 20)] == [True, False, False, True]
        fcntl.lockf(file, fcntl.LOCK_UN, 2, 7)
        assert [free(5, 7), free(7, 9), free(9, 15)] == [False, True, False]
        assert not holds(other), "flock and record locks do not know each other"
        second.close()
        assert free(0, 100), "closing any descriptor gives the process's record locks back"
    with open(folder / "f") as file, pytest.raises(OSError, match="descriptor"):
        fcntl.lockf(file, fcntl.LOCK_EX)


def test_fcntl_takes_struct_flock(folder: Path, other: DatastoreVolume) -> None:
    with open(folder / "f", "r+") as file:
        asked = RECORD.pack(fcntl.F_WRLCK, os.SEEK_SET, 2, 3, 0)
        assert fcntl.fcntl(file, fcntl.F_SETLK, asked) == asked
        ino = os.stat(folder / "f").st_ino
        assert other.leases.blocker(ino, Claim("other", "posix", Span(4, 5))) is not None
        assert RECORD.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))[0] == fcntl.F_UNLCK
        other.leases.acquire(ino, Claim("other", "posix", Span(100, 110)), wait=False)
        told = RECORD.unpack(fcntl.fcntl(file, fcntl.F_GETLK, RECORD.pack(fcntl.F_RDLCK, 0, 90, 0, 0)))
        assert told == (fcntl.F_WRLCK, os.SEEK_SET, 100, 10, os.getpid())
        with pytest.raises(BlockingIOError):
            fcntl.fcntl(file, fcntl.F_SETLK, RECORD.pack(fcntl.F_RDLCK, 0, 105, 1, 0))
        assert fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        os.lockf(file.fileno(), os.F_TEST, 1)
        os.lockf(file.fileno(), os.F_TLOCK, 1)


def test_a_duplicate_by_fcntl_is_a_descriptor_of_the_file(folder: Path) -> None:
    fd = os.open(folder / "f", os.O_WRONLY)
    again = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
    os.close(fd)
    os.write(again, b"new")
    os.close(again)
    assert (folder / "f").read_text() == "new"


def test_directories_are_locked_too(folder: Path) -> None:
    (folder / "d").mkdir()
    first, second = os.open(folder / "d", os.O_RDONLY), os.open(folder / "d", os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(first)
    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(second)


def test_locks_leave_nothing_behind_and_files_that_nobody_locks_cost_nothing(folder: Path) -> None:
    client = datastore.own_client()
    ino = os.stat(folder / "f").st_ino
    with open(folder / "f") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert client.lookup([client.key("Lease", ino)])[0] is not None
    assert client.lookup([client.key("Lease", ino)])[0] is None
    with meter.measure() as usage, open(folder / "f", "r+") as file:
        file.write("x")
    assert usage.calls == {"Lookup": 1, "Commit": 1}


def test_wrong_arguments_are_refused_as_on_a_disk(folder: Path, beside: Path) -> None:
    (beside / "f").write_text("")
    for place in (beside, folder):
        with open(place / "f", "r+") as file:
            with pytest.raises(OSError, match="Invalid argument"):
                fcntl.flock(file, 64)
            with pytest.raises(ValueError, match="unrecognized lockf argument"):
                fcntl.lockf(file, 64)
            with pytest.raises(OSError, match="Invalid argument"):
                fcntl.lockf(file, fcntl.LOCK_EX, 1, -5)
            with pytest.raises(TypeError):
                fcntl.flock("f", fcntl.LOCK_EX)  # type: ignore[arg-type]


def test_ranges_are_merged_and_cut() -> None:
    a, b, c = Span(0, 10), Span(10, 20), Span(5, 15, exclusive=False)
    assert with_span([a], b) == (Span(0, 20),)
    assert with_span([Span(0, 20)], c) == (Span(0, 5), c, Span(15, 20))
    assert without([Span(0, 20)], Span(5, 6)) == (Span(0, 5), Span(6, 20))
    assert without([a, b], Span(0, 20)) == ()
    assert locking.replacements()
