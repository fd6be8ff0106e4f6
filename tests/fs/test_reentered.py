"""What signal handlers and the garbage collector do in the middle of what their thread does with the store."""

import errno
import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gaeport
from gaeport import datastore, errors, settings
from gaeport.datastore import wire
from gaeport.datastore.engine import commit
from gaeport.fs import mounts, opened
from gaeport.fs.datastore.volume import DatastoreVolume


@pytest.fixture(params=["memory", "file"])
def uploads(request: pytest.FixtureRequest, application: Path) -> Path:
    """A mounted folder on the embedded engine."""
    if request.param == "file":
        settings.configure(root=application, data=str(application / "data"))
    gaeport.mount(application / "uploads", store="datastore")
    return application / "uploads"


@pytest.fixture
def in_the_middle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Lets something happen once in the middle of the next Commit, as a signal handler does."""
    waiting: list[Callable[[], object]] = []
    apply = commit.Writer.apply

    def interrupted(self: commit.Writer, *args: Any) -> Any:
        while waiting:
            waiting.pop()()
        return apply(self, *args)

    monkeypatch.setattr(commit.Writer, "apply", interrupted)
    yield waiting.append
    assert not waiting, "nothing was interrupted"


def write(path: Path, data: bytes, mode: str = "ab") -> None:
    with open(path, mode) as file:
        file.write(data)


def test_a_file_that_is_closed_in_the_middle_of_a_commit_is_committed_after_it(
    uploads: Path, in_the_middle: Callable[[Callable[[], object]], None]
) -> None:
    write(uploads / "a", b"first ")
    in_the_middle(lambda: write(uploads / "b", b"from the handler", "wb"))
    write(uploads / "a", b"second")
    assert (uploads / "a").read_bytes() == b"first second"
    assert (uploads / "b").read_bytes() == b"from the handler"
    mounts.unmount(uploads)
    gaeport.mount(uploads, store="datastore")
    assert (uploads / "b").read_bytes() == b"from the handler"


def test_what_a_handler_appends_to_the_very_file_comes_once_and_after(
    uploads: Path, in_the_middle: Callable[[Callable[[], object]], None]
) -> None:
    write(uploads / "log", b"1\n")
    in_the_middle(lambda: write(uploads / "log", b"handler\n"))
    write(uploads / "log", b"2\n")
    write(uploads / "log", b"3\n")
    assert (uploads / "log").read_bytes() == b"1\n2\nhandler\n3\n"
    mounts.unmount(uploads)
    gaeport.mount(uploads, store="datastore")
    assert (uploads / "log").read_bytes() == b"1\n2\nhandler\n3\n"


def test_what_cannot_wait_is_an_error_at_once(
    uploads: Path, in_the_middle: Callable[[Callable[[], object]], None]
) -> None:
    found: list[OSError] = []

    def handler() -> None:
        try:
            os.unlink(uploads / "a")
        except OSError as error:
            found.append(error)

    write(uploads / "a", b"x")
    in_the_middle(handler)
    write(uploads / "b", b"y")
    assert [error.errno for error in found] == [errno.EDEADLK]
    assert sorted(os.listdir(uploads)) == ["a", "b"]


def test_the_engine_refuses_a_commit_in_the_middle_of_another_of_the_thread(
    uploads: Path, in_the_middle: Callable[[Callable[[], object]], None]
) -> None:
    client = datastore.own_client()
    mutation = wire.Mutation()
    mutation.upsert.key.CopyFrom(client.key("Kind", "name"))
    refused: list[bool] = []

    def handler() -> None:
        with pytest.raises(errors.Reentered):
            client.commit([mutation])
        refused.append(client.lookup([mutation.upsert.key]) == [None])

    in_the_middle(handler)
    client.commit([mutation])
    assert refused == [True]
    assert client.lookup([mutation.upsert.key])[0] is not None


def leave_open(path: Path) -> None:
    """Leave a file open, in a circle of references as an exception and its traceback make one."""
    circle: list[Any] = [open(path, "wb", buffering=0)]  # noqa: SIM115  # nobody closes it: that is the point
    circle.append(circle)
    circle[0].write(b"left open")


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_files_that_the_collector_closes_are_committed_wherever_it_runs(uploads: Path) -> None:
    thresholds = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:
        for number in range(30):
            leave_open(uploads / f"left-{number}")
            write(uploads / "a", b"x")
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert {(uploads / f"left-{number}").read_bytes() for number in range(30)} == {b"left open"}
    assert (uploads / "a").read_bytes() == b"x" * 30


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_collection_in_the_middle_of_a_commit_does_not_hang(
    uploads: Path, in_the_middle: Callable[[Callable[[], object]], None]
) -> None:
    leave_open(uploads / "left")
    in_the_middle(gc.collect)
    write(uploads / "a", b"x")
    assert (uploads / "left").read_bytes() == b"left open"
    assert gc.isenabled()


def test_no_lock_of_the_files_layer_stops_its_own_thread(uploads: Path) -> None:
    """A handler may come while any of them is held, and does then what needs it."""
    (mount,) = mounts.paths.mounts()
    volume = mount.volume
    assert isinstance(volume, DatastoreVolume)
    locks = [*volume.times.hold(), *volume.storage.hold(), *volume.turns.hold(), opened._lock]
    for lock in locks[3:]:
        lock.acquire()
    done = threading.Event()
    watch = threading.Timer(20, lambda: done.is_set() or os._exit(70))
    watch.start()
    write(uploads / "a", b"x")
    done.set()
    watch.cancel()
    for lock in locks:
        lock.release()
