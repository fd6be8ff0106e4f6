"""Copying and moving files for the command line, between the disk and mounts, in bounded memory.

A file appears under its name when it is complete: interrupted, a copy leaves the old content.
"""

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator

from gaeport.errors import file_error
from gaeport.fs.datastore.bulk import Whole
from gaeport.fs.patching.paths import mounted_in
from gaeport.fs.progress import Progress, size
from gaeport.fs.syncing.comparing import Comparer, Comparison, Differences
from gaeport.fs.syncing.located import side_of
from gaeport.fs.syncing.running import Done, Sync
from gaeport.fs.syncing.sides import Item, Job, kind_of
from gaeport.fs.workers import Workers

_SPECIAL = "a device, socket or pipe is not replaced; `gaeport fs cat` writes to one"
PIECE = 1 << 20  # bytes read and written at a time


def destinations(sources: list[str], target: str) -> list[tuple[str, str]]:
    """Return each source with the path it gets: below `target` where that is a directory, as cp and mv have it.

    Raises:
        OSError: ENOTDIR for several sources and a target that is no directory; EEXIST for two of one name, of which
            the second would take the place of the first.
    """
    if is_directory(target):
        pairs = [(source, os.path.join(target, _last_name(source))) for source in sources]
        taken: dict[str, str] = {}
        for source, place in pairs:
            if taken.setdefault(os.path.normpath(place), source) != source:
                raise file_error(errno.EEXIST, place, f"{taken[os.path.normpath(place)]} and {source} would both be it")
        return pairs
    if len(sources) > 1:
        raise file_error(errno.ENOTDIR, target)
    return [(sources[0], target)]


def _last_name(source: str) -> str:
    """Return the name that a source keeps in another directory; none for "." and "..", whose content goes there."""
    name = os.path.basename(source.rstrip("/"))
    return "" if name in (".", "..") else name


def _demand_name(path: str) -> None:
    if os.path.basename(path.rstrip("/")) in (".", ".."):
        raise file_error(errno.EINVAL, path, "spell the directory by its name")


def copy(source: str, target: str, progress: Progress, *, recursive: bool, times: bool = False) -> int:
    """Copy a file, or with `recursive` a directory with everything in it, links as links; many small files at a time.

    Args:
        source: what to copy.
        target: the path of the copy itself; files there are replaced, directories are merged.
        progress: is told how far it is.
        recursive: whether a directory may be copied.
        times: whether the copies get the originals' times, and directories their modes.

    Returns:
        The number of files.

    Raises:
        OSError: EISDIR for a directory without `recursive`, EINVAL for one into itself; what a file operation gives:
            the first of those that failed, when the others are copied.
    """
    if recursive and os.path.islink(source):
        _copy_link(source, target, times=times)
        return 1
    if not is_directory(source):
        copy_file(source, target, progress, times=times)
        return 1
    if not recursive:
        raise file_error(errno.EISDIR, source, "-r copies directories")
    if inside(target, source):
        raise file_error(errno.EINVAL, target, f"it lies in {source}")
    os.makedirs(target, exist_ok=True)
    with Workers() as workers:
        return _Tree(source, target, workers, progress).copy(times=times)


class _Tree:
    """The copy of one directory."""

    def __init__(self, source: str, target: str, workers: Workers, progress: Progress) -> None:
        self._names = source, target
        self._source, self._target = side_of(source), side_of(target, target=True)
        self._workers = workers
        self._progress = progress

    def copy(self, *, times: bool) -> int:
        """Copy everything. Returns the number of files and links."""
        found = self._listed()
        if found.blocked:
            path, kind = found.blocked[0]
            if kind == "other":
                raise file_error(errno.EINVAL, self._target.spelled(path), _SPECIAL)
            raise file_error(errno.EISDIR if kind == "dir" else errno.ENOTDIR, self._target.spelled(path))
        linked = [job for job in found.jobs if job.former == "link" and job.item.kind == "file"]
        found.jobs = [job for job in found.jobs if job.former != "link" or job.item.kind != "file"]
        made = {item.path for item in found.made}
        found.assigned = [item for item in found.assigned if times and item.path in made]
        done = Sync(self._source, self._target, self._workers, self._reporter(found), times=times).run(found)
        for job in linked:  # what they lead to is written, as by cp
            names = self._source.spelled(job.path), self._target.spelled(job.path)
            copy_file(*names, self._progress, times=times)
        if times:
            self._assign_top()
        _raise([error for _, error in (*found.failures, *done.failures)])
        for path in found.skipped:
            raise file_error(errno.EINVAL, self._source.spelled(path), "neither file, directory nor link")
        return done.files + len(linked)

    def _listed(self) -> Differences:
        def report(sofar: Differences) -> None:
            self._progress.tell(f"{sofar.files:,} files in {sofar.directories:,} directories found")

        how = Comparison(everything=True)
        return Comparer(self._source, self._target, how, self._workers, report).run()

    def _reporter(self, found: Differences) -> Callable[[Done], None]:
        total = max(1, found.size)

        def report(done: Done) -> None:
            self._progress.tell(f"{done.files:,} of {found.files:,} files, {size(done.size)}", done.size / total)

        return report

    def _assign_top(self) -> None:
        status = os.stat(self._names[0])
        os.chmod(self._names[1], stat.S_IMODE(status.st_mode))
        os.utime(self._names[1], ns=(status.st_atime_ns, status.st_mtime_ns))


