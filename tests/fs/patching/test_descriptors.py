"""Real descriptors of mounted files."""

import errno
import mmap
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gaeport.fs import native
from gaeport.fs.patching import anonymous
from tests.fs.memory_volume import MemoryVolume


def committed(volume: MemoryVolume, name: str) -> bytes | None:
    return volume.root.children[name].committed


def test_what_is_written_through_a_descriptor_is_committed_at_close(mounted: Path, volume: MemoryVolume) -> None:
    fd = os.open(mounted / "a", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"hello")
    os.pwrite(fd, b"J", 0)
    assert committed(volume, "a") == b""
    os.close(fd)
    assert committed(volume, "a") == b"Jello"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_the_kernel_itself_works_on_the_descriptor(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "a").write_bytes(b"from the mount")
    fd = os.open(mounted / "a", os.O_RDONLY)
    out = subprocess.run(["cat"], stdin=fd, capture_output=True, check=True).stdout
    assert out == b"from the mount"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(fd, b"x")
    os.close(fd)
    with open(mounted / "out", "wb") as file:
        subprocess.run([sys.executable, "-c", "print('child')"], stdout=file, check=True)
    assert committed(volume, "out") == b"child\n"


def test_fstat_tells_what_stat_does_and_the_present_size(mounted: Path) -> None:
    (mounted / "a").write_text("abc")
    fd = os.open(mounted / "a", os.O_RDWR | os.O_APPEND)
    assert os.path.samestat(os.fstat(fd), os.stat(mounted / "a"))
    os.write(fd, b"def")
    assert os.fstat(fd).st_size == os.stat(fd).st_size == os.path.getsize(mounted / "a") == 6
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o644
    os.fchmod(fd, 0o600)
    assert stat.S_IMODE(os.stat(mounted / "a").st_mode) == 0o600
    os.close(fd)


def test_data_appended_through_a_descriptor_goes_through_append(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "log").write_bytes(b"1\n")
    fd = os.open(mounted / "log", os.O_WRONLY | os.O_APPEND)
    with open(mounted / "log", "ab") as other:
        other.write(b"2\n")
    volume.calls.clear()
    os.write(fd, b"3\n")
    os.close(fd)
    assert committed(volume, "log") == b"1\n2\n3\n"
    assert "pwrite" not in volume.calls


def test_only_changed_ranges_are_written_back(mounted: Path) -> None:
    (mounted / "a").write_bytes(b"." * 100)
    fd = os.open(mounted / "a", os.O_RDWR)
    with open(mounted / "a", "r+b") as other:
        other.seek(50)
        other.write(b"other")
    os.pwrite(fd, b"first", 0)
    os.pwrite(fd, b"last", 96)
    os.close(fd)
    assert (mounted / "a").read_bytes() == b"first" + b"." * 45 + b"other" + b"." * 41 + b"last"


def test_changed_ranges_are_exact_and_split_at_long_equal_runs() -> None:
    old = bytes(20_000)
    new = bytearray(old)
    new[10] = new[20] = 1
    new[4090:4100] = b"x" * 10
    new[19_999] = 1
    assert anonymous.changed_ranges(old, bytes(new)) == [(10, 21), (4090, 4100), (19_999, 20_000)]


def test_cutting_by_ftruncate_is_committed(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "a").write_bytes(b"0123456789")
    fd = os.open(mounted / "a", os.O_RDWR)
    os.ftruncate(fd, 4)
    os.fsync(fd)
    assert committed(volume, "a") == b"0123"
    os.ftruncate(fd, 6)
    os.close(fd)
    assert committed(volume, "a") == b"0123\0\0"


def test_a_duplicate_keeps_the_file_open(mounted: Path, volume: MemoryVolume, beside: Path) -> None:
    fd = os.open(mounted / "a", os.O_WRONLY | os.O_CREAT)
    twin = os.dup(fd)
    os.close(fd)
    os.write(twin, b"by the twin")
    third = os.open(beside / "x", os.O_WRONLY | os.O_CREAT)
    os.dup2(twin, third)
    os.close(twin)
    os.write(third, b", third")
    assert committed(volume, "a") != b"by the twin, third"
    os.close(third)
    assert committed(volume, "a") == b"by the twin, third"


def test_a_file_object_on_a_descriptor_commits_when_it_is_closed(mounted: Path, volume: MemoryVolume) -> None:
    fd = os.open(mounted / "a", os.O_RDWR | os.O_CREAT)
    with os.fdopen(fd, "w+") as file:
        file.write("text")
        file.flush()
        assert os.path.getsize(mounted / "a") == 4
        assert file.fileno() == fd
    assert committed(volume, "a") == b"text"
    fd = os.open(mounted / "a", os.O_RDWR)
    with open(fd, "r+b", closefd=False) as kept:
        kept.write(b"T")
    os.write(fd, b"E")
    os.close(fd)
    assert committed(volume, "a") == b"TExt"


def test_a_descriptor_closed_behind_our_back_still_commits(mounted: Path, volume: MemoryVolume) -> None:
    fd = os.open(mounted / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"from C")
    native.close(fd)
    assert (mounted / "a").read_bytes() == b"from C"
    again = native.os_open("/dev/null", os.O_RDONLY)
    assert again == fd
    assert stat.S_ISCHR(os.fstat(again).st_mode), "the number is somebody else's now"
    os.close(again)
    assert committed(volume, "a") == b"from C"


