"""The directories of a bucket: prefixes, and an empty object under the prefix's own name for those that were made."""

import errno
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gaeport.blobs.objects import OPERATION, Conflict, Draft, Stored, operations
from gaeport.errors import file_error
from gaeport.fs import disk
from gaeport.fs.gcs.facts import Facts, facts_of, metadata_of, new_facts
from gaeport.fs.gcs.tree import Node
from gaeport.fs.volume import Attributes, Path

if TYPE_CHECKING:
    from gaeport.fs.gcs.volume import GcsVolume

CONTENT_TYPE = "application/x-directory"
DEPLOYED = "it was deployed with the application, and a bucket cannot hide it; with overlay = false it does not show"


class Directories:
    """The directories of one volume."""

    def __init__(self, volume: "GcsVolume") -> None:
        self._volume = volume
        self._tree = volume.tree

    def scandir(self, path: Path) -> list[tuple[str, Attributes]]:
        """Return the entries of a directory with their attributes, all from the listing."""
        began, changes = time.monotonic(), self._tree.changes
        listed = list(self._tree.objects.scan(self._tree.names.below(path))) if self._tree.names.can_be(path) else []
        if not listed and path:
            node = self._tree.resolve(path)
            self._tree.demand_directory(node, path)
            if node.path != path:
                path = node.path
            if self._tree.names.can_be(path):
                listed = list(self._tree.objects.scan(self._tree.names.below(path)))
        nodes = self._nodes(path, listed)
        self._tree.remember(list(nodes.values()), began, changes)
        rows = {name: self._volume.attributes_of(node) for name, node in nodes.items()}
        for inode in self._volume.pending_in(path):
            rows[inode.path_parts[-1]] = inode.attributes()
        return list(rows.items())

    def _nodes(self, path: Path, listed: list[Stored | str]) -> dict[str, Node]:
        """Return what a listing tells, by file names. Objects whose names are no file names are left out."""
        below = self._tree.names.below(path)
        nodes = self._deployed_nodes(path)
        for item in sorted(listed, key=lambda item: item if isinstance(item, str) else item.name, reverse=True):
            whole = item if isinstance(item, str) else item.name
            name = whole[len(below) :].removesuffix("/")
            if name in ("", ".", "..") or "/" in name or "\0" in name:
                continue
            there = (*path, name)
            stored = item if isinstance(item, Stored) else None
            directory = whole.endswith("/")
            if stored is not None and not directory:
                facts = facts_of(stored, self._tree.names.ino(there))
            else:
                facts = self._tree.directory_facts(there, stored)
            nodes[name] = Node(there, facts, stored, self._tree.deployed(there))
        return nodes

    def _deployed_nodes(self, path: Path) -> dict[str, Node]:
        where = self._tree.deployed(path)
        nodes = {}
        for name in disk.listdir(where) if where is not None else []:
            there = (*path, name)
            inner = f"{where}/{name}"
            facts = self._tree.deployed_facts(there, inner)
            if facts is not None:
                nodes[name] = Node(there, facts, None, inner)
        return nodes

    def mkdir(self, path: Path, mode: int) -> None:
        """Make a directory: its placeholder, one winner among all instances."""
        node = self._tree.resolve(path, follow=False)
        if node.exists or self._volume.pending_at(node.path) is not None:
            raise file_error(errno.EEXIST, "/".join(path))
        now = time.time_ns()
        facts = new_facts("dir", self._volume.new_ino(), mode, mtime=now)
        if self.place(node.path, facts) is None:
            raise file_error(errno.EEXIST, "/".join(path))

    def place(self, path: Path, facts: Facts) -> Stored | None:
        """Store a directory's placeholder; None where it has one."""
        metadata = metadata_of(facts)
        metadata[OPERATION] = operations(None, secrets.token_hex(8))
        try:
            return self._tree.objects.write(Draft(self._tree.names.below(path), 0, metadata, CONTENT_TYPE), b"")
        except Conflict:
            return None
        finally:
            self._tree.changed()

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory."""
        node = self._tree.resolve(path, follow=False)
        self._tree.demand_directory(node, path)
        if not path:
            raise file_error(errno.EBUSY, "/".join(path), "the root of a mount cannot be removed")
        self.demand_empty(node, path)
        self.remove(node)

    def demand_empty(self, node: Node, path: Path) -> None:
        """Raise ENOTEMPTY where a directory has entries, EROFS where it was deployed."""
        if self._volume.pending_in(node.path) or (node.deployed is not None and disk.listdir(node.deployed)):
            raise file_error(errno.ENOTEMPTY, "/".join(path))
        below = self._tree.names.below(node.path)
        if any(
            isinstance(item, str) or item.name != below for item in self._tree.objects.scan(below, deep=True, limit=2)
        ):
            raise file_error(errno.ENOTEMPTY, "/".join(path))
        if node.deployed is not None:
            raise file_error(errno.EROFS, "/".join(path), DEPLOYED)

    def remove(self, node: Node) -> None:
        """Remove a directory's placeholder, if it has one."""
        try:
            if node.stored is not None:
                self._tree.objects.delete(node.stored.name, node.stored.generation)
        except Conflict:
            raise file_error(errno.ENOENT, "/".join(node.path)) from None
        finally:
            self._tree.changed()

    def everything(self, path: Path) -> Iterator[Stored]:
        """Yield every object in a directory, its placeholder included."""
        for item in self._tree.objects.scan(self._tree.names.below(path), deep=True):
            if isinstance(item, Stored):
                yield item
