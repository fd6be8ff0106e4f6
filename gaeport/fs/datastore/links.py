"""Hard links: a file with several names.

Each of its names is a small Entry that holds only the inode number; what the Entry of a file with one name holds is
in one `Inode` entity then, with the number of names. It stays there when all names but one are gone.
"""

import errno
import time
from typing import TYPE_CHECKING, Any

from gaeport.datastore.mutations import compare_and_set, delete, insert, update
from gaeport.errors import Aborted, file_error
from gaeport.fs.datastore.attempts import attempts
from gaeport.fs.datastore.entries import Entry, decode, encode, entry_key, inode_key, new_nonce
from gaeport.fs.datastore.tree import Node
from gaeport.fs.volume import Path

if TYPE_CHECKING:
    from gaeport.fs.datastore.volume import DatastoreVolume


class HardLinks:
    """The files of one volume that have several names."""

    def __init__(self, volume: "DatastoreVolume") -> None:
        self._volume = volume

    def link(self, source: Path, target: Path) -> None:
        """Give a file (or a symbolic link, itself) one more name.

        Raises:
            FileExistsError: the name is taken.
            OSError: EPERM, it is a directory.
        """
        volume = self._volume
        nonce, doubt = new_nonce(), False
        for _ in attempts("/".join(source)):
            old, new = volume.tree.resolve_all([source, target], follow=False, mask=())
            if doubt and new.pointer is not None and new.pointer.did(nonce):
                break
            if not self._ready(old, new):
                continue
            assert new.parent is not None
            parent = volume.stored_directory(new.path[:-1], new.parent)
            new.parent = parent
            outcome = volume.try_commit(lambda old=old, new=new: self._mutations(old, new, nonce))  # type: ignore[misc]
            if outcome.results is not None:
                self._linked(old, outcome.results[0].version)
                volume.times.touch(str(parent.id))
                return
            volume.restore(parent)
            doubt = doubt or not outcome.certain

    def _ready(self, old: Node, new: Node) -> bool:
        """Check what Linux checks; bring what exists only here or as deployed into the store. False: look again."""
        volume = self._volume
        waiting = volume.inode_of(old)
        if not old.exists and waiting is None:
            raise file_error(errno.ENOENT, "/".join(old.path))
        if new.exists or volume.inode_of(new) is not None:
            raise file_error(errno.EEXIST, "/".join(new.path))
        if not old.exists and waiting is not None:
            waiting.commit()
            return False
        if old.kind == "dir":
            raise file_error(errno.EPERM, "/".join(old.path), "a directory has one name")
        return volume.copy_up(old, waiting) if old.entry is None else True

    def _mutations(self, old: Node, new: Node, nonce: bytes) -> list[Any]:
        """Return the mutations of a new link; the first one writes the Inode."""
        assert old.entry is not None
        assert old.parent is not None
        assert new.parent is not None
        client = self._volume.connect()
        file = old.entry.after(nonce, nlink=old.entry.nlink + 1, ctime=time.time_ns())
        pointer = Entry("hard", file.ino).after(nonce)
        stored = encode(inode_key(client, file.ino), file)
        added = encode(entry_key(client, str(new.parent.id), new.name), pointer)
        mutations = [insert(stored) if old.pointer is None else update(stored, old.version)]
        mutations.append(compare_and_set(added, new.version))
        mutations.append(self._volume.guard(new.parent))
        if old.pointer is None:
            mutations.append(update(encode(entry_key(client, str(old.parent.id), old.name), pointer), old.version))
        return mutations

    def _linked(self, old: Node, version: int) -> None:
        assert old.entry is not None
        inode = self._volume.open_inode(old.entry.ino)
        if inode is not None:
            inode.linked_again(old.entry.nlink + 1, version, old.version)

    def release(self, node: Node) -> list[Any]:
        """Return the mutations that belong to taking a name away: the content goes with the last one.

        Raises:
            Aborted: somebody changed the file meanwhile; a conflict, as of a commit.
        """
        if node.entry is None:
            return []
        if node.pointer is None:
            return self._volume.storage.drop(node.entry.sources())
        key = inode_key(self._volume.connect(), node.entry.ino)
        if node.entry.nlink > 1:
            found = self._volume.connect().lookup([key])[0]  # whole: the node may have been read without its content
            if found is None or found.version != node.version:
                raise Aborted("the file was changed meanwhile")
            left = decode(found).after(new_nonce(), nlink=node.entry.nlink - 1, ctime=time.time_ns())
            return [update(encode(key, left), found.version)]
        return [delete(key, node.version), *self._volume.storage.drop(node.entry.sources())]

    def released(self, node: Node) -> None:
        """Tell what is open here that a name is gone."""
        inode = self._volume.inode_of(node)
        if inode is None:
            return
        if node.pointer is not None and node.entry is not None and node.entry.nlink > 1:
            inode.set({"nlink": node.entry.nlink - 1})
        else:
            self._volume.unlinked(inode)
