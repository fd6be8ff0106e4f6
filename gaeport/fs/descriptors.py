"""Real file descriptors for files in mounts.

`os.open` of a mounted file, and `fileno()`, give a descriptor of anonymous memory that holds the content, so that
`os.read`, `mmap`, `sendfile` and C code work on it as on any other. What was changed is found by comparison with the
content it began with, and committed, when the descriptor is closed or synced and before anybody looks at the file by
its path. A second descriptor of the same memory is kept here, so that nothing is lost when C code closes the first one
without a word.
"""

import errno
import os
import re
import threading
from typing import Protocol

from gaeport.errors import file_error
from gaeport.fs import changes, leases, native, opened
from gaeport.fs.locks import Claim, Family, Holder, Span
from gaeport.fs.places import Naming, Place
from gaeport.fs.volume import Attributes, OpenFile

FD_LIMIT = 256 * 1024 * 1024  # bytes; a descriptor's content sits in memory, and an F1 instance has 384 MB
PIECE = 1024 * 1024  # bytes copied or compared at a time
STEP = 4096  # bytes; two equal pages need no closer look

_RUN = re.compile(rb"[^\0]+(?:\0{1,31}[^\0]+)*")
_WRITING = os.O_WRONLY | os.O_RDWR
_IN_MEMORY = hasattr(os, "memfd_create")


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
        """Count one descriptor less; the last one commits. Raises OSError when the commit fails."""
        with self._lock:
            self._references -= 1
            if self._references == 0:
                self._let_go()

    def _let_go(self) -> None:
        """Do what the last close does."""

    def lock_for_fork(self) -> "threading.RLock":
        """Take this object's lock, and return it to be released after a fork."""
        self._lock.acquire()
        return self._lock

    def attributes(self) -> Attributes:
        """Return what `fstat` tells."""
        return self.place.volume.stat(self.place.parts)

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
        self._handle = handle
        self._append = bool(flags & os.O_APPEND)
        self._writable = bool(flags & _WRITING)
        self.truncating = bool(flags & (os.O_TRUNC | os.O_EXCL))
        self._base = bytearray()
        self._abandoned = False
        if handle.size > FD_LIMIT:
            raise too_large(place, handle.size)
        self._keeper, path = _anonymous(place.parts[-1])
        try:
            self._fill()
            self.first = native.os_open(path, flags & (_WRITING | os.O_APPEND) | os.O_CLOEXEC)
        except BaseException:
            native.close(self._keeper)
            raise
        finally:
            if not path.startswith("/proc/"):
                native.unlink(path)
        status = native.fstat(self._keeper)
        _keepers.add(self._keeper)
        super().__init__(place, (status.st_dev, status.st_ino))

    def _fill(self) -> None:
        offset = 0
        while data := self._handle.pread(PIECE, offset):
            view = memoryview(data)
            while view:
                view = view[os.write(self._keeper, view) :]
            if self._writable:
                self._base += data
            offset += len(data)

    def attributes(self) -> Attributes:
        """Return what `fstat` tells, with the size that the memory has now."""
        if self._writable:
            self.commit()
        return self._handle.attributes()

    def commit(self) -> None:
        """Hand what was changed since the last time to the volume's open file."""
        if not self._writable or self._abandoned or self.inherited:
            return
        with self._lock, Naming(self.place.spelled):
            if self._keeper < 0:
                return
            size = native.fstat(self._keeper).st_size
            if size < len(self._base):
                changes.note(self.place)
                self._handle.truncate(size)
                del self._base[size:]
            for offset in range(0, size, PIECE):
                self._commit_piece(os.pread(self._keeper, PIECE, offset), offset)

    def _commit_piece(self, new: bytes, offset: int) -> None:
        old = bytes(self._base[offset : offset + len(new)])
        if new == old:
            return
        changes.note(self.place)
        for start, end in changed_ranges(old, new[: len(old)]):
            self._handle.pwrite(new[start:end], offset + start)
        added = new[len(old) :]
        if added and self._append:
            self._handle.append(added)
        elif added:
            self._handle.pwrite(added, offset + len(old))
        self._base[offset : offset + len(new)] = new

    def sync(self) -> None:
        """Commit what was changed (fsync)."""
        if self._writable and not self._abandoned and not self.inherited:
            self.commit()
            with Naming(self.place.spelled):
                self._handle.sync()

    def lock(self, family: Family, span: Span, *, wait: bool, shared: bool) -> bool:
        """Lock a range among all instances, and show what is stored then; see `Handle.lock`."""
        lock = getattr(self._handle, "lock", None)
        if lock is None:
            return False
        self.commit()
        opened.arm()  # what is locked at the end of the process is given back
        lock(family, span, wait=wait, shared=shared)
        self._reload()
        return True

    def unlock(self, family: Family, span: Span | None, *, shared: bool) -> bool:
        """Commit, what Python buffers included, and give back a range; see `Handle.unlock`."""
        unlock = getattr(self._handle, "unlock", None)
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
        blocker = getattr(self._handle, "blocker", None)
        found: Holder | None = blocker(family, span, shared=shared) if blocker is not None else None
        return found

    def _reload(self) -> None:
        """Put the content that the handle has now in the place of the memory's."""
        with self._lock, Naming(self.place.spelled):
            size = self._handle.size
            if size > FD_LIMIT:
                raise too_large(self.place, size)
            content = bytearray()
            while data := self._handle.pread(PIECE, len(content)):
                if os.pread(self._keeper, len(data), len(content)) != data:
                    os.pwrite(self._keeper, data, len(content))
                content += data
            os.ftruncate(self._keeper, len(content))
            if self._writable:
                self._base = content

    def abandon(self) -> None:
        """Let go of the file without committing; the descriptor itself stays open until it is closed."""
        with self._lock:
            self._abandoned = True
            self._handle.discard()

    def _let_go(self) -> None:
        try:
            if self._abandoned or self.inherited:
                return
            self.commit()
            with Naming(self.place.spelled):
                self._handle.close()
        except BaseException:
            self._handle.discard()
            raise
        finally:
            _keepers.discard(self._keeper)
            native.close(self._keeper)
            self._keeper = -1


