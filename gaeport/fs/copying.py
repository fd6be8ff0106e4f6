"""Copying and moving files for the command line, between the disk and mounts, in bounded memory.

A file appears under its name when it is complete: interrupted, a copy leaves the old content.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress

from gaeport.errors import file_error
from gaeport.fs.progress import Progress, size

PIECE = 1 << 20  # bytes read and written at a time


def destinations(sources: list[str], target: str) -> list[tuple[str, str]]:
    """Return each source with the path it gets: below `target` where that is a directory, as cp and mv have it.

    Raises:
        OSError: ENOTDIR for several sources and a target that is no directory.
    """
    if is_directory(target):
        return [(source, os.path.join(target, os.path.basename(os.path.normpath(source)))) for source in sources]
    if len(sources) > 1:
        raise file_error(errno.ENOTDIR, target)
    return [(sources[0], target)]


def copy(source: str, target: str, progress: Progress, *, recursive: bool, times: bool = False) -> int:
    """Copy a file, or with `recursive` a directory with everything in it, links as links.

    Args:
        source: what to copy.
        target: the path of the copy itself; files there are replaced, directories are merged.
        progress: is told how far it is.
        recursive: whether a directory may be copied.
        times: whether the copies get the originals' times.

    Returns:
        The number of files.

    Raises:
        OSError: EISDIR for a directory without `recursive`, EINVAL for one into itself; what a file operation gives.
    """
    if not is_directory(source):
        copy_file(source, target, progress, times=times)
        return 1
    if not recursive:
        raise file_error(errno.EISDIR, source, "-r copies directories")
    if inside(target, source):
        raise file_error(errno.EINVAL, target, f"it lies in {source}")
    count = 0
    for original, made in _tree(source, target):
        if os.path.islink(original):
            _copy_link(original, made)
        else:
            copy_file(original, made, progress, times=times)
        count += 1
    return count


def move(source: str, target: str, progress: Progress) -> None:
    """Rename, or copy and remove where the two are in different places.

    Raises:
        OSError: what a file operation gives.
    """
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise file_error(errno.EINVAL, target, f"it is the same as {source}")
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if os.path.islink(source):
            _copy_link(source, target)
        else:
            copy(source, target, progress, recursive=True, times=True)
        remove(source, recursive=True)


def remove(path: str, *, recursive: bool) -> None:
    """Remove a file or link, or with `recursive` a directory with everything in it.

    Raises:
        OSError: EISDIR for a directory without `recursive`; what a file operation gives.
    """
    if stat.S_ISDIR(os.lstat(path).st_mode):
        if not recursive:
            raise file_error(errno.EISDIR, path, "-r removes directories")
        shutil.rmtree(path)
    else:
        os.unlink(path)


def copy_file(source: str, target: str, progress: Progress, *, times: bool = False) -> None:
    """Copy one file's content and mode; the target changes when the copy is complete.

    Raises:
        OSError: EINVAL for a file onto itself; what a file operation gives.
    """
    status = os.stat(source)
    if not stat.S_ISREG(status.st_mode):
        raise file_error(errno.EINVAL, source, "not a regular file")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise file_error(errno.EINVAL, target, f"it is the same as {source}")
    if os.path.isdir(target):
        raise file_error(errno.EISDIR, target)
    final = os.path.realpath(target) if os.path.islink(target) else target
    # 10 characters longer at most: a name near the limit of 255 bytes is cut
    temporary = os.path.join(os.path.dirname(final), f".{os.path.basename(final)[:60]}.{secrets.token_hex(4)}")
    try:
        _copy_content(source, temporary, status.st_size, progress)
        os.chmod(temporary, stat.S_IMODE(status.st_mode))
        if times:
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(temporary, final)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def is_directory(path: str) -> bool:
    """Tell whether a path is a directory. Unlike os.path.isdir it raises OSError when a store does not answer."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def inside(path: str, folder: str) -> bool:
    """Tell whether a path is a folder, or lies in it."""
    return f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(folder)}/")


def _copy_content(source: str, target: str, length: int, progress: Progress) -> None:
    done = 0
    with open(source, "rb") as reading, open(target, "xb") as writing:
        while piece := reading.read(PIECE):
            writing.write(piece)
            done += len(piece)
            progress.tell(f"{source}  {size(done)}", done / length if length else None)


def _copy_link(source: str, target: str) -> None:
    if os.path.lexists(target):
        os.unlink(target)
    os.symlink(os.readlink(source), target)


def _tree(source: str, target: str) -> Iterator[tuple[str, str]]:
    """Make the directories below `target`, and yield each file and link with its new path."""
    os.makedirs(target, exist_ok=True)
    with os.scandir(source) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        made = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _tree(entry.path, made)
        else:
            yield entry.path, made
