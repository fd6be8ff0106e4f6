"""A mounted directory as one side of a sync: by the volume's operations on many files where it has them, else one by
one through its contract."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from gaeport.fs.datastore.bulk import Whole
from gaeport.fs.datastore.bulk_directories import Wanted
from gaeport.fs.places import Naming, Place
from gaeport.fs.syncing.sides import GENERAL, PIECE, Failure, Item, Job, changing, item_of, noting, same
from gaeport.fs.volume import OpenFile, Path
from gaeport.settings import INLINE_LIMIT


class VolumeSide:
    """A directory in a mount; see `gaeport.fs.syncing.sides.Side`.

    Args:
        place: the directory.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._volume = place.volume
        self._bulk: Any = getattr(place.volume, "bulk", None)
        self._bulk_directories: Any = getattr(place.volume, "bulk_directories", None)
        self.store: str = place.mount.settings.store if place.mount.settings is not None else "datastore"
        self.small = self._bulk.limit if self._bulk is not None else INLINE_LIMIT

    def spelled(self, path: Path) -> str:
        """Return a path as the user would spell it."""
        return os.path.join(os.fsdecode(self._place.spelled), *path)

    def _inside(self, path: Path) -> Path:
        return (*self._place.parts, *path)

    def _below(self, path: Path) -> Path:
        return path[len(self._place.parts) :]

    def scan(self, path: Path) -> dict[str, Item]:
        """Return what is in a directory."""
        with Naming(self.spelled(path)):
            return {name: item_of(found) for name, found in self._volume.scandir(self._inside(path))}

    def status(self, path: Path) -> Item:
        """Return what a name is now."""
        with Naming(self.spelled(path)):
            return item_of(self._volume.stat(self._inside(path), follow=False))

    def readlink(self, path: Path) -> bytes:
        """Return what a link holds."""
        with Naming(self.spelled(path)):
            return os.fsencode(self._volume.readlink(self._inside(path)))

    # Reading

    def read(self, paths: Sequence[Path]) -> list[tuple[Item, bytes] | OSError]:
        """Return small files."""
        answers: list[Any] = [None] * len(paths)
        if self._bulk is not None and paths:
            with Naming(self.spelled(paths[0])):
                answers = self._bulk.read([self._inside(path) for path in paths])
        return [
            (item_of(answer[0]), answer[1]) if answer is not None else self._read(path)
            for path, answer in zip(paths, answers, strict=True)
        ]

    def _read(self, path: Path) -> tuple[Item, bytes] | OSError:
        try:
            with self._opened(path) as handle:
                item = item_of(handle.attributes())
                content = b"".join(_content(handle))
                unchanged = same(item, item_of(handle.attributes())) and len(content) == item.size
        except OSError as error:
            return error
        return (item, content) if unchanged else changing(self.spelled(path))

    def pieces(self, path: Path, known: Item) -> Iterator[bytes]:
        """Yield a file's content."""
        total = 0
        with self._opened(path) as handle:
            for piece in _content(handle):
                total += len(piece)
                yield piece
            # An open file keeps to what it was opened on: what others write meanwhile does not show in it.
            if not same(known, item_of(handle.attributes())) or total != known.size:
                raise changing(self.spelled(path))

    @contextmanager
    def _opened(self, path: Path) -> Iterator[OpenFile]:
        with Naming(self.spelled(path)):
            handle = self._volume.open(self._inside(path), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                yield handle
            finally:
                handle.close()

    # Writing

    def write(self, files: Sequence[Whole], former: dict[Path, str]) -> list[Failure]:
        """Create or replace small files and links."""
        left = list(files)
        if self._bulk is not None and files:
            with Naming(self.spelled(files[0].path)):
                left = self._bulk.write([replace(file, path=self._inside(file.path)) for file in files])
            left = [replace(file, path=self._below(file.path)) for file in left]
        failures: list[Failure] = []
        for file in left:
            with noting(failures, file.path, raising=GENERAL):
                self._write(file, former.get(file.path, ""))
        return failures

    def _write(self, file: Whole, former: str) -> None:
        kind = "link" if file.link else "file"
        item = Item(kind, len(file.content), file.mtime_ns, file.atime_ns, file.mode)
        if file.link:
            self._make_way(file.path, former)
            with Naming(self.spelled(file.path)):
                self._volume.symlink(os.fsdecode(file.content), self._inside(file.path))
            self.assign_file(file.path, item)
        else:
            self.write_pieces(Job(file.path, item, former), iter((file.content,)))

    def write_pieces(self, job: Job, pieces: Iterator[bytes]) -> None:
        """Create or replace a file of any size."""
        if job.former == "link":
            self._make_way(job.path, job.former)
        with Naming(self.spelled(job.path)):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            handle = self._volume.open(self._inside(job.path), flags, job.item.mode)
            try:
                self._fill(handle, pieces)
                assigned = _assign(handle, job.item)
            except BaseException:
                handle.discard()
                raise
            handle.close()
        if not assigned:
            self._assign(job.path, job.item, mode=bool(job.former))

    @staticmethod
    def _fill(handle: OpenFile, pieces: Iterator[bytes]) -> None:
        offset = 0
        for piece in pieces:
            offset += handle.pwrite(piece, offset)

    def _make_way(self, path: Path, former: str) -> None:
        if former:
            with Naming(self.spelled(path)), suppress(FileNotFoundError):
                self._volume.unlink(self._inside(path))

    def assign_file(self, path: Path, item: Item) -> None:
        """Set a file's mode and times."""
        self._assign(path, item, mode=item.kind != "link")

    def _assign(self, path: Path, item: Item, *, mode: bool) -> None:
        with Naming(self.spelled(path)):
            if mode:
                self._volume.chmod(self._inside(path), item.mode, follow=False)
            self._volume.utime(self._inside(path), item.atime_ns, item.mtime_ns, follow=False)

    # Directories, and removing

    def make_directories(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Make directories."""
        failures: list[Failure] = []
        for item in self._many_directories("make", wanted):
            with noting(failures, item.path, raising=GENERAL):
                self._make_directory(item)
        return failures

    def _make_directory(self, item: Wanted) -> None:
        try:
            with Naming(self.spelled(item.path)):
                self._volume.mkdir(self._inside(item.path), item.mode)
        except FileExistsError:
            if self.status(item.path).kind != "dir":
                raise

    def assign_directories(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Set modes and times of directories."""
        failures: list[Failure] = []
        for item in self._many_directories("assign", wanted):
            with noting(failures, item.path), Naming(self.spelled(item.path)):
                self._volume.chmod(self._inside(item.path), item.mode)
                self._volume.utime(self._inside(item.path), item.atime_ns, item.mtime_ns)
        return failures

    def _many_directories(self, operation: str, wanted: Sequence[Wanted]) -> list[Wanted]:
        if self._bulk_directories is None or not wanted:
            return list(wanted)
        inside = [item._replace(path=self._inside(item.path)) for item in wanted]
        with Naming(self.spelled(wanted[0].path)):
            left: list[Wanted] = getattr(self._bulk_directories, operation)(inside)
        return [item._replace(path=self._below(item.path)) for item in left]

    def remove(self, paths: Sequence[Path]) -> list[Failure]:
        """Remove files and links."""
        left = list(paths)
        if self._bulk is not None and paths:
            with Naming(self.spelled(paths[0])):
                left = [self._below(path) for path in self._bulk.remove([self._inside(path) for path in paths])]
        failures: list[Failure] = []
        for path in left:
            with noting(failures, path):
                self._make_way(path, "file")
        return failures

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with everything in it."""
        quick = getattr(self._volume, "rmtree", None)
        with suppress(OSError):
            if quick is not None and quick(self._inside(path)):
                return
        with suppress(FileNotFoundError):
            self._remove_slowly(path)

    def _remove_slowly(self, path: Path) -> None:
        for name, item in self.scan(path).items():
            if item.kind == "dir":
                self._remove_slowly((*path, name))
            else:
                self._make_way((*path, name), item.kind)
        with Naming(self.spelled(path)):
            self._volume.rmdir(self._inside(path))

    def settle(self) -> None:
        """Write what was put off."""
        flush = getattr(self._volume, "flush_times", None)
        if flush is not None:
            flush()


def _content(handle: OpenFile) -> Iterator[bytes]:
    offset = 0
    while piece := handle.pread(PIECE, offset):
        yield piece
        offset += len(piece)


def _assign(handle: OpenFile, item: Item) -> bool:
    assign = getattr(handle, "assign", None)
    if assign is not None:
        assign(mode=stat.S_IMODE(item.mode), atime_ns=item.atime_ns, mtime_ns=item.mtime_ns)
    return assign is not None
