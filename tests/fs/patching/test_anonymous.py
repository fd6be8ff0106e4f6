"""The memory that a file's descriptors have in common."""

import os
from pathlib import Path

import pytest

from gaeport.fs.patching import anonymous, descriptors
from tests.fs.memory_volume import MemoryVolume


def test_all_descriptors_of_a_file_share_one_memory_and_the_last_lets_go(mounted: Path) -> None:
    (mounted / "a").write_bytes(b"x" * 100)
    fds = [os.open(mounted / "a", flags) for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND)]
    assert len(anonymous.keepers) == 1
    keeper = next(iter(anonymous.keepers))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(keeper)  # it is not the application's
    for fd in fds:
        os.close(fd)
    assert not anonymous.keepers


def test_what_was_added_by_an_appending_descriptor_is_appended(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "a").write_bytes(b"start")
    fd = os.open(mounted / "a", os.O_WRONLY | os.O_APPEND)
    volume.calls.clear()
    os.write(fd, b" end")
    os.close(fd)
    assert "append" in volume.calls
    assert "pwrite" not in volume.calls


def test_a_request_that_failed_drops_its_own_opening_only(mounted: Path) -> None:
    (mounted / "a").write_bytes(b"0123456789")
    one, two = os.open(mounted / "a", os.O_RDWR), os.open(mounted / "a", os.O_RDWR)
    found = descriptors.lookup(one)
    assert found is not None
    found.abandon()
    os.pwrite(two, b"two", 0)
    os.close(one)
    os.close(two)
    assert (mounted / "a").read_bytes() == b"two3456789"


def test_a_file_opened_by_a_forked_child_is_its_own(mounted: Path) -> None:
    (mounted / "a").write_bytes(b"0123456789")
    fd = os.open(mounted / "a", os.O_RDWR)
    child = os.fork()
    if not child:
        code = 1
        try:
            mine = os.open(mounted / "a", os.O_RDWR)
            os.pwrite(mine, b"child", 0)
            code = 0 if os.pread(fd, 5, 0) == b"01234" and os.pread(mine, 5, 0) == b"child" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.pread(fd, 10, 0) == b"0123456789"
    os.close(fd)
