"""Moving files and directories: one commit, whatever is inside."""

import errno
import time
from typing import TYPE_CHECKING, Any

from gaeport.datastore.mutations import compare_and_set, update
from gaeport.errors import file_error
from gaeport.fs.datastore.attempts import Outcome, attempts
from gaeport.fs.datastore.entries import Entry, decode, encode, entry_key, new_nonce
from gaeport.fs.datastore.tree import Node
from gaeport.fs.volume import Path

if TYPE_CHECKING:
    from gaeport.fs.datastore.volume import DatastoreVolume


class Renames:
    """The moves within one volume."""

    def __init__(self, volume: "DatastoreVolume") -> None:
        self._volume = volume
        self._tree = volume.tree

    def rename(self, source: Path, target: Path) -> None:
        """Move `source` to `target`, replacing a file or an empty directory there (os.replace)."""
        if not source or not target:
            raise file_error(errno.EBUSY, "/".join(source or target), "the root of a mount cannot be moved")
        nonce = new_nonce()
        tried: tuple[Node, Node] | None = None  # what a commit without an answer may have moved
        for _ in attempts("/".join(source)):
            old, new = self._tree.resolve_all([source, target], follow=False, mask=())
            if tried is not None and self._has_moved(tried, new, nonce):
                return
            if self._prepare(old, new):
                if _same(old, new):
                    return
                outcome = self._move(old, new, nonce)
                if outcome.results is not None:
                    return
                tried = tried if outcome.certain else (old, new)

    def _has_moved(self, tried: tuple[Node, Node], now: Node, nonce: bytes) -> bool:
        """Tell whether a move whose answer was lost was made after all; somebody may have moved it on since."""
        old, new = tried
        entry, version = now.pointer or now.entry, now.base
        if (entry is None or not entry.did(nonce)) and old.entry is not None and old.pointer is None:
            found = self._tree.find(old.entry.ino)
            entry, version = (decode(found[1]), None) if found is not None else (None, None)
        if entry is None or not entry.did(nonce):
            return False
        self._moved(old, new, entry, version)
        return True

    def _prepare(self, old: Node, new: Node) -> bool:
        """Check what Linux checks; bring what exists only here or as deployed into the store. False: look again."""
        volume = self._volume
        waiting = volume.inode_of(old) if not old.exists else None
        if waiting is not None:
            waiting.commit()
            return False
        if not old.exists:
            raise file_error(errno.ENOENT, "/".join(old.path))
        self._check(old, new)
        if old.entry is None:
            return volume.copy_up(old, volume.inode_of(old))
        if new.entry is None and new.kind == "dir":
            return volume.copy_up(new, None)
        return True

    def _check(self, old: Node, new: Node) -> None:
        name = "/".join(new.path)
        if old.kind == "dir" and new.path[: len(old.path)] == old.path and new.path != old.path:
            raise file_error(errno.EINVAL, name)
        if old.entry is not None and any(entry.ino == old.entry.ino for _, _, entry, _ in new.chain):
            raise file_error(errno.EINVAL, name)
        if old.path[: len(new.path)] == new.path and new.path != old.path:
            raise file_error(errno.ENOTEMPTY, name)
        if new.exists and new.kind == "dir" and old.kind != "dir":
            raise file_error(errno.EISDIR, name)
        waiting = not new.exists and self._volume.inode_of(new) is not None
        if (new.exists or waiting) and new.kind != "dir" and old.kind == "dir":
            raise file_error(errno.ENOTDIR, name)

    def _move(self, old: Node, new: Node, nonce: bytes) -> Outcome:
        assert old.entry is not None
        assert new.parent is not None
        volume = self._volume
        if new.parent.id is None:
            volume.stored_directory(new.path[:-1], new.parent)
            return Outcome(None)  # the chain above has entries now that the move must hold on to
        hidden = volume.close_directory(new) if new.kind == "dir" else []
        if hidden is None:
            return Outcome(None)
        entry = old.pointer.after(nonce) if old.pointer else old.entry.after(nonce, ctime=time.time_ns())
        outcome = volume.try_commit(lambda: [*self._mutations(old, new, entry), *hidden])
        if outcome.results is None:
            volume.restore(new.parent)
        else:
            self._moved(old, new, entry, outcome.results[0].version)
        return outcome

    def _mutations(self, old: Node, new: Node, entry: Entry) -> list[Any]:
        assert old.parent is not None
        assert new.parent is not None
        volume, client = self._volume, self._volume.connect()
        entity = encode(entry_key(client, str(new.parent.id), new.name), entry)
        mutations = [compare_and_set(entity, new.base)]
        mutations.append(volume.vacate(old, entry_key(client, str(old.parent.id), old.name)))
        if new.entry is None:
            mutations.append(volume.guard(new.parent))
        else:
            mutations += volume.links.release(new)
        if entry.type == "dir" and old.parent.id != new.parent.id:
            # Without these, "mv a b/a" beside "mv b a/b" both win and leave a cycle.
            for parent, name, above, version in new.chain:
                mutations.append(update(encode(entry_key(client, parent, name), above), version))
        return mutations

    def _moved(self, old: Node, new: Node, entry: Entry, version: int | None) -> None:
        """Tell what is open here; without a version, its next commit finds out by itself."""
        assert old.parent is not None
        assert new.parent is not None
        volume = self._volume
        over = volume.inode_of(new)
        if over is not None and over.ino != entry.ino:
            volume.links.released(new)
        inode = volume.open_inode(entry.ino)
        if inode is not None and old.pointer is not None:
            inode.renamed(new.parent, new.name)
        elif inode is not None and version is not None:
            inode.moved(new.parent, new.name, entry, version, old.version)
        for directory in {old.parent.id, new.parent.id}:
            volume.times.touch(str(directory))


def _same(old: Node, new: Node) -> bool:
    """Two names of one file: Linux then does nothing."""
    return old.entry is not None and new.entry is not None and old.entry.ino == new.entry.ino
