"""What `Volume.open` returns: one opening of a file, with its rights."""

import errno
import logging
import os
import threading
from collections.abc import Callable
from typing import Protocol

from gaeport.errors import file_error
from gaeport.fs.datastore import leases
from gaeport.fs.datastore.attempts import guarded
from gaeport.fs.datastore.content import View
from gaeport.fs.datastore.leases import Leases
from gaeport.fs.locks import Claim, Family, Holder, Span
from gaeport.fs.volume import Attributes

MAX_SIZE = 2**63 - 1  # bytes; what an offset can name
_log = logging.getLogger("gaeport.fs")


class OpenInode(Protocol):
    """A file that is open in this process: one for all its handles. See `gaeport.fs.datastore.inode.Inode`."""

    lock: "threading.RLock"
    view: View
    writers: int

    @property
    def ino(self) -> int: ...
    @property
    def path(self) -> str: ...
    def attributes(self) -> Attributes: ...
    def read(self, offset: int, length: int) -> bytes: ...
    def write(self, offset: int, data: bytes | memoryview) -> None: ...
    def append(self, data: bytes | memoryview) -> int: ...
    def truncate(self, size: int) -> None: ...
    def commit(self) -> None: ...
    def reload(self) -> None: ...
    def revert(self) -> None: ...
    def set(self, fields: dict[str, int]) -> None: ...
    def change(self, fields: dict[str, int]) -> None: ...
    def afterwards(self, work: Callable[[], None]) -> None: ...


class Keeper(Protocol):
    """The volume that an open file belongs to."""

    @property
    def leases(self) -> Leases: ...
    @property
    def released(self) -> Callable[..., None]:
        """Called with the OpenInode that it made itself, and `writer=`."""


class Handle:
    """An open file; see `gaeport.fs.volume.OpenFile`.

    Args:
        volume: whose file it is.
        inode: the file.
        flags: those of os.open.
        changes: whether it may be written, or its opening created or cut the file: its close commits.
    """

    def __init__(self, volume: Keeper, inode: OpenInode, flags: int, *, changes: bool) -> None:
        self._volume = volume
        self._inode = inode
        self._writable = writable(flags)
        self._changes = changes
        self._closed = False
        self._owner = ""

    @property
    def shared(self) -> OpenInode:
        """What all handles of the file in this process have in common."""
        return self._inode

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
        self._limit(offset + len(data))
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
        self._limit(size)
        self._inode.truncate(size)

    def change(self, fields: dict[str, int]) -> None:
        """Set attributes: mode, uid, gid (which ends the bits that run it as its owner), atime, mtime."""
        guarded(lambda: self._inode.change(fields), self._inode.path)

    def sync(self) -> None:
        """Commit what was changed so far, by every handle of this process."""
        self._inode.commit()

    def close(self) -> None:
        """Commit and let go; let go even when the commit fails.

        In a signal handler or a finalizer in the middle of another commit of this thread, it is done after that.
        """
        if not self._close_once():
            return
        try:
            if self._changes:
                self._inode.commit()
        except OSError as error:
            if error.errno == errno.EDEADLK:
                self._inode.afterwards(self._finish)
                return
            self._let_go()
            raise
        except BaseException:
            self._let_go()
            raise
        self._let_go()

    def _close_once(self) -> bool:
        """Whether this is the first of several closes, of whichever thread."""
        with self._inode.lock:
            first, self._closed = not self._closed, True
        return first

    def _finish(self) -> None:
        """Do what `close` could not; whoever closed it has gone on, and so errors are logged."""
        try:
            self._inode.commit()
            self._let_go()
        except OSError as error:
            if error.errno == errno.EDEADLK:
                self._inode.afterwards(self._finish)
                return
            self._let_go()
            _log.error("a file closed in the middle of a commit was not committed: %s", error)

    def _let_go(self) -> None:
        try:
            self._unlock_all()
        finally:
            self._volume.released(self._inode, writer=self._changes)

    def discard(self) -> None:
        """Let go without committing; changes stay where another handle that may write is still open."""
        if not self._close_once():
            return
        with self._inode.lock:
            if self._changes and self._inode.writers == 1:
                self._inode.revert()
            self._volume.released(self._inode, writer=self._changes)
        self._unlock_all()

    def assign(self, *, mode: int, atime_ns: int, mtime_ns: int) -> None:
        """Set what the next commit gives the file beside its content: permission bits and times."""
        self._allow(self._writable)
        self._inode.set({"mode": mode, "atime": atime_ns, "mtime": mtime_ns})

    # Locks

    def lock(self, family: Family, span: Span, *, wait: bool, shared: bool = False) -> None:
        """Lock a range among all instances; what was written before is committed, and what is stored then is read.

        Args:
            family: the kind of lock.
            span: the range.
            wait: whether to wait for who has it.
            shared: the lock belongs to the process, not to this handle (POSIX record locks).

        Raises:
            BlockingIOError: somebody has it, and `wait` is False.
        """
        self._inode.commit()  # also gives a file that was created just now the number that others know it by
        claim = Claim(self._owner_of(family, shared), family, span)
        guarded(lambda: self._volume.leases.acquire(self._inode.ino, claim, wait=wait), self._inode.path)
        self._inode.reload()

    def unlock(self, family: Family, span: Span | None, *, shared: bool = False) -> None:
        """Commit what was written, and give back a range (None: everything) that this handle or process has locked.

        Raises:
            OSError: EIO, the lock was lost meanwhile: what was written since is dropped.
        """
        owner = self._owner_of(family, shared)
        try:
            if self._writable:
                self._inode.commit()
        finally:
            guarded(lambda: self._volume.leases.release(self._inode.ino, owner, span), self._inode.path)

    def blocker(self, family: Family, span: Span, *, shared: bool = False) -> Holder | None:
        """Return who holds what a lock would need, or None."""
        claim = Claim(self._owner_of(family, shared), family, span)
        return guarded(lambda: self._volume.leases.blocker(self._inode.ino, claim), self._inode.path)

    def _owner_of(self, family: Family, shared: bool) -> str:
        if shared:
            return leases.process_owner()
        self._owner = self._owner or leases.new_owner()
        return f"{self._owner}.{family}"

    def _unlock_all(self) -> None:
        """Closing gives back this handle's locks, and the process's record locks, as on Linux."""
        lease = self._volume.leases.held(self._inode.ino)
        if lease is not None:
            mine = {self._owner_of("flock", False), self._owner_of("posix", False), leases.process_owner()}
            for owner in mine & lease.mine.keys():
                guarded(lambda owner=owner: self._volume.leases.release(self._inode.ino, owner), self._inode.path)  # type: ignore[misc]

    def _limit(self, size: int) -> None:
        if size > MAX_SIZE:
            raise file_error(errno.EFBIG, self._inode.path)

    def _allow(self, right: bool) -> None:
        if self._closed or not right:
            raise file_error(errno.EBADF, self._inode.path)


def writable(flags: int) -> bool:
    """Tell whether a file opened with these flags may be written."""
    return flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)
