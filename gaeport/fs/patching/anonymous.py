"""A mounted file's content in anonymous memory, for its real descriptors.

All descriptors of one file in this process are open on the same memory, as on a disk: what is written through one is
read through the others. What was changed there is found by comparison with the content it began with (`push`); what
file objects write reaches the memory as they write it.
"""

import errno
import os
import re
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None  # type: ignore[assignment]

from gaeport.fs import native
from gaeport.fs.places import Place
from gaeport.fs.volume import OpenFile

FD_LIMIT = 256 * 1024 * 1024  # bytes; a descriptor's content sits in memory, and an F1 instance has 384 MB
PIECE = 1024 * 1024  # bytes copied or compared at a time
STEP = 4096  # bytes; two equal pages need no closer look
ASIDE = 512  # keepers get numbers from here on: the low ones are what an application counts on (`dup2(fd, 1)`)

_RUN = re.compile(rb"[^\0]+(?:\0{1,31}[^\0]+)*")
_WRITING = os.O_WRONLY | os.O_RDWR
_KEPT = _WRITING | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)  # flags that count for the memory, too
_IN_MEMORY = hasattr(os, "memfd_create")
_native_fcntl: Any = getattr(_fcntl, "fcntl", None)


class Content:
    """The memory of one file.

    Attributes:
        lock: held while memory and volume are brought together.
        status: that of the kernel's object.
    """

    def __init__(self, place: Place, handle: OpenFile) -> None:
        self.lock = threading.RLock()
        self._place = place
        self._pid = os.getpid()
        self._base: bytearray | None = None  # what memory and volume agreed on last; kept where somebody may write
        self._users: list[tuple[OpenFile, int]] = []
        self._touched = 0
        self._keeper, self._path = unnamed(place.parts[-1])
        keepers[self._keeper] = self
        self.status = native.fstat(self._keeper)
        try:
            self.reload(handle)
        except BaseException:
            self.free()
            self._forget_path()
            raise

    @property
    def shareable(self) -> bool:
        """Whether this process can open it again."""
        return self._path.startswith("/proc/")

    @property
    def usable(self) -> bool:
        """Whether it is this process's own, and not yet let go."""
        return self._keeper >= 0 and self._pid == os.getpid()

    def open(self, handle: OpenFile, flags: int, *, fresh: bool) -> int | None:
        """Return a new descriptor of the memory; None where the last one let go of it a moment ago.

        Args:
            handle: the volume's open file that it stands for; to be given back by `leave`.
            flags: those of os.open.
            fresh: whether it has the handle's content already.
        """
        with self.lock:
            if not self.usable:
                return None
            if not fresh:
                self.push()
                self.reload(handle)
            self._users.append((handle, flags))
            try:
                if flags & _WRITING and self._base is None:
                    self._base = bytearray(self._read())
                return native.os_open(self._path, flags & _KEPT | os.O_CLOEXEC)
            except BaseException:
                self.leave(handle)
                raise
            finally:
                self._forget_path()

    def _forget_path(self) -> None:
        if not self.shareable:
            native.unlink(self._path)

    def leave(self, handle: OpenFile) -> None:
        """Forget an open file; the last one frees the memory once its descriptors are closed."""
        with self.lock:
            self._users = [user for user in self._users if user[0] is not handle]
            if not self._users:
                self.free()

    def free(self) -> None:
        """Let go of the memory, unless foreign code closed its number before, which may be somebody else's now."""
        with self.lock:
            keeper, self._keeper = self._keeper, -1
            if keeper >= 0 and keepers.pop(keeper, None) is self and self._is_own(keeper):
                native.close(keeper)

    def move(self) -> None:
        """Keep the memory under another number: the application wants this one (`os.dup2`)."""
        with self.lock:
            former = self._keeper
            if former >= 0 and self._is_own(former):
                self._keeper = _aside(former, former + 1)
                self._path = f"/proc/self/fd/{self._keeper}" if self.shareable else self._path
                keepers[self._keeper] = self
                del keepers[former]
                native.close(former)

    def _is_own(self, number: int) -> bool:
        try:
            return _identity(native.fstat(number)) == _identity(self.status)
        except OSError:
            return False

    def _own_status(self) -> os.stat_result:
        """Return the memory's present status.

        Raises:
            OSError: EBADF, code outside Python closed the keeper's number; what is read there now is not the file's.
        """
        status = native.fstat(self._keeper)
        if _identity(status) != _identity(self.status):
            note = "code outside Python closed the descriptor that keeps its content"
            raise self._place.error(errno.EBADF, note)
        return status

    def push(self) -> bool:
        """Hand what was written to the memory to the volume's open file. Returns whether there was anything."""
        with self.lock:
            writers = [user for user in self._users if user[1] & _WRITING]
            if self._base is None or not self.usable or not writers:
                return False
            status = self._own_status()
            handle = writers[-1][0]
            appending = any(flags & os.O_APPEND for _, flags in writers)
            size, changed = status.st_size, False
            if size > FD_LIMIT:  # extended through the descriptor; a hole takes no memory, but its comparison would
                raise too_large(self._place, size)
            if size < len(self._base):
                changed = True
                handle.truncate(size)
                del self._base[size:]
            for offset in range(0, size, PIECE):
                changed = self._push_piece(handle, self._base, offset, appending) or changed
            if not changed and status.st_mtime_ns != self._touched:
                changed = True
                handle.truncate(size)  # written with what was there, or cut to where it ended: its time changes
            self._touched = status.st_mtime_ns
            return changed

    def _push_piece(self, handle: OpenFile, base: bytearray, offset: int, appending: bool) -> bool:
        """Hand on what was changed in a piece; returns whether anything was."""
        new = os.pread(self._keeper, PIECE, offset)
        old = bytes(base[offset : offset + len(new)])
        if new == old:
            return False
        for start, end in changed_ranges(old, new[: len(old)]):
            handle.pwrite(new[start:end], offset + start)
        added = new[len(old) :]
        if added and appending:
            handle.append(added)
        elif added:
            handle.pwrite(added, offset + len(old))
        base[offset : offset + len(new)] = new
        return True

    def reload(self, handle: OpenFile) -> None:
        """Put the content that an open file has now in the place of the memory's.

        Raises:
            OSError: EFBIG, it is over FD_LIMIT.
        """
        with self.lock:
            if handle.size > FD_LIMIT:
                raise too_large(self._place, handle.size)
            length = 0
            content = bytearray() if self._base is not None else None
            while data := handle.pread(PIECE, length):
                if os.pread(self._keeper, len(data), length) != data:
                    _write_all(self._keeper, data, length)
                if content is not None:
                    content += data
                length += len(data)
            os.ftruncate(self._keeper, length)
            self._base = content
            self._note_time()

    def _note_time(self) -> None:
        """Remember the memory's own time: when it moves on, somebody wrote, if only what was there already."""
        self._touched = native.fstat(self._keeper).st_mtime_ns

    def reload_from_any(self) -> None:
        """Show what the volume has, after one of the open files dropped its changes."""
        with self.lock:
            if self._users:
                self.reload(self._users[-1][0])

    def wrote(self, data: Any, offset: int | None) -> None:
        """Take over what a file object wrote, at the end without an offset."""
        with self.lock:
            if self.usable:
                at = native.fstat(self._keeper).st_size if offset is None else offset
                _write_all(self._keeper, data, at)
                if self._base is not None and len(data):
                    self._base.extend(bytes(max(0, at - len(self._base))))
                    self._base[at : at + len(data)] = data
                self._note_time()

    def cut(self, size: int) -> None:
        """Take over that the file was cut or extended."""
        with self.lock:
            if self.usable:
                os.ftruncate(self._keeper, size)
                if self._base is not None:
                    del self._base[size:]
                    self._base.extend(bytes(size - len(self._base)))
                self._note_time()

    def _read(self) -> bytes:
        return b"".join(os.pread(self._keeper, PIECE, at) for at in range(0, native.fstat(self._keeper).st_size, PIECE))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


