"""What `open()` returns for a file in a mount.

The raw layer is ours; buffering, text and newlines are the standard library's own classes on top of it, put together
as `io.open` does.
"""

import errno
import io
import operator
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gaeport.fs import native, opened, permissions
from gaeport.fs.patching import anonymous, changes, descriptors
from gaeport.fs.places import Naming, Place
from gaeport.fs.volume import OpenFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

READ_BUFFER = 256 * 1024  # bytes; a file read in sequence costs one call of the volume for each
WRITE_BUFFER = 64 * 1024  # bytes
LEAST_BUFFER = 8192  # bytes, io's own; small files need no more

_PIECE = 1024 * 1024  # bytes read at a time when the whole rest is asked for
_COPIERS = {"shutil", "pathlib._os"}  # they ask for descriptors to copy in the kernel, and else copy piece by piece
_WRITING = os.O_WRONLY | os.O_RDWR
_making = threading.RLock()  # a file object has one descriptor, whichever threads ask for it


def _after_in_child() -> None:
    """A thread that the child does not have may have held it."""
    global _making
    _making = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


class RawFile(io.RawIOBase):
    """An open file in a mount, unbuffered: a position on top of the volume's open file."""

    _blksize = 4096  # bytes; `io.FileIO` has it too, for those that choose a buffer's size by it
    opened: "Opened | None" = None  # what the end of a request knows of this file; lives as long as it

    def __init__(self, place: Place, handle: OpenFile, mode: str, flags: int) -> None:
        self.name: str | bytes = place.spelled
        self._place = place
        self._flags = flags
        self._kind = mode
        self._position = 0
        self._descriptor: descriptors.DescriptorFile | None = None
        self._parents: descriptors.DescriptorFile | None = None
        self._abandoned = False
        self._handle = handle
        if flags & os.O_APPEND:
            self._position = handle.size

    @property
    def mode(self) -> str:
        """The mode as `io.FileIO` spells it."""
        plus = "+" if self.readable() and self.writable() else ""
        return f"{'r' if self._kind == 'w' and plus else self._kind}b{plus}"

    @property
    def closefd(self) -> bool:
        """Always True: there is nothing else that could close it."""
        return True

    @property
    def handle(self) -> OpenFile:
        """The volume's open file."""
        return self._handle

    def __repr__(self) -> str:
        if self.closed:
            return "<_io.FileIO [closed]>"
        named = f"name={self.name!r}" if hasattr(self, "name") else f"fd={self.fileno()}"
        return f"<_io.FileIO {named} mode={self.mode!r} closefd=True>"

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("cannot pickle '_io.FileIO' object")

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        self._check_open()
        return not self._flags & os.O_WRONLY

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        self._check_open()
        return bool(self._flags & _WRITING)

    def seekable(self) -> bool:
        """Always True."""
        self._check_open()
        return True

    def isatty(self) -> bool:
        """Always False."""
        self._check_open()
        return False

    def read(self, size: int | None = -1, /) -> bytes | None:
        """Return up to `size` bytes; everything to the end without a size, or with None."""
        return self.readall() if size is None or size < 0 else super().read(size)

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read into `buffer`; returns the number of bytes, 0 at the end."""
        self._demand_readable()
        if (descriptor := self._truth()) is not None:
            return descriptor.readinto(buffer) or 0
        view = memoryview(buffer).cast("B")
        with Naming(self.name):
            anonymous.settle(self._handle)
            data = self._handle.pread(len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Return everything from the position to the end."""
        self._demand_readable()
        if (descriptor := self._truth()) is not None:
            return descriptor.readall() or b""
        pieces = []
        with Naming(self.name):
            anonymous.settle(self._handle)
            while (left := self._handle.size - self._position) > 0:
                data = self._handle.pread(min(left, _PIECE), self._position)
                if not data:
                    break
                pieces.append(data)
                self._position += len(data)
        return b"".join(pieces)

    def write(self, data: "ReadableBuffer") -> int:
        """Write at the position (or the end, when opened for append); returns the number of bytes, always all."""
        self._check_open()
        if not self._flags & _WRITING:
            raise io.UnsupportedOperation("File not open for writing")
        view = memoryview(data).cast("B")
        if self._abandoned or not len(view):
            return len(view)
        if (descriptor := self._truth()) is not None:
            return descriptor.write(view)
        changes.note(self._place)
        with Naming(self.name):
            content = self._shared()
            offset = None if self._flags & os.O_APPEND else self._position
            if offset is None:
                self._position = self._handle.append(view)
            else:
                self._position += self._handle.pwrite(view, offset)
        if content is not None:
            content.wrote(view, offset)
        return len(view)

    def _shared(self) -> anonymous.Content | None:
        """Return the memory of descriptors of this file, where others have some open; the handle is up to date then."""
        content = anonymous.of(self._handle)
        if content is not None:
            content.push()
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position and return it. Raises OSError EINVAL for a negative one."""
        self._check_open()
        offset = operator.index(offset)
        if (descriptor := self._truth()) is not None:
            return descriptor.seek(offset, whence)
        position = offset + self._origin(offset, whence)
        if position < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = position
        return position

    def _origin(self, offset: int, whence: int) -> int:
        if whence == os.SEEK_SET:
            return 0
        if whence == os.SEEK_CUR:
            return self._position
        anonymous.settle(self._handle)
        if whence == os.SEEK_END:
            return self._handle.size
        if whence not in (getattr(os, "SEEK_DATA", None), getattr(os, "SEEK_HOLE", None)):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if not 0 <= offset < self._handle.size:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return 0 if whence == os.SEEK_DATA else self._handle.size - offset

    def tell(self) -> int:
        """Return the position."""
        self._check_open()
        descriptor = self._truth()
        return self._position if descriptor is None else descriptor.tell()

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend with zeros to `size` bytes, by default to the position; the position stays."""
        self._check_open()
        if not self._flags & _WRITING:
            raise io.UnsupportedOperation("File not open for writing")
        length = self.tell() if size is None else size
        if length < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if (descriptor := self._truth()) is not None:
            return descriptor.truncate(length)
        changes.note(self._place)
        with Naming(self.name):
            content = self._shared()
            self._handle.truncate(length)
        if content is not None:
            content.cut(length)
        return length

    def fileno(self) -> int:
        """Return a real descriptor with the content; from here on it is the truth.

        Raises:
            OSError: EFBIG, the content is larger than a descriptor may hold in memory.
        """
        self._check_open()
        if sys._getframe(1).f_globals.get("__name__") in _COPIERS:
            raise io.UnsupportedOperation("fileno")  # copied in bounded memory instead
        if self._descriptor is None:
            if self._parents is not None:
                return self._parents.fileno()
            with _making:
                self._make_descriptor()
        assert self._descriptor is not None
        return self._descriptor.fileno()

    def _make_descriptor(self) -> None:
        if self._descriptor is None:  # another thread may have been faster
            fd = descriptors.open_file(self._place, self._handle, self._flags, self.opened)
            made = descriptors.DescriptorFile(fd, self.mode.replace("x", "w"))
            os.lseek(fd, self._position, os.SEEK_SET)  # one for append has gone to the end
            self._descriptor = made

    def _truth(self) -> descriptors.DescriptorFile | None:
        """Return the descriptor that holds the content, where one does.

        In a forked child its memory is the parent's too: the child goes on without it, from the same position.
        """
        descriptor = self._descriptor
        if descriptor is not None and descriptors.is_inherited(descriptor.fileno()):
            self._position = descriptor.tell()
            self._descriptor, self._parents = None, descriptor
        return self._descriptor

    def sync(self) -> None:
        """Commit what reached this layer (fsync)."""
        if (descriptor := self._truth()) is not None:
            descriptors.sync(descriptor.fileno())
        elif not self._abandoned:
            with Naming(self.name):
                anonymous.settle(self._handle)
                self._handle.sync()

    def discard(self) -> None:
        """Let go without committing; what is still written is dropped."""
        self._abandoned = True
        content = anonymous.of(self._handle)
        self._handle.discard()
        if content is not None:
            content.reload_from_any()

    def close(self) -> None:
        """Commit and let go. Raises OSError when the commit fails; it is closed all the same."""
        if self.closed:
            return
        try:
            if not self._abandoned:
                self._commit_and_close()
        finally:
            super().close()

    def _commit_and_close(self) -> None:
        if (descriptor := self._truth()) is not None:
            descriptor.close()
            return
        try:
            with Naming(self.name):
                self._handle.close()
        except BaseException:
            self._handle.discard()
            raise

    def __del__(self) -> None:
        if not self.closed:
            self._dealloc_warn(self)
            self.close()

    def _dealloc_warn(self, source: object) -> None:
        """Warn that it was never closed (the buffered and text layers call this by name)."""
        if not self.closed:
            warnings.warn(f"unclosed file {source!r}", ResourceWarning, stacklevel=2, source=source)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _demand_readable(self) -> None:
        self._check_open()
        if self._flags & os.O_WRONLY:
            raise io.UnsupportedOperation("File not open for reading")


