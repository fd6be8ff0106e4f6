"""Many small files in few calls: hundreds of creates, replacements or removals in one Commit, of reads in one Lookup.

Each file's promise stays that of a single operation: a name is taken by an insert, a file replaced by compare-and-set
of its version, a directory guarded by the identical update of its Dir. A Commit is all or nothing, so what is not done
for one file is done for none: it is looked up anew, and what stays in the way (an open file, one with several names, a
conflict that does not end) is left to the caller, who does it by the ordinary operation and is told the ordinary error.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gaeport.datastore.client import backoff
from gaeport.datastore.mutations import compare_and_set
from gaeport.errors import DatastoreError
from gaeport.fs.datastore.attempts import guarded
from gaeport.fs.datastore.entries import (
    METADATA,
    Entry,
    decode,
    encode,
    entry_key,
    inode_key,
    new_entry,
    new_ino,
    new_nonce,
)
from gaeport.fs.datastore.tree import Directory, Node
from gaeport.fs.volume import Attributes, Path

if TYPE_CHECKING:
    from gaeport.fs.datastore.directories import Directories
    from gaeport.fs.datastore.volume import DatastoreVolume

FILES = 250  # in one Commit or Lookup; with a guard each, 500 entities at most
BYTES = 2_700_000  # of content in one; production takes 10 MiB, the Firestore emulator 4 MiB
ATTEMPTS = 4
FOLLOWED = 3  # files that are looked for under other names, after a Commit without an answer
_WITHOUT_CONTENT = (*METADATA, "extents")


@dataclass(frozen=True, slots=True)
class Whole:
    """A small file or symbolic link, whole.

    Attributes:
        path: in the volume.
        content: the bytes of a file; what a link holds, as os.fsencode has it.
        mode: permission bits.
        atime_ns, mtime_ns: nanoseconds since 1970.
        link: whether it is a symbolic link.
        new: whether the name was free when the directory was last listed.
        in_place: whether to write as `open(path, "w")` does: a file that is there keeps its mode, and a link leads on.
    """

    path: Path
    content: bytes
    mode: int
    atime_ns: int
    mtime_ns: int
    link: bool = False
    new: bool = False
    in_place: bool = False

    @property
    def weight(self) -> int:
        """Bytes that it counts for in a batch."""
        return len(self.content)


class _Planned(NamedTuple):
    """A file with the entry that it will have, and what its name stands for now."""

    file: Whole
    node: Node
    parent: Directory
    entry: Entry


class Bulk:
    """The operations on many files of one volume."""

    def __init__(self, volume: "DatastoreVolume", directories: "Directories") -> None:
        self._volume = volume
        self._directories = directories

    @property
    def limit(self) -> int:
        """Bytes; larger files are not for this."""
        return min(self._volume.storage.inline_limit, BYTES)

    # Writing

    def write(self, files: Sequence[Whole]) -> list[Whole]:
        """Create or replace small files and links, two calls a batch of new ones.

        Args:
            files: at most FILES, together at most BYTES; no name twice.

        Returns:
            Those that were not written; nothing of them was.

        Raises:
            OSError: ENOSPC, EACCES or EIO, when the store refuses whoever asks.
        """
        fit = [file for file in files if file.weight <= self.limit]
        left = [file for file in files if file.weight > self.limit]
        if not fit:
            return left
        return left + guarded(lambda: self._write(fit), "/".join(fit[0].path))

    def _write(self, files: list[Whole]) -> list[Whole]:
        nonce, made = new_nonce(), {file.path: new_ino() for file in files}
        doubtful: tuple[list[_Planned], list[Whole]] | None = None
        for attempt in range(ATTEMPTS + 1):
            if doubtful is not None and self._applied(doubtful[0], nonce):
                break
            try:
                planned, left = self._plan(files, made, nonce, blind=attempt == 0)
            except OSError:
                return files  # a directory is missing or none: the ordinary way tells which
            if any(node.entry is not None and node.entry.did(nonce) for _, node, _, _ in planned):
                break  # it was applied between the two looks
            if not planned or attempt == ATTEMPTS:
                return files
            outcome = self._volume.try_commit(lambda planned=planned: self._mutations(planned))  # type: ignore[misc]
            if outcome.results is not None:
                self._done(planned)
                return left
            doubtful = doubtful if outcome.certain else (planned, left)
            self._restore(planned)
            backoff(attempt)
        assert doubtful is not None
        self._done(doubtful[0])
        return doubtful[1]

    def _plan(
        self, files: list[Whole], made: dict[Path, int], nonce: bytes, *, blind: bool
    ) -> tuple[list[_Planned], list[Whole]]:
        """Return what can be written in one Commit, and what cannot.

        Args:
            files: what to write.
            made: an inode number for each file that is new.
            nonce: marks the operation.
            blind: whether to believe that names are free which were when they were listed; the insert tells if not.
        """
        nodes = self._nodes(files, blind=blind)
        planned, left = [], []
        for file, node in zip(files, nodes, strict=True):
            entry = self._entry(file, node, made[file.path], nonce)
            if entry is None or node.parent is None:
                left.append(file)
            else:
                parent = self._directories.stored(path=node.path[:-1], directory=node.parent)
                planned.append(_Planned(file, node, parent, entry))
        return planned, left

    def _nodes(self, files: list[Whole], *, blind: bool) -> list[Node]:
        tree = self._volume.tree
        fresh = {file.path for file in files if file.new and blind}
        known = [file.path for file in files if file.path not in fresh]
        above = list(dict.fromkeys(path[:-1] for path in fresh))
        found = dict(zip(known, tree.resolve_all(known, follow=False, mask=_WITHOUT_CONTENT), strict=True))
        parents = dict(zip(above, tree.resolve_all(above), strict=True))
        for path in fresh:
            parent = parents[path[:-1]]
            if parent.kind != "dir":
                raise NotADirectoryError
            found[path] = Node((*parent.path, path[-1]), tree.entered(parent))
        return [found[file.path] for file in files]

    def _entry(self, file: Whole, node: Node, ino: int, nonce: bytes) -> Entry | None:
        """Return the entry that a file gets; None where only the ordinary way will do."""
        if node.kind not in ("", "file", "link") or node.pointer is not None or self._volume.inode_of(node) is not None:
            return None
        kind: Literal["file", "link"] = "link" if file.link else "file"
        if file.in_place and node.kind == "link":
            return None
        fresh = new_entry(kind, file.mode, ino=ino)
        if node.entry is not None and node.kind == kind:
            fresh = replace(node.entry, ctime=fresh.ctime, mode=node.entry.mode if file.in_place else fresh.mode)
        elif node.entry is None and node.exists:
            if node.kind != kind:
                return None
            found = self._volume.tree.attributes(node)
            mode = stat.S_IMODE(found.mode) if file.in_place else fresh.mode
            fresh = replace(fresh, ino=found.ino, uid=found.uid, gid=found.gid, mode=mode)
        return fresh.after(
            nonce,
            size=len(file.content),
            atime=file.atime_ns,
            mtime=file.mtime_ns,
            extents=b"",
            inline=b"" if file.link else file.content,
            target=os.fsdecode(file.content) if file.link else None,
        )

    def _mutations(self, planned: list[_Planned]) -> list[Any]:
        volume, client = self._volume, self._volume.connect()
        mutations: list[Any] = []
        guards: dict[str, Directory] = {}
        dropped: set[str] = set()
        for _, node, parent, entry in planned:
            entity = encode(entry_key(client, str(parent.id), node.name), entry)
            mutations.append(compare_and_set(entity, node.version))
            if node.entry is None:
                guards[str(parent.id)] = parent
            else:
                dropped |= node.entry.sources()
        mutations += [volume.guard(parent) for parent in guards.values()]
        return mutations + volume.storage.drop(dropped)

    def _applied(self, planned: list[_Planned], nonce: bytes) -> bool:
        """Tell whether the Commit that got no answer was applied: it was for all where it was for one.

        The names are looked up where they were, whatever became of their directories' names; then some of the files
        wherever they are now.
        """
        client = self._volume.connect()
        keys = [entry_key(client, str(parent.id), node.name) for _, node, parent, _ in planned]
        if any(found is not None and decode(found).did(nonce) for found in client.lookup(keys, mask=METADATA)):
            return True
        return any(self._moved_after(entry.ino, nonce) for _, _, _, entry in planned[:FOLLOWED])

    def _moved_after(self, ino: int, nonce: bytes) -> bool:
        moved = self._volume.tree.find(ino)
        if moved is None:
            return False
        entry = decode(moved[1])
        return entry.did(nonce) or (
            entry.type == "hard" and self._volume.did(inode_key(self._volume.connect(), ino), nonce)
        )

    def _done(self, planned: list[_Planned]) -> None:
        for identity in {str(parent.id) for _, node, parent, _ in planned if node.entry is None}:
            self._volume.times.touch(identity)

    def _restore(self, planned: list[_Planned]) -> None:
        for parent in {str(parent.id): parent for _, _, parent, _ in planned}.values():
            self._directories.restore(parent)

    # Reading

    def read(self, paths: Sequence[Path]) -> list[tuple[Attributes, bytes] | None]:
        """Read small files whole, all in one Lookup.

        Args:
            paths: at most FILES, of files together about BYTES.

        Returns:
            For each path attributes and content, of one moment; None where only the ordinary way will do: large
            content, several names, a deployed or an open file, a link, nothing.

        Raises:
            OSError: EIO or EACCES, when the store refuses whoever asks.
        """
        if not paths:
            return []
        try:
            nodes = guarded(lambda: self._volume.tree.resolve_all(paths, follow=False, mask=()), "/".join(paths[0]))
        except OSError as error:
            if isinstance(error.__cause__, DatastoreError):
                raise
            return [None] * len(paths)  # a directory is missing: the ordinary way tells which
        return [self._content(node) for node in nodes]

    def _content(self, node: Node) -> tuple[Attributes, bytes] | None:
        entry = node.entry
        if entry is None or entry.type != "file" or entry.extents or node.pointer is not None:
            return None
        if self._volume.inode_of(node) is not None:
            return None
        return self._volume.tree.attributes(node), entry.inline

    # Removing

    def remove(self, paths: Sequence[Path]) -> list[Path]:
        """Remove files and links, two calls a batch.

        Args:
            paths: at most FILES; no name twice.

        Returns:
            Those that were not removed, and may be gone all the same: the ordinary way tells.

        Raises:
            OSError: ENOSPC, EACCES or EIO, when the store refuses whoever asks.
        """
        return guarded(lambda: self._remove(paths), "/".join(paths[0])) if paths else []

    def _remove(self, paths: Sequence[Path]) -> list[Path]:
        volume, client = self._volume, self._volume.connect()
        try:
            nodes = volume.tree.resolve_all(paths, follow=False, mask=_WITHOUT_CONTENT)
        except OSError:
            return list(paths)
        mutations: list[Any] = []
        sources: set[str] = set()
        taken: dict[Path, str] = {}
        for path, node in zip(paths, nodes, strict=True):
            entry = node.entry
            if entry is None or node.pointer is not None or node.parent is None or volume.inode_of(node) is not None:
                continue
            if entry.type in ("file", "link"):
                mutations.append(volume.vacate(node, entry_key(client, str(node.parent.id), node.name)))
                sources |= entry.sources()
                taken[path] = str(node.parent.id)
        if taken and volume.commit(lambda: [*mutations, *volume.storage.drop(sources)]) is None:
            return list(paths)
        for identity in set(taken.values()):
            volume.times.touch(identity)
        return [path for path in paths if path not in taken]


def batches(files: Sequence[Any], weights: Sequence[int]) -> Iterator[list[Any]]:
    """Yield files in batches of at most FILES and, but for single ones, BYTES.

    Args:
        files: anything.
        weights: the bytes of each.
    """
    batch: list[Any] = []
    total = 0
    for file, weight in zip(files, weights, strict=True):
        if batch and (len(batch) == FILES or total + weight > BYTES):
            yield batch
            batch, total = [], 0
        batch.append(file)
        total += weight
    if batch:
        yield batch
