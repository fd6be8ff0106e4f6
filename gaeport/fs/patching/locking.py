"""Stand-ins for `fcntl.flock`, `fcntl.lockf`, `fcntl.fcntl` and `os.lockf`: locks on mounted files count among all
instances of the application."""

import errno
import os
import struct
import sys
from typing import Any

from gaeport.fs import native
from gaeport.fs.locks import WHOLE, Span
from gaeport.fs.patching import descriptors

try:
    import fcntl as _fcntl
except ImportError:  # Windows has no such locks
    _fcntl = None  # type: ignore[assignment]

_RECORD = struct.Struct("@hhqqi")  # struct flock of 64-bit Linux: type, whence, start, length, pid
_KNOWN_LAYOUT = sys.platform == "linux" and struct.calcsize("P") == 8
_READ, _WRITE, _UNLOCK = 0, 1, 2  # F_RDLCK, F_WRLCK, F_UNLCK on Linux
_WRITING = os.O_WRONLY | os.O_RDWR


def replacements() -> list[tuple[Any, Any]]:
    """Return the functions that this platform has, each with what stands in for it."""
    pairs: list[tuple[Any, Any]] = []
    if _fcntl is not None:
        pairs += [(_native_flock, flock), (_native_lockf, lockf), (_native_fcntl, fcntl), (_native_os_lockf, os_lockf)]
    return pairs


_native_flock: Any = getattr(_fcntl, "flock", None)
_native_lockf: Any = getattr(_fcntl, "lockf", None)
_native_fcntl: Any = getattr(_fcntl, "fcntl", None)
_native_os_lockf: Any = getattr(os, "lockf", None)


def flock(fd: Any, operation: int, /) -> None:
    """Stand in for `fcntl.flock`."""
    found = _description(fd)
    if found is None:
        _native_flock(fd, operation)
        return
    kind = operation & ~_fcntl.LOCK_NB
    if kind == _fcntl.LOCK_UN:
        done = found.unlock("flock", None, shared=False)
    elif kind in (_fcntl.LOCK_SH, _fcntl.LOCK_EX):
        span = Span(exclusive=kind == _fcntl.LOCK_EX)
        done = found.lock("flock", span, wait=not operation & _fcntl.LOCK_NB, shared=False)
    else:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if not done:
        _native_flock(fd, operation)


def lockf(fd: Any, cmd: int, len: int = 0, start: int = 0, whence: int = 0, /) -> Any:
    """Stand in for `fcntl.lockf`."""
    found = _description(fd)
    if found is None:
        return _native_lockf(fd, cmd, len, start, whence)
    kind = cmd & ~_fcntl.LOCK_NB
    kinds = {_fcntl.LOCK_SH: _READ, _fcntl.LOCK_EX: _WRITE, _fcntl.LOCK_UN: _UNLOCK}
    if kind not in kinds:
        raise ValueError("unrecognized lockf argument")
    span = _span(_number(fd), kinds[kind], start, len, whence)
    if not _record_lock(found, _number(fd), kinds[kind], span, wait=not cmd & _fcntl.LOCK_NB, shared=True):
        return _native_lockf(fd, cmd, len, start, whence)
    return None


def os_lockf(fd: int, command: int, length: int, /) -> None:
    """Stand in for `os.lockf`, which locks from the descriptor's position."""
    found = _description(fd)
    done = False
    if found is not None:
        kind = _UNLOCK if command == os.F_ULOCK else _WRITE
        span = _span(fd, kind, 0, length, os.SEEK_CUR)
        if command == os.F_TEST:
            if found.blocker("posix", span, shared=True) is not None:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            return
        done = _record_lock(found, fd, kind, span, wait=command != os.F_TLOCK, shared=True)
    if not done:
        _native_os_lockf(fd, command, length)


