"""What is deployed in a mounted directory, read from the disk below the mount."""

import os
import stat
from collections.abc import Iterator

from gaeport.fs import native


def lstat(path: str) -> os.stat_result | None:
    """Return the status of a path on disk without following a link, or None where nothing is."""
    try:
        return native.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_dir(path: str) -> bool:
    """Tell whether a path on disk is a directory itself."""
    found = lstat(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def listdir(path: str) -> list[str]:
    """Return the names in a directory on disk; none where there is no directory."""
    try:
        return native.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def readlink(path: str) -> str:
    """Return what a symbolic link on disk holds."""
    return native.readlink(path)


def read(path: str, offset: int, length: int) -> bytes:
    """Return up to `length` bytes of a file on disk from `offset`."""
    handle = native.os_open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(_pieces(handle, offset, length))
    finally:
        native.close(handle)


def _pieces(handle: int, offset: int, length: int) -> Iterator[bytes]:
    while length > 0:
        data: bytes = os.pread(handle, length, offset)
        if not data:
            return
        yield data
        offset, length = offset + len(data), length - len(data)
