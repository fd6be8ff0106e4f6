"""The contract between the file functions and what keeps the files: a volume, addressed as Linux addresses one.

Paths inside a volume are tuples of file names relative to the mount's root (`()` is the root), already split and free
of "." and ".."; names are str, undecodable bytes as surrogate escapes. Every method raises OSError with the errno that
Linux gives and, as filename, the path it was called with joined by "/" (callers put the user's own spelling there).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Path = tuple[str, ...]
EARLIEST, LATEST = -(1 << 63), (1 << 63) - 1  # nanoseconds since 1970 that 64 bits hold: the years 1677 to 2262


def storable(time_ns: int) -> int:
    """Return a time as stores hold it: Linux, too, cuts one that a file system cannot hold."""
    return min(LATEST, max(EARLIEST, time_ns))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What `stat` tells. Times are nanoseconds since 1970; `mode` holds the file type and the permissions."""

    ino: int
    mode: int
    size: int
    mtime_ns: int
    atime_ns: int
    ctime_ns: int
    dev: int
    nlink: int = 1
    uid: int = 0
    gid: int = 0

    def stat_result(self) -> os.stat_result:
        """Return the same as `os.stat` does."""
        times = (self.atime_ns, self.mtime_ns, self.ctime_ns)
        seconds = [t // 1_000_000_000 for t in times]
        head = [self.mode, self.ino, self.dev, self.nlink, self.uid, self.gid, self.size, *seconds]
        floats = [s + 1e-9 * (t - s * 1_000_000_000) for s, t in zip(seconds, times, strict=True)]  # to the last bit
        extra = {"st_blksize": 4096, "st_blocks": -(-self.size // 512), "st_rdev": 0}
        return os.stat_result([*head, *floats, *times], extra)


class OpenFile(Protocol):
    """An open file: content without a position. Changes are seen by every handle of this process at once, and by
    other processes after `sync` or `close`. Thread-safe."""

    @property
    def size(self) -> int:
        """The present size in bytes, changes not yet committed included."""
        ...

    def attributes(self) -> Attributes:
        """What `fstat` tells."""
        ...

    def pread(self, length: int, offset: int) -> bytes:
        """Return up to `length` bytes from `offset`; empty at or past the end. Also of one opened for writing only."""
        ...

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        """Write at `offset`, filling a gap with zeros; returns the number of bytes, always all of them.

        Raises EBADF if not opened for writing, EFBIG or ENOSPC when the store refuses.
        """
        ...

    def append(self, data: bytes | memoryview) -> int:
        """Write at the end, wherever it is when this is committed; returns the end as this process sees it now."""
        ...

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros to `size` bytes."""
        ...

    def sync(self) -> None:
        """Commit what was changed so far (fsync). Raises OSError when it cannot be; the changes stay pending."""
        ...

    def close(self) -> None:
        """Commit what was changed and let go. A second call does nothing. Raises OSError when the commit fails."""
        ...

    def discard(self) -> None:
        """Let go without committing what was changed since the last commit. A second call does nothing."""
        ...


class Volume(Protocol):
    """A tree of files. `flags` are those of os.open; read/write mode, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY
    and O_NOFOLLOW count."""

    def stat(self, path: Path, *, follow: bool = True) -> Attributes:
        """Return the attributes of a file, directory or (follow=False) symbolic link."""
        ...

    def scandir(self, path: Path) -> Sequence[tuple[str, Attributes]]:
        """Return the entries of a directory, in no promised order, with their attributes (of links themselves)."""
        ...

    def open(self, path: Path, flags: int, mode: int = 0o666, *, checked: bool = False) -> OpenFile:
        """Open or create a regular file.

        Args:
            path: where.
            flags: those of os.open.
            mode: the permission bits of a new file, the umask applied already.
            checked: whether those of an existing file bind the caller; they do not bind `fs sync` and fsspec.

        Raises:
            OSError: EISDIR for a directory, EACCES where the bits do not allow it, and others as os.open.
        """
        ...

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Create a directory; `mode` has the umask applied already."""
        ...

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file or symbolic link. Open handles keep their content, which is then dropped at close."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Move anything over anything that Linux lets it replace, atomically (os.replace)."""
        ...

    def chmod(self, path: Path, mode: int, *, follow: bool = True) -> None:
        """Set the permission bits."""
        ...

    def chown(self, path: Path, uid: int, gid: int, *, follow: bool = True) -> None:
        """Record an owner; -1 leaves that one as it is."""
        ...

    def utime(self, path: Path, atime_ns: int, mtime_ns: int, *, follow: bool = True) -> None:
        """Set the times of last access and modification, in nanoseconds."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut or extend a file to `size` bytes and commit."""
        ...

    def symlink(self, target: str, path: Path) -> None:
        """Create a symbolic link that holds `target`."""
        ...

    def readlink(self, path: Path) -> str:
        """Return what a symbolic link holds; EINVAL for anything else."""
        ...

    def link(self, source: Path, target: Path) -> None:
        """Give a file one more name. EPERM for directories."""
        ...

    def commit_all(self) -> None:
        """Commit everything that is pending in this process (before a fork, at the end of the process)."""
        ...
