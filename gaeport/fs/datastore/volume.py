"""The volume that keeps files in Datastore, by the rules that let any number of instances share it.

Every change is one Lookup and one compare-and-set Commit, which hold no locks between them; a conflict starts the
change anew from what is there now.
"""

import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gaeport import blobs, datastore, settings
from gaeport.datastore.mutations import compare_and_set, delete, update, upsert
from gaeport.datastore.outcomes import CONFLICTS, UNCERTAIN
from gaeport.errors import file_error
from gaeport.fs import disk
from gaeport.fs.datastore.attempts import Outcome, attempts, guarded
from gaeport.fs.datastore.base_volume import BaseVolume
from gaeport.fs.datastore.bulk import Bulk
from gaeport.fs.datastore.bulk_directories import BulkDirectories
from gaeport.fs.datastore.content import View
from gaeport.fs.datastore.directories import Directories
from gaeport.fs.datastore.entries import (
    METADATA,
    Entry,
    constant,
    decode,
    encode,
    entry_key,
    guard_key,
    inode_key,
    new_entry,
    new_ino,
    new_nonce,
    record,
    time_key,
)
from gaeport.fs.datastore.handle import Handle, writable
from gaeport.fs.datastore.inode import Inode, with_owner
from gaeport.fs.datastore.leases import Leases
from gaeport.fs.datastore.links import HardLinks
from gaeport.fs.datastore.remembered import Remembered, watching
from gaeport.fs.datastore.removals import Removals
from gaeport.fs.datastore.renames import Renames
from gaeport.fs.datastore.storage import Connect, Storage
from gaeport.fs.datastore.times import DirectoryTimes
from gaeport.fs.datastore.tree import Directory, Node, Tree
from gaeport.fs.datastore.turns import Turns
from gaeport.fs.volume import Attributes, Path

_WITHOUT_CONTENT = (*METADATA, "extents")


def make_volume(mount: settings.MountSettings, root: str) -> "DatastoreVolume":
    """Return the volume of a mount under the settings in force.

    Args:
        mount: its settings.
        root: the mounted directory on disk, absolute; it need not exist.
    """
    bucket = mount.bucket or settings.current().bucket
    where = blobs.address(bucket, mount.prefix)
    connect: Connect = datastore.own_client
    memory = Remembered(mount.attr_ttl) if mount.attr_ttl else None
    if memory is not None:
        connect = watching(connect, memory)
    storage = Storage(connect, blobs.store(bucket, mount.prefix), mount.inline_limit, where)
    tree = Tree(connect, mount.name, root, mount.overlay, memory)
    return DatastoreVolume(connect, tree, storage)


