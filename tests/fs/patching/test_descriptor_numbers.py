"""Numbers of descriptors: none that is the application's is closed here, and none is taken for another's."""

import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from gaeport.fs import native
from gaeport.fs.patching import anonymous, descriptors
from gaeport.fs.volume import OpenFile
from tests.fs.memory_volume import MemoryVolume


def is_open(number: int) -> bool:
    try:
        native.fstat(number)
    except OSError:
        return False
    return True


def test_what_keeps_content_leaves_the_low_numbers_to_the_application(mounted: Path) -> None:
    (mounted / "a").write_bytes(b"x")
    fd = os.open(mounted / "a", os.O_RDONLY)
    assert fd < anonymous.ASIDE <= min(anonymous.keepers)
    os.close(fd)


def test_a_number_that_the_application_chooses_is_made_free_first(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "a").write_bytes(b"old")
    fd = os.open(mounted / "a", os.O_RDWR)
    wanted = next(iter(anonymous.keepers))
    with socket.socket() as one:
        os.dup2(one.fileno(), wanted)
    assert stat.S_ISSOCK(native.fstat(wanted).st_mode)
    os.write(fd, b"new")
    other = os.open(mounted / "a", os.O_RDONLY)  # the memory can still be joined
    assert os.read(other, 9) == b"new"
    os.close(other)
    os.close(fd)
    assert volume.root.children["a"].committed == b"new"
    assert is_open(wanted), "the application's own"
    native.close(wanted)


def test_content_whose_keeper_foreign_code_closed_is_an_error_and_nobody_elses(
    mounted: Path, volume: MemoryVolume
) -> None:
    (mounted / "a").write_bytes(b"old")
    fd = os.open(mounted / "a", os.O_RDWR)
    os.write(fd, b"new")
    (number,) = anonymous.keepers
    with socket.socket() as one:
        native.dup2(one.fileno(), number)  # C code that closes what it did not open, and the number's next owner
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(fd)
    assert is_open(number)
    native.close(number)
    assert volume.root.children["a"].committed == b"old"
    assert not anonymous.keepers