class Opened:
    """A file object open for writing, for the end of a request."""

    def __init__(self, top: Any, raw: RawFile, *, truncating: bool) -> None:
        self._top = weakref.ref(top)
        self._raw = weakref.ref(raw)
        self.truncating = truncating
        raw.opened = self

    @property
    def released(self) -> bool:
        """Whether it was closed."""
        raw = self._raw()
        return raw is None or raw.closed

    def flush(self) -> None:
        """Hand on what Python buffers."""
        top = self._top()
        if top is not None and not top.closed:
            top.flush()

    def settle(self) -> None:
        """Flush and commit; the file stays open."""
        top, raw = self._top(), self._raw()
        if raw is None or raw.closed:
            return
        try:
            if top is not None:
                top.flush()
            raw.sync()
        except ValueError:
            if not raw.closed:  # by another thread meanwhile, which committed it
                raise

    def abandon(self) -> None:
        """Close without committing."""
        top, raw = self._top(), self._raw()
        if raw is not None:
            raw.discard()
            (raw if top is None else top).close()


def open_handle(place: Place, flags: int, mode: int) -> OpenFile:
    """Open a file of a volume as os.open does.

    Args:
        place: where.
        flags: those of os.open.
        mode: the permissions of a new file, before the umask.
    """
    descriptors.settle(place)
    if place.directory:
        _refuse_as_file(place, flags)
    with Naming(place.spelled):
        handle = place.volume.open(place.parts, flags, mode & ~umask.value, checked=permissions.binds())
        if flags & os.O_TRUNC and (content := anonymous.of(handle)) is not None:
            content.cut(0)
    return handle


