"""What the end of a request commits."""

import contextvars
import errno
import os
import threading
from pathlib import Path

import pytest

from gaeport.fs import begin_request, end_request
from gaeport.fs.patching.files import Opened
from gaeport.fs.patching.patch import commit_everything
from gaeport.fs.patching.requests import settle_all
from tests.fs.memory_volume import MemoryVolume


def committed(volume: MemoryVolume, name: str) -> bytes | None:
    return volume.root.children[name].committed


@pytest.mark.parametrize("failed", [False, True])
def test_files_left_open_for_append_or_update_are_committed(mounted: Path, volume: MemoryVolume, failed: bool) -> None:
    (mounted / "update").write_text("....")
    request = begin_request()
    log = open(mounted / "log", "a")  # noqa: SIM115
    update = open(mounted / "update", "r+b")  # noqa: SIM115
    log.write("a line\n")
    update.write(b"ab")
    end_request(request, failed)
    assert committed(volume, "log") == b"a line\n"
    assert committed(volume, "update") == b"ab.."
    log.write("more\n")
    log.close()
    update.close()
    assert committed(volume, "log") == b"a line\nmore\n"


def test_files_left_open_for_writing_are_committed_on_a_normal_return(mounted: Path, volume: MemoryVolume) -> None:
    request = begin_request()
    file = open(mounted / "note", "w")  # noqa: SIM115
    file.write("new")
    end_request(request, failed=False)
    assert committed(volume, "note") == b"new"
    file.close()


def test_files_left_open_for_writing_are_dropped_after_an_exception(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "note").write_text("old")
    request = begin_request()
    file = open(mounted / "note", "w")  # noqa: SIM115
    file.write("half of what was to")
    raw = open(mounted / "note", "wb", 0)  # noqa: SIM115
    raw.write(b"x")
    fd = os.open(mounted / "other", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, b"half")
    end_request(request, failed=True)
    assert file.closed
    assert raw.closed
    os.close(fd)
    assert (mounted / "note").read_text() == "old"
    assert not (mounted / "other").exists()


def test_descriptors_left_open_are_committed(mounted: Path, volume: MemoryVolume) -> None:
    request = begin_request()
    fd = os.open(mounted / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")
    file = open(mounted / "b", "w")  # noqa: SIM115
    os.write(file.fileno(), b"y")
    end_request(request)
    assert committed(volume, "a") == b"x"
    assert committed(volume, "b") == b"y"
    os.close(fd)
    file.close()


def test_files_of_other_threads_and_requests_are_left_alone(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "other").write_text("old")
    opened = []
    outside = open(mounted / "outside", "w")  # noqa: SIM115
    outside.write("x")
    request = begin_request()

    def open_other() -> None:
        opened.append(open(mounted / "other", "w"))  # noqa: SIM115

    context = contextvars.Context()  # what a thread starts with
    thread = threading.Thread(target=context.run, args=(open_other,))
    thread.start()
    thread.join()
    opened[0].write("not yet")
    end_request(request, failed=True)
    assert committed(volume, "other") == b"old"
    assert committed(volume, "outside") is None
    opened[0].close()
    outside.close()
    assert committed(volume, "other") == b"not yet"


def test_a_failure_to_commit_is_raised_after_everything_was_tried(mounted: Path, volume: MemoryVolume) -> None:
    request = begin_request()
    files = [open(mounted / name, "a") for name in "ab"]  # noqa: SIM115
    for file in files:
        file.write("x")
    volume.failing = errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        end_request(request)
    assert volume.calls.count("flush_times") == 1
    volume.failing = 0
    for file in files:
        file.close()


def test_directory_times_are_flushed_at_the_end(mounted: Path, volume: MemoryVolume) -> None:
    end_request(begin_request())
    assert volume.calls.count("flush_times") == 1


def test_everything_open_is_settled_at_the_end_of_the_process(mounted: Path, volume: MemoryVolume) -> None:
    file = open(mounted / "log", "a")  # noqa: SIM115
    file.write("buffered")
    settle_all()
    assert committed(volume, "log") == b"buffered"
    file.close()


def test_a_fork_commits_first(mounted: Path, volume: MemoryVolume) -> None:
    fd = os.open(mounted / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")
    commit_everything()
    assert committed(volume, "a") == b"x"
    assert "commit_all" in volume.calls
    os.close(fd)


def test_a_file_that_another_thread_closes_meanwhile_is_settled_already(mounted: Path) -> None:
    with open(mounted / "a", "w") as file:

        class Closing:
            closed = False

            def flush(self) -> None:
                file.close()
                raise ValueError("I/O operation on closed file")

        top = Closing()
        file.write("text")
        Opened(top, file.buffer.raw, truncating=True).settle()
        assert (mounted / "a").read_text() == "text"
