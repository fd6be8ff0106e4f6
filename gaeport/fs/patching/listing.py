"""Listing directories: `os.listdir`, `os.scandir` and its entries."""

import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from types import GenericAlias, TracebackType
from typing import Any

from gaeport.fs import native
from gaeport.fs.patching import changes, descriptors, paths
from gaeport.fs.places import Naming, Place, like
from gaeport.fs.volume import Attributes


class _EntryType(type):
    """Makes the system's entries instances of what stands in for `os.DirEntry`, and lets nobody else make one."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("cannot create 'posix.DirEntry' instances")

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, native.DirEntry) or super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, native.DirEntry) or super().__subclasscheck__(subclass)

    def make(cls, place: Place, name: str, path: str | bytes, attributes: Attributes) -> "DirEntry":
        """Return a new entry."""
        made: DirEntry = super().__call__(place, name, path, attributes)
        return made


class DirEntry(metaclass=_EntryType):
    """An entry of a mounted directory; stands in for `os.DirEntry`. Its attributes came with the listing."""

    __class_getitem__ = classmethod(GenericAlias)  # type: ignore[var-annotated]

    __slots__ = ("_attributes", "_followed", "_listed", "_place", "name", "path")

    def __init__(self, place: Place, name: str, path: str | bytes, attributes: Attributes) -> None:
        self.name: str | bytes = like(place.spelled, name)
        self.path = path
        self._place = Place(place.mount, (*place.parts, name), path)
        self._attributes = attributes
        self._listed = changes.now()
        self._followed: Attributes | None = None if stat.S_ISLNK(attributes.mode) else attributes

    def __fspath__(self) -> str | bytes:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("cannot pickle 'posix.DirEntry' object")

    def inode(self) -> int:
        """Return the inode number."""
        return self._attributes.ino

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what `os.stat` tells; asks the volume only to follow a link, or for what this process changed."""
        if self._listed and changes.since(self._listed, self._place):
            self._attributes = self._place.attributes(follow=False)
            self._followed = None if stat.S_ISLNK(self._attributes.mode) else self._attributes
        self._listed = 0  # as on Linux, the first answer stays
        if not follow_symlinks:
            return self._attributes.stat_result()
        if self._followed is None:
            self._followed = self._place.attributes()
        return self._followed.stat_result()

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory (or, following, a link to one)."""
        return stat.S_ISDIR(self._mode(follow_symlinks))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a regular file (or, following, a link to one)."""
        return stat.S_ISREG(self._mode(follow_symlinks))

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self._attributes.mode)

    def is_junction(self) -> bool:
        """Always False: junctions are a thing of Windows."""
        return False

    def follow_as(self, place: Place) -> "DirEntry":
        """Let it stand for a mounted directory, whose place is not below that of the listing. Returns itself."""
        self._place = place
        return self

    def _mode(self, follow: bool) -> int:
        if not follow or not self.is_symlink():
            return self._attributes.mode
        try:
            return self.stat().st_mode
        except FileNotFoundError:
            return 0


class Scan:
    """What `os.scandir` returns: an iterator that is also a context manager."""

    def __init__(self, entries: Iterable[Any], inner: Any = None) -> None:
        self._entries = iter(entries)
        self._inner = inner
        self._done = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._entries)
        except BaseException:
            self._done = True
            raise

    def __enter__(self) -> "Scan":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go; nothing more comes."""
        self._entries = iter(())
        self._done = True
        if self._inner is not None:
            self._inner.close()

    def __del__(self) -> None:
        if not self._done:
            warnings.warn(f"unclosed scandir iterator {self!r}", ResourceWarning, stacklevel=2, source=self)


def listdir(path: Any = None) -> list[Any]:
    """Return the names of a directory's entries, as `os.listdir` does."""
    spelled = "." if path is None else path
    place = paths.locate(spelled)
    if isinstance(place, Place):
        spelling = "" if isinstance(path, int) else place.spelled
        return [like(spelling, name) for name, _ in _entries(place, path)]
    names: list[Any] = native.listdir(path if place is None else place)
    hidden = paths.mounted_below(spelled)
    if hidden:
        known = {os.fsdecode(name) for name in names}
        names += [_spelled_like(spelled, mount) for mount in hidden if mount not in known]
    return names


def scandir(path: Any = None) -> Any:
    """Return an iterator of a directory's entries, as `os.scandir` does."""
    spelled = "." if path is None else path
    place = paths.locate(spelled)
    if isinstance(place, Place):
        bare = isinstance(path, int)
        return Scan(_dir_entries(place, _entries(place, path), bare))
    inner = native.scandir(path if place is None else place)
    hidden = paths.mounted_below(spelled)
    return Scan(_with_mounts(inner, spelled, hidden), inner) if hidden else inner


def _entries(place: Place, path: Any) -> Iterable[tuple[str, Attributes]]:
    with Naming(path if isinstance(path, int) else place.spelled):
        rows = place.volume.scandir(place.parts)
    if not descriptors.any_open():
        return rows
    latest = descriptors.open_files()
    return [(name, _latest(found, latest.get((found.dev, found.ino)))) for name, found in rows]


def _latest(found: Attributes, opened: descriptors.Description | None) -> Attributes:
    return found if opened is None else opened.attributes()


def _dir_entries(place: Place, entries: Iterable[tuple[str, Attributes]], bare: bool) -> Iterator[DirEntry]:
    for name, attributes in entries:
        shown = like(place.spelled, name)
        yield DirEntry.make(place, name, shown if bare else _join(place.spelled, shown), attributes)


def _join(folder: Any, name: Any) -> Any:
    return os.path.join(folder, name)


def _spelled_like(path: Any, name: str) -> str | bytes:
    return like(path if isinstance(path, bytes) else "", name)


def _with_mounts(inner: Any, path: Any, hidden: dict[str, Any]) -> Iterator[Any]:
    known = set()
    for entry in inner:
        known.add(os.fsdecode(entry.name))
        yield entry
    folder = os.fspath(path) if not isinstance(path, int) else ""
    for name, mount in hidden.items():
        if name not in known:
            place = Place(mount, (), folder)
            shown = _join(folder, like(folder, name))
            yield DirEntry.make(place, name, shown, mount.volume.stat(())).follow_as(place)
