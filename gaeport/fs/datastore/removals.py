"""Removing a whole tree in few calls: files by the hundreds in a commit, directories one by one."""

from typing import TYPE_CHECKING, Any

from gaeport.fs.datastore.directories import Child
from gaeport.fs.datastore.entries import METADATA, entry_key
from gaeport.fs.datastore.tree import Directory, Node
from gaeport.fs.volume import Path

if TYPE_CHECKING:
    from gaeport.fs.datastore.directories import Directories
    from gaeport.fs.datastore.volume import DatastoreVolume

BATCH = 500  # files a commit; with their garbage well under the 10 MiB that one may have


class Removals:
    """The removals of trees of one volume."""

    def __init__(self, volume: "DatastoreVolume", directories: "Directories") -> None:
        self._volume = volume
        self._directories = directories

    def tree(self, path: Path) -> bool:
        """Remove a directory with everything in it, as far as nobody interferes.

        What is in the way (a file that another instance changed just now, something deployed, a file being created
        here) stays, with the directories above it: the caller removes the rest name by name, and is told the errors.
        For n files in d directories it takes a query for each 300 entries of a directory, a commit for each 500 files
        and 3 calls for each directory.

        Returns:
            Whether all of it is gone.

        Raises:
            OSError: ENOTEMPTY for the first directory in which something stayed.
        """
        node = self._volume.tree.resolve(path, follow=False, mask=())
        if node.entry is None or node.kind != "dir" or node.parent is None:
            return False
        found: list[tuple[Node, list[Child]]] = []
        self._list(node, found)
        files = [(above, child) for above, children in found for child in children if child.entry.type != "dir"]
        for start in range(0, len(files), BATCH):
            self._remove_files(files[start : start + BATCH])
        return all(self._directories.remove(directory) for directory, _ in reversed(found))

    def _list(self, node: Node, found: list[tuple[Node, list[Child]]]) -> None:
        directory = self._volume.tree.entered(node)
        children = self._directories.children(str(directory.id), mask=(*METADATA, "extents"))
        found.append((node, children))
        for child in children:
            if child.entry.type == "dir":
                self._list(_node(node, directory, child), found)

    def _remove_files(self, files: list[tuple[Node, Child]]) -> None:
        volume, client = self._volume, self._volume.connect()
        mutations: list[Any] = []
        sources: set[str] = set()
        for above, child in files:
            if child.entry.type in ("whiteout", "hard"):
                continue  # goes with its directory; needs a look at its other names
            node = _node(above, volume.tree.entered(above), child)
            key = entry_key(client, str(above.entry.dir if above.entry else ""), child.name)
            mutations.append(volume.vacate(node, key))
            sources |= child.entry.sources()
        if volume.commit(lambda: [*mutations, *volume.storage.drop(sources)]) is None:
            return
        for _, child in files:
            if child.entry.type == "hard":
                continue
            inode = volume.open_inode(child.entry.ino)
            if inode is not None:
                volume.unlinked(inode)


def _node(above: Node, parent: Directory, child: Child) -> Node:
    return Node((*above.path, child.name), parent, entry=child.entry, version=child.version)