def truncate(place: Place, size: int) -> None:
    """Cut or extend a file, in bytes, and commit; as os.truncate does."""
    handle = open_handle(place, os.O_WRONLY, 0)
    with Naming(place.spelled):
        try:
            content = anonymous.of(handle)
            if content is not None:
                content.push()
            handle.truncate(size)
            if content is not None:
                content.cut(size)
        except BaseException:
            handle.discard()
            raise
        handle.close()


def _refuse_as_file(place: Place, flags: int) -> None:
    if flags & os.O_CREAT and not place.dotted:
        raise place.error(errno.EISDIR)
    place.attributes()  # ENOENT, ENOTDIR
    if flags & os.O_CREAT and flags & os.O_EXCL:
        raise place.error(errno.EEXIST)
    if not flags & os.O_DIRECTORY:
        raise place.error(errno.EISDIR)


class _Umask:
    """The process's umask, remembered because the system can only tell it by changing it."""

    def __init__(self) -> None:
        self.value = 0o022
        self.refresh()

    def refresh(self) -> None:
        """Ask the system."""
        self.value = native.umask(0o077)
        native.umask(self.value)


umask = _Umask()

_MODES = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}
_parsed: dict[str, tuple[str, int, bool]] = {}


def parse_mode(mode: str) -> tuple[str, int, bool]:
    """Take a mode of `open` apart: its kind (r, w, a or x), the flags of os.open, and whether it is binary.

    Raises:
        ValueError: with the messages of `io.open`.
    """
    known = _parsed.get(mode)
    if known is not None:
        return known
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
    letters = set(mode)
    if letters - set("axrwb+t") or len(mode) > len(letters):
        raise ValueError(f"invalid mode: {mode!r}")
    if {"t", "b"} <= letters:
        raise ValueError("can't have text and binary mode at once")
    kinds = letters & set("axrw")
    if len(kinds) > 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    kind = kinds.pop() if kinds else ""
    flags = _MODES.get(kind, 0)
    if "+" in letters:
        flags = flags & ~os.O_WRONLY | os.O_RDWR
    _parsed[mode] = found = (kind, flags, "b" in letters)
    return found


