"""Blobs as files in the embedded data folder: `blobs/3f/NAME`, written as `blobs/incoming/…` first."""

import errno
import os
import secrets
import time
import zlib
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from gaeport import meter
from gaeport.errors import file_error

KIND = "(folder)"  # what the meter says of these calls, where others name a bucket
INCOMING = "incoming"  # what lies here is being written, or was left by a process that was killed; never read

# What link() answers on file systems that have no hard links (FAT, some network and container mounts).
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


class FolderStore:
    """Keeps each blob in a file of its own. Several processes may use one folder."""

    def __init__(self, folder: Path, prefix: str = "", *, sync: bool = False) -> None:
        """Name the folder; it is made when the first blob is written.

        Args:
            folder: where the blobs lie.
            prefix: put before every name.
            sync: whether a closed blob survives a loss of power; without, it survives kill -9.
        """
        self._folder = folder
        self._prefix = prefix
        self._sync = sync

    def create(self, name: str) -> "FolderWriter":
        """Start a new blob. Raises OSError when the folder cannot be written."""
        target = self._path(name)
        incoming = self._folder / INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        temporary = incoming / f"{zlib.crc32(target.name.encode()):08x}-{os.getpid()}-{secrets.token_hex(8)}"
        return FolderWriter(name, temporary, target, sync=self._sync)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer only where the blob ends. Raises FileNotFoundError, OSError."""
        start, found = time.perf_counter(), b""
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                file.seek(offset)
                found = _read_whole(file, length)
                return found
        except FileNotFoundError:
            raise file_error(errno.ENOENT, name, "the content is gone from the blob store") from None
        finally:
            about = meter.About(KIND, 1, received=len(found))
            meter.record("ReadBlob", time.perf_counter() - start, about=about, storage__class_b=1)

    def delete(self, name: str) -> None:
        """Remove a blob; a missing one is no error."""
        start = time.perf_counter()
        self._path(name).unlink(missing_ok=True)
        meter.record("DeleteBlob", time.perf_counter() - start, about=meter.About(KIND, 1))

    def exists(self, name: str) -> bool:
        """Tell whether the blob is there, whole."""
        start = time.perf_counter()
        found = self._path(name).is_file()
        meter.record("StatBlob", time.perf_counter() - start, about=meter.About(KIND, 1), storage__class_b=1)
        return found

    def sweep(self, before: float) -> int:
        """Delete what was being written by processes that were killed.

        Args:
            before: seconds since 1970; what was written to since then may still become a blob.

        Returns:
            The number of files.
        """
        count = 0
        for left in (self._folder / INCOMING).glob("*"):
            try:
                if left.stat().st_mtime <= before:
                    left.unlink()
                    count += 1
            except FileNotFoundError:
                pass  # its writer finished, or another sweep was first
        return count

    def _path(self, name: str) -> Path:
        # Escaped, so that no name can lead elsewhere; spread over 256 folders, so that none grows too large.
        escaped = quote(self._prefix + name, safe="")
        return self._folder / f"{zlib.crc32(escaped.encode()) & 0xFF:02x}" / f"b{escaped}"


class FolderWriter:
    """A blob being written to a temporary file."""

    def __init__(self, name: str, temporary: Path, target: Path, *, sync: bool) -> None:
        self._name = name
        self._temporary = temporary
        self._target = target
        self._sync = sync
        self._seconds = 0.0
        self._size = 0
        self._file: BinaryIO | None = open(temporary, "xb", buffering=0)  # noqa: SIM115  # closed by close or abort

    def write(self, data: bytes | memoryview) -> None:
        """Append data. Raises OSError (ENOSPC, EIO); then the blob is lost, not half there."""
        if self._file is None:
            raise ValueError(f"blob {self._name!r} is closed")
        start = time.perf_counter()
        rest = memoryview(data).cast("B")
        self._size += len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.abort()
            raise file_error(error.errno or errno.EIO, self._name) from error
        self._seconds += time.perf_counter() - start

    def close(self) -> None:
        """Make the blob readable, whole. Raises FileExistsError when the name is taken, OSError when refused."""
        if self._file is None:
            return
        start = time.perf_counter()
        try:
            if self._sync:
                os.fsync(self._file.fileno())
            self._file.close()
            self._target.parent.mkdir(exist_ok=True)
            _publish(self._temporary, self._target)
            if self._sync:
                _sync_folders(self._target.parent)
        except OSError as error:
            raise file_error(error.errno or errno.EIO, self._name) from error
        finally:
            self.abort()
            seconds = self._seconds + time.perf_counter() - start
            meter.record("WriteBlob", seconds, about=meter.About(KIND, 1, sent=self._size), storage__class_a=1)

    def abort(self) -> None:
        """Give the blob up and leave nothing of it. Never raises."""
        file, self._file = self._file, None
        if file is None:
            return
        for step in (file.close, lambda: self._temporary.unlink(missing_ok=True)):
            try:
                step()
            except OSError:
                pass  # what stays behind lies in `incoming` and is never read


def _read_whole(file: BinaryIO, length: int) -> bytes:
    pieces = []
    while length > 0 and (piece := file.read(length)):  # one read() may give less than it was asked for
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _publish(temporary: Path, target: Path) -> None:
    """Give the finished file its name, without ever replacing another."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        temporary.rename(target)  # not atomic with the check, which is enough for names that are never used twice


def _sync_folders(folder: Path) -> None:
    for path in (folder, folder.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
