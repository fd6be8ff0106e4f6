"""Real file descriptors for files in mounts.

`os.open` of a mounted file, and `fileno()`, give a descriptor of anonymous memory that holds the content, so that
`os.read`, `mmap`, `sendfile` and C code work on it as on any other. What was changed is found by comparison with the
content it began with, and committed, when the descriptor is closed or synced and before anybody looks at the file by
its path. A second descriptor of the same memory is kept here, so that nothing is lost when C code closes the first one
without a word.
"""

import errno
import logging
import os
import threading
from typing import Protocol

from gaeport.errors import file_error
from gaeport.fs import native, opened
from gaeport.fs.datastore import leases
from gaeport.fs.locks import Claim, Family, Holder, Span
from gaeport.fs.patching import anonymous, changes
from gaeport.fs.places import Naming, Place
from gaeport.fs.volume import Attributes, OpenFile

_WRITING = os.O_WRONLY | os.O_RDWR


class Buffered(Protocol):
    """A file object on top of a descriptor."""

    def flush(self) -> None:
        """Hand on what it buffers."""


class Description:
    """What one or several descriptors (after `dup`) are open on.

    Attributes:
        place: the path it was opened by.
        identity: (device, inode) of the kernel's object, to notice that the number was closed and used again.
    """

    truncating = False

    def __init__(self, place: Place, identity: tuple[int, int]) -> None:
        self.place = place
        self.identity = identity
        self._references = 1
        self._lock = threading.RLock()
        self._pid = os.getpid()

    @property
    def inherited(self) -> bool:
        """Whether a parent process opened it: the memory is shared with it, and it commits what is written there."""
        return self._pid != os.getpid()

    @property
    def released(self) -> bool:
        """Whether the last descriptor was closed."""
        return self._references == 0

    def retain(self) -> None:
        """Count one more descriptor."""
        with self._lock:
            self._references += 1

    def release(self) -> None:
        """Count one descriptor less; the last one commits, and one that leaves a map behind.

        Raises:
            OSError: the commit failed.
        """
        with self._lock:
            self._references -= 1
            if self._references == 0:
                self._let_go()
            elif self in mapped.values():  # a map may live as long as the process: others see the file from here on
                self.sync()

    def _let_go(self) -> None:
        """Do what the last close does."""

    def lock_for_fork(self) -> "threading.RLock":
        """Take this object's lock, and return it to be released after a fork."""
        self._lock.acquire()
        return self._lock

    def attributes(self) -> Attributes:
        """Return what `fstat` tells."""
        return self.place.volume.stat(self.place.parts)

    def change(self, fields: dict[str, int]) -> bool:
        """Set attributes (mode, uid, gid, atime, mtime); False where that has to be done by the path."""
        return False

    def commit(self) -> None:
        """Hand what was changed to the volume's open file."""

    def sync(self) -> None:
        """Commit what was changed (fsync)."""

    def settle(self) -> None:
        """Commit what was changed; the descriptors stay open."""
        self.sync()

    def abandon(self) -> None:
        """Let go without committing."""

    def lock(self, family: Family, span: Span, *, wait: bool, shared: bool) -> bool:
        """Lock a range; see `Handle.lock`. Returns False where the volume has no locks."""
        return False

    def unlock(self, family: Family, span: Span | None, *, shared: bool) -> bool:
        """Give back a range; see `Handle.unlock`. Returns False where the volume has no locks."""
        return False

    def blocker(self, family: Family, span: Span, *, shared: bool) -> Holder | None:
        """Return who holds what a lock would need, or None."""
        return None


class DirectoryDescription(Description):
    """A directory; it can be locked as a whole."""

    _held = ""
    _ino = 0

    def lock(self, family: Family, span: Span, *, wait: bool, shared: bool) -> bool:
        """Lock the directory among all instances; see `Leases.acquire`."""
        locks = getattr(self.place.volume, "leases", None)
        if locks is None or family != "flock":
            return False
        opened.arm()
        self._ino, self._held = self.attributes().ino, self._held or leases.new_owner()
        locks.acquire(self._ino, Claim(self._held, family, span), wait=wait)
        return True

    def unlock(self, family: Family, span: Span | None, *, shared: bool) -> bool:
        """Give the lock back."""
        if self._held:
            getattr(self.place.volume, "leases").release(self._ino, self._held)  # noqa: B009  # not in every volume
        return family == "flock"

    def _let_go(self) -> None:
        self.unlock("flock", None, shared=False)


