"""Finding what a path names: directories by identity, deployed files underneath.

A Lookup carries the keys of the whole remembered chain and the target. What is remembered only predicts keys: the walk
itself goes by the answers, so a stale memory costs one more call and never gives a wrong answer.
"""

import errno
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.client import Client, Found
from gaeport.errors import file_error
from gaeport.fs import disk
from gaeport.fs.datastore.content import Extent, View
from gaeport.fs.datastore.entries import METADATA, NAME_MAX, ROOTS, Entry, decode, entry_key, inode_key, time_key
from gaeport.fs.datastore.remembered import INODES, Remembered
from gaeport.fs.datastore.storage import Connect
from gaeport.fs.volume import Attributes, Path

MAX_LINKS = 40  # as Linux


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory as the walk met it.

    Attributes:
        id: its identity; None while it exists only as deployed.
        lower: the deployed directory that shows through, relative to the mount's root, or None.
        guards: how many guard entities it has.
        ino: its inode number, by which its Entry is found wherever it moved.
    """

    id: str | None
    lower: str | None
    guards: int
    ino: int


@dataclass(slots=True)
class Node:
    """What stands at the end of a path.

    Attributes:
        path: where the walk ended, links followed.
        parent: the directory that holds the name; None for the root.
        entry: the Entry, None where there is none; a whiteout counts as none here and is told by `version`.
        version: the Entry's version, or the whiteout's; None where the key is free.
        deployed: the deployed file or directory that shows here, relative to the mount's root.
        status: the deployed one's status.
        chain: parent's identity, name, entry and version of each directory on the way, outermost first; those that
            exist only as deployed, and the root, are left out.
        modified: a directory's modification time, in ns, where one is stored.
        pointer: what stands under the name of a file with several names; `entry` and `version` are its Inode's then.
        named_version: the version of that.
    """

    path: Path
    parent: Directory | None
    entry: Entry | None = None
    version: int | None = None
    deployed: str | None = None
    status: os.stat_result | None = None
    chain: list[tuple[str, str, Entry, int]] = field(default_factory=list)
    modified: int | None = None
    pointer: Entry | None = None
    named_version: int | None = None

    @property
    def base(self) -> int | None:
        """The version of what stands under the name itself; None where the key is free."""
        return self.version if self.pointer is None else self.named_version

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path[-1]

    @property
    def exists(self) -> bool:
        """Whether the path names anything."""
        return self.entry is not None or self.status is not None

    @property
    def kind(self) -> str:
        """ "file", "dir", "link", or "" for nothing (or for a deployed device or socket)."""
        if self.entry is not None:
            return self.entry.type
        mode = self.status.st_mode if self.status is not None else 0
        return {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}.get(stat.S_IFMT(mode), "")


class _Unknown(Exception):
    """A key is needed whose answer is not there yet."""


class Tree:
    """Resolves paths of one mount.

    Args:
        connect: gives the client for gaeport's own entities.
        name: the mount's name in the store.
        root: the mounted directory on disk, absolute.
        overlay: whether what is deployed there shows through.
        remembered: what may be answered from memory; None for nothing.

    Attributes:
        is_pending: tells whether a file of this name is open in a directory (by its identity) and not committed yet.
    """

    def __init__(
        self, connect: Connect, name: str, root: str, overlay: bool, remembered: Remembered | None = None
    ) -> None:
        self.remembered = remembered
        self._connect = connect
        self.name = name
        self.root_path = root
        self.dev = 0x6700_0000 | zlib.crc32(name.encode("utf-8", "surrogateescape")) & 0xFF_FFFF
        self.root = Directory(f"root:{name}", "." if overlay else None, 1, self.deployed_ino("."))
        self._known: dict[tuple[str, str], Directory] = {}
        self._decoded: dict[tuple[str, str], tuple[int, Entry]] = {}
        self.is_pending: Callable[[str, str], bool] = lambda parent, name: False

    def resolve(self, path: Path, *, follow: bool = True, mask: Iterable[str] = METADATA, recent: bool = False) -> Node:
        """Return what a path names; a missing last part is a Node that does not exist.

        Args:
            path: inside the mount.
            follow: whether a symbolic link at the end is followed.
            mask: which properties of entries to read; () for all.
            recent: whether an answer from memory will do, where the mount allows that.

        Raises:
            FileNotFoundError, NotADirectoryError: a part before the last is missing or no directory.
            OSError: ELOOP, ENAMETOOLONG.
        """
        if self.remembered is None:
            return self._resolve_one(path, follow, mask)
        if recent and not mask:
            return self._resolve_content(path, follow, self.remembered)
        return self.resolve_all([path], follow=follow, mask=mask, recent=recent)[0]

    def _resolve_one(self, path: Path, follow: bool, mask: Iterable[str]) -> Node:
        """Return what one path names; the usual case, without what several paths and a memory need."""
        _check_names(path)
        client, predicted = self._connect(), self._predict(path)
        found = client.lookup([_key(client, *pair) for pair in predicted], mask=mask)
        answers = dict(zip(predicted, found, strict=True))
        try:
            return _Walk(self, answers, follow).run(path)
        except _Unknown:
            return self.resolve_all([path], follow=follow, mask=mask, answers=answers)[0]

    def _resolve_content(self, path: Path, follow: bool, remembered: Remembered) -> Node:
        """Return what a path names, with its content; what is likely to be read next is asked for along with it."""
        _check_names(path)
        predicted = self._predict(path)
        target = predicted[-1] if predicted[-1][1] else predicted[-2]
        known = len(predicted) >= len(path) and remembered.is_whole(target)
        more = set() if known else remembered.beside(target)
        return self.resolve_all([path], follow=follow, mask=(), recent=known, more=more)[0]

    def resolve_all(
        self,
        paths: Sequence[Path],
        *,
        follow: bool = True,
        mask: Iterable[str] = METADATA,
        recent: bool = False,
        more: Iterable[tuple[str, str]] = (),
        answers: dict[tuple[str, str], Found | None] | None = None,
    ) -> list[Node]:
        """Return what several paths name, their keys carried by the same Lookups; `more` is asked along with them.

        `answers` are those of a Lookup just made for it.
        """
        for path in paths:
            _check_names(path)
        client = self._connect()
        answers = {} if answers is None else answers
        along = set(more)
        while True:
            wanted = {pair for path in paths for pair in self._predict(path)} - answers.keys()
            if recent and self.remembered is not None:
                self.remembered.fill(wanted, answers)
            self._ask(client, wanted, answers, mask, along)
            along = set()
            try:
                return [_Walk(self, answers, follow).run(path) for path in paths]
            except _Unknown as unknown:
                pair = unknown.args[0]
                if pair not in answers:
                    self._ask(client, {pair}, answers, mask)

    def deployed_ino(self, lower: str) -> int:
        """Return the inode number of a deployed file: the same on every instance, and kept when it is copied up."""
        digest = blake2b(f"{self.name}\0{lower}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest) & (1 << 60) - 1 | 1 << 60

    def deployed_path(self, lower: str) -> str:
        """Return the path on disk of something deployed."""
        return os.path.normpath(os.path.join(self.root_path, lower))

    def deployed_view(self, node: Node) -> View:
        """Return the content of a deployed file."""
        assert node.deployed is not None
        assert node.status is not None
        return View([Extent(f"d:{self.deployed_path(node.deployed)}", 0, node.status.st_size)])

    def attributes(self, node: Node) -> Attributes:
        """Return what stat tells of a node that exists."""
        if node.entry is not None:
            return node.entry.attributes(self.dev, node.modified)
        assert node.status is not None
        return self.deployed_attributes(node.deployed or ".", node.status)

    def deployed_attributes(self, lower: str, status: os.stat_result) -> Attributes:
        """Return what stat tells of something deployed."""
        return Attributes(
            ino=self.deployed_ino(lower),
            mode=status.st_mode,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            atime_ns=status.st_atime_ns,
            ctime_ns=status.st_ctime_ns,
            dev=self.dev,
            nlink=status.st_nlink if stat.S_ISDIR(status.st_mode) else 1,
            uid=status.st_uid,
            gid=status.st_gid,
        )

    def entered(self, node: Node) -> Directory:
        """Return the directory that a node of kind "dir" stands for, and remember it."""
        if node.parent is None:
            return self.root
        if node.entry is None:
            return Directory(None, node.deployed, 1, self.deployed_ino(str(node.deployed)))
        directory = Directory(node.entry.dir, node.entry.lower, node.entry.guards, node.entry.ino)
        self.remember(str(node.parent.id), node.name, directory)
        return directory

    def find(self, ino: int) -> tuple[Any, Found] | None:
        """Return key and entity of the Entry with this inode number, wherever it is; None when it is gone."""
        found = entry_by_ino(self._connect(), ino)
        return (found.entity.key, found) if found is not None else None

    def remember(self, parent: str, name: str, directory: Directory) -> None:
        """Remember a directory's identity, to predict keys by."""
        if len(self._known) > 100_000:  # entries; a bound on memory, not a tuned number
            self._known.clear()
        self._known[parent, name] = directory

    def decoded(self, pair: tuple[str, str], found: Found) -> Entry:
        """Return the Entry of an answer; a directory's, which every path below it needs, is decoded once a version."""
        known = self._decoded.get(pair)
        if known is not None and known[0] == found.version:
            return known[1]
        entry = decode(found)
        if entry.type == "dir":  # files are read with different masks, and so are not the same each time
            if len(self._decoded) > 10_000:  # entries; a bound on memory, not a tuned number
                self._decoded.clear()
            self._decoded[pair] = found.version, entry
        return entry

    def _predict(self, path: Path) -> list[tuple[str, str]]:
        if not path:
            return [(ROOTS, self.name), (str(self.root.id), "")]
        pairs = []
        directory: Directory | None = self.root
        for name in path:
            if directory is None or directory.id is None:
                break
            pairs.append((directory.id, name))
            directory = self._known.get((directory.id, name))
        else:
            if directory is not None and directory.id is not None:
                pairs.append((directory.id, ""))
        return pairs

    def _ask(
        self,
        client: Client,
        pairs: set[tuple[str, str]],
        answers: dict[tuple[str, str], Found | None],
        mask: Iterable[str],
        along: AbstractSet[tuple[str, str]] = frozenset(),
    ) -> None:
        if not pairs:
            return
        ordered = sorted(pairs | along)
        keys = [_key(client, *pair) for pair in ordered]
        began = self.remembered.begin() if self.remembered is not None else None
        found = list(zip(ordered, client.lookup(keys, mask=mask), strict=True))
        answers.update(found)
        if self.remembered is not None and began is not None:
            if mask == METADATA:
                self.remembered.keep(began, found, whole=False)
            else:  # what is opened itself is asked for each time
                self.remembered.keep(began, [row for row in found if row[0] in along - pairs], whole=True)


