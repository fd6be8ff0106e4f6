"""A directory of the disk (or above mounts) as one side of a sync, by Python's own file functions."""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress

from gaeport.errors import file_error
from gaeport.fs.datastore.bulk import Whole
from gaeport.fs.datastore.bulk_directories import Wanted
from gaeport.fs.patching.paths import mounted_in
from gaeport.fs.syncing.sides import (
    ATTEMPTS,
    GENERAL,
    PIECE,
    SMALL,
    Failure,
    Item,
    Job,
    changing,
    kind_of,
    noting,
    same,
)
from gaeport.fs.volume import Path, storable

_PART = re.compile(r"\.gaeport-(\d+)-[0-9a-f]{8}\.part")


class FolderSide:
    """A directory; see `gaeport.fs.syncing.sides.Side`.

    Args:
        root: its path.
        target: whether it is written to; then what killed copies of this machine left is removed.
    """

    store = "disk"
    small = SMALL

    def __init__(self, root: str, *, target: bool = False) -> None:
        self._root = root
        self._target = target

    def spelled(self, path: Path) -> str:
        """Return a path as the user would spell it."""
        return os.path.join(self._root, *path)

    def scan(self, path: Path) -> dict[str, Item]:
        """Return what is in a directory."""
        found = {}
        with os.scandir(self.spelled(path)) as entries:
            for entry in entries:
                part = _PART.fullmatch(entry.name)
                if part is None:
                    with suppress(FileNotFoundError):  # gone since the directory was read
                        found[entry.name] = _item(entry.stat(follow_symlinks=False))
                elif self._target and not _alive(int(part[1])):
                    with suppress(OSError):
                        os.unlink(entry.path)
        return found

    def read(self, paths: Sequence[Path]) -> list[tuple[Item, bytes] | OSError]:
        """Return small files."""
        return [self._read(path) for path in paths]

    def _read(self, path: Path) -> tuple[Item, bytes] | OSError:
        try:
            for _ in range(ATTEMPTS):
                before = self.status(path)
                with open(self.spelled(path), "rb") as file:
                    content = file.read()
                if before.kind == "file" and same(before, self.status(path)) and len(content) == before.size:
                    return before, content
        except OSError as error:
            return error
        return changing(self.spelled(path))

    def pieces(self, path: Path, known: Item) -> Iterator[bytes]:
        """Yield a file's content."""
        total = 0
        with open(self.spelled(path), "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                total += len(piece)
                yield piece
        if not same(known, self.status(path)) or total != known.size:
            raise changing(self.spelled(path))

    def status(self, path: Path) -> Item:
        """Return what a name is now."""
        return _item(os.lstat(self.spelled(path)))

    def readlink(self, path: Path) -> bytes:
        """Return what a link holds."""
        return os.fsencode(os.readlink(self.spelled(path)))

    def write(self, files: Sequence[Whole], former: dict[Path, str]) -> list[Failure]:
        """Create or replace small files and links."""
        failures: list[Failure] = []
        for file in files:
            with noting(failures, file.path, raising=GENERAL):
                if file.link:
                    self._write_link(file)
                else:
                    times = (file.atime_ns, file.mtime_ns)
                    self._put(file.path, iter((file.content,)), file.mode, times)
        return failures

    def write_pieces(self, job: Job, pieces: Iterator[bytes]) -> None:
        """Create or replace a file of any size."""
        self._put(job.path, pieces, job.item.mode, (job.item.atime_ns, job.item.mtime_ns))

    def _put(self, path: Path, pieces: Iterator[bytes], mode: int, times: tuple[int, int]) -> None:
        part = self._part(path)
        try:
            with open(part, "xb", buffering=0, opener=_private) as file:
                for piece in pieces:
                    _write_all(file, piece)
            os.chmod(part, mode)
            os.utime(part, ns=times)
            os.replace(part, self.spelled(path))
        except BaseException as error:
            with suppress(OSError):
                os.unlink(part)
            if isinstance(error, OSError) and error.filename in (None, part):
                error.filename, error.filename2 = self.spelled(path), None
            raise

    def _write_link(self, file: Whole) -> None:
        part = self._part(file.path)
        try:
            os.symlink(os.fsdecode(file.content), part)
            if os.utime in os.supports_follow_symlinks:
                os.utime(part, ns=(file.atime_ns, file.mtime_ns), follow_symlinks=False)
            os.replace(part, self.spelled(file.path))
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise

    def _part(self, path: Path) -> str:
        return os.path.join(self.spelled(path[:-1]), f".gaeport-{os.getpid()}-{secrets.token_hex(4)}.part")

    def make_directories(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Make directories."""
        failures: list[Failure] = []
        for item in wanted:
            with noting(failures, item.path, raising=GENERAL):
                self._make_directory(item)
        return failures

    def _make_directory(self, item: Wanted) -> None:
        try:
            os.mkdir(self.spelled(item.path), item.mode | stat.S_IRWXU)
        except FileExistsError:
            if not os.path.isdir(self.spelled(item.path)):
                raise

    def assign_directories(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Set modes and times of directories."""
        failures: list[Failure] = []
        for item in wanted:
            with noting(failures, item.path):
                os.chmod(self.spelled(item.path), item.mode)
                os.utime(self.spelled(item.path), ns=(item.atime_ns, item.mtime_ns))
        return failures

    def assign_file(self, path: Path, item: Item) -> None:
        """Set a file's mode and times."""
        if item.kind == "link":
            os.utime(self.spelled(path), ns=(item.atime_ns, item.mtime_ns), follow_symlinks=False)
        else:
            os.chmod(self.spelled(path), item.mode)
            os.utime(self.spelled(path), ns=(item.atime_ns, item.mtime_ns))

    def remove(self, paths: Sequence[Path]) -> list[Failure]:
        """Remove files and links."""
        failures: list[Failure] = []
        for path in paths:
            with noting(failures, path), suppress(FileNotFoundError):
                os.unlink(self.spelled(path))
        return failures

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with everything in it. OSError EBUSY, and all stays, where something is mounted in it."""
        if mounted_in(self.spelled(path)):
            raise file_error(errno.EBUSY, self.spelled(path), "it is or holds a mount")
        shutil.rmtree(self.spelled(path))

    def settle(self) -> None:
        """Nothing is put off."""


def _item(status: os.stat_result) -> Item:
    kind = kind_of(status.st_mode)
    times = storable(status.st_mtime_ns), storable(status.st_atime_ns)
    return Item(kind, status.st_size, *times, stat.S_IMODE(status.st_mode))


def _private(path: str, flags: int) -> int:
    """Open what nobody else may read: until the copy is complete it has not the file's own mode."""
    return os.open(path, flags, 0o600)


def _write_all(file: object, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]  # type: ignore[attr-defined]  # a raw file, which may take less than all


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
