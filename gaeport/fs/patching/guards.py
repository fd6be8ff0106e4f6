"""Stand-ins for what opens or maps files below Python's file functions: SQLite, the libraries behind dbm, and mmap."""

import dbm
import mmap
import os
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from gaeport.fs.patching import descriptors, paths
from gaeport.fs.places import Place

native_mmap = mmap.mmap
native_dbm_open: Any = dbm.open


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

    def __repr__(self) -> str:
        return super().__repr__().replace("<MemoryMap", "<mmap.mmap", 1)

    def __del__(self) -> None:
        self._release()

    def _release(self) -> None:
        found, self._description = self._description, None
        descriptors.mapped.pop(id(self), None)
        if found is not None:
            found.release()


@wraps(native_dbm_open)
def dbm_open(file: Any, flag: str = "r", mode: int = 0o666) -> Any:
    """Stand in for `dbm.open`, and so for `shelve.open`: databases in a mount are those of `dbm.dumb`, which is Python.

    Raises:
        dbm.error: the database is another library's, which opens its files below Python.
    """
    place = paths.locate(file)
    if not isinstance(place, Place):
        return native_dbm_open(file, flag, mode)
    import dbm.dumb

    found = dbm.whichdb(file) if flag[:1] != "n" else None
    if found not in (None, "dbm.dumb"):
        raise dbm.error[0](
            f"{os.fsdecode(place.spelled)!r} is in the mounted directory {place.mount.spelled!r} and no database of "
            "dbm.dumb, the only kind that works there: other libraries open their files below Python"
        )
    if found is None and flag[:1] in ("r", "w"):
        raise dbm.error[0]("db file doesn't exist; use 'c' or 'n' flag to create a new db")
    return dbm.dumb.open(file, flag, mode)


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
    """Return the path of a database's file, or None where it has none."""
    if isinstance(database, int) or database in ("", b"", ":memory:", b":memory:"):
        return None
    if isinstance(database, str) and uri and database.startswith("file:"):
        found = urlsplit(database)
        path = unquote(found.path)
        return None if path in ("", ":memory:") or "memory" in parse_qs(found.query).get("mode", []) else path
    return database
