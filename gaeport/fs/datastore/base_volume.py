"""What the volumes on a store have in common: attributes set by path, and what a fork and the process's end need."""

import os
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress
from typing import Any, ClassVar, Protocol

from gaeport.fs import permissions
from gaeport.fs.datastore.attempts import guarded
from gaeport.fs.datastore.handle import Handle
from gaeport.fs.volume import Attributes, Path


class Committed(Protocol):
    """An open file, or one that waits to be committed: one object for all its handles."""

    lock: threading.RLock

    def commit(self) -> None:
        """Publish its changes."""
        ...

    def attributes(self) -> Attributes:
        """Return what fstat tells."""
        ...


class BaseVolume(ABC):
    """A part of `gaeport.fs.volume.Volume`, the same for every store.

    Attributes:
        truncating: how `truncate` opens a file; os.O_RDWR where the store needs to read what stays of it.
    """

    truncating: ClassVar[int] = os.O_WRONLY

    def __init__(self) -> None:
        self._lock = threading.RLock()  # held while it is looked up or changed which files are open

    @abstractmethod
    def open(self, path: Path, flags: int, mode: int = 0o666, *, checked: bool = False) -> Handle:
        """Open or create a regular file."""

    @abstractmethod
    def _changed(self, path: Path, follow: bool, fields: dict[str, int]) -> None:
        """Set attributes: mode, uid, gid, atime, mtime."""

    @abstractmethod
    def _everything(self) -> Collection[Committed]:
        """Return the files that are open, or wait to be committed."""

    @staticmethod
    def _check_permissions(known: Committed | None, stored: int | None, path: Path, flags: int) -> None:
        """Refuse to open a file in a way that its bits do not allow.

        Args:
            known: this process's object for the file, where it is open.
            stored: the bits that the store has; None for a new file, and for a deployed one, whose bits are for those
                who may change the deployment.
            path: where it is.
            flags: those of os.open.

        Raises:
            OSError: EACCES.
        """
        mode = known.attributes().mode if known is not None else stored
        if mode is not None:
            permissions.check_open(mode, flags, "/".join(path))

    def truncate(self, path: Path, size: int) -> None:
        """Cut or extend a file and commit."""
        handle = self.open(path, self.truncating)
        try:
            handle.truncate(size)
        except BaseException:
            handle.discard()
            raise
        handle.close()

    def chmod(self, path: Path, mode: int, *, follow: bool = True) -> None:
        """Set the permission bits."""
        self._change(path, follow, mode=stat.S_IMODE(mode))

    def chown(self, path: Path, uid: int, gid: int, *, follow: bool = True) -> None:
        """Record an owner."""
        owner = {name: value for name, value in (("uid", uid), ("gid", gid)) if value != -1}
        self._change(path, follow, **owner)

    def utime(self, path: Path, atime_ns: int, mtime_ns: int, *, follow: bool = True) -> None:
        """Set the times."""
        self._change(path, follow, atime=atime_ns, mtime=mtime_ns)

    def _change(self, path: Path, follow: bool, **fields: int) -> None:
        guarded(lambda: self._changed(path, follow, fields), "/".join(path))

    def commit_all(self) -> None:
        """Commit everything that is pending in this process."""
        for inode in self._everything():
            inode.commit()

    def hold(self) -> list[Any]:
        """Take every lock of this volume, those of open files first; returns them, to be released after a fork."""
        while True:
            inodes = self._everything()
            held = [inode.lock for inode in inodes] + [self._lock]
            for lock in held:
                lock.acquire()
            if set(self._everything()) <= set(inodes):
                for inode in inodes:
                    with suppress(OSError):  # what another thread wrote just now; it stays here, and is tried again
                        inode.commit()
                return held
            for lock in reversed(held):
                lock.release()
