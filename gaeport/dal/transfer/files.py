"""A folder's files copied from one place to another, and compared; either place may be a mount or the disk."""

import contextvars
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from gaeport.dal.transfer.errors import TransferError
from gaeport.dal.transfer.state import State

PIECE = 1 << 20  # bytes read and written at a time
TOGETHER = 64  # files between two notes of how far it is
WORKERS = 8  # files at once; each waits for the network most of the time


class Functions:
    """The functions by which a place is reached: those of `os` lead into mounts, gaeport's native ones to the disk."""

    def __init__(self, module: Any, opening: Any) -> None:
        self.open, self.scandir, self.mkdir = opening, module.scandir, module.mkdir
        self.stat, self.utime = module.stat, module.utime


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as seen by a set of file functions.

    Attributes:
        path: where it is.
        files: the functions.
    """

    path: str
    files: Functions

    def names(self, below: str = "") -> Iterator[str]:
        """Yield the names of all files from the folder on, sorted by folder.

        Raises:
            TransferError: a link leads to a folder.
        """
        with self.files.scandir(os.path.join(self.path, below) if below else self.path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self.names(name)
            elif entry.is_symlink() and entry.is_dir():
                raise TransferError(f"{os.path.join(self.path, name)} is a link to a folder; name the folder itself")
            else:
                yield name

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a file's content."""
        with self.files.open(os.path.join(self.path, name), "rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def make(self, names: Iterator[str] | list[str], made: set[str]) -> None:
        """Make the folders in which files will lie; `made` are those known to exist."""
        for name in names:
            parts = os.path.dirname(name).split("/") if "/" in name else []
            for depth in range(len(parts) + 1):
                folder = "/".join(parts[:depth])
                if folder not in made:
                    made.add(folder)
                    self._make_one(os.path.join(self.path, folder) if folder else self.path)

    def _make_one(self, path: str) -> None:
        try:
            self.files.mkdir(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_one(os.path.dirname(path))
            self.files.mkdir(path)

    def write(self, name: str, pieces: Iterator[bytes], modified: int) -> None:
        """Write a file; `modified` is its time in nanoseconds."""
        path = os.path.join(self.path, name)
        with self.files.open(path, "wb") as file:
            for piece in pieces:
                file.write(piece)
        self.files.utime(path, ns=(modified, modified))

    def modified(self, name: str) -> int:
        """Return when a file was changed, in nanoseconds."""
        changed: int = self.files.stat(os.path.join(self.path, name)).st_mtime_ns
        return changed

    def digest(self, name: str) -> tuple[int, bytes]:
        """Return a file's size in bytes and the SHA-256 of its content; (-1, b"") where there is none."""
        made, size = hashlib.sha256(), 0
        try:
            for piece in self.pieces(name):
                made.update(piece)
                size += len(piece)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return -1, b""
        return size, made.digest()


@dataclass(slots=True)
class FilesCompared:
    """How the files of a folder look on both sides.

    Attributes:
        files: how many the source has.
        size: their bytes.
        checksum: of names and contents, in hexadecimal.
        checksum_there: the same of the target's files of those names.
        different: names of files that are missing in the target, or differ.
    """

    files: int = 0
    size: int = 0
    checksum: str = ""
    checksum_there: str = ""
    different: list[str] = field(default_factory=list)


def copy(source: Folder, target: Folder, state: State, tell: Callable[[int], object]) -> None:
    """Copy all files that no earlier run has copied.

    Args:
        source: where they are.
        target: where they go; it is made if missing, files of the same names are replaced.
        state: how far earlier runs got, and where this one notes it.
        tell: is told how many files have been dealt with.

    Raises:
        OSError: a file cannot be read or written.
    """
    done = state.files.get(source.path, "")
    made: set[str] = set()
    count = 0
    with ThreadPoolExecutor(WORKERS) as workers:
        for names in _groups(source, done):
            target.make(names, made)
            _together(workers, lambda name: target.write(name, source.pieces(name), source.modified(name)), names)
            state.files[source.path] = names[-1]
            state.save()
            count += len(names)
            tell(count)


def compare(source: Folder, target: Folder, tell: Callable[[int], object]) -> FilesCompared:
    """Read the files of the source on both sides."""
    found = FilesCompared()
    sums = hashlib.sha256(), hashlib.sha256()
    with ThreadPoolExecutor(WORKERS) as workers:
        for names in _groups(source, ""):
            pairs = _together(workers, lambda name: (source.digest(name), target.digest(name)), names)
            for name, sides in zip(names, pairs, strict=True):
                for made, (_, content) in zip(sums, sides, strict=True):
                    made.update(os.fsencode(name) + b"\0" + content)
                found.files, found.size = found.files + 1, found.size + sides[0][0]
                if sides[0] != sides[1]:
                    found.different.append(name)
            tell(found.files)
    found.checksum, found.checksum_there = (made.hexdigest()[:32] for made in sums)
    return found


def _groups(source: Folder, done: str) -> Iterator[list[str]]:
    """Yield names in groups, those left out that come up to and with the name `done`."""
    group: list[str] = []
    for name in source.names():
        if done and _order(name) <= _order(done):
            continue
        group.append(name)
        if len(group) == TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _order(name: str) -> list[str]:
    """Return the key by which `Folder.names` has its order."""
    return name.split("/")


def _together(workers: ThreadPoolExecutor, work: Callable[[str], Any], names: list[str]) -> list[Any]:
    """Call for each name, several at once; calls are counted where the caller's are."""
    contexts = [contextvars.copy_context() for _ in names]
    return list(workers.map(lambda context, name: context.run(work, name), contexts, names))