def test_fileno_makes_the_descriptor_the_truth(mounted: Path, volume: MemoryVolume) -> None:
    with open(mounted / "picture", "w+b") as file:
        file.write(b"head ")
        file.flush()
        fd = file.fileno()
        native_write(fd, b"by C code ")
        file.write(b"tail")
        file.flush()
        file.seek(0)
        assert file.read() == b"head by C code tail"
        assert os.fstat(fd).st_size == 19
        os.fsync(fd)
        assert committed(volume, "picture") == b"head by C code tail"
    assert (mounted / "picture").read_bytes() == b"head by C code tail"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def native_write(fd: int, data: bytes) -> None:
    """Write as C code does that was given a descriptor."""
    import ctypes

    assert ctypes.CDLL(None).write(fd, data, len(data)) == len(data)


def test_a_map_counts_also_after_the_file_was_closed(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "a").write_bytes(b"abcdef")
    with open(mounted / "a", "r+b") as file:
        view = mmap.mmap(file.fileno(), 0)
        view[0:1] = b"A"
    view[5:6] = b"F"
    view.close()
    assert committed(volume, "a") == b"AbcdeF"
    with open(mounted / "a", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as reader:
        assert reader[:] == b"AbcdeF"
        assert isinstance(reader, mmap.mmap)


def test_a_file_that_is_closed_while_its_map_lives_on_is_there_for_others(mounted: Path, volume: MemoryVolume) -> None:
    with open(mounted / "a", "w+b") as file:
        file.write(b"abcdef")
        file.flush()
        view = mmap.mmap(file.fileno(), 0)
    assert committed(volume, "a") == b"abcdef"
    view[0:1] = b"A"
    view.close()
    assert committed(volume, "a") == b"Abcdef"


def test_content_over_the_limit_is_refused(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mounted / "a").write_bytes(bytes(2000))
    monkeypatch.setattr(anonymous, "FD_LIMIT", 1999)
    with pytest.raises(OSError, match="limit of 1,999") as failure:
        os.open(mounted / "a", os.O_RDONLY)
    assert failure.value.errno == errno.EFBIG
    with open(mounted / "a", "rb") as file:
        with pytest.raises(OSError, match="limit of 1,999"):
            file.fileno()
        assert len(file.read()) == 2000


def test_without_anonymous_memory_a_temporary_file_serves(
    mounted: Path, volume: MemoryVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anonymous, "_IN_MEMORY", False)
    monkeypatch.setenv("TMPDIR", str(mounted.parent))
    before = sorted(os.listdir(mounted.parent))
    (mounted / "a").write_bytes(b"abc")
    fd = os.open(mounted / "a", os.O_RDWR | os.O_APPEND)
    os.write(fd, b"def")
    assert os.pread(fd, 9, 0) == b"abcdef"
    assert sorted(os.listdir(mounted.parent)) == before
    os.close(fd)
    assert committed(volume, "a") == b"abcdef"


def test_a_commit_that_fails_at_close_releases_the_descriptor(mounted: Path, volume: MemoryVolume) -> None:
    fd = os.open(mounted / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")
    volume.failing = errno.EIO
    with pytest.raises(OSError, match="Input/output") as failure:
        os.close(fd)
    assert failure.value.filename == str(mounted / "a")
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_directories_have_descriptors_that_paths_can_start_from(mounted: Path) -> None:
    (mounted / "d").mkdir()
    (mounted / "d" / "x").write_text("1")
    fd = os.open(mounted / "d", os.O_RDONLY | os.O_DIRECTORY)
    assert stat.S_ISDIR(os.fstat(fd).st_mode)
    assert os.listdir(fd) == ["x"]
    assert os.stat("x", dir_fd=fd).st_size == 1
    assert [entry.path for entry in os.scandir(fd)] == ["x"]
    inner = os.open("x", os.O_RDONLY, dir_fd=fd)
    assert os.read(inner, 9) == b"1"
    with pytest.raises(NotADirectoryError):
        os.stat("y", dir_fd=inner)
    os.close(inner)
    os.rename("x", "y", src_dir_fd=fd, dst_dir_fd=fd)
    os.mkdir("e", dir_fd=fd)
    os.unlink("y", dir_fd=fd)
    os.rmdir("e", dir_fd=fd)
    assert os.stat("../../plain.txt" if (mounted.parent / "plain.txt").exists() else "..", dir_fd=fd)
    os.close(fd)
    assert os.listdir(mounted / "d") == []


def test_a_descriptor_of_a_folder_above_leads_into_the_mount(mounted: Path) -> None:
    (mounted / "x").write_text("1")
    fd = os.open(mounted.parent, os.O_RDONLY)
    try:
        assert os.stat("uploads/x", dir_fd=fd).st_size == 1
        assert os.open in os.supports_dir_fd
        assert os.scandir in os.supports_fd
    finally:
        os.close(fd)


def test_a_renamed_file_keeps_its_descriptor(mounted: Path, volume: MemoryVolume) -> None:
    fd = os.open(mounted / "a", os.O_WRONLY | os.O_CREAT)
    os.rename(mounted / "a", mounted / "b")
    os.write(fd, b"after")
    assert (mounted / "b").read_bytes() == b"after"
    os.close(fd)
    assert committed(volume, "b") == b"after"


def test_an_unlinked_file_is_written_no_more(mounted: Path) -> None:
    fd = os.open(mounted / "a", os.O_RDWR | os.O_CREAT)
    os.unlink(mounted / "a")
    os.write(fd, b"x")
    os.close(fd)
    assert os.listdir(mounted) == []


def test_what_is_in_a_map_shows_by_path_after_its_file_was_closed(everywhere: Path) -> None:
    path = everywhere / "mapped"
    path.write_bytes(bytes(8192))
    with open(path, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 8192)
    memory[0:3] = b"abc"
    memory.resize(512)
    assert os.path.getsize(path) == 512
    assert path.read_bytes()[:3] == b"abc"
    memory.close()