class FileDescription(Description):
    """A file whose content lies in anonymous memory.

    Attributes:
        file: the file object that it was made for, where there is one; flushed before a lock is given back.
    """

    file: Buffered | None = None

    def __init__(self, place: Place, handle: OpenFile, flags: int) -> None:
        self.handle = handle
        self.truncating = bool(flags & (os.O_TRUNC | os.O_EXCL))
        self._abandoned = False
        self._content, self.first = anonymous.opened(place, handle, flags)
        status = self._content.status
        super().__init__(place, (status.st_dev, status.st_ino))
        self._lock = self._content.lock

    def attributes(self) -> Attributes:
        """Return what `fstat` tells, with the size that the memory has now."""
        self.commit()
        return self.handle.attributes()

    def change(self, fields: dict[str, int]) -> bool:
        """Set attributes of the open file; see `Handle.change`. False where the volume has no such thing."""
        change = getattr(self.handle, "change", None)
        if change is None or self._abandoned or self.inherited:
            return False
        self.commit()
        with Naming(self.place.spelled):
            change(fields)
        return True

    def commit(self) -> None:
        """Hand what was changed since the last time to the volume's open file."""
        if not self._abandoned and not self.inherited:
            with Naming(self.place.spelled):
                if self._content.push():
                    changes.note(self.place)

    def sync(self) -> None:
        """Commit what was changed (fsync)."""
        if not self._abandoned and not self.inherited:
            self.commit()
            with Naming(self.place.spelled):
                self.handle.sync()

    def lock(self, family: Family, span: Span, *, wait: bool, shared: bool) -> bool:
        """Lock a range among all instances, and show what is stored then; see `Handle.lock`."""
        lock = getattr(self.handle, "lock", None)
        if lock is None:
            return False
        self.commit()
        opened.arm()  # what is locked at the end of the process is given back
        lock(family, span, wait=wait, shared=shared)
        self._reload()
        return True

    def unlock(self, family: Family, span: Span | None, *, shared: bool) -> bool:
        """Commit, what Python buffers included, and give back a range; see `Handle.unlock`."""
        unlock = getattr(self.handle, "unlock", None)
        if unlock is None:
            return False
        if self.file is not None:
            self.file.flush()
        self.commit()
        try:
            unlock(family, span, shared=shared)
        except OSError:
            self._reload()
            raise
        return True

    def blocker(self, family: Family, span: Span, *, shared: bool) -> Holder | None:
        """Return who holds what a lock would need, or None."""
        blocker = getattr(self.handle, "blocker", None)
        found: Holder | None = blocker(family, span, shared=shared) if blocker is not None else None
        return found

    def _reload(self) -> None:
        """Put the content that the handle has now in the place of the memory's."""
        with Naming(self.place.spelled):
            self._content.reload(self.handle)

    def abandon(self) -> None:
        """Let go of the file without committing; the descriptor itself stays open until it is closed."""
        with self._lock:
            self._abandoned = True
            self._content.leave(self.handle)
            self.handle.discard()
            self._content.reload_from_any()

    def _let_go(self) -> None:
        try:
            if self._abandoned or self.inherited:
                return
            self.commit()
            with Naming(self.place.spelled):
                self.handle.close()
        except BaseException:
            self.handle.discard()
            raise
        finally:
            self._content.leave(self.handle)


_table: dict[int, Description] = {}
mapped: dict[int, Description] = {}  # files that are mapped, by the map's id: their descriptors may be closed
_lock = threading.RLock()  # makes one step of a look at the table and its change
_disk_directories: dict[int, tuple[str, tuple[int, int]]] = {}  # of directories above a mount: path and identity