keepers: dict[int, Content] = {}  # descriptors that keep memory, which nobody else knows of
_contents: "WeakKeyDictionary[Any, Content]" = WeakKeyDictionary()
_sharing = threading.RLock()


def of(handle: OpenFile) -> Content | None:
    """Return the memory of an open file, where it has descriptors in this process."""
    if not _contents:
        return None
    shared = getattr(handle, "shared", None)
    found = _contents.get(shared) if shared is not None else None
    return found if found is not None and found.usable else None


def opened(place: Place, handle: OpenFile, flags: int) -> tuple[Content, int]:
    """Return the memory of an open file, with its present content, and a new descriptor of it.

    Args:
        place: where the file is.
        handle: the volume's open file; to be given back by `leave`.
        flags: those of os.open.

    Raises:
        OSError: EFBIG over FD_LIMIT; the store or the system refuses.
    """
    while True:
        found = of(handle)
        content = _shared(handle, Content(place, handle)) if found is None else found
        fd = content.open(handle, flags, fresh=found is None)
        if fd is not None:
            return content, fd


def _shared(handle: OpenFile, made: Content) -> Content:
    """Let the open file's other descriptors share a memory; where another thread was faster, the other one's counts."""
    shared = getattr(handle, "shared", None)
    if shared is None or not made.shareable:
        return made
    with _sharing:
        found = of(handle)
        if found is None:
            _contents[shared] = made
    if found is None:
        return made
    made.free()
    return found


def _after_in_child() -> None:
    """A thread that the child does not have may have held it."""
    global _sharing
    _sharing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


def settle(handle: OpenFile) -> None:
    """Hand what was written through descriptors of an open file to it."""
    found = of(handle)
    if found is not None:
        found.push()


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


def _write_all(fd: int, data: Any, offset: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def unnamed(name: str) -> tuple[int, str]:
    """Return a new empty file without a name, and a path that opens it once more (to be unlinked unless in /proc)."""
    if _IN_MEMORY:
        memory = os.memfd_create(name.encode("utf-8", "replace")[:200].decode("utf-8", "ignore"))
        memory, low = _aside(memory, ASIDE), memory
        native.close(low)
        path = f"/proc/self/fd/{memory}"
        if os.access(path, os.F_OK):
            return memory, path
        native.close(memory)
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"gaeport-{os.urandom(8).hex()}")
    return native.os_open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path


def _aside(fd: int, least: int) -> int:
    """Return a duplicate of a descriptor with a number from `least` on, where the process may have such numbers."""
    if _native_fcntl is not None:
        with suppress(OSError):  # EINVAL: over the limit of open files
            made: int = _native_fcntl(fd, _fcntl.F_DUPFD_CLOEXEC, least)
            return made
    return native.dup(fd)
