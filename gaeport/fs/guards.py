"""Stand-ins for what opens or maps files below Python's file functions: SQLite, and mmap."""

import mmap
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from gaeport.fs import descriptors, paths
from gaeport.fs.places import Place

native_mmap = mmap.mmap


class _MapType(type):
    """Makes maps that were made before the replacement instances of it too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, native_mmap)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, native_mmap)


class MemoryMap(native_mmap, metaclass=_MapType):
    """Stands in for `mmap.mmap`: what is written to the map of a mounted file after the file was closed counts too."""

    _description: descriptors.Description | None = None

    def __new__(cls, fileno: int, length: int, *args: Any, **kwargs: Any) -> "MemoryMap":
        """Map a descriptor, as `mmap.mmap` does."""
        made = super().__new__(cls, fileno, length, *args, **kwargs)
        found = descriptors.lookup(fileno)
        if found is not None:
            found.retain()
            made._description = found
            descriptors.mapped[id(made)] = found
        return made

    def flush(self, *args: Any) -> Any:
        """Write back, and commit."""
        done = super().flush(*args)
        if self._description is not None:
            self._description.sync()
        return done

    def close(self) -> None:
        """Unmap; the last one to let go of the file commits. Raises OSError when that fails."""
        super().close()
        self._release()

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._release()

    def _release(self) -> None:
        found, self._description = self._description, None
        descriptors.mapped.pop(id(self), None)
        if found is not None:
            found.release()


def guarded_connect(connect: Callable[..., Any], failure: type[Exception]) -> Callable[..., Any]:
    """Return what stands in for `sqlite3.connect`: refuses databases in mounts with a message that says why.

    Args:
        connect: the original.
        failure: sqlite3.OperationalError.
    """

    def guarded(database: Any, *args: Any, **kwargs: Any) -> Any:
        place = paths.locate(_database_path(database, kwargs.get("uri", False)))
        if isinstance(place, Place):
            raise failure(
                f"unable to open database file {os.fsdecode(place.spelled)!r}: it is in the mounted directory "
                f"{place.mount.spelled!r}, and SQLite opens its files below Python, where a mount cannot be seen; "
                "keep the database elsewhere, or use gaeport.dal or google.cloud.ndb"
            )
        return connect(database, *args, **kwargs)

    guarded.__name__ = guarded.__qualname__ = "connect"
    guarded.__doc__ = connect.__doc__
    return guarded


def _database_path(database: Any, uri: bool) -> Any:
    if isinstance(database, str) and uri and database.startswith("file:"):
        return unquote(urlsplit(database).path)
    return None if isinstance(database, int) else database