class DatastoreVolume(BaseVolume):
    """One mount's files; see `gaeport.fs.volume.Volume`."""

    def __init__(self, connect: Connect, tree: Tree, storage: Storage) -> None:
        super().__init__()
        self.connect = connect
        self.tree = tree
        self.storage = storage
        tree.is_pending = lambda parent, name: (parent, name) in self._pending
        self.times = DirectoryTimes(connect)
        self.leases = Leases(connect)
        self.turns = Turns()
        self._open: dict[int, Inode] = {}
        self._pending: dict[tuple[str, str], Inode] = {}
        self._directories = Directories(self)
        self.links = HardLinks(self)
        self._renames = Renames(self)
        self._removals = Removals(self, self._directories)
        self.bulk = Bulk(self, self._directories)
        self.bulk_directories = BulkDirectories(self, self._directories)

    # Reading

    def stat(self, path: Path, *, follow: bool = True) -> Attributes:
        """Return the attributes of what a path names."""
        return guarded(lambda: self._stat(path, follow), "/".join(path))

    def _stat(self, path: Path, follow: bool) -> Attributes:
        node = self.tree.resolve(path, follow=follow, recent=True)
        inode = self.inode_of(node)
        if inode is not None:
            return inode.attributes()
        if not node.exists:
            raise file_error(errno.ENOENT, "/".join(path))
        if node.kind == "dir" and (node.parent is None or node.entry is not None):
            identity = self.tree.entered(node).id
            node.modified = self.times.latest(str(identity), node.modified)
            if node.entry is None and node.modified is not None:
                return replace(self.tree.attributes(node), mtime_ns=node.modified, ctime_ns=node.modified)
        return self.tree.attributes(node)

    def scandir(self, path: Path) -> Sequence[tuple[str, Attributes]]:
        """Return a directory's entries with their attributes."""
        return guarded(lambda: self._directories.scandir(path), "/".join(path))

    def readlink(self, path: Path) -> str:
        """Return what a symbolic link holds."""
        node = guarded(lambda: self.tree.resolve(path, follow=False), "/".join(path))
        if not node.exists and self.inode_of(node) is None:
            raise file_error(errno.ENOENT, "/".join(path))
        if node.kind != "link":
            raise file_error(errno.EINVAL, "/".join(path))
        if node.entry is not None:
            return node.entry.target or ""
        return disk.readlink(self.tree.deployed_path(str(node.deployed)))

    # Opening

    def open(self, path: Path, flags: int, mode: int = 0o666, *, checked: bool = False) -> Handle:
        """Open or create a regular file."""
        return guarded(lambda: self._opened(path, flags, mode, checked=checked), "/".join(path))

    def _opened(self, path: Path, flags: int, mode: int, *, checked: bool) -> Handle:
        follow = not flags & os.O_NOFOLLOW and not (flags & os.O_CREAT and flags & os.O_EXCL)
        mask = _WITHOUT_CONTENT if flags & os.O_TRUNC else ()
        reading = not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        node = self.tree.resolve(path, follow=follow, mask=mask, recent=reading)
        self._check_open(node, path, flags)
        if checked:
            stored = node.entry.mode if node.entry is not None else None
            self._check_permissions(self.inode_of(node), stored, path, flags)
        if not node.exists and self.inode_of(node) is None:
            if not flags & os.O_CREAT:
                raise file_error(errno.ENOENT, "/".join(path))
            node.parent = self._directories.stored(path=node.path[:-1], directory=node.parent)
        if flags & os.O_CREAT and flags & os.O_EXCL:
            return self._exclusive(node, flags, mode)
        created = not node.exists and self.inode_of(node) is None
        changes = created or writable(flags) or bool(flags & os.O_TRUNC)
        inode = self._shared_inode(node, flags, mode, changes=changes)
        if flags & os.O_TRUNC:
            with inode.lock:
                inode.truncate(0)
        return Handle(self, inode, flags, changes=changes)

    def _check_open(self, node: Node, path: Path, flags: int) -> None:
        name = "/".join(path)
        if flags & os.O_CREAT and flags & os.O_EXCL and (node.exists or self.inode_of(node) is not None):
            raise file_error(errno.EEXIST, name)
        if node.kind == "dir":
            raise file_error(errno.EISDIR, name)
        if node.exists and node.kind == "link":
            raise file_error(errno.ELOOP, name)
        if node.exists and node.kind != "file":
            raise file_error(errno.ENXIO, name)
        if flags & os.O_DIRECTORY and node.exists:
            raise file_error(errno.ENOTDIR, name)

    def _exclusive(self, node: Node, flags: int, mode: int) -> Handle:
        """Insert the empty file at once: one winner among all instances."""
        inode = self._new_inode(node, mode)
        inode.handles = inode.writers = 1
        inode.pending = True
        inode.insert_exclusively()
        return Handle(self, inode, flags, changes=True)

    def _shared_inode(self, node: Node, flags: int, mode: int, *, changes: bool) -> Inode:
        """Return this process's one object for the file, counted as open once more."""
        whole = not flags & os.O_TRUNC
        with self._lock:
            inode = self.inode_of(node)
            if inode is None:
                inode = self._new_inode(node, mode) if not node.exists else self._existing_inode(node)
                if node.exists:
                    inode.partial = node.entry is not None and not whole
                    self._open[inode.ino] = inode
                else:
                    inode.pending = True
                    self._pending[str(inode.parent.id), inode.name] = inode
                    self.times.touch_here(str(inode.parent.id))
            inode.handles += 1
            inode.writers += changes
        if whole and node.entry is not None and node.version is not None and node.entry.ino == inode.ino:
            inode.refresh(node.entry, node.version, hard=node.pointer is not None)
        return inode

    def _new_inode(self, node: Node, mode: int) -> Inode:
        assert node.parent is not None
        inode = Inode(self, node.parent, node.name, new_ino(), View())
        inode.fresh = new_entry("file", mode, ino=inode.ino)
        inode.version, inode.created = node.version, True
        return inode

    def _existing_inode(self, node: Node) -> Inode:
        assert node.parent is not None
        if node.entry is not None:
            inode = Inode(self, node.parent, node.name, node.entry.ino, node.entry.view())
            inode.entry, inode.version, inode.hard = node.entry, node.version, node.pointer is not None
            return inode
        found = self.tree.attributes(node)
        inode = Inode(self, node.parent, node.name, found.ino, self.tree.deployed_view(node))
        inode.path_above, inode.deployed = node.path[:-1], tuple(inode.view.pieces)
        inode.fresh = Entry(
            "file",
            found.ino,
            mode=stat.S_IMODE(found.mode),
            uid=found.uid,
            gid=found.gid,
            size=found.size,
            atime=found.atime_ns,
            mtime=found.mtime_ns,
            ctime=found.ctime_ns,
        )
        return inode

    def inode_of(self, node: Node) -> Inode | None:
        """Return this process's object for a file that is open, or is created and not committed yet."""
        if node.parent is None:
            return None
        with self._lock:
            if node.exists:
                ino = node.entry.ino if node.entry is not None else self.tree.deployed_ino(str(node.deployed))
                return self._open.get(ino)
            return self._pending.get((str(node.parent.id), node.name))

    def pending_in(self, directory: str) -> list[Inode]:
        """Return the files created in a directory and not committed yet."""
        with self._lock:
            return [inode for (parent, _), inode in self._pending.items() if parent == directory]

    def open_inode(self, ino: int) -> Inode | None:
        """Return this process's object for a file that is open."""
        with self._lock:
            return self._open.get(ino)

    # What open files tell

    def named(self, inode: Inode) -> None:
        """A file got its name by a commit."""
        with self._lock:
            self._no_longer_pending(inode)
            if inode.handles:
                self._open[inode.ino] = inode
        self.times.touch(str(inode.parent.id))

    def adopt(self, inode: Inode, ino: int) -> None:
        """A file that was being created turned out to exist, with this inode number."""
        with self._lock:
            self._no_longer_pending(inode)
            if self._open.get(inode.ino) is inode:
                del self._open[inode.ino]
            inode.ino = ino
            self._open.setdefault(ino, inode)

    def released(self, inode: Inode, *, writer: bool) -> None:
        """A handle was closed."""
        with self._lock:
            inode.handles -= 1
            inode.writers -= writer
            if inode.handles:
                return
            if self._open.get(inode.ino) is inode:
                self._open.pop(inode.ino, None)  # a signal handler may have done it just now
            self._no_longer_pending(inode)

    def unlinked(self, inode: Inode) -> None:
        """A file's name is gone; its handles live on."""
        with self._lock:
            inode.linked = False
            self._no_longer_pending(inode)

    def _no_longer_pending(self, inode: Inode) -> None:
        if inode.pending:
            inode.pending = False
            for place in [place for place, other in self._pending.items() if other is inode]:
                del self._pending[place]

    def stored_parent(self, inode: Inode) -> Directory:
        """Return the directory of a deployed file, copied up so that an Entry can be put in it."""
        return self._directories.stored_again(inode.path_above, inode.parent)

    def stored_directory(self, path: Path, directory: Directory) -> Directory:
        """Return a directory that can hold entries, copied up where it exists only as deployed."""
        return self._directories.stored(path=path, directory=directory)

    def close_directory(self, node: Node) -> list[Any] | None:
        """Begin the removal of an empty directory; see `Directories.close`."""
        return self._directories.close(node)

    def restore(self, directory: Directory) -> bool:
        """Put back a directory that somebody left half removed. Returns whether the directory exists."""
        return self._directories.restore(directory)

    # Changing

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Create a directory."""
        guarded(lambda: self._directories.mkdir(path, mode), "/".join(path))

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory."""
        guarded(lambda: self._directories.rmdir(path), "/".join(path))

    def rmtree(self, path: Path) -> bool:
        """Remove a directory and what is in it in few calls, as far as nobody interferes; see `Removals.tree`."""
        return guarded(lambda: self._removals.tree(path), "/".join(path))

    def rename(self, source: Path, target: Path) -> None:
        """Move atomically."""
        guarded(lambda: self._renames.rename(source, target), "/".join(source))

    def unlink(self, path: Path) -> None:
        """Remove a file or symbolic link."""
        guarded(lambda: self._unlink(path), "/".join(path))

    def _unlink(self, path: Path) -> None:
        tried: Node | None = None  # what a commit without an answer may have removed
        for _ in attempts("/".join(path)):
            node = self.tree.resolve(path, follow=False, mask=_WITHOUT_CONTENT)
            if tried is not None and self.is_gone(tried, node):
                return self._removed(tried)
            if node.kind == "dir":
                raise file_error(errno.EISDIR, "/".join(path))
            if node.exists:
                outcome = self.try_commit(lambda node=node: self.removal(node))  # type: ignore[misc]
                if outcome.results is not None:
                    return self._removed(node)
                tried = tried if outcome.certain else node
                if node.entry is None and node.parent is not None:
                    self.restore(node.parent)  # a root that was never written to has no Dir yet
            elif self._drop_pending(node, path):
                return None
        return None

    def is_gone(self, tried: Node, now: Node) -> bool:
        """Tell whether a file or directory is under its former name no more, and under no other.

        Args:
            tried: as it was.
            now: what its name stands for now.
        """
        ino = self.tree.attributes(tried).ino
        if now.exists and self.tree.attributes(now).ino == ino:
            return False
        return tried.pointer is not None or self.tree.find(ino) is None

    def _removed(self, node: Node) -> None:
        self.links.released(node)
        if node.parent is not None:
            self.times.touch(str(node.parent.id))

    def _drop_pending(self, node: Node, path: Path) -> bool:
        """Remove a file that is being created; False when it was committed meanwhile."""
        inode = self.inode_of(node)
        if inode is None:
            raise file_error(errno.ENOENT, "/".join(path))
        with inode.lock:  # a commit that is under way ends before
            if inode.pending:
                self.unlinked(inode)
                self.times.touch_here(str(inode.parent.id))
        return not inode.linked

    def removal(self, node: Node) -> list[Any]:
        """Return the mutations that take a file's or link's name away; deployed files get a whiteout."""
        assert node.parent is not None
        node.parent = self._directories.stored(path=node.path[:-1], directory=node.parent)
        client = self.connect()
        key = entry_key(client, str(node.parent.id), node.name)
        mutations = [self.vacate(node, key)]
        if node.entry is None:
            mutations.append(self.guard(node.parent))
        return mutations + self.links.release(node)

    def vacate(self, node: Node, key: Any) -> Any:
        """Return the mutation that leaves nothing visible under a key: a delete, or a whiteout over a deployed name."""
        assert node.parent is not None
        if not self.hides_deployed(node.parent, node.name):
            return delete(key, node.base)
        entity = encode(key, new_entry("whiteout", 0).after(new_nonce()))
        return compare_and_set(entity, node.base)

    def hides_deployed(self, parent: Directory, name: str) -> bool:
        """Tell whether something deployed would show if the name had no Entry."""
        if parent.lower is None:
            return False
        return disk.lstat(self.tree.deployed_path(os.path.join(parent.lower, name))) is not None

    def guard(self, directory: Directory) -> Any:
        """Return the identical update that makes a commit fail when the directory is gone."""
        number = secrets.randbelow(directory.guards)
        return update(constant(guard_key(self.connect(), str(directory.id), number)))

    def commit(self, mutations: Callable[[], list[Any]]) -> list[Any] | None:
        """Commit once; as `try_commit`, for callers who look for their own mark whatever the reason of a failure."""
        return self.try_commit(mutations).results

    def try_commit(self, mutations: Callable[[], list[Any]]) -> Outcome:
        """Commit once, and tell what is known of it.

        Args:
            mutations: gives the mutations; a conflict may come from within, too.
        """
        try:
            return Outcome(self.connect().commit(mutations()))
        except CONFLICTS:
            return Outcome(None)
        except UNCERTAIN:
            return Outcome(None, certain=False)

    def symlink(self, target: str, path: Path) -> None:
        """Create a symbolic link."""
        entry = new_entry("link", 0o777, target=target)
        guarded(lambda: self._directories.add(path, replace(entry, size=len(os.fsencode(target)))), "/".join(path))

    def link(self, source: Path, target: Path) -> None:
        """Give a file one more name."""
        guarded(lambda: self.links.link(source, target), "/".join(source))

    def _changed(self, path: Path, follow: bool, fields: dict[str, int]) -> None:
        for _ in attempts("/".join(path)):
            node = self.tree.resolve(path, follow=follow, mask=())
            inode = self.inode_of(node)
            if not node.exists:
                if inode is None:
                    raise file_error(errno.ENOENT, "/".join(path))
                inode.set(with_owner(inode.fresh, fields))
                return
            if self._change_once(node, inode, fields):
                return

    def _change_once(self, node: Node, inode: Inode | None, fields: dict[str, int]) -> bool:
        if node.entry is None:
            return self.copy_up(node, inode)
        nonce, fields = new_nonce(), with_owner(node.entry, fields)
        entry = node.entry.after(nonce, ctime=time.time_ns(), **fields)
        parent, name = self._place(node)
        client = self.connect()
        key = entry_key(client, parent, name) if node.pointer is None else inode_key(client, entry.ino)
        mutations = [update(encode(key, entry), node.version)]
        if entry.type == "dir" and "mtime" in fields:
            self.times.forget(str(entry.dir))
            mutations.append(upsert(record(time_key(self.connect(), str(entry.dir)), mtime=fields["mtime"])))
        done = self.commit(lambda: mutations) is not None or self.did(key, nonce)
        if done and inode is not None:
            inode.set(fields)
        return done

    def _place(self, node: Node) -> tuple[str, str]:
        if node.parent is None:
            return self._directories.root_place
        return str(node.parent.id), node.name

    def copy_up(self, node: Node, inode: Inode | None) -> bool:
        """Give something deployed an Entry, so that it can be changed; the caller then looks again."""
        if node.kind == "dir":
            self._directories.stored(path=node.path, directory=None)
        elif node.kind == "file":
            copied = inode or self._existing_inode(node)
            copied.created = True
            copied.commit()
        else:
            self._directories.copy_link(node)
        return False

    def did(self, key: Any, nonce: bytes) -> bool:
        """Tell whether an operation reached the Entry under a key."""
        found = self.connect().lookup([key], mask=METADATA)[0]
        return found is not None and decode(found).did(nonce)

    # The process

    def flush_times(self) -> None:
        """Write the directory times that wait."""
        guarded(self.times.flush, self.tree.name)

    def commit_all(self) -> None:
        """Commit everything that is pending in this process."""
        super().commit_all()
        self.flush_times()

    def _everything(self) -> list[Inode]:
        with self._lock:
            return [*self._open.values(), *self._pending.values()]

    def hold(self) -> list[Any]:
        """Take every lock of this volume; returns them, to be released after a fork."""
        return super().hold() + self.times.hold() + self.storage.hold() + self.turns.hold()

    def drop(self) -> None:
        """Let go of the store: nothing more is written from here on."""
        self.times.stop()
        self.leases.forget()
