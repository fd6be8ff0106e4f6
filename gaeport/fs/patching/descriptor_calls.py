"""The functions of `os` that take descriptors, for those of mounted files and directories."""

import errno
import operator
import os
from contextlib import suppress
from typing import Any

from gaeport.fs import native
from gaeport.fs.patching import calls, descriptors, paths

_real = native.os_functions
_PIECE = 1024 * 1024  # bytes copied by one call


def fstat(fd: int) -> os.stat_result:
    """Stand in for `os.fstat`."""
    return descriptors.fstat(fd)


def close(fd: int) -> None:
    """Stand in for `os.close`; commits a mounted file."""
    if descriptors.is_registered(fd):
        descriptors.close(fd)
    elif descriptors.is_keeper(fd):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # not one of the application's
    else:
        native.close(fd)


def closerange(fd_low: int, fd_high: int, /) -> None:
    """Stand in for `os.closerange`: commits mounted files, and spares the descriptors that hold their content."""
    fd_low, fd_high = operator.index(fd_low), operator.index(fd_high)
    start = max(fd_low, 0)
    for fd in descriptors.within(start, fd_high):
        _real["closerange"](start, fd)
        if not descriptors.is_keeper(fd):
            with suppress(OSError):  # the system's own does not tell either
                descriptors.close(fd)
        start = fd + 1
    _real["closerange"](start, fd_high)


def fsync(fd: Any) -> None:
    """Stand in for `os.fsync` and `os.fdatasync`; commits a mounted file."""
    number = fd if isinstance(fd, int) or not hasattr(fd, "fileno") else fd.fileno()
    if not descriptors.sync(number):
        native.fsync(number)


def fdatasync(fd: Any) -> None:
    """Stand in for `os.fdatasync`."""
    fsync(fd)


def dup(fd: int, /) -> int:
    """Stand in for `os.dup`."""
    found = descriptors.lookup(fd)
    new = native.dup(fd)
    return new if found is None else descriptors.register_again(new, found)


def dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    """Stand in for `os.dup2`."""
    found, replaced = descriptors.lookup(fd), descriptors.lookup(fd2)
    descriptors.make_room(fd2)
    new = native.dup2(fd, fd2, inheritable)
    if fd == fd2 or (found is None and replaced is None):
        return new
    return descriptors.reregister(fd2, found)


def fchdir(fd: Any) -> None:
    """Stand in for `os.fchdir`."""
    number = fd if isinstance(fd, int) else fd.fileno()
    calls.chdir(number)


def fchmod(fd: int, mode: int) -> None:
    """Stand in for `os.fchmod`."""
    if descriptors.lookup(fd) is None:
        _real["fchmod"](fd, mode)
    else:
        calls.chmod(fd, mode)


def fchown(fd: int, uid: int, gid: int) -> None:
    """Stand in for `os.fchown`."""
    if descriptors.lookup(fd) is None:
        _real["fchown"](fd, uid, gid)
    else:
        calls.chown(fd, uid, gid)


def fstatvfs(fd: int, /) -> Any:
    """Stand in for `os.fstatvfs`."""
    return _real["fstatvfs"](fd) if descriptors.lookup(fd) is None else calls.statvfs(fd)


def copy_file_range(
    src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
) -> int:
    """Stand in for `os.copy_file_range`: between a mounted file and one on the disk, it copies what Linux would not."""
    try:
        return _real["copy_file_range"](src, dst, count, offset_src, offset_dst)  # type: ignore[no-any-return]
    except OSError as error:
        if error.errno != errno.EXDEV or not (descriptors.is_registered(src) or descriptors.is_registered(dst)):
            raise
    size = min(count, _PIECE)
    data = memoryview(os.read(src, size) if offset_src is None else os.pread(src, size, offset_src))
    written = 0
    while written < len(data):
        rest = data[written:]
        written += os.write(dst, rest) if offset_dst is None else os.pwrite(dst, rest, offset_dst + written)
    return written


def sync() -> None:
    """Stand in for `os.sync`: commits every mount, too. Raises the first OSError, after everything was tried."""
    commit_everything()
    _real["sync"]()


def commit_everything() -> None:
    """Commit what every volume and every descriptor holds. Raises the first OSError, after everything was tried."""
    steps = [descriptors.settle_all, *(mount.volume.commit_all for mount in paths.mounts())]
    errors: list[OSError] = []
    for step in steps:
        try:
            step()
        except OSError as error:
            errors.append(error)
    if errors:
        raise errors[0]
