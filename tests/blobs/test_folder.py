"""The folder store when something goes wrong: killed writers, full and foreign file systems."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gaeport.blobs import folder
from gaeport.blobs.folder import INCOMING, FolderStore


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()]


def test_a_killed_writer_leaves_only_a_recognisable_file(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom gaeport.blobs.folder import FolderStore\n"
        "writer = FolderStore(Path(sys.argv[1])).create('a')\n"
        "writer.write(b'x' * 3_000_000)\nprint('written', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
    store = FolderStore(tmp_path)
    assert not store.exists("a")
    with pytest.raises(FileNotFoundError):
        store.read("a", 0, 1)
    assert [file.parent.name for file in _files(tmp_path)] == [INCOMING]


def test_close_and_abort_leave_no_temporary_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    kept, dropped = store.create("kept"), store.create("dropped")
    kept.write(b"1")
    dropped.write(b"2")
    kept.close()
    dropped.abort()
    assert [file.read_bytes() for file in _files(tmp_path)] == [b"1"]


@pytest.mark.parametrize("sync", [False, True])
def test_a_blob_is_synced_only_by_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool) -> None:
    synced: list[int] = []
    monkeypatch.setattr(folder.os, "fsync", synced.append)
    writer = FolderStore(tmp_path, sync=sync).create("a")
    writer.write(b"x")
    writer.close()
    assert len(synced) == (3 if sync else 0)  # the file and both folders


def test_a_full_disk_is_reported_and_nothing_is_left(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    writer = store.create("a")

    class Full:
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            pass

    assert writer._file is not None
    writer._file.close()
    writer._file = Full()  # type: ignore[assignment]  # what a full disk answers, without filling one
    with pytest.raises(OSError, match="No space left") as caught:
        writer.write(b"x")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "a")
    writer.close()
    assert _files(tmp_path) == []


def test_without_hard_links_a_name_is_still_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(folder.os, "link", refuse)
    store = FolderStore(tmp_path)
    first, second = store.create("a"), store.create("a")
    first.write(b"1")
    second.write(b"2")
    first.close()
    with pytest.raises(FileExistsError):
        second.close()
    assert store.read("a", 0, 9) == b"1"
    assert len(_files(tmp_path)) == 1


def test_the_folder_is_made_by_the_first_write_only(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "blobs")
    assert not store.exists("a")
    store.delete("a")
    assert not (tmp_path / "blobs").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("in the way")
    with pytest.raises(OSError, match="blobs"):
        FolderStore(tmp_path / "blobs").create("a")