def changed_ranges(old: bytes, new: bytes) -> list[tuple[int, int]]:
    """Return where two contents of one length differ, as (start, end) pairs in ascending order.

    Their ends are exact, and more than 31 equal bytes end a range, so that what another writer put beside a change is
    not reverted.
    """
    ranges: list[tuple[int, int]] = []
    for start in range(0, len(new), STEP):
        before, after = old[start : start + STEP], new[start : start + STEP]
        if before == after:
            continue
        difference = (int.from_bytes(before, "big") ^ int.from_bytes(after, "big")).to_bytes(len(after), "big")
        for run in _RUN.finditer(difference):
            first, last = start + run.start(), start + run.end()
            if ranges and ranges[-1][1] == first:
                first = ranges.pop()[0]
            ranges.append((first, last))
    return ranges


def too_large(place: Place, size: int) -> OSError:
    """Return the error for content that is over the limit of a descriptor."""
    note = f"a descriptor's content sits in memory, and {size:,} bytes are over the limit of {FD_LIMIT:,}; use open()"
    return place.error(errno.EFBIG, note)


def _anonymous(name: str) -> tuple[int, str]:
    """Return a new empty file without a name, and a path that opens it once more (to be unlinked unless in /proc)."""
    if _IN_MEMORY:
        memory = os.memfd_create(name.encode("utf-8", "replace")[:200].decode("utf-8", "ignore"))
        path = f"/proc/self/fd/{memory}"
        if os.access(path, os.F_OK):
            return memory, path
        native.close(memory)
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"gaeport-{os.urandom(8).hex()}")
    return native.os_open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path


_table: dict[int, Description] = {}
mapped: dict[int, Description] = {}  # files that are mapped, by the map's id: their descriptors may be closed
_keepers: set[int] = set()  # second descriptors, which nobody else knows of
_disk_directories: dict[int, str] = {}  # descriptors of directories above a mount: their absolute paths


def register(fd: int, description: Description) -> int:
    """Enter a new descriptor and return it."""
    stale = _table.pop(fd, None)
    if stale is not None:
        stale.release()
    _disk_directories.pop(fd, None)
    _table[fd] = description
    return fd


def register_again(fd: int, description: Description) -> int:
    """Enter a duplicate of a registered descriptor and return it."""
    description.retain()
    return register(fd, description)


def reregister(fd: int, description: Description | None) -> int:
    """Enter what `dup2` put under a number in place of what was there, and return the number."""
    former = _table.pop(fd, None)
    _disk_directories.pop(fd, None)
    if description is not None:
        description.retain()
        _table[fd] = description
    if former is not None:
        former.release()
    return fd


def register_disk_directory(fd: int, path: str) -> int:
    """Remember that `fd` is the directory `path` on the disk, above a mount."""
    _disk_directories[fd] = path
    return fd


def lookup(fd: int) -> Description | None:
    """Return what is open under this number, or None when it is not a mounted file or directory."""
    found = _table.get(fd)
    if found is None or _is_still(fd, found):
        return found
    if _table.pop(fd, None) is not None:
        found.release()  # C code closed it; the content is still here
    return None


def _is_still(fd: int, description: Description) -> bool:
    try:
        status = native.fstat(fd)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == description.identity


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
    path = _disk_directories.get(fd)
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
    memory, path = _anonymous("unnamed")
    try:
        return native.os_open(path, flags & (_WRITING | os.O_APPEND) | os.O_CLOEXEC)
    finally:
        native.close(memory)
        if not path.startswith("/proc/"):
            native.unlink(path)


def close(fd: int) -> None:
    """Close a descriptor, committing what was changed through it. Raises OSError when the commit fails."""
    found = lookup(fd)
    _table.pop(fd, None)
    _disk_directories.pop(fd, None)
    try:
        if found is not None:
            found.release()
    finally:
        native.close(fd)


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
    return fd in _keepers


def within(low: int, high: int) -> list[int]:
    """Return the descriptors of ours, keepers included, from `low` up to but without `high`, in ascending order."""
    return sorted(fd for fd in {*_table, *_disk_directories, *_keepers} if low <= fd < high)


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


def settle_below(place: Place) -> None:
    """Hand over what was written through descriptors of files in this directory."""
    for description in everything():
        if description.place.parts[:-1] == place.parts and description.place.mount is place.mount:
            description.commit()


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

    def close(self) -> None:
        """Close the descriptor (if it is this object's to close) and commit. Raises OSError when that fails."""
        found = None
        if not self.closed and self.closefd:
            fd = self.fileno()
            found = lookup(fd)
            _table.pop(fd, None)
        try:
            if found is not None:
                found.release()
        finally:
            super().close()