def register(fd: int, description: Description) -> int:
    """Enter a new descriptor and return it."""
    stale = _exchange(fd, description)
    if stale is not None:
        _release_stale(stale)
    return fd


def _exchange(fd: int, description: Description | None) -> Description | None:
    """Put something under a number, or nothing; returns what was there."""
    with _lock:
        former = _table.pop(fd, None)
        _disk_directories.pop(fd, None)
        if description is not None:
            _table[fd] = description
    return former


def _remove(fd: int, description: Description) -> bool:
    """Take a number out of the table, if it still stands for this: of several threads one does, and releases it."""
    with _lock:
        if _table.get(fd) is not description:
            return False
        del _table[fd]
        return True


def _release_stale(found: Description) -> None:
    """Commit what C code closed. Whoever got its number has nothing to do with an error of that, so it is logged."""
    try:
        found.release()
    except OSError as error:
        logging.getLogger("gaeport.fs").error("a descriptor was closed outside Python, and not committed: %s", error)


def register_again(fd: int, description: Description) -> int:
    """Enter a duplicate of a registered descriptor and return it."""
    description.retain()
    return register(fd, description)


def reregister(fd: int, description: Description | None) -> int:
    """Enter what `dup2` put under a number in place of what was there, and return the number."""
    if description is not None:
        description.retain()
    former = _exchange(fd, description)
    if former is not None:
        former.release()
    return fd


def register_disk_directory(fd: int, path: str) -> int:
    """Remember that `fd` is the directory `path` on the disk, above a mount."""
    status = native.fstat(fd)
    with _lock:
        _disk_directories[fd] = path, (status.st_dev, status.st_ino)
    return fd


def _disk_directory(fd: int) -> str | None:
    """Return the path of a directory of the disk that was registered under this number, if it is still that."""
    path, identity = _disk_directories.get(fd, ("", (0, 0)))
    return path if path and _identity(fd) == identity else None


def lookup(fd: int) -> Description | None:
    """Return what is open under this number, or None when it is not a mounted file or directory."""
    while True:
        found = _table.get(fd)
        if found is None or _identity(fd) == found.identity:
            return found
        if _remove(fd, found):
            found.release()  # C code closed it; the content is still here


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        status = native.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def directory_of(fd: int) -> tuple[str, bool] | None:
    """Return the path of a directory's descriptor and whether it is in a mount, or None for any other directory.

    Raises:
        OSError: ENOTDIR, the descriptor is a mounted file.
    """
    found = lookup(fd)
    if isinstance(found, FileDescription):
        raise file_error(errno.ENOTDIR, None)
    if found is not None:
        return found.place.absolute, True
    path = _disk_directory(fd)
    return (path, False) if path is not None else None


def open_file(place: Place, handle: OpenFile, flags: int, file: Buffered | None = None) -> int:
    """Return a new descriptor for an open file, which it owns from here on.

    Args:
        place: where it is.
        handle: the open file.
        flags: those of os.open.
        file: the file object that it is made for.

    Raises:
        OSError: EFBIG, the content is over FD_LIMIT; the caller still owns the handle.
    """
    description = FileDescription(place, handle, flags)
    description.file = file
    if flags & _WRITING:
        opened.note(description)
    return register(description.first, description)


def open_directory(place: Place) -> int:
    """Return a new descriptor that stands for a mounted directory (to the system it is an empty one)."""
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"gaeport-{os.urandom(8).hex()}")
    native.mkdir(path, 0o700)
    try:
        fd = native.os_open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        native.rmdir(path)
    status = native.fstat(fd)
    return register(fd, DirectoryDescription(place, (status.st_dev, status.st_ino)))


def open_unnamed(flags: int) -> int:
    """Return a descriptor of empty memory that is nobody's file (`flags` are those of os.open)."""
    memory, path = anonymous.unnamed("unnamed")
    try:
        return native.os_open(path, flags & (_WRITING | os.O_APPEND) | os.O_CLOEXEC)
    finally:
        native.close(memory)
        if not path.startswith("/proc/"):
            native.unlink(path)