def move(source: str, target: str, progress: Progress) -> None:
    """Rename, or copy and remove where the two are in different places; as a rename, it merges no directories.

    Raises:
        OSError: what a file operation gives; EBUSY for a directory that is or holds a mount.
    """
    _demand_name(source)
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise file_error(errno.EINVAL, target, f"it is the same as {source}")
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _demand_movable(source, target)
        copy(source, target, progress, recursive=True, times=True)
        remove(source, recursive=True)


def _demand_movable(source: str, target: str) -> None:
    """Refuse what a rename would refuse, before anything is copied."""
    if not stat.S_ISDIR(os.lstat(source).st_mode):
        return
    _demand_no_mount(source)
    try:
        there = os.lstat(target)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(there.st_mode):
        raise file_error(errno.ENOTDIR, target)
    if os.listdir(target):
        raise file_error(errno.ENOTEMPTY, target, "cp -r and sync merge directories")


def _demand_no_mount(folder: str) -> None:
    if mounted_in(folder):
        raise file_error(
            errno.EBUSY, folder, "it is or holds a mount; sync --delete with an empty directory empties a mount"
        )


def remove(path: str, *, recursive: bool) -> None:
    """Remove a file or link, or with `recursive` a directory with everything in it.

    Raises:
        OSError: EISDIR for a directory without `recursive`; EBUSY, and nothing is removed, for one that is or holds a
            mount; what a file operation gives.
    """
    if stat.S_ISDIR(os.lstat(path).st_mode):
        if not recursive:
            raise file_error(errno.EISDIR, path, "-r removes directories")
        _demand_name(path)
        _demand_no_mount(path)
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
    _demand_replaceable(target)
    final = os.path.realpath(target) if os.path.islink(target) else target
    now = time.time_ns()
    kept = (status.st_mtime_ns, status.st_atime_ns) if times else (now, now)
    item = Item("file", status.st_size, *kept, stat.S_IMODE(status.st_mode))
    former = "file" if os.path.exists(final) else ""
    folder = side_of(os.path.dirname(final) or ".")
    folder.write_pieces(Job((os.path.basename(final),), item, former), _pieces(source, status.st_size, progress))


def _demand_replaceable(target: str) -> None:
    """Refuse a device or pipe (/dev/null, say): the copy would take its place, and not go into it."""
    try:
        found = os.stat(target)
    except (FileNotFoundError, NotADirectoryError):
        return  # nothing, or a link that leads nowhere yet; what else is wrong is told when it is written
    if not stat.S_ISREG(found.st_mode):
        raise file_error(errno.EINVAL, target, _SPECIAL)


def is_directory(path: str) -> bool:
    """Tell whether a path is a directory. Unlike os.path.isdir it raises OSError when a store does not answer."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def inside(path: str, folder: str) -> bool:
    """Tell whether a path is a folder, or lies in it."""
    return f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(folder)}/")


def _pieces(source: str, length: int, progress: Progress) -> Iterator[bytes]:
    done = 0
    with open(source, "rb") as reading:
        while piece := reading.read(PIECE):
            yield piece
            done += len(piece)
            progress.tell(f"{source}  {size(done)}", done / length if length else None)


def _copy_link(source: str, target: str, *, times: bool) -> None:
    status, now = os.lstat(source), time.time_ns()
    former = os.lstat(target) if os.path.lexists(target) else None
    if former is not None and stat.S_ISDIR(former.st_mode):
        raise file_error(errno.EISDIR, target)
    if former is not None and os.path.samestat(status, former):
        raise file_error(errno.EINVAL, target, f"it is the same as {source}")
    if former is not None and kind_of(former.st_mode) == "other":
        raise file_error(errno.EINVAL, target, _SPECIAL)
    path, content = (os.path.basename(target),), os.fsencode(os.readlink(source))
    atime, mtime = (status.st_atime_ns, status.st_mtime_ns) if times else (now, now)
    link = Whole(path, content, stat.S_IMODE(status.st_mode), atime, mtime, link=True)
    kind = kind_of(former.st_mode) if former is not None else ""
    _raise([error for _, error in side_of(os.path.dirname(target) or ".").write([link], {path: kind})])


def _raise(errors: list[OSError]) -> None:
    """Raise the first of some errors, and tell how many more there are."""
    if len(errors) > 1:
        first = errors[0]
        raise OSError(first.errno, f"{first.strerror} (and {len(errors) - 1:,} more failed)", first.filename)
    for error in errors:
        raise error
