"""What a sync reads from or writes to: a directory on the disk or in a mount, with operations on many files at once."""

import errno
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gaeport.errors import file_error
from gaeport.fs.datastore.bulk import Whole
from gaeport.fs.datastore.bulk_directories import Wanted
from gaeport.fs.volume import Attributes, Path

PIECE = 4 << 20  # bytes of a large file that are read and written at a time
SMALL = 1 << 20  # bytes; files up to here are read whole
ATTEMPTS = 3  # readings of a file that changes meanwhile
# What concerns the whole target, not one file in it: going on would fail for each.
GENERAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE})

Failure = tuple[Path, OSError]
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


class Item(NamedTuple):
    """What a listing tells of a name.

    Attributes:
        kind: "file", "dir", "link", or "other" for what is not copied (devices, sockets, pipes).
        size: bytes.
        mtime_ns, atime_ns: nanoseconds since 1970.
        mode: permission bits.
    """

    kind: str
    size: int
    mtime_ns: int
    atime_ns: int
    mode: int


@dataclass(frozen=True, slots=True)
class Job:
    """A file or link to be copied.

    Attributes:
        path: below both directories.
        item: as the source was listed.
        former: the kind of what the target has under this name; "" for nothing.
    """

    path: Path
    item: Item
    former: str


class Side(Protocol):
    """A directory that is synced. Paths are tuples of names below it; OSErrors carry paths as the user spells them."""

    #: Where it keeps files: "disk", or a mount's `store`.
    store: str
    #: Bytes; larger files cost more than their share of a batch.
    small: int

    def spelled(self, path: Path) -> str:
        """Return a path for messages."""
        ...

    def scan(self, path: Path) -> dict[str, Item]:
        """Return what is in a directory, by name."""
        ...

    def read(self, paths: Sequence[Path]) -> list[tuple[Item, bytes] | OSError]:
        """Return small files with what they were when their content was read; EAGAIN for one that keeps changing."""
        ...

    def pieces(self, path: Path, known: Item) -> Iterator[bytes]:
        """Yield a file's content piece by piece; EAGAIN at the end when the file is not as `known` any more."""
        ...

    def status(self, path: Path) -> Item:
        """Return what a name is now, of a link itself."""
        ...

    def readlink(self, path: Path) -> bytes:
        """Return what a symbolic link holds."""
        ...

    def write(self, files: Sequence[Whole], former: dict[Path, str]) -> list[Failure]:
        """Create or replace small files and links; each appears whole, or not at all.

        Args:
            files: what to write, paths below this directory.
            former: the kind of what is there under each path; "" for nothing.
        """
        ...

    def write_pieces(self, job: Job, pieces: Iterator[bytes]) -> None:
        """Create or replace a file of any size in bounded memory; it appears when `pieces` has ended well."""
        ...

    def make_directories(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Make directories, each after the one that holds it; until `assign_directories` they are writable."""
        ...

    def assign_directories(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Set directories' permission bits and times."""
        ...

    def assign_file(self, path: Path, item: Item) -> None:
        """Set a file's permission bits and times (of a link only the times)."""
        ...

    def remove(self, paths: Sequence[Path]) -> list[Failure]:
        """Remove files and links; what is gone already is no failure."""
        ...

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with everything in it."""
        ...

    def settle(self) -> None:
        """Write what was put off (times of directories)."""
        ...


@contextmanager
def noting(failures: list[Failure], path: Path, *, raising: frozenset[int] = frozenset()) -> Iterator[None]:
    """Note the OSError of the block, so that the next file has its turn.

    Args:
        failures: gets it.
        path: what it is noted for.
        raising: numbers of errors that are raised instead, such as GENERAL.
    """
    try:
        yield
    except OSError as error:
        if error.errno in raising:
            raise
        failures.append((path, error))


def item_of(found: Attributes) -> Item:
    """Return what a volume's attributes tell."""
    kind = _KINDS.get(stat.S_IFMT(found.mode), "other")
    return Item(kind, found.size, found.mtime_ns, found.atime_ns, stat.S_IMODE(found.mode))


def kind_of(mode: int) -> str:
    """Return the kind that a mode's file type stands for."""
    return _KINDS.get(stat.S_IFMT(mode), "other")


def same(before: Item, after: Item) -> bool:
    """Tell whether a file seems unchanged between two looks at it."""
    return (before.kind, before.size, before.mtime_ns) == (after.kind, after.size, after.mtime_ns)


def changing(spelled: str) -> OSError:
    """Return the error for a file that changes while it is read."""
    return file_error(errno.EAGAIN, spelled, "it changed while it was copied; run the sync again")