def check_arguments(
    mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> tuple[str, int, bool]:
    """Return what parse_mode does; raise ValueError for arguments that do not go together, as `io.open` would."""
    parsed = parse_mode(mode)
    if parsed[2]:
        _check_binary(buffering, encoding, errors, newline)
    if not parsed[0]:
        raise ValueError("Must have exactly one of create/read/write/append mode and at most one plus")
    return parsed


def _check_binary(buffering: int, encoding: str | None, errors: str | None, newline: str | None) -> None:
    for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
        if value is not None:
            article = "an" if name in ("encoding", "errors") else "a"
            raise ValueError(f"binary mode doesn't take {article} {name} argument")
    if buffering == 1:
        message = "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used"
        warnings.warn(message, RuntimeWarning, stacklevel=5)


def open_place(
    place: Place,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
) -> Any:
    """Open a file in a mount as `io.open` does, with its arguments and its errors."""
    kind, flags, binary = check_arguments(mode, buffering, encoding, errors, newline)
    if not closefd:
        raise ValueError("Cannot use closefd=False with file name")
    if not binary:
        encoding = io.text_encoding(encoding, 3)
    raw = RawFile(place, open_handle(place, flags, 0o666), kind, flags)
    try:
        top = _dress(raw, mode, flags, buffering, encoding, errors, newline, raw.handle.size)
    except BaseException:
        raw.close()
        raise
    if flags & _WRITING:
        opened.note(Opened(top, raw, truncating=kind in "wx"))
    return top


def open_descriptor(
    file: object,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[Any, int], int] | None = None,
) -> Any:
    """Open a registered descriptor, or whatever `opener` returns, as `io.open` does."""
    _, flags, binary = check_arguments(mode, buffering, encoding, errors, newline)
    if not binary:
        encoding = io.text_encoding(encoding, 3)
    letters = mode.replace("t", "").replace("b", "")
    name: Any = file if isinstance(file, int) else os.fspath(file)  # type: ignore[call-overload]
    raw = descriptors.DescriptorFile(name, letters, closefd, opener)
    try:
        return _dress(raw, mode, flags, buffering, encoding, errors, newline, 0)
    except BaseException:
        raw.close()
        raise


def _dress(
    raw: Any,
    mode: str,
    flags: int,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    size: int,
) -> Any:
    """Put the standard library's buffered and text layers on a raw file."""
    text = "b" not in mode
    if buffering == 0 and text:
        raise ValueError("can't have unbuffered text I/O")
    if buffering == 0:
        return raw
    line_buffering = buffering == 1 and text
    if buffering <= 1:
        buffering = WRITE_BUFFER if flags & _WRITING else max(LEAST_BUFFER, min(READ_BUFFER, size + 1))
        line_buffering = line_buffering or raw.isatty()
    if flags & os.O_RDWR:
        layer: Any = io.BufferedRandom(raw, buffering)
    elif flags & os.O_WRONLY:
        layer = io.BufferedWriter(raw, buffering)
    else:
        layer = io.BufferedReader(raw, buffering)
    if not text:
        return layer
    wrapped = io.TextIOWrapper(layer, encoding, errors, newline, line_buffering)
    wrapped.mode = mode  # type: ignore[misc]  # io.open sets it just so
    return wrapped
