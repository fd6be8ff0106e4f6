"""Directories that are there only because something is mounted below them.

Empty directories are not deployed, so the folder that a mount lies in may be missing on App Engine. An application that
begins with `os.makedirs("data/uploads", exist_ok=True)` must find "data" all the same.
"""

import errno
import os
import stat
import time
import zlib
from collections.abc import Sequence
from typing import NoReturn

from gaeport.errors import file_error
from gaeport.fs.places import Mount
from gaeport.fs.volume import Attributes, OpenFile, Path

_DEVICE = 0x6F00  # none that Linux gives to a disk
_NOTE = "the folder is there only for what is mounted below it"


class Ancestors:
    """A read-only volume of such directories, from the topmost one that the disk lacks downwards."""

    def __init__(self, root: str, below: dict[str, Mount]) -> None:
        """
        Args:
            root: the topmost directory's absolute path.
            below: the mounts below it by their absolute paths.
        """
        self._root = root
        self._below = below
        self._made = time.time_ns()

    def stat(self, path: Path, *, follow: bool = True) -> Attributes:
        """Return the attributes of a directory that leads to a mount; ENOENT for anything else."""
        absolute = "/".join((self._root, *path))
        if not any(f"{mounted}/".startswith(f"{absolute}/") for mounted in self._below):
            raise file_error(errno.ENOENT, "/".join(path))
        number = zlib.crc32(os.fsencode(absolute)) + 1
        made = self._made
        return Attributes(number, stat.S_IFDIR | 0o755, 4096, made, made, made, _DEVICE, nlink=2)

    def scandir(self, path: Path) -> Sequence[tuple[str, Attributes]]:
        """Return the entries that lead to a mount."""
        self.stat(path)
        lead = "/".join((self._root, *path)) + "/"
        found: dict[str, Attributes] = {}
        for mounted, mount in self._below.items():
            if mounted.startswith(lead):
                name, _, more = mounted[len(lead) :].partition("/")
                found[name] = self.stat((*path, name)) if more else mount.volume.stat(())
        return list(found.items())

    def open(self, path: Path, flags: int, mode: int = 0o666, *, checked: bool = False) -> OpenFile:
        """Refuse: there are no files here."""
        self._refuse(path, errno.EISDIR, creates=bool(flags & os.O_CREAT))

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Refuse: EEXIST or EROFS."""
        self._refuse(path, errno.EEXIST, creates=True)

    def rmdir(self, path: Path) -> None:
        """Refuse: EBUSY."""
        self._refuse(path, errno.EBUSY)

    def unlink(self, path: Path) -> None:
        """Refuse: EISDIR."""
        self._refuse(path, errno.EISDIR)

    def rename(self, source: Path, target: Path) -> None:
        """Refuse: EBUSY."""
        self._refuse(source, errno.EBUSY)

    def chmod(self, path: Path, mode: int, *, follow: bool = True) -> None:
        """Refuse: EROFS."""
        self._refuse(path, errno.EROFS)

    def chown(self, path: Path, uid: int, gid: int, *, follow: bool = True) -> None:
        """Refuse: EROFS."""
        self._refuse(path, errno.EROFS)

    def utime(self, path: Path, atime_ns: int, mtime_ns: int, *, follow: bool = True) -> None:
        """Refuse: EROFS."""
        self._refuse(path, errno.EROFS)

    def truncate(self, path: Path, size: int) -> None:
        """Refuse: EISDIR."""
        self._refuse(path, errno.EISDIR)

    def symlink(self, target: str, path: Path) -> None:
        """Refuse: EEXIST or EROFS."""
        self._refuse(path, errno.EEXIST, creates=True)

    def readlink(self, path: Path) -> str:
        """Refuse: EINVAL."""
        self._refuse(path, errno.EINVAL)

    def link(self, source: Path, target: Path) -> None:
        """Refuse: EPERM."""
        self._refuse(source, errno.EPERM)

    def commit_all(self) -> None:
        """Do nothing: there is nothing to commit."""

    def _refuse(self, path: Path, number: int, *, creates: bool = False) -> NoReturn:
        """Raise `number` where a directory is, else ENOENT, or EROFS for what would be made in one."""
        try:
            self.stat(path)
        except FileNotFoundError:
            if not creates:
                raise
            self.stat(path[:-1])
            number = errno.EROFS
        raise file_error(number, "/".join(path), _NOTE if number == errno.EROFS else "")


def missing(below: dict[str, Mount], on_disk: dict[str, bool]) -> list[Mount]:
    """Return a mount of Ancestors for every topmost directory above `below` that the disk lacks.

    Args:
        below: the mounts by each of their absolute paths.
        on_disk: for each directory above one, whether the disk has it.
    """
    tops: dict[str, dict[str, Mount]] = {}
    for path, mount in below.items():
        top = ""
        folder = os.path.dirname(path)
        while not on_disk[folder]:
            top, folder = folder, os.path.dirname(folder)
        if top:
            tops.setdefault(top, {})[path] = mount
    return [Mount(top, top, Ancestors(top, found), None) for top, found in tops.items()]