def test_memory_that_is_let_go_of_while_it_is_joined_is_not_joined(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another thread does between two steps of this one."""
    (mounted / "a").write_bytes(b"content of a")
    (mounted / "b").write_bytes(b"something else")
    fds = [os.open(mounted / "a", os.O_RDWR)]
    found = anonymous.of

    def slow(handle: OpenFile) -> anonymous.Content | None:
        content = found(handle)
        if content is not None and len(fds) == 1:
            fds.append(-1)
            os.close(fds[0])
            fds[1] = os.open(mounted / "b", os.O_RDONLY)  # may get the numbers that became free
        return content

    monkeypatch.setattr(anonymous, "of", slow)
    fd = os.open(mounted / "a", os.O_RDWR)
    assert os.read(fd, 99) == b"content of a"
    os.close(fd)
    os.close(fds[1])


def test_two_threads_that_open_a_file_first_get_one_memory(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mounted / "a").write_bytes(b"0123456789")
    shared, others = anonymous._shared, list[int]()

    def slow(handle: OpenFile, made: anonymous.Content) -> anonymous.Content:
        if not others:
            others.append(-1)
            others[0] = os.open(mounted / "a", os.O_RDWR)
        return shared(handle, made)

    monkeypatch.setattr(anonymous, "_shared", slow)
    fd = os.open(mounted / "a", os.O_RDWR)
    os.pwrite(fd, b"AB", 0)
    assert os.pread(others[0], 4, 0) == b"AB23"
    assert len(anonymous.keepers) == 1
    os.close(fd)
    os.close(others[0])
    assert not anonymous.keepers


def test_a_number_given_anew_while_it_is_looked_up_keeps_its_new_file(
    mounted: Path, volume: MemoryVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another thread does while this one looks at everything that is open."""
    first = os.open(mounted / "a", os.O_RDWR | os.O_CREAT)
    fstat, opened = native.fstat, list[int]()

    def slow(fd: int) -> os.stat_result:
        if fd == first and not opened:
            opened.append(-1)
            os.close(first)
            second = os.open(mounted / "b", os.O_RDWR | os.O_CREAT)
            if second != first:  # another thread of the test's process was faster
                native.dup2(second, first)
                descriptors.reregister(first, descriptors.lookup(second))
                os.close(second)
            opened[0] = first
        return fstat(fd)

    monkeypatch.setattr(native, "fstat", slow)
    found = descriptors.lookup(first)
    assert found is not None
    assert found.place.parts == ("b",)
    os.write(first, b"new")
    os.close(first)
    assert volume.root.children["b"].committed == b"new"


def test_a_close_is_over_for_the_system_before_the_commit_begins(
    mounted: Path, volume: MemoryVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second close that comes meanwhile must find nothing: its number might be given anew until the first is done."""
    fd = os.open(mounted / "a", os.O_RDWR | os.O_CREAT)
    file = os.fdopen(os.dup(fd), "wb")
    numbers, during = (fd, file.fileno()), list[bool]()
    push = anonymous.Content.push

    def noting(content: anonymous.Content) -> bool:
        during.append(any(is_open(number) for number in numbers))
        return push(content)

    monkeypatch.setattr(anonymous.Content, "push", noting)
    os.close(fd)
    during.clear()
    file.close()
    assert during == [False] * len(during)
    assert during


def test_a_file_object_has_one_descriptor_whichever_threads_ask(
    mounted: Path, volume: MemoryVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file, at_once = descriptors.open_file, threading.Barrier(2)

    def slow(*args: Any) -> int:
        try:
            at_once.wait(0.2)
        except threading.BrokenBarrierError:
            pass
        return open_file(*args)

    monkeypatch.setattr(descriptors, "open_file", slow)
    with open(mounted / "a", "w+b") as file:
        numbers: list[int] = []
        threads = [threading.Thread(target=lambda: numbers.append(file.fileno())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(numbers)) == 1
        os.write(numbers[0], b"through it")
    assert volume.root.children["a"].committed == b"through it"


def test_a_directory_whose_number_was_closed_by_c_code_is_not_taken_for_another(
    application: Path, mounted: Path
) -> None:
    other = application / "other"
    other.mkdir()
    (other / "x").write_text("of the other")
    above = os.open(application, os.O_RDONLY)
    (application / "x").write_text("of the first")
    inside = native.os_open(other, os.O_RDONLY)
    native.dup2(inside, above)  # C code closed it, and the number is another directory's
    native.close(inside)
    fd = os.open("x", os.O_RDONLY, dir_fd=above)
    assert os.read(fd, 20) == b"of the other"
    os.close(fd)
    os.close(above)


def test_content_that_a_descriptor_stretched_over_the_limit_is_refused(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anonymous, "FD_LIMIT", 1 << 20)
    (mounted / "a").write_bytes(b"old")
    fd = os.open(mounted / "a", os.O_RDWR)
    os.ftruncate(fd, 1 << 40)  # no memory is used for it, and none may be
    with pytest.raises(OSError, match="over the limit of 1,048,576"):
        os.fsync(fd)
    os.ftruncate(fd, 2)
    os.close(fd)
    assert (mounted / "a").read_bytes() == b"ol"


def test_an_error_of_a_file_that_c_code_closed_is_not_the_next_openers(
    mounted: Path, volume: MemoryVolume, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = os.open(mounted / "a", os.O_RDWR | os.O_CREAT)
    stale = descriptors.lookup(first)
    assert stale is not None

    def refused() -> None:
        raise OSError(5, "refused")

    monkeypatch.setattr(stale, "_let_go", refused)
    second = os.open(mounted / "b", os.O_RDWR | os.O_CREAT)
    held = descriptors.lookup(second)
    assert held is not None
    held.retain()
    native.dup2(second, first)
    descriptors.register(first, held)
    assert descriptors.lookup(first) is held
    assert "refused" in caplog.text
    os.close(first)
    os.close(second)
    monkeypatch.undo()
    stale._let_go()
