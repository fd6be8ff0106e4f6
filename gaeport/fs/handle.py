"""What `Volume.open` returns: one opening of a file, with its rights."""

import errno
import os
from typing import TYPE_CHECKING

from gaeport.errors import file_error
from gaeport.fs.inode import Inode
from gaeport.fs.volume import Attributes

if TYPE_CHECKING:
    from gaeport.fs.datastore import DatastoreVolume


class Handle:
    """An open file; see `gaeport.fs.volume.OpenFile`."""

    def __init__(self, volume: "DatastoreVolume", inode: Inode, flags: int) -> None:
        self._volume = volume
        self._inode = inode
        self._writable = writable(flags)
        self._closed = False

    @property
    def size(self) -> int:
        """The present size in bytes."""
        return self._inode.view.size

    def attributes(self) -> Attributes:
        """What fstat tells."""
        return self._inode.attributes()

    def pread(self, length: int, offset: int) -> bytes:
        """Return up to `length` bytes from `offset`, also where the application may only write.

        A descriptor for it must hold the content.
        """
        self._allow(True)
        return self._inode.read(offset, length)

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        """Write at `offset`. Raises EBADF when opened for reading only."""
        self._allow(self._writable)
        self._inode.write(offset, data)
        return len(data)

    def append(self, data: bytes | memoryview) -> int:
        """Write at the end; returns the new end. Raises EBADF when opened for reading only."""
        self._allow(self._writable)
        return self._inode.append(data)

    def truncate(self, size: int) -> None:
        """Cut or extend. Raises EINVAL when opened for reading only, as ftruncate does."""
        if not self._writable:
            raise file_error(errno.EINVAL, self._inode.path)
        self._inode.truncate(size)

    def sync(self) -> None:
        """Commit what was changed so far, by every handle of this process."""
        self._inode.commit()

    def close(self) -> None:
        """Commit and let go; let go even when the commit fails."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._writable:
                self._inode.commit()
        finally:
            self._volume.released(self._inode, writer=self._writable)

    def discard(self) -> None:
        """Let go without committing; changes stay where another handle that may write is still open."""
        if self._closed:
            return
        self._closed = True
        with self._inode.lock:
            if self._writable and self._inode.writers == 1:
                self._inode.revert()
            self._volume.released(self._inode, writer=self._writable)

    def _allow(self, right: bool) -> None:
        if self._closed or not right:
            raise file_error(errno.EBADF, self._inode.path)


def writable(flags: int) -> bool:
    """Tell whether a file opened with these flags may be written."""
    return flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)
