"""Finding what a path names in a bucket: an object, a directory because some object's name goes on below it, or a file
that was deployed.
"""

import errno
import os
import stat
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from gaeport.blobs.objects import ObjectStore, Stored
from gaeport.errors import file_error
from gaeport.fs import disk
from gaeport.fs.gcs.facts import DIRECTORY_MODE, Facts, facts_of, new_facts
from gaeport.fs.gcs.names import Names
from gaeport.fs.volume import Path

MAX_LINKS = 40  # as Linux
REMEMBERED = 20_000  # answers


@dataclass(slots=True)
class Node:
    """What stands at the end of a path.

    Attributes:
        path: where the walk ended, links followed.
        facts: what is known of it; None where nothing is.
        stored: the object: a file's, a link's, or a directory's placeholder.
        deployed: the path on disk of what is deployed under this name, visible or hidden by an object; None if nothing.
    """

    path: Path
    facts: Facts | None = None
    stored: Stored | None = None
    deployed: str | None = None

    @property
    def exists(self) -> bool:
        """Whether the path names anything."""
        return self.facts is not None

    @property
    def kind(self) -> str:
        """ "file", "dir", "link", or "" for nothing."""
        return self.facts.kind if self.facts is not None else ""


class Tree:
    """Resolves paths of one mount.

    Args:
        objects: where its objects are.
        names: theirs.
        root: the mounted directory on disk, absolute.
        overlay: whether what is deployed there shows through.
        attr_ttl: seconds for which what a name stands for may be told from memory.
    """

    def __init__(self, objects: ObjectStore, names: Names, root: str, overlay: bool, attr_ttl: float = 0.0) -> None:
        self.objects = objects
        self.names = names
        self.root_path = root
        self.overlay = overlay
        self.dev = 0x6800_0000 | zlib.crc32(f"{names.bucket}\0{names.prefix}".encode("utf-8", "replace")) & 0xFF_FFFF
        self.is_pending: Callable[[Path], bool] = lambda path: False  # created here and not stored yet
        self._began = time.time_ns()
        self._ttl = attr_ttl
        self._known: OrderedDict[Path, tuple[float, Node]] = OrderedDict()
        self._changes = 0
        self._lock = threading.RLock()

    def resolve(self, path: Path, *, follow: bool = True, recent: bool = False) -> Node:
        """Return what a path names; a missing last part is a Node that does not exist.

        Args:
            path: inside the mount.
            follow: whether a symbolic link at the end is followed.
            recent: whether an answer from memory will do, where the mount allows that.

        Raises:
            FileNotFoundError, NotADirectoryError: a part before the last is missing or no directory.
            OSError: ELOOP; a name that cannot be an object's.
        """
        return self._resolve(path, follow, recent, count(1))

    def _resolve(self, path: Path, follow: bool, recent: bool, links: Iterator[int]) -> Node:
        spelled = "/".join(path)
        while True:
            node = self.look(path, recent=recent)
            if not node.exists and len(path) > 1:
                above = self._directory(path[:-1], recent, links)
                if above.path != path[:-1]:
                    node = self.look((*above.path, path[-1]), recent=recent)
            if node.kind != "link" or not follow:
                return node
            if next(links) > MAX_LINKS:
                raise file_error(errno.ELOOP, spelled)
            path = self._followed(node, recent, links)

    def _directory(self, path: Path, recent: bool, links: Iterator[int]) -> Node:
        """Return the directory that holds something; its placeholder is not asked for."""
        if self._is_prefix(path, recent):
            return Node(path, self.directory_facts(path))
        node = self._resolve(path, True, recent, links)
        self.demand_directory(node, path)
        return node

    def demand_directory(self, node: Node, path: Path) -> None:
        """Raise ENOENT or ENOTDIR where a path, which led to this node, names no directory."""
        if not node.exists and not self.is_pending(node.path):
            raise file_error(errno.ENOENT, "/".join(path))
        if node.kind != "dir":
            raise file_error(errno.ENOTDIR, "/".join(path))

    def _is_prefix(self, path: Path, recent: bool) -> bool:
        known = self._recall(path) if recent else None
        if known is not None:
            return known.kind == "dir"
        if not self.names.can_be(path):
            return False
        return any(True for _ in self.objects.scan(self.names.below(path), deep=True, limit=1))

    def look(self, path: Path, *, recent: bool = False) -> Node:
        """Return what a name stands for itself, links not followed, the directories above it not looked at."""
        known = self._recall(path) if recent else None
        if known is not None:
            return known
        changes = self._changes
        began = time.monotonic()
        node = self._asked(path)
        self.remember([node], began, changes)
        return node

    def _asked(self, path: Path) -> Node:
        node = Node(path, deployed=self.deployed(path))
        if not path:
            node.stored = self.objects.stat(self.names.prefix) if self.names.prefix else None
            node.facts = self.directory_facts(path, node.stored)
            return node
        known = self.names.can_be(path)
        node.stored = self.objects.stat(self.names.of(path)) if known else None
        if node.stored is not None:
            node.facts = facts_of(node.stored, self.names.ino(path))
            return node
        first = next(iter(self.objects.scan(self.names.below(path), deep=True, limit=1)), None) if known else None
        if isinstance(first, Stored):
            node.stored = first if first.name == self.names.below(path) else None
            node.facts = self.directory_facts(path, node.stored)
        elif node.deployed is not None:
            node.facts = self.deployed_facts(path, node.deployed)
        return node

    def directory_facts(self, path: Path, placeholder: Stored | None = None) -> Facts:
        """Return what is known of a directory."""
        ino = self.names.ino(path)
        if placeholder is not None:
            return facts_of(placeholder, ino)
        where = "/".join((self.root_path, *path))
        found = self.deployed_facts(path, where) if self.overlay and disk.is_dir(where) else None
        return found or new_facts("dir", ino, DIRECTORY_MODE, mtime=self._began)

    # What was deployed

    def deployed(self, path: Path) -> str | None:
        """Return the path on disk of what is deployed under a name; None where nothing is."""
        where = "/".join((self.root_path, *path))
        return where if self.overlay and disk.lstat(where) is not None else None

    def deployed_facts(self, path: Path, where: str) -> Facts | None:
        """Return what is known of something deployed; None for a device or the like."""
        status = disk.lstat(where)
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
        kind = kinds.get(stat.S_IFMT(status.st_mode)) if status is not None else None
        if status is None or kind is None:
            return None
        target = disk.readlink(where) if kind == "link" else None
        mode = stat.S_IMODE(status.st_mode)
        times = (status.st_mtime_ns, status.st_atime_ns, status.st_ctime_ns)
        owner = (status.st_uid, status.st_gid)
        return Facts(kind, self.names.ino(path), mode, *owner, *times, status.st_size, target)

    def _followed(self, node: Node, recent: bool, links: Iterator[int]) -> Path:
        target = (node.facts.target if node.facts is not None else None) or ""
        base = list(node.path[:-1])
        outside = file_error(errno.ENOENT, "/".join(node.path), f"the link leads out of the mount, to {target}")
        if target.startswith("/"):
            inside = os.path.relpath(target, self.root_path)
            if inside == ".." or inside.startswith("../"):
                raise outside
            base, target = [], inside
        resolved = len(base)
        for part in target.split("/"):
            if part == "..":
                if len(base) > resolved:  # what it leaves may be a link itself
                    base = list(self._directory(tuple(base), recent, links).path)
                if not base:
                    raise outside
                base.pop()
                resolved = len(base)
            elif part not in ("", "."):
                base.append(part)
        return tuple(base)

    # Memory

    @property
    def changes(self) -> int:
        """How often this process has changed something; for `remember`."""
        return self._changes

    def remember(self, nodes: list[Node], began: float, changes: int) -> None:
        """Keep answers to what was asked at a time, unless this process has changed something since."""
        if not self._ttl:
            return
        with self._lock:
            if changes != self._changes:
                return
            for node in nodes:
                self._known.pop(node.path, None)
                self._known[node.path] = began + self._ttl, node
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def changed(self) -> None:
        """Forget: this process changes something."""
        if self._ttl:
            with self._lock:
                self._changes += 1
                self._known.clear()

    def _recall(self, path: Path) -> Node | None:
        known = self._known.get(path) if self._ttl else None
        return known[1] if known is not None and known[0] > time.monotonic() else None