def close(fd: int) -> None:
    """Close a descriptor, committing what was changed through it. Raises OSError when the commit fails."""
    found = lookup(fd)
    released = found is not None and _remove(fd, found)
    _disk_directories.pop(fd, None)
    try:
        native.close(fd)  # at once: a commit takes its time, in which another close would take a number given anew
    finally:
        if found is not None and released:
            found.release()


def sync(fd: int) -> bool:
    """Commit what was changed through a descriptor; False when it is not one of ours."""
    found = lookup(fd)
    if found is not None:
        found.sync()
    return found is not None


def everything() -> list[Description]:
    """Return what is open or mapped, each once."""
    return list(dict.fromkeys([*_table.values(), *mapped.values()]))


def any_open() -> bool:
    """Whether any descriptor of ours is open, or a mounted file mapped."""
    return bool(_table or mapped)


def is_inherited(fd: int) -> bool:
    """Whether this is a mounted file that a parent process opened."""
    found = _table.get(fd)
    return found is not None and found.inherited


def is_registered(fd: object) -> bool:
    """Whether this may be one of ours (a cheap first question)."""
    return fd in _table or fd in _disk_directories


def is_keeper(fd: object) -> bool:
    """Whether this is the second descriptor of a file's memory, which is not the application's to close."""
    return fd in anonymous.keepers


def make_room(fd: int) -> None:
    """See to it that nothing of ours that the application does not know of is under this number."""
    content = anonymous.keepers.get(fd)
    if content is not None:
        content.move()


def within(low: int, high: int) -> list[int]:
    """Return the descriptors of ours, keepers included, from `low` up to but without `high`, in ascending order."""
    return sorted(fd for fd in {*_table, *_disk_directories, *anonymous.keepers} if low <= fd < high)


def fstat(fd: int) -> os.stat_result:
    """Return what `os.fstat` tells."""
    found = lookup(fd) if any_open() else None
    return native.fstat(fd) if found is None else found.attributes().stat_result()


def settle(place: Place) -> None:
    """Hand over what was written through descriptors of this file, so that it is seen by its path."""
    if _table or mapped:
        for description in everything():
            if description.place.parts == place.parts and description.place.mount is place.mount:
                description.commit()


def latest(found: Attributes) -> Attributes:
    """Return what `stat` tells of a file, with what was written through descriptors of it, by whatever name."""
    if not (_table or mapped):
        return found
    description = open_files().get((found.dev, found.ino))
    return found if description is None else description.attributes()


def open_files() -> dict[tuple[int, int], Description]:
    """Return one of what is open on each file that has descriptors here, by device and inode number."""
    numbers: dict[tuple[int, int], Description] = {}
    for description in everything():
        if isinstance(description, FileDescription):
            found = description.handle.attributes()
            numbers[found.dev, found.ino] = description
    return numbers


def moved(source: Place, target: Place) -> None:
    """Follow a rename: descriptors open below `source` are found by their new path from here on."""
    depth = len(source.parts)
    for description in everything():
        place = description.place
        if place.mount is source.mount and place.parts[:depth] == source.parts:
            description.place = Place(target.mount, target.parts + place.parts[depth:], place.spelled)


def settle_all() -> None:
    """Commit everything written through descriptors, those that C code closed included."""
    for fd in list(_table):
        found = lookup(fd)
        if found is not None:
            found.sync()
    for description in list(mapped.values()):
        description.sync()


class DescriptorFile(native.FileIO):
    """A raw file on a descriptor, ours or any other, whose close commits."""

    def __repr__(self) -> str:
        return super().__repr__().replace("<DescriptorFile", "<_io.FileIO", 1)

    def close(self) -> None:
        """Close the descriptor (if it is this object's to close) and commit. Raises OSError when that fails."""
        found = None
        if not self.closed and self.closefd:
            fd = self.fileno()
            found = lookup(fd)
            found = found if found is not None and _remove(fd, found) else None
        try:
            super().close()
        finally:
            if found is not None:
                found.release()
