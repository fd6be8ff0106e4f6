"""The functions of `os` that take paths, for paths that lead into a mount.

Each has the name, the arguments and the errors of the function it stands in for, which still does the work wherever
the path leads elsewhere.
"""

import errno
import operator
import os
import stat as modes
import time
from contextlib import suppress
from typing import Any

from gaeport.errors import file_error
from gaeport.fs import native, opened, permissions
from gaeport.fs.patching import changes, descriptors, files, paths
from gaeport.fs.places import Naming, Place, like

_real = native.os_functions


def stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    """Stand in for `os.stat`."""
    place = paths.locate(path, dir_fd)
    if place is None and dir_fd is None and follow_symlinks:
        return native.stat(path)  # the usual case; keywords would cost more than all the rest
    if not isinstance(place, Place):
        return native.stat(place or path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    if isinstance(path, int):
        return descriptors.fstat(path)
    descriptors.settle(place)
    return descriptors.latest(place.attributes(follow=follow_symlinks)).stat_result()


def lstat(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
    """Stand in for `os.lstat`."""
    place = paths.locate(path, dir_fd)
    if not isinstance(place, Place) or isinstance(path, int):
        return native.lstat(path if isinstance(place, Place) else place or path, dir_fd=dir_fd)
    descriptors.settle(place)
    return descriptors.latest(place.attributes(follow=False)).stat_result()


def access(
    path: Any, mode: int, *, dir_fd: int | None = None, effective_ids: bool = False, follow_symlinks: bool = True
) -> bool:
    """Stand in for `os.access`, answering by the owner's permission bits."""
    try:
        place = paths.locate(path, dir_fd) if not isinstance(path, int) else None
        if not isinstance(place, Place):
            return native.access(
                place or path, mode, dir_fd=dir_fd, effective_ids=effective_ids, follow_symlinks=follow_symlinks
            )
        found = place.attributes(follow=follow_symlinks)
    except OSError:
        return False
    return permissions.allow(found.mode, mode, root=(os.geteuid() if effective_ids else os.getuid()) == 0)


def _named(path: Any, dir_fd: int | None) -> paths.Located:
    """Return where a path leads, for functions that take no descriptor in its place."""
    return None if isinstance(path, int) else paths.locate(path, dir_fd)


def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """Stand in for `os.open`: a real descriptor of anonymous memory with the file's content."""
    place = _named(path, dir_fd)
    if not isinstance(place, Place):
        fd = native.os_open(place or path, flags, mode, dir_fd=dir_fd)
        above = None if flags & (_WRITING | os.O_CREAT) else paths.ancestor(path, dir_fd)
        return fd if above is None else descriptors.register_disk_directory(fd, above)
    if _UNNAMED and flags & _UNNAMED == _UNNAMED:
        return _open_unnamed(place, flags)
    if flags & _PATH_ONLY:
        flags &= os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC  # all else has no effect with it
    directory = getattr(os, "O_DIRECTORY", 0)
    if flags & directory and not flags & os.O_CREAT:
        return _open_directory(place, flags)
    try:
        handle = files.open_handle(place, flags & ~directory, mode)
    except IsADirectoryError:
        if flags & (_WRITING | os.O_CREAT | os.O_TRUNC):
            raise
        return _open_directory(place, flags)
    try:
        return descriptors.open_file(place, handle, flags)
    except BaseException:
        handle.discard()
        raise


_PATH_ONLY = getattr(os, "O_PATH", 0)
_UNNAMED = getattr(os, "O_TMPFILE", 0)
_WRITING = os.O_WRONLY | os.O_RDWR


def _open_directory(place: Place, flags: int) -> int:
    found = place.attributes(follow=not flags & os.O_NOFOLLOW)
    if not modes.S_ISDIR(found.mode):
        raise place.error(errno.ENOTDIR)
    if flags & (_WRITING | os.O_TRUNC):
        raise place.error(errno.EISDIR)
    return descriptors.open_directory(place)


def _open_unnamed(place: Place, flags: int) -> int:
    """Open a file that never gets a name: nothing of it needs to be stored."""
    if not modes.S_ISDIR(place.attributes().mode):
        raise place.error(errno.ENOTDIR)
    if not flags & _WRITING:
        raise place.error(errno.EINVAL)
    return descriptors.open_unnamed(flags)


def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """Stand in for `os.mkdir`."""
    place = _named(path, dir_fd)
    if not isinstance(place, Place):
        native.mkdir(place or path, mode, dir_fd=dir_fd)
        return
    if place.dotted:
        place.attributes()
        raise place.error(errno.EEXIST)
    with Naming(place.spelled):
        place.volume.mkdir(place.parts, mode & ~files.umask.value)
    opened.arm()


def rmdir(path: Any, *, dir_fd: int | None = None) -> None:
    """Stand in for `os.rmdir`. The mounted directory itself is EBUSY."""
    place = _named(path, dir_fd)
    if not isinstance(place, Place):
        native.rmdir(place or path, dir_fd=dir_fd)
        return
    if place.dotted:
        place.attributes()
        raise place.error(errno.EINVAL if not os.fsdecode(place.spelled).endswith("..") else errno.ENOTEMPTY)
    _keep_root(place)
    with Naming(place.spelled):
        place.volume.rmdir(place.parts)
    changes.note(place)
    opened.arm()


def unlink(path: Any, *, dir_fd: int | None = None) -> None:
    """Stand in for `os.unlink` and `os.remove`."""
    place = _named(path, dir_fd)
    if not isinstance(place, Place):
        native.unlink(place or path, dir_fd=dir_fd)
        return
    if not place.parts:
        raise place.error(errno.EISDIR)
    with Naming(place.spelled):
        if place.directory:
            found = place.volume.stat(place.parts, follow=place.dotted)
            raise place.error(errno.EISDIR if modes.S_ISDIR(found.mode) else errno.ENOTDIR)
        place.volume.unlink(place.parts)
    changes.note(place)
    opened.arm()


def remove(path: Any, *, dir_fd: int | None = None) -> None:
    """Stand in for `os.remove`."""
    unlink(path, dir_fd=dir_fd)


def _keep_root(place: Place) -> None:
    if not place.parts:
        raise place.error(errno.EBUSY, "it is mounted")


def rename(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    """Stand in for `os.rename` and `os.replace`. Between a mount and anything else it is EXDEV, as on Linux."""
    source, target = _locate_both(src, dst, src_dir_fd, dst_dir_fd)
    if not isinstance(source, Place) and not isinstance(target, Place):
        if paths.ancestor(src, src_dir_fd) is not None:
            raise _both(errno.EBUSY, src, dst)
        native.rename(source or src, target or dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        return
    if not isinstance(source, Place) or not isinstance(target, Place) or source.mount is not target.mount:
        raise _both(errno.EXDEV, src, dst)
    _check_rename(source, target)
    descriptors.settle(source)
    with Naming(source.spelled, target.spelled):
        source.volume.rename(source.parts, target.parts)
    changes.note(source)
    changes.note(target)
    opened.arm()
    descriptors.moved(source, target)


def replace(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    """Stand in for `os.replace`."""
    rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def _locate_both(
    src: Any, dst: Any, src_dir_fd: int | None, dst_dir_fd: int | None
) -> tuple[paths.Located, paths.Located]:
    with Naming(os.fspath(src), os.fspath(dst)):
        return paths.locate(src, src_dir_fd), paths.locate(dst, dst_dir_fd)


def _check_rename(source: Place, target: Place) -> None:
    with Naming(source.spelled, target.spelled):
        for place in (source, target):
            if place.dotted:
                place.attributes()
    if not source.parts or not target.parts or source.dotted or target.dotted:
        raise _both(errno.EBUSY, source.spelled, target.spelled)
    if source.directory or target.directory:
        with Naming(source.spelled, target.spelled):
            target.volume.stat(target.parts[:-1])
            found = source.volume.stat(source.parts, follow=False)
        if not modes.S_ISDIR(found.mode):
            raise _both(errno.ENOTDIR, source.spelled, target.spelled)


def _both(number: int, src: Any, dst: Any) -> OSError:
    return OSError(number, os.strerror(number), os.fspath(src), None, os.fspath(dst))


def link(
    src: Any,
    dst: Any,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None:
    """Stand in for `os.link`."""
    with Naming(os.fspath(src), os.fspath(dst)):
        source = paths.locate(src, src_dir_fd)
        if isinstance(source, Place):
            source.attributes(follow=False)
        target = paths.locate(dst, dst_dir_fd)
    if not isinstance(source, Place) and not isinstance(target, Place):
        _real["link"](
            source or src,
            target or dst,
            src_dir_fd=src_dir_fd,
            dst_dir_fd=dst_dir_fd,
            follow_symlinks=follow_symlinks,
        )
        return
    if not isinstance(source, Place) or not isinstance(target, Place) or source.mount is not target.mount:
        raise _both(errno.EXDEV, src, dst)
    with Naming(source.spelled, target.spelled):
        if target.dotted:
            target.attributes()
        if target.directory and not _exists(target):
            raise target.error(errno.ENOENT)
        source.volume.link(source.parts, target.parts)
    changes.note(source)
    opened.arm()


def symlink(src: Any, dst: Any, target_is_directory: bool = False, *, dir_fd: int | None = None) -> None:
    """Stand in for `os.symlink`."""
    with Naming(os.fspath(src), os.fspath(dst)):
        place = paths.locate(dst, dir_fd) if os.fspath(src) else None  # an empty target is refused first
    if not isinstance(place, Place):
        _real["symlink"](src, place or dst, target_is_directory, dir_fd=dir_fd)
        return
    with Naming(os.fspath(src), place.spelled):
        if place.dotted:
            place.attributes()
        if place.directory:
            raise _both(errno.EEXIST if _exists(place) else errno.ENOENT, src, dst)
        place.volume.symlink(os.fsdecode(src), place.parts)
    opened.arm()


def _exists(place: Place) -> bool:
    try:
        place.volume.stat(place.parts, follow=False)
    except OSError:
        return False
    return True


def readlink(path: Any, *, dir_fd: int | None = None) -> Any:
    """Stand in for `os.readlink`."""
    place = _named(path, dir_fd)
    if not isinstance(place, Place):
        return native.readlink(place or path, dir_fd=dir_fd)
    if place.directory:
        place.attributes()
        raise place.error(errno.EINVAL)
    with Naming(place.spelled):
        return like(place.spelled, place.volume.readlink(place.parts))


def truncate(path: Any, length: int) -> None:
    """Stand in for `os.truncate`."""
    # A length that is none is refused before the path is looked at.
    place = paths.locate(path) if 0 <= length < 2**63 else None
    if isinstance(path, int) or not isinstance(place, Place):
        native.truncate(path if isinstance(place, Place) else place or path, length)  # a descriptor's memory is cut
        return
    place.demand_directory()
    files.truncate(place, length)
    changes.note(place)


def utime(
    path: Any,
    times: tuple[float, float] | None = None,
    *,
    ns: tuple[int, int] | None = None,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None:
    """Stand in for `os.utime`."""
    place = paths.locate(path, dir_fd)
    if not isinstance(place, Place):
        given: dict[str, Any] = {"ns": ns} if ns is not None else {}
        native.utime(place or path, times, dir_fd=dir_fd, follow_symlinks=follow_symlinks, **given)
        return
    accessed, modified = _times(times, ns)
    if _change_open(path, atime=accessed, mtime=modified):
        return
    descriptors.settle(place)
    place.demand_directory()
    with Naming(place.spelled):
        place.volume.utime(place.parts, accessed, modified, follow=follow_symlinks)
    changes.note(place)


def _times(times: Any, ns: Any) -> tuple[int, int]:
    """Return the two times in nanoseconds, with the errors of `os.utime`."""
    if times is not None and ns is not None:
        raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
    for name, value in (("times", times), ("ns", ns)):
        if value is not None and not (isinstance(value, tuple) and len(value) == 2):
            ending = " or None" if name == "times" else ""
            raise TypeError(f"utime: '{name}' must be {'either ' if ending else ''}a tuple of two ints{ending}")
    if ns is not None:
        return _in_range(int(ns[0])), _in_range(int(ns[1]))
    if times is not None:
        return _in_range(_nanoseconds(times[0])), _in_range(_nanoseconds(times[1]))
    now = time.time_ns()
    return now, now


def _in_range(nanoseconds: int) -> int:
    """Return the nearest time that can be stored (1677 to 2262), as Linux does with those that a disk cannot store."""
    return max(-(2**63), min(nanoseconds, 2**63 - 1))


def _nanoseconds(seconds: float) -> int:
    if isinstance(seconds, int):
        return seconds * 1_000_000_000
    whole = int(seconds // 1)
    return whole * 1_000_000_000 + int((seconds - whole) * 1e9)


def chmod(path: Any, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    """Stand in for `os.chmod`."""
    place = paths.locate(path, dir_fd)
    if not isinstance(place, Place):
        native.chmod(place or path, mode, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        return
    if not follow_symlinks and native.chmod not in os.supports_follow_symlinks:
        with suppress(FileNotFoundError):  # a Python that can do it after all
            native.chmod("", mode, follow_symlinks=False)  # raises NotImplementedError
    if _change_open(path, mode=mode & 0o7777):
        return
    place.demand_directory()
    with Naming(place.spelled):
        place.volume.chmod(place.parts, mode & 0o7777, follow=follow_symlinks)
    changes.note(place)


def chown(path: Any, uid: int, gid: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    """Stand in for `os.chown`."""
    place = paths.locate(path, dir_fd)
    uid, gid = operator.index(uid), operator.index(gid)
    if not isinstance(place, Place):
        _real["chown"](place or path, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        return
    if _change_open(path, **{name: value for name, value in (("uid", uid), ("gid", gid)) if value != -1}):
        return
    place.demand_directory()
    with Naming(place.spelled):
        place.volume.chown(place.parts, uid, gid, follow=follow_symlinks)
    changes.note(place)


def _change_open(path: Any, **fields: int) -> bool:
    """Change attributes of an open file, whatever its name is now; False where `path` is no file's descriptor."""
    found = descriptors.lookup(path) if isinstance(path, int) else None
    return found is not None and found.change(fields)


def lchown(path: Any, uid: int, gid: int) -> None:
    """Stand in for `os.lchown`."""
    chown(path, uid, gid, follow_symlinks=False)
    return


def statvfs(path: Any) -> Any:
    """Stand in for `os.statvfs`: a mount has room (1 TiB), and says so."""
    place = paths.locate(path)
    if not isinstance(place, Place):
        return _real["statvfs"](place or path)
    # What a descriptor is open on may have no name any more; the mount is there all the same.
    found = place.volume.stat(()) if isinstance(path, int) else place.attributes()
    block, blocks, device = 4096, 2**28, found.dev
    return os.statvfs_result((block, block, blocks, blocks, blocks, blocks, blocks, blocks, 0, paths.MAX_NAME, device))


def pathconf(path: Any, name: Any) -> int:
    """Stand in for `os.pathconf`: the limits of a mount are those of the disk."""
    place = paths.locate(path)
    if isinstance(place, Place) and not isinstance(path, int):
        place.attributes()
        path, place = "/", None
    return _real["pathconf"](place if place and not isinstance(path, int) else path, name)  # type: ignore[no-any-return]


def mkfifo(path: Any, mode: int = 0o666, *, dir_fd: int | None = None) -> None:
    """Stand in for `os.mkfifo`: not in a mount (EPERM)."""
    place = _named(path, dir_fd)
    if not isinstance(place, Place):
        _real["mkfifo"](place or path, mode, dir_fd=dir_fd)
        return
    raise _special(place)


def mknod(path: Any, mode: int = 0o600, device: int = 0, *, dir_fd: int | None = None) -> None:
    """Stand in for `os.mknod`: not in a mount (EPERM)."""
    place = _named(path, dir_fd)
    if not isinstance(place, Place):
        _real["mknod"](place or path, mode, device, dir_fd=dir_fd)
        return
    raise _special(place)


def _special(place: Place) -> OSError:
    """Return the error for a new device or pipe: what is wrong with its path, or EPERM."""
    with Naming(place.spelled):
        parent = place.volume.stat(place.parts[:-1])
    if not modes.S_ISDIR(parent.mode):
        return place.error(errno.ENOTDIR)
    return place.error(errno.EEXIST if _exists(place) else errno.EPERM)


def listxattr(path: Any = None, *, follow_symlinks: bool = True) -> list[str]:
    """Stand in for `os.listxattr`: mounted files have no extended attributes."""
    place = paths.locate(path) if not isinstance(path, int) else None  # a descriptor's memory has none
    if not isinstance(place, Place):
        return _real["listxattr"](place or path, follow_symlinks=follow_symlinks)  # type: ignore[no-any-return]
    place.attributes(follow=follow_symlinks)
    return []


def getxattr(path: Any, attribute: Any, *, follow_symlinks: bool = True) -> bytes:
    """Stand in for `os.getxattr`: mounted files have no extended attributes (ENODATA)."""
    place = paths.locate(path) if not isinstance(path, int) else None  # a descriptor's memory has none
    if not isinstance(place, Place):
        return _real["getxattr"](place or path, attribute, follow_symlinks=follow_symlinks)  # type: ignore[no-any-return]
    raise place.error(errno.ENODATA)


def setxattr(path: Any, attribute: Any, value: Any, flags: int = 0, *, follow_symlinks: bool = True) -> None:
    """Stand in for `os.setxattr`: mounted files have no extended attributes (ENOTSUP)."""
    place = paths.locate(path) if not isinstance(path, int) else None  # a descriptor's memory has none
    if not isinstance(place, Place):
        _real["setxattr"](
            place or path,
            attribute,
            value,
            flags,
            follow_symlinks=follow_symlinks,
        )
        return
    raise place.error(errno.ENOTSUP)


def removexattr(path: Any, attribute: Any, *, follow_symlinks: bool = True) -> None:
    """Stand in for `os.removexattr`: mounted files have no extended attributes (ENODATA)."""
    place = paths.locate(path) if not isinstance(path, int) else None  # a descriptor's memory has none
    if not isinstance(place, Place):
        _real["removexattr"](place or path, attribute, follow_symlinks=follow_symlinks)
        return
    raise place.error(errno.ENODATA)


def umask(mask: int, /) -> int:
    """Stand in for `os.umask`, remembering it."""
    former = native.umask(mask)
    files.umask.value = mask & 0o777
    return former


def chdir(path: Any) -> None:
    """Stand in for `os.chdir`. Inside a mount the process itself stands in the nearest directory that the disk has."""
    place = paths.locate(path)
    if not isinstance(place, Place):
        native.chdir(place or path)
        paths.refresh_working_directory()
        return
    if not modes.S_ISDIR(place.attributes().mode):
        raise file_error(errno.ENOTDIR, path if isinstance(path, int) else place.spelled)
    real = os.path.realpath(place.absolute)  # through the mount's own links
    for folder in (real, *paths.parents(real)):
        try:
            native.chdir(folder)
            break
        except OSError:
            continue
    paths.set_working_directory(real, virtual=True)


def getcwd() -> str:
    """Stand in for `os.getcwd`."""
    return paths.working_directory() or native.getcwd()


def getcwdb() -> bytes:
    """Stand in for `os.getcwdb`."""
    return os.fsencode(getcwd())