def fcntl(fd: Any, cmd: int, arg: Any = 0, /) -> Any:
    """Stand in for `fcntl.fcntl`: record locks, and duplicates of a descriptor; all else is the system's."""
    found = _description(fd)
    if found is None:
        return _native_fcntl(fd, cmd, arg)
    if cmd in (_fcntl.F_DUPFD, _fcntl.F_DUPFD_CLOEXEC):
        return descriptors.register_again(_native_fcntl(fd, cmd, arg), found)
    shared = cmd in (_fcntl.F_GETLK, _fcntl.F_SETLK, _fcntl.F_SETLKW)
    private = cmd in _private_commands()
    if not (shared or private) or not _KNOWN_LAYOUT or not isinstance(arg, bytes | bytearray | memoryview):
        return _native_fcntl(fd, cmd, arg)
    raw = bytes(arg)
    kind, whence, start, length, _ = _RECORD.unpack(raw[: _RECORD.size].ljust(_RECORD.size, b"\0"))
    span = _span(_number(fd), kind, start, length, whence)
    if cmd in (_fcntl.F_GETLK, getattr(_fcntl, "F_OFD_GETLK", None)):
        return _tell(found, span, raw, shared)
    wait = cmd in (_fcntl.F_SETLKW, getattr(_fcntl, "F_OFD_SETLKW", None))
    if not _record_lock(found, _number(fd), kind, span, wait=wait, shared=shared):
        return _native_fcntl(fd, cmd, arg)
    return raw


os_lockf.__name__ = os_lockf.__qualname__ = "lockf"


def _private_commands() -> tuple[int, ...]:
    names = ("F_OFD_GETLK", "F_OFD_SETLK", "F_OFD_SETLKW")
    return tuple(getattr(_fcntl, name) for name in names if hasattr(_fcntl, name))


def _tell(found: descriptors.Description, span: Span, raw: bytes, shared: bool) -> bytes:
    """Return what F_GETLK answers: the lock in the way, or the question with "unlocked" in it."""
    holder = found.blocker("posix", span, shared=shared)
    _, whence, start, length, pid = _RECORD.unpack(raw[: _RECORD.size].ljust(_RECORD.size, b"\0"))
    if holder is None:
        answer = _RECORD.pack(_UNLOCK, whence, start, length, pid)
    else:
        met = next(one for one in holder.spans if one.meets(span))
        length = 0 if met.end == WHOLE else met.end - met.start
        answer = _RECORD.pack(_WRITE if met.exclusive else _READ, os.SEEK_SET, met.start, length, holder.pid)
    return answer[: len(raw)] + raw[_RECORD.size :]


def _record_lock(found: descriptors.Description, fd: int, kind: int, span: Span, *, wait: bool, shared: bool) -> bool:
    """Lock or unlock a range; False where the volume has no locks."""
    if kind == _UNLOCK:
        return found.unlock("posix", span, shared=shared)
    mode = _native_fcntl(fd, _fcntl.F_GETFL) & os.O_ACCMODE
    if mode == (os.O_WRONLY if kind == _READ else os.O_RDONLY):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return found.lock("posix", span, wait=wait, shared=shared)


def _span(fd: int, kind: int, start: int, length: int, whence: int) -> Span:
    if whence == os.SEEK_CUR:
        start += os.lseek(fd, 0, os.SEEK_CUR)
    elif whence == os.SEEK_END:
        start += native.fstat(fd).st_size
    elif whence != os.SEEK_SET:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    end = WHOLE if length == 0 else start + length
    if length < 0:
        start, end = end, start
    if start < 0 or kind not in (_READ, _WRITE, _UNLOCK):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return Span(start, end, kind == _WRITE)


def _number(fd: Any) -> int:
    number: int = fd if isinstance(fd, int) else fd.fileno()
    return number


def _description(fd: Any) -> descriptors.Description | None:
    """Return what is open under a descriptor, or a file object's; None when it is none of ours."""
    if not isinstance(fd, int) and not hasattr(fd, "fileno"):
        return None  # the system's own function says what is wrong
    number = _number(fd)
    return descriptors.lookup(number) if descriptors.is_registered(number) else None
