"""The volume that keeps every file as one object of a bucket, under its own name."""

import errno
import os
import secrets
import time
from collections.abc import Sequence
from typing import Any

from gaeport import datastore
from gaeport.blobs.objects import OPERATION, Conflict, Draft, ObjectStore, Stored, operations
from gaeport.errors import file_error
from gaeport.fs.datastore.attempts import attempts, guarded
from gaeport.fs.datastore.base_volume import BaseVolume
from gaeport.fs.datastore.handle import Handle, writable
from gaeport.fs.datastore.leases import Leases
from gaeport.fs.gcs import removals
from gaeport.fs.gcs.directories import DEPLOYED, Directories
from gaeport.fs.gcs.facts import FIRST_INO, changed, facts_of, metadata_of, new_facts, told
from gaeport.fs.gcs.inode import GcsInode
from gaeport.fs.gcs.renames import Renames
from gaeport.fs.gcs.tree import Node, Tree
from gaeport.fs.volume import Attributes, Path

_NO_LINKS = 'an object has one name; use a symbolic link, or keep such files in a mount with store = "datastore"'


class GcsVolume(BaseVolume):
    """One mount's files; see `gaeport.fs.volume.Volume`.

    Args:
        tree: finds them.
    """

    truncating = os.O_RDWR  # an object is stored whole

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self.tree = tree
        tree.is_pending = lambda path: path in self._pending
        self.leases = Leases(datastore.own_client)
        self._open: dict[Path, GcsInode] = {}  # by where they are
        self._handled: set[GcsInode] = set()  # every one with handles: others may have taken a name since
        self._pending: dict[Path, GcsInode] = {}
        self.directories = Directories(self)
        self._renames = Renames(self)

    @property
    def objects(self) -> ObjectStore:
        """Where the objects are."""
        return self.tree.objects

    @property
    def names(self) -> Any:
        """Their names."""
        return self.tree.names

    # Reading

    def stat(self, path: Path, *, follow: bool = True) -> Attributes:
        """Return the attributes of what a path names."""
        return guarded(lambda: self._stat(path, follow), "/".join(path))

    def _stat(self, path: Path, follow: bool) -> Attributes:
        node = self.tree.resolve(path, follow=follow, recent=True)
        inode = self.pending_at(node.path)
        if not node.exists and inode is not None:
            return inode.attributes()
        if not node.exists:
            raise file_error(errno.ENOENT, "/".join(path))
        return self.attributes_of(node)

    def attributes_of(self, node: Node) -> Attributes:
        """Return what stat tells of a node that exists, with what waits here to be stored."""
        inode = self.inode_of(node)
        if inode is not None and inode.dirty:
            return inode.attributes()
        assert node.facts is not None
        return node.facts.attributes(self.tree.dev)

    def scandir(self, path: Path) -> Sequence[tuple[str, Attributes]]:
        """Return a directory's entries with their attributes."""
        return guarded(lambda: self.directories.scandir(path), "/".join(path))

    def readlink(self, path: Path) -> str:
        """Return what a symbolic link holds."""
        node = guarded(lambda: self.tree.resolve(path, follow=False), "/".join(path))
        if not node.exists and self.pending_at(node.path) is None:
            raise file_error(errno.ENOENT, "/".join(path))
        if node.facts is None or node.facts.target is None:
            raise file_error(errno.EINVAL, "/".join(path))
        return node.facts.target

    # Opening

    def open(self, path: Path, flags: int, mode: int = 0o666, *, checked: bool = False) -> Handle:
        """Open or create a regular file."""
        return guarded(lambda: self._opened(path, flags, mode, checked=checked), "/".join(path))

    def _opened(self, path: Path, flags: int, mode: int, *, checked: bool) -> Handle:
        exclusive = bool(flags & os.O_CREAT and flags & os.O_EXCL)
        for _ in attempts("/".join(path)):
            node = self.tree.resolve(path, follow=not flags & os.O_NOFOLLOW and not exclusive)
            self._check_open(node, path, flags)
            if checked:
                stored = node.facts.mode if node.facts is not None and node.deployed is None else None
                self._check_permissions(self.inode_of(node), stored, path, flags)
            if exclusive:
                return self._exclusive(node, flags, mode)
            known = self.inode_of(node)
            inode = self._shared_inode(node, mode)
            created = not node.exists and known is None
            try:
                if not flags & (os.O_TRUNC | os.O_WRONLY):
                    inode.load()
            except Conflict:
                continue  # somebody replaced it between the two calls
            return self._handle(inode, flags, changes=created or bool(flags & os.O_TRUNC) or writable(flags))
        raise AssertionError("attempts ends with an error")

    def _handle(self, inode: GcsInode, flags: int, *, changes: bool) -> Handle:
        with self._lock:
            inode.handles += 1
            inode.writers += changes
            inode.readable = inode.readable or flags & os.O_ACCMODE != os.O_WRONLY
            self._handled.add(inode)
            if inode.pending:
                self._pending.setdefault(inode.path_parts, inode)
            elif inode.linked:
                self._open[inode.path_parts] = inode
        handle = Handle(self, inode, flags, changes=changes)
        if flags & os.O_TRUNC:
            inode.truncate(0)
        return handle

    def _check_open(self, node: Node, path: Path, flags: int) -> None:
        name = "/".join(path)
        exists = node.exists or self.pending_at(node.path) is not None
        if flags & os.O_CREAT and flags & os.O_EXCL and exists:
            raise file_error(errno.EEXIST, name)
        if not exists and not flags & os.O_CREAT:
            raise file_error(errno.ENOENT, name)
        if node.kind == "dir":
            raise file_error(errno.EISDIR, name)
        if node.kind == "link":
            raise file_error(errno.ELOOP, name)
        if node.deployed is not None and not node.exists:
            raise file_error(errno.ENXIO, name)
        if flags & os.O_DIRECTORY and exists:
            raise file_error(errno.ENOTDIR, name)

    def _exclusive(self, node: Node, flags: int, mode: int) -> Handle:
        """Store the empty object at once: one winner among all instances."""
        inode = self._new_inode(node, mode)
        try:
            inode.insert_exclusively()
        finally:
            self.tree.changed()
        return self._handle(inode, flags, changes=True)

    def _shared_inode(self, node: Node, mode: int) -> GcsInode:
        """Return this process's one object for the file."""
        with self._lock:
            inode = self.inode_of(node)
            if inode is None and not node.exists:
                inode = self._new_inode(node, mode)
                inode.created = inode.pending = True
            elif inode is None:
                inode = self._existing_inode(node)
        if node.stored is not None:
            inode.refresh(node.stored)
        return inode

    def _new_inode(self, node: Node, mode: int) -> GcsInode:
        now = time.time_ns()
        return GcsInode(self, node.path, new_facts("file", self.new_ino(), mode, mtime=now), None)

    def _existing_inode(self, node: Node) -> GcsInode:
        assert node.facts is not None
        inode = GcsInode(self, node.path, node.facts, node.stored)
        if node.stored is None and node.deployed is not None:
            inode.show_deployed(node.deployed)
        return inode

    def new_ino(self) -> int:
        """Return a random inode number, other than those that `Names.ino` gives."""
        return secrets.randbits(61) | FIRST_INO

    # What open files tell

    def inode_of(self, node: Node) -> GcsInode | None:
        """Return this process's object for a file that is open, or is created and not stored yet."""
        with self._lock:
            if node.facts is None:
                return self._pending.get(node.path)
            return self._open_at(node.path, node.stored) if node.kind == "file" else None

    def _open_at(self, path: Path, stored: Stored | None) -> GcsInode | None:
        """Return the open file of a path, if it still is what stands there."""
        found = self._open.get(path)
        if found is None or not found.linked:
            return None
        same = found.stored is None if stored is None else found.is_mine(stored)
        return found if same else None

    def pending_at(self, path: Path) -> GcsInode | None:
        """Return the file created under a name and not stored yet."""
        return self._pending.get(path)

    def pending_in(self, path: Path) -> list[GcsInode]:
        """Return the files created in a directory and not stored yet."""
        with self._lock:
            return [inode for place, inode in self._pending.items() if place[:-1] == path]

    def pending_below(self, path: Path) -> bool:
        """Tell whether a file was created anywhere in a directory and not stored yet."""
        with self._lock:
            return any(place[: len(path)] == path for place in self._pending)

    def named(self, inode: GcsInode) -> None:
        """A file got its object."""
        with self._lock:
            self._no_longer_pending(inode)
            if inode.handles:
                self._open[inode.path_parts] = inode

    def adopt(self, inode: GcsInode) -> None:
        """A file that was being created turned out to exist."""
        with self._lock:
            self._no_longer_pending(inode)
            self._open.setdefault(inode.path_parts, inode)

    def released(self, inode: GcsInode, *, writer: bool) -> None:
        """A handle was closed."""
        with self._lock:
            inode.handles -= 1
            inode.writers -= writer
            if inode.handles:
                return
            self._handled.discard(inode)
            if self._open.get(inode.path_parts) is inode:
                del self._open[inode.path_parts]
            self._no_longer_pending(inode)

    def _no_longer_pending(self, inode: GcsInode) -> None:
        inode.pending = False
        for place in [place for place, other in self._pending.items() if other is inode]:
            del self._pending[place]

    def stored_below(self, node: Node) -> bool:
        """Store what waits under a name and below it. Returns whether there was anything."""
        with self._lock:
            depth = len(node.path)
            waiting = [
                one for one in self._everything() if one.dirty and one.linked and one.path_parts[:depth] == node.path
            ]
        for inode in waiting:
            inode.commit()
        return bool(waiting)

    def object_moved(self, old: Stored, made: Stored) -> None:
        """An object of a directory that is moved got its new name."""
        with self._lock:
            inode = self._open_at(self.path_of(old), old)
        if inode is not None:
            self.moved(inode, made, old)

    def moved(self, inode: GcsInode, made: Stored, base: Stored) -> None:
        """The object of a file got another name by a rename of this process."""
        former = inode.path_parts
        inode.moved(self.path_of(made), made, base)
        with self._lock:
            if self._open.get(former) is inode:
                del self._open[former]
            if inode.handles:
                self._open[inode.path_parts] = inode

    def path_of(self, stored: Stored) -> Path:
        """Return where an object is in the mount."""
        return tuple(stored.name[len(self.names.prefix) :].split("/"))

    # Changing

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Create a directory."""
        guarded(lambda: self.directories.mkdir(path, mode), "/".join(path))

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory."""
        guarded(lambda: self.directories.rmdir(path), "/".join(path))

    def rmtree(self, path: Path) -> bool:
        """Remove a directory with everything in it; returns whether nothing was in the way. For `shutil.rmtree`."""
        return guarded(lambda: removals.tree(self, path), "/".join(path))

    def rename(self, source: Path, target: Path) -> None:
        """Move; see `Renames.rename`."""
        guarded(lambda: self._renames.rename(source, target), "/".join(source))

    def unlink(self, path: Path) -> None:
        """Remove a file or symbolic link."""
        guarded(lambda: self._unlink(path), "/".join(path))

    def _unlink(self, path: Path) -> None:
        first = None
        for _ in attempts("/".join(path)):
            node = self.tree.resolve(path, follow=False)
            inode = self.inode_of(node)
            if first is not None and node.facts is not None and node.facts.ino != first:
                return  # the file is gone, by a call of ours whose answer was lost or by another's; this is a new one
            first = node.facts.ino if node.facts is not None else first
            if node.kind == "dir":
                raise file_error(errno.EISDIR, "/".join(path))
            if node.deployed is not None:
                raise file_error(errno.EROFS, "/".join(path), DEPLOYED)
            if not node.exists and inode is None:
                raise file_error(errno.ENOENT, "/".join(path))
            if self.removed(node, inode):
                return

    def removed(self, node: Node, inode: GcsInode | None) -> bool:
        """Remove a file's object, and let its handles know. False where somebody else changed it."""
        if node.stored is not None:
            try:
                self.objects.delete(node.stored.name, node.stored.generation)
            except Conflict:
                return False
            finally:
                self.tree.changed()
        if inode is not None:
            with inode.lock:  # a store that is under way ends before
                if node.stored is None and not inode.pending:
                    return False
                inode.unlinked()
            with self._lock:
                self._no_longer_pending(inode)
        return True

    def symlink(self, target: str, path: Path) -> None:
        """Create a symbolic link: an empty object that holds its target as Cloud Storage FUSE has it."""
        guarded(lambda: self._symlink(target, path), "/".join(path))

    def _symlink(self, target: str, path: Path) -> None:
        node = self.tree.resolve(path, follow=False)
        if node.exists or self.pending_at(node.path) is not None:
            raise file_error(errno.EEXIST, "/".join(path))
        now = time.time_ns()
        facts = new_facts("link", self.new_ino(), 0o777, mtime=now, target=target)
        metadata = metadata_of(facts)
        metadata[OPERATION] = operations(None, secrets.token_hex(8))
        try:
            self.objects.write(Draft(self.names.of(node.path), 0, metadata), b"")
        except Conflict:
            raise file_error(errno.EEXIST, "/".join(path)) from None
        finally:
            self.tree.changed()

    def link(self, source: Path, target: Path) -> None:
        """Refuse: EPERM, where Linux has no other reason to."""
        guarded(lambda: self._link(source, target), "/".join(source))

    def _link(self, source: Path, target: Path) -> None:
        old, new = self.tree.resolve(source, follow=False), self.tree.resolve(target, follow=False)
        if not old.exists and self.pending_at(old.path) is None:
            raise file_error(errno.ENOENT, "/".join(source))
        if new.exists or self.pending_at(new.path) is not None:
            raise file_error(errno.EEXIST, "/".join(target))
        raise file_error(errno.EPERM, "/".join(source), _NO_LINKS)

    def _changed(self, path: Path, follow: bool, fields: dict[str, int]) -> None:
        for _ in attempts("/".join(path)):
            node = self.tree.resolve(path, follow=follow)
            inode = self.inode_of(node)
            if not node.exists and inode is None:
                raise file_error(errno.ENOENT, "/".join(path))
            try:
                if self._changed_once(node, inode, fields):
                    return
            except Conflict:
                continue
            finally:
                self.tree.changed()

    def _changed_once(self, node: Node, inode: GcsInode | None, fields: dict[str, int]) -> bool:
        """Set facts; False to look again, since what they are set of had to be stored first."""
        if node.stored is not None:
            wanted = changed(facts_of(node.stored, self.names.ino(node.path)), fields)
            made = self.objects.patch(node.stored, told(wanted, fields))
            if inode is not None:
                inode.patched(made, node.stored)
            return True
        if inode is not None and inode.pending:
            inode.set(fields)
            return True
        return self._copied_up(node, inode)

    def _copied_up(self, node: Node, inode: GcsInode | None) -> bool:
        """Store what exists only as deployed, or only as a prefix, so that it can tell facts of its own."""
        assert node.facts is not None
        if node.kind == "dir":
            if not self.names.below(node.path):
                note = "without a prefix the bucket's own root is mounted, which has no attributes"
                raise file_error(errno.EPERM, "", note)
            self.directories.place(node.path, node.facts)
        elif node.kind == "file":
            copied = inode or self._existing_inode(node)
            copied.created = True
            copied.commit()
        else:
            raise file_error(errno.EROFS, "/".join(node.path), DEPLOYED)
        return False

    # The process

    def _everything(self) -> list[GcsInode]:
        with self._lock:
            return list(self._handled | set(self._pending.values()))

    def drop(self) -> None:
        """Let go of the store: nothing more is written from here on."""
        for inode in self._everything():
            inode.revert()
        self.leases.forget()