class _Walk:
    """One walk along a path, by answers that are there."""

    def __init__(self, tree: Tree, answers: dict[tuple[str, str], Found | None], follow: bool) -> None:
        self._tree = tree
        self._answers = answers
        self._follow = follow

    def run(self, path: Path) -> Node:
        for _ in range(MAX_LINKS):
            node = self._steps(path)
            if isinstance(node, Node):
                return node
            path = node
        raise file_error(errno.ELOOP, "/".join(path))

    def _steps(self, path: Path) -> Node | Path:
        """Return the node, or the path to go on with after a link."""
        tree = self._tree
        if not path:
            return self._root()
        directory = tree.root
        chain: list[tuple[str, str, Entry, int]] = []
        for depth, name in enumerate(path):
            if name == "..":  # of a link's target: what stands before it is a directory, links followed
                return self._steps(_climbed(path, depth))
            node = self._step(directory, path[: depth + 1])
            node.chain = list(chain)
            last = depth == len(path) - 1
            if node.kind == "link" and (self._follow or not last):
                return self._followed(node, path[depth + 1 :])
            if last:
                return self._timed(node)
            directory = self._entered(node, path)
            if node.entry is not None and node.version is not None and node.parent is not None:
                chain.append((str(node.parent.id), name, node.entry, node.version))
        raise AssertionError("a path has a last part")

    def _root(self) -> Node:
        tree = self._tree
        if (ROOTS, tree.name) not in self._answers:  # a link led here
            raise _Unknown((ROOTS, tree.name))
        found = self._answers[ROOTS, tree.name]
        node = Node((), None)
        if found is not None:
            node.entry, node.version = decode(found), found.version
        node.deployed, node.status = ".", disk.lstat(tree.root_path)
        if node.status is None or not stat.S_ISDIR(node.status.st_mode):
            never = {"st_atime_ns": 0, "st_mtime_ns": 0, "st_ctime_ns": 0}
            values = (stat.S_IFDIR | 0o755, 0, 0, 2, os.getuid(), os.getgid(), 4096, 0, 0, 0)
            node.status = os.stat_result(values, never)
        node.modified = self._time(str(tree.root.id))
        return node

    def _step(self, directory: Directory, path: Path) -> Node:
        node = Node(path, directory)
        if directory.id is not None:
            pair = (directory.id, path[-1])
            if pair not in self._answers:
                raise _Unknown(pair)
            found = self._answers[pair]
            if found is not None:
                entry = self._tree.decoded(pair, found)
                node.version = found.version
                node.entry = None if entry.type == "whiteout" else entry
                if entry.type == "hard":
                    self._follow_pointer(node, entry)
                return node
        if directory.lower is not None:
            lower = os.path.normpath(os.path.join(directory.lower, path[-1]))
            node.status = disk.lstat(self._tree.deployed_path(lower))
            node.deployed = lower if node.status is not None else None
        return node

    def _follow_pointer(self, node: Node, pointer: Entry) -> None:
        """Take the file from its Inode; where that is gone, so is the name, a moment ago."""
        pair = (INODES, str(pointer.ino))
        if pair not in self._answers:
            raise _Unknown(pair)
        found = self._answers[pair]
        node.entry = None
        if found is not None:
            node.pointer, node.named_version = pointer, node.version
            node.entry, node.version = decode(found), found.version

    def _entered(self, node: Node, path: Path) -> Directory:
        tree = self._tree
        pending = not node.exists and node.parent is not None and tree.is_pending(str(node.parent.id), node.name)
        if not node.exists and not pending:
            raise file_error(errno.ENOENT, "/".join(path))
        if node.kind != "dir":
            raise file_error(errno.ENOTDIR, "/".join(path))
        return tree.entered(node)

    def _timed(self, node: Node) -> Node:
        if node.entry is not None and node.entry.type == "dir":
            self._tree.entered(node)
            node.modified = self._time(str(node.entry.dir))
        return node

    def _time(self, directory: str) -> int | None:
        if (directory, "") not in self._answers:
            raise _Unknown((directory, ""))
        found = self._answers[directory, ""]
        return found.entity.properties["mtime"].integer_value if found is not None else None

    def _followed(self, node: Node, rest: Path) -> Path:
        tree = self._tree
        if node.entry is not None:
            target = node.entry.target or ""
        else:
            target = disk.readlink(tree.deployed_path(node.deployed or "."))
        base = list(node.path[:-1])
        if target.startswith("/"):
            inside = os.path.relpath(target, tree.root_path)
            if inside == ".." or inside.startswith("../"):
                raise file_error(errno.ENOENT, "/".join(node.path), f"the link leads out of the mount, to {target}")
            base, target = [], inside
        return (*base, *(part for part in target.split("/") if part not in ("", ".")), *rest)


def _climbed(path: Path, depth: int) -> Path:
    """Return a path without the ".." at `depth` and the directory that it leaves."""
    if not depth:
        raise file_error(errno.ENOENT, "/".join(path), "a link leads out of the mount")
    return (*path[: depth - 1], *path[depth + 1 :])


def entry_by_ino(client: Client, ino: int) -> Found | None:
    """Return the Entry with an inode number (one of its names, where it has several); None where there is none."""
    query = wire.Query()
    query.kind.add(name="Entry")
    condition = query.filter.property_filter
    condition.property.name, condition.op, condition.value.integer_value = "ino", wire.EQUAL, ino
    query.limit.value = 1
    return next(iter(client.query(query)), None)


def _key(client: Client, directory: str, name: str) -> Any:
    if directory == INODES:
        return inode_key(client, int(name))
    return entry_key(client, directory, name) if name else time_key(client, directory)


def _check_names(path: Path) -> None:
    for name in path:
        if len(name) * 4 > NAME_MAX and len(os.fsencode(name)) > NAME_MAX:
            raise file_error(errno.ENAMETOOLONG, "/".join(path))
