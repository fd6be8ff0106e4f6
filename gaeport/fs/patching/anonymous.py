"""A mounted file's content in anonymous memory, for its real descriptors.

All descriptors of one file in this process are open on the same memory, as on a disk: what is written through one is
read through the others. What was changed there is found by comparison with the content it began with (`push`); what
file objects write reaches the memory as they write it.
"""

import errno
import os
import re
import threading
from typing import Any
from weakref import WeakKeyDictionary

from gaeport.fs import native
from gaeport.fs.places import Place
from gaeport.fs.volume import OpenFile

FD_LIMIT = 256 * 1024 * 1024  # bytes; a descriptor's content sits in memory, and an F1 instance has 384 MB
PIECE = 1024 * 1024  # bytes copied or compared at a time
STEP = 4096  # bytes; two equal pages need no closer look

_RUN = re.compile(rb"[^\0]+(?:\0{1,31}[^\0]+)*")
_WRITING = os.O_WRONLY | os.O_RDWR
_KEPT = _WRITING | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)  # flags that count for the memory, too
_IN_MEMORY = hasattr(os, "memfd_create")


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
        try:
            self.reload(handle)
        except BaseException:
            native.close(self._keeper)
            self._forget_path()
            raise
        keepers.add(self._keeper)
        self.status = native.fstat(self._keeper)

    @property
    def shareable(self) -> bool:
        """Whether this process can open it again."""
        return self._path.startswith("/proc/")

    @property
    def usable(self) -> bool:
        """Whether it is this process's own, and not yet let go."""
        return self._keeper >= 0 and self._pid == os.getpid()

    def open(self, handle: OpenFile, flags: int) -> int:
        """Return a new descriptor of the memory.

        Args:
            handle: the volume's open file that it stands for; to be given back by `leave`.
            flags: those of os.open.
        """
        with self.lock:
            self._users.append((handle, flags))
            if flags & _WRITING and self._base is None:
                self._base = bytearray(self._read())
            try:
                return native.os_open(self._path, flags & _KEPT | os.O_CLOEXEC)
            finally:
                self._forget_path()

    def _forget_path(self) -> None:
        if not self.shareable:
            native.unlink(self._path)

    def leave(self, handle: OpenFile) -> None:
        """Forget an open file; the last one frees the memory once its descriptors are closed."""
        with self.lock:
            self._users = [user for user in self._users if user[0] is not handle]
            if not self._users and self._keeper >= 0:
                keeper, self._keeper = self._keeper, -1
                keepers.discard(keeper)
                native.close(keeper)

    def push(self) -> bool:
        """Hand what was written to the memory to the volume's open file. Returns whether there was anything."""
        with self.lock:
            writers = [user for user in self._users if user[1] & _WRITING]
            if self._base is None or not self.usable or not writers:
                return False
            handle = writers[-1][0]
            appending = any(flags & os.O_APPEND for _, flags in writers)
            status = native.fstat(self._keeper)
            size, changed = status.st_size, False
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


keepers: set[int] = set()  # descriptors that keep memory, which nobody else knows of
_contents: "WeakKeyDictionary[Any, Content]" = WeakKeyDictionary()


def of(handle: OpenFile) -> Content | None:
    """Return the memory of an open file, where it has descriptors in this process."""
    if not _contents:
        return None
    shared = getattr(handle, "shared", None)
    found = _contents.get(shared) if shared is not None else None
    return found if found is not None and found.usable else None


def joined(place: Place, handle: OpenFile) -> Content:
    """Return the memory of an open file, with its present content. Raises EFBIG over FD_LIMIT."""
    found = of(handle)
    if found is not None:
        found.push()
        found.reload(handle)
        return found
    made = Content(place, handle)
    shared = getattr(handle, "shared", None)
    if shared is not None and made.shareable:
        _contents[shared] = made
    return made


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
        path = f"/proc/self/fd/{memory}"
        if os.access(path, os.F_OK):
            return memory, path
        native.close(memory)
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"gaeport-{os.urandom(8).hex()}")
    return native.os_open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path
