"""Making, listing and removing directories.

A directory's existence is an entity of its own, which every create in it updates identically: so a create and the
removal of its directory cannot both succeed.
"""

import errno
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from gaeport.datastore import wire
from gaeport.datastore.mutations import compare_and_set, delete, insert, update
from gaeport.errors import file_error
from gaeport.fs import disk
from gaeport.fs.datastore.attempts import Outcome, attempts
from gaeport.fs.datastore.entries import (
    METADATA,
    ROOTS,
    Entry,
    constant,
    decode,
    encode,
    entry_key,
    guard_key,
    inode_key,
    new_entry,
    new_id,
    new_nonce,
    time_key,
    unescape,
)
from gaeport.fs.datastore.remembered import SMALL
from gaeport.fs.datastore.tree import Directory, Node
from gaeport.fs.volume import Attributes, Path

if TYPE_CHECKING:
    from gaeport.fs.datastore.volume import DatastoreVolume


class Child(NamedTuple):
    """Something stored in a directory."""

    name: str
    entry: Entry
    version: int


class Directories:
    """The directories of one volume."""

    def __init__(self, volume: "DatastoreVolume") -> None:
        self._volume = volume
        self._tree = volume.tree

    @property
    def root_place(self) -> tuple[str, str]:
        """Parent's identity and name of the root's own Entry."""
        return ROOTS, self._tree.name

    # Listing

    def scandir(self, path: Path) -> list[tuple[str, Attributes]]:
        """Return the entries of a directory with their attributes."""
        node = self._tree.resolve(path)
        self._demand_directory(node, path)
        directory = self._tree.entered(node)
        rows = self._deployed_rows(directory)
        if directory.id is not None:
            self._stored_rows(directory.id, rows)
            for inode in self._volume.pending_in(directory.id):
                rows[inode.name] = inode.attributes()
        return [(name, self._as_open(found)) for name, found in rows.items()]

    def _demand_directory(self, node: Node, path: Path) -> None:
        if not node.exists and self._volume.inode_of(node) is None:
            raise file_error(errno.ENOENT, "/".join(path))
        if node.kind != "dir":
            raise file_error(errno.ENOTDIR, "/".join(path))

    def _deployed_rows(self, directory: Directory) -> dict[str, Attributes]:
        rows = {}
        if directory.lower is not None:
            for name in disk.listdir(self._tree.deployed_path(directory.lower)):
                lower = name if directory.lower == "." else f"{directory.lower}/{name}"
                status = disk.lstat(self._tree.deployed_path(lower))
                if status is not None:
                    rows[name] = self._tree.deployed_attributes(lower, status)
        return rows

    def _stored_rows(self, identity: str, rows: dict[str, Attributes]) -> None:
        children = self.children(identity)
        times = self._times([str(entry.dir) for _, entry, _ in children if entry.type == "dir"])
        inodes = self._inodes([entry.ino for _, entry, _ in children if entry.type == "hard"])
        for name, child, _ in children:
            if child.type == "dir":  # a walk goes down from here
                self._tree.remember(identity, name, Directory(child.dir, child.lower, child.guards, child.ino))
            entry = inodes.get(child.ino) if child.type == "hard" else child
            if entry is None or entry.type == "whiteout":
                rows.pop(name, None)
            else:
                rows[name] = entry.attributes(self._tree.dev, times.get(str(entry.dir)))

    def _inodes(self, numbers: list[int]) -> dict[int, Entry]:
        """Return the files with several names by their inode numbers."""
        if not numbers:
            return {}
        client = self._volume.connect()
        found = client.lookup([inode_key(client, ino) for ino in sorted(set(numbers))], mask=METADATA)
        return {entry.ino: entry for entry in (decode(row) for row in found if row is not None)}

    def _times(self, identities: list[str]) -> dict[str, int]:
        if not identities:
            return {}
        client = self._volume.connect()
        times = {}
        found = client.lookup([time_key(client, identity) for identity in identities])
        for identity, row in zip(identities, found, strict=True):
            stored = row.entity.properties["mtime"].integer_value if row is not None else None
            latest = self._volume.times.latest(identity, stored)
            if latest is not None:
                times[identity] = latest
        return times

    def _as_open(self, found: Attributes) -> Attributes:
        inode = self._volume.open_inode(found.ino)
        return inode.attributes() if inode is not None and stat.S_ISREG(found.mode) else found

    def children(self, identity: str, mask: Iterable[str] = METADATA) -> list["Child"]:
        """Return everything stored in a directory, whiteouts included; one query for each 300."""
        client = self._volume.connect()
        query = wire.Query()
        query.kind.add(name="Entry")
        condition = query.filter.property_filter
        condition.property.name, condition.op = "__key__", wire.HAS_ANCESTOR
        condition.value.key_value.CopyFrom(client.key("Dir", identity))
        memory = self._tree.remembered
        began = memory.begin() if memory is not None else None
        found = list(client.query(query, mask=mask))
        children = [Child(unescape(row.entity.key.path[-1].name), decode(row), row.version) for row in found]
        if memory is not None and began is not None:
            rows = [((identity, child.name), row) for child, row in zip(children, found, strict=True)]
            memory.keep(began, rows, whole=False)
            small = [(child.name, child.entry.size) for child in children if 0 < child.entry.size <= SMALL]
            memory.keep_listing(began, identity, small)
        return children

    # Making

    def mkdir(self, path: Path, mode: int) -> None:
        """Create a directory."""
        identity = new_id()
        entry = new_entry("dir", mode, dir=identity)
        self.add(path, entry, [insert(constant(guard_key(self._volume.connect(), identity)))])

    def add(self, path: Path, entry: Entry, more: list[Any] | None = None) -> None:
        """Give a free name to something new.

        Raises:
            FileExistsError: the name is taken.
        """
        if not path:
            raise file_error(errno.EEXIST, "")
        entry = entry.after(new_nonce())
        doubt = False
        for _ in attempts("/".join(path)):
            node = self._tree.resolve(path, follow=False)
            if doubt and self._tree.find(entry.ino) is not None:  # made after all; it may have been moved since
                self._made(node, entry)
                break
            if node.exists or self._volume.inode_of(node) is not None:
                raise file_error(errno.EEXIST, "/".join(path))
            outcome = self._put(node, entry, more or [])
            if outcome.results is not None:
                break
            doubt = doubt or not outcome.certain

    def copy_link(self, node: Node) -> None:
        """Give a deployed symbolic link an Entry of its own."""
        target = disk.readlink(self._tree.deployed_path(str(node.deployed)))
        ino = self._tree.deployed_ino(str(node.deployed))
        self._put(node, new_entry("link", 0o777, ino=ino, target=target), [])

    def _put(self, node: Node, entry: Entry, more: list[Any]) -> Outcome:
        assert node.parent is not None
        parent = self.stored(path=node.path[:-1], directory=node.parent)
        entity = encode(entry_key(self._volume.connect(), str(parent.id), node.name), entry)
        mutation = compare_and_set(entity, node.version)
        outcome = self._volume.try_commit(lambda: [mutation, self._volume.guard(parent), *more])
        if outcome.results is None:
            self.restore(parent)
        else:
            node.parent = parent
            self._made(node, entry)
        return outcome

    def _made(self, node: Node, entry: Entry) -> None:
        assert node.parent is not None
        parent = str(node.parent.id)
        if entry.dir is not None:
            self._tree.remember(parent, node.name, Directory(entry.dir, entry.lower, entry.guards, entry.ino))
        self._volume.times.touch(parent)

    def stored_again(self, path: Path, directory: Directory) -> Directory:
        """Return a directory that existed only as deployed when it was met, able to hold entries now.

        Args:
            path: where it was met; it may have been moved since.
            directory: as it was met.
        """
        try:
            found = self.stored(path=path, directory=directory)
        except (FileNotFoundError, NotADirectoryError):
            found = None
        if found is not None and found.ino == directory.ino:
            return found
        where = self._tree.find(directory.ino)
        if where is None:
            raise file_error(errno.ENOENT, "/".join(path), "the directory was removed")
        entry = decode(where[1])
        return Directory(entry.dir, entry.lower, entry.guards, entry.ino)

    def stored(self, *, path: Path, directory: Directory | None) -> Directory:
        """Return a directory that can hold entries, copying up deployed ones (their names only, not their files).

        Args:
            path: the directory's path, links resolved.
            directory: what is known of it; None looks.
        """
        if directory is not None and directory.id is not None:
            return directory
        for _ in attempts("/".join(path)):
            nodes = self._tree.resolve_all([path[: depth + 1] for depth in range(len(path))])
            if not nodes:
                self.restore(self._tree.root)
                return self._tree.root
            for node in nodes:
                if node.kind != "dir":
                    raise file_error(errno.ENOENT if not node.exists else errno.ENOTDIR, "/".join(path))
            made, mutations, first = self._copies(nodes)
            if not mutations or self._volume.commit(lambda mutations=mutations: mutations) is not None:  # type: ignore[misc]
                return made
            self.restore(first)
        raise AssertionError("attempts end by an error")

    def _copies(self, nodes: list[Node]) -> tuple[Directory, list[Any], Directory]:
        client = self._volume.connect()
        parent = first = self._tree.root
        mutations: list[Any] = []
        for node in nodes:
            directory = self._tree.entered(node)
            if directory.id is None:
                entry = self._deployed_entry(node)
                if not mutations:
                    first = parent
                    mutations.append(self._volume.guard(parent))
                mutations.append(insert(encode(entry_key(client, str(parent.id), node.name), entry)))
                mutations.append(insert(constant(guard_key(client, str(entry.dir)))))
                directory = Directory(entry.dir, entry.lower, entry.guards, entry.ino)
            parent = directory
        return parent, mutations, first

    def _deployed_entry(self, node: Node) -> Entry:
        found = self._tree.attributes(node)
        return Entry(
            "dir",
            found.ino,
            mode=stat.S_IMODE(found.mode),
            uid=found.uid,
            gid=found.gid,
            atime=found.atime_ns,
            mtime=found.mtime_ns,
            ctime=found.ctime_ns,
            dir=new_id(),
            lower=node.deployed,
        ).after(new_nonce())

    def restore(self, directory: Directory) -> bool:
        """Put back a directory whose removal somebody did not finish, and make a root that was never used.

        Returns:
            Whether the directory exists now.
        """
        client = self._volume.connect()
        if client.lookup([guard_key(client, str(directory.id))])[0] is not None:
            return True
        if directory.id == self._tree.root.id:
            return self._make_root()
        where = self._tree.find(directory.ino)
        if where is None:
            return False
        key, found = where
        entry = decode(found)
        if entry.dir != directory.id:
            return False
        self._put_back(directory, key, entry, found.version)
        return True

    def _put_back(self, directory: Directory, key: Any, entry: Entry, version: int) -> None:
        """Give a directory its existence again. The fresh nonce makes the removal that took it fail; a conflict here
        means that somebody else put it back or went on removing."""
        client = self._volume.connect()
        guards = [insert(constant(guard_key(client, str(directory.id), n))) for n in range(directory.guards)]
        again = encode(key, entry.after(new_nonce()))
        self._volume.commit(lambda: [update(again, version), *guards])

    def _make_root(self) -> bool:
        client = self._volume.connect()
        node = self._tree.resolve(())
        found = self._tree.attributes(node)
        entry = new_entry(
            "dir",
            stat.S_IMODE(found.mode),
            ino=self._tree.root.ino,
            dir=self._tree.root.id,
            lower=self._tree.root.lower,
        )
        key = entry_key(client, *self.root_place)
        mutations = [insert(constant(guard_key(client, str(self._tree.root.id))))]
        if node.entry is None:
            mutations.append(insert(encode(key, entry)))
        self._volume.commit(lambda: mutations)  # a conflict means that another instance was first
        return True

    # Removing

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory."""
        if not path:
            raise file_error(errno.EBUSY, "", "the root of a mount cannot be removed")
        for _ in attempts("/".join(path)):
            node = self._tree.resolve(path, follow=False, mask=())
            self._demand_directory(node, path)
            if node.entry is None:
                self.stored(path=node.path, directory=None)
                continue
            if self.remove(node):
                return

    def remove(self, node: Node) -> bool:
        """Remove the empty directory that a node stands for; False after a conflict. Raises ENOTEMPTY."""
        hidden = self.close(node)
        if hidden is None or not self._remove(node, hidden):
            return False
        self._volume.times.touch(str(node.parent.id if node.parent else ""))
        return True

    def close(self, node: Node) -> list[Any] | None:
        """Take a directory's existence away and make sure that it is empty; first half of its removal.

        Returns:
            The mutations that remove what an empty directory may still hold; None after a conflict. `node` then
            stands for the closed directory.

        Raises:
            OSError: ENOTEMPTY; the directory was put back.
        """
        assert node.entry is not None
        client = self._volume.connect()
        directory = self._tree.entered(node)
        identity = str(directory.id)
        if self._volume.pending_in(identity):
            raise file_error(errno.ENOTEMPTY, "/".join(node.path))
        key = entry_key(client, str(node.parent.id if node.parent else ROOTS), node.name)
        closed = node.entry.after(new_nonce())
        guards = [delete(guard_key(client, identity, number)) for number in range(directory.guards)]
        results = self._volume.commit(lambda: [update(encode(key, closed), node.version), *guards])
        if results is None:
            return None
        node.entry, node.version = closed, results[0].version
        children = self.children(identity)
        whiteouts = {name for name, entry, _ in children if entry.type == "whiteout"}
        visible = set(self._deployed_rows(directory)) - whiteouts
        if visible or len(children) > len(whiteouts):
            self._put_back(directory, key, closed, results[0].version)
            raise file_error(errno.ENOTEMPTY, "/".join(node.path))
        left = [delete(entry_key(client, identity, name)) for name in whiteouts]
        return [*left, delete(time_key(client, identity))]

    def _remove(self, node: Node, hidden: list[Any]) -> bool:
        assert node.parent is not None
        key = entry_key(self._volume.connect(), str(node.parent.id), node.name)
        outcome = self._volume.try_commit(lambda: [self._volume.vacate(node, key), *hidden])
        if outcome.results is None and (
            outcome.certain or not self._volume.is_gone(node, self._tree.resolve(node.path, follow=False))
        ):
            return False
        if node.entry is not None:
            self._volume.times.forget(str(node.entry.dir))
        return True
