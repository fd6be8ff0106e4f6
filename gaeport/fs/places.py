"""Where a path leads: a mount, and a place in its volume."""

import errno
import os
import stat
from dataclasses import dataclass
from types import TracebackType

from gaeport.errors import file_error
from gaeport.fs.volume import Attributes, Path, Volume
from gaeport.settings import MountSettings


@dataclass(frozen=True, slots=True, eq=False)
class Mount:
    """A directory whose files a volume keeps.

    Attributes:
        root: the directory's absolute path, symbolic links resolved.
        spelled: its absolute path as it was given.
        volume: what keeps the files.
        settings: how it was configured, or None for a directory that only leads to mounts.
    """

    root: str
    spelled: str
    volume: Volume
    settings: MountSettings | None


class Place:
    """A path that leads into a mount.

    Attributes:
        mount: the mount.
        parts: the path inside its volume.
        spelled: the path as the caller wrote it (str or bytes), for messages.
        directory: whether the spelling demands a directory (a slash or a dot at the end).
        dotted: whether it ends in "." or "..", which names nothing that could be created or removed.
    """

    __slots__ = ("directory", "dotted", "mount", "parts", "spelled", "volume")

    def __init__(
        self, mount: Mount, parts: Path, spelled: str | bytes, *, directory: bool = False, dotted: bool = False
    ) -> None:
        self.mount = mount
        self.volume = mount.volume
        self.parts = parts
        self.spelled = spelled
        self.directory = directory
        self.dotted = dotted

    @property
    def absolute(self) -> str:
        """The absolute path on this machine."""
        return "/".join((self.mount.root, *self.parts))

    def attributes(self, *, follow: bool = True) -> Attributes:
        """Return what `stat` or `lstat` tells, with the OSErrors of Linux."""
        with Naming(self.spelled):
            found = self.volume.stat(self.parts, follow=follow or self.directory)
        if self.directory and not stat.S_ISDIR(found.mode):
            raise self.error(errno.ENOTDIR)
        return found

    def demand_directory(self) -> None:
        """Raise ENOTDIR when the spelling demands a directory and something else is there."""
        if self.directory:
            self.attributes()

    def error(self, number: int, note: str = "") -> OSError:
        """Return the OSError `number` with the path as the caller wrote it."""
        return file_error(number, self.spelled, note)


class Naming:
    """Puts the caller's own spelling into an OSError that leaves the block."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: object, second: object = None) -> None:
        self._first = first
        self._second = second

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            error.filename = self._first
            if self._second is not None:
                error.filename2 = self._second


def like(spelled: str | bytes, name: str) -> str | bytes:
    """Return `name` as str or bytes, whichever the caller's path was."""
    return os.fsencode(name) if isinstance(spelled, bytes) else name
