"""Many directories in few calls: made together with what holds them, and given their modes and times."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gaeport.datastore.mutations import insert, update, upsert
from gaeport.fs.datastore.attempts import guarded
from gaeport.fs.datastore.entries import (
    Entry,
    constant,
    encode,
    entry_key,
    guard_key,
    new_entry,
    new_id,
    new_nonce,
    record,
    time_key,
)
from gaeport.fs.datastore.tree import Directory, Node
from gaeport.fs.volume import Path

if TYPE_CHECKING:
    from gaeport.fs.datastore.directories import Directories
    from gaeport.fs.datastore.volume import DatastoreVolume

DIRECTORIES = 150  # in one Commit: three entities each


class Wanted(NamedTuple):
    """A directory as it should be: its path in the volume, permission bits, and times in ns since 1970."""

    path: Path
    mode: int
    atime_ns: int
    mtime_ns: int


class BulkDirectories:
    """The operations on many directories of one volume."""

    def __init__(self, volume: "DatastoreVolume", directories: "Directories") -> None:
        self._volume = volume
        self._directories = directories

    def make(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Make directories, two calls for each 150.

        Args:
            wanted: each after the one that holds it; their names were free when they were last looked at.

        Returns:
            Those that were perhaps not made: the ordinary mkdir tells.

        Raises:
            OSError: ENOSPC, EACCES or EIO, when the store refuses whoever asks.
        """
        return _in_batches(self._make, wanted)

    def _make(self, wanted: list[Wanted]) -> list[Wanted]:
        inside = {item.path for item in wanted}
        outer = list(dict.fromkeys(item.path[:-1] for item in wanted if item.path[:-1] not in inside))
        for _ in range(2):  # the first commit in a mount finds that its root was never written
            try:
                nodes = dict(zip(outer, self._volume.tree.resolve_all(outer), strict=True))
            except OSError:
                return wanted
            if any(node.kind != "dir" for node in nodes.values()):
                return wanted
            holders = {path: self._stored(node) for path, node in nodes.items()}
            made = {item.path: new_entry("dir", item.mode, dir=new_id()).after(new_nonce()) for item in wanted}
            if self._volume.commit(lambda: self._mutations(made, holders)) is not None:  # noqa: B023  # called at once
                self._remember(made, holders)
                return []
            for holder in holders.values():
                self._directories.restore(holder)
        return wanted

    def _stored(self, node: Node) -> Directory:
        return self._directories.stored(path=node.path, directory=self._volume.tree.entered(node))

    def _mutations(self, made: dict[Path, Entry], holders: dict[Path, Directory]) -> list[Any]:
        client = self._volume.connect()
        mutations = [self._volume.guard(holder) for holder in holders.values()]
        for path, entry in made.items():
            holder = str(holders[path[:-1]].id if path[:-1] in holders else made[path[:-1]].dir)
            mutations.append(insert(encode(entry_key(client, holder, path[-1]), entry)))
            mutations.append(insert(constant(guard_key(client, str(entry.dir)))))
        return mutations

    def _remember(self, made: dict[Path, Entry], holders: dict[Path, Directory]) -> None:
        for path, entry in made.items():
            holder = str(holders[path[:-1]].id if path[:-1] in holders else made[path[:-1]].dir)
            self._volume.tree.remember(holder, path[-1], Directory(entry.dir, entry.lower, entry.guards, entry.ino))
        for holding in holders.values():
            self._volume.times.touch(str(holding.id))

    def assign(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Set directories' modes and times, two calls for each 150.

        Args:
            wanted: what exists; no path twice.

        Returns:
            Those that perhaps still have other ones: the ordinary chmod and utime set them.

        Raises:
            OSError: ENOSPC, EACCES or EIO, when the store refuses whoever asks.
        """
        return _in_batches(self._assign, wanted)

    def _assign(self, wanted: list[Wanted]) -> list[Wanted]:
        volume, client = self._volume, self._volume.connect()
        try:
            nodes = volume.tree.resolve_all([item.path for item in wanted], follow=False)
        except OSError:
            return wanted
        mutations: list[Any] = []
        left = []
        for item, node in zip(wanted, nodes, strict=True):
            if node.entry is None or node.entry.type != "dir" or node.parent is None:
                left.append(item)
            else:
                volume.times.forget(str(node.entry.dir))
                mutations += self._assigned(client, item, node, node.entry)
        return wanted if mutations and volume.commit(lambda: mutations) is None else left

    def _assigned(self, client: Any, item: Wanted, node: Node, entry: Entry) -> list[Any]:
        assert node.parent is not None
        later = new_entry("dir", item.mode)
        changed = entry.after(new_nonce(), mode=later.mode, atime=item.atime_ns, mtime=item.mtime_ns, ctime=later.ctime)
        key = entry_key(client, str(node.parent.id), node.name)
        modified = record(time_key(client, str(entry.dir)), mtime=item.mtime_ns)
        return [update(encode(key, changed), node.version), upsert(modified)]


def _in_batches(work: Callable[[list[Wanted]], list[Wanted]], wanted: Sequence[Wanted]) -> list[Wanted]:
    """Return what a piece of work leaves undone, 150 directories at a time."""
    left: list[Wanted] = []
    for start in range(0, len(wanted), DIRECTORIES):
        batch = list(wanted[start : start + DIRECTORIES])
        left += guarded(partial(work, batch), "/".join(batch[0].path))
    return left
