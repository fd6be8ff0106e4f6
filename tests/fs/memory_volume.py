"""A volume in memory that behaves as Linux does, to test the layer above without a store."""

import errno
import itertools
import os
import stat
import time
from collections.abc import Sequence

from gaeport.errors import file_error
from gaeport.fs import permissions
from gaeport.fs.volume import Attributes, Path

WRITING = os.O_WRONLY | os.O_RDWR
_numbers = itertools.count(2)
_devices = itertools.count(0x6700)


def fail(number: int, path: Path) -> OSError:
    return file_error(number, "/".join(path))


class Node:
    """A file, directory or link."""

    def __init__(self, mode: int, target: str = "") -> None:
        self.ino = next(_numbers)
        self.mode = mode
        self.data = bytearray()
        self.committed: bytes | None = None
        self.children: dict[str, Node] = {}
        self.target = target
        self.nlink = 2 if stat.S_ISDIR(mode) else 1
        self.uid = os.getuid()
        self.gid = os.getgid()
        self.mtime = self.atime = self.ctime = time.time_ns()

    def changed(self) -> None:
        self.mtime = self.ctime = time.time_ns()


class MemoryFile:
    """An open file of a MemoryVolume. Counts its calls for tests."""

    def __init__(self, volume: "MemoryVolume", node: Node, path: Path, flags: int) -> None:
        self._volume = volume
        self.node = node
        self._path = path
        self._flags = flags
        self._open = True
        self._wrote = False

    @property
    def shared(self) -> Node:
        return self.node

    @property
    def size(self) -> int:
        return len(self.node.data)

    def attributes(self) -> Attributes:
        return self._volume.attributes(self.node)

    def pread(self, length: int, offset: int) -> bytes:
        self._volume.calls.append("pread")
        return bytes(self.node.data[offset : offset + length])

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        self._volume.calls.append("pwrite")
        self._check_writable()
        node = self.node
        if offset > len(node.data):
            node.data.extend(bytes(offset - len(node.data)))
        node.data[offset : offset + len(data)] = data
        node.changed()
        self._wrote = True
        return len(data)

    def append(self, data: bytes | memoryview) -> int:
        self._volume.calls.append("append")
        self._check_writable()
        self.node.data += data
        self.node.changed()
        self._wrote = True
        return len(self.node.data)

    def truncate(self, size: int) -> None:
        self._check_writable()
        del self.node.data[size:]
        self.node.data.extend(bytes(size - len(self.node.data)))
        self.node.changed()
        self._wrote = True

    def _check_writable(self) -> None:
        if not self._flags & WRITING or not self._open:
            raise fail(errno.EBADF, self._path)

    def sync(self) -> None:
        self._volume.fail_if_asked(self._path)
        self._volume.calls.append("sync")
        self.node.committed = bytes(self.node.data)

    def close(self) -> None:
        if not self._open:
            return
        if self._flags & WRITING:
            self.sync()
        self._open = False

    def discard(self) -> None:
        if not self._open:
            return
        self._open = False
        if not self._flags & WRITING:
            return
        if self.node.committed is not None:
            self.node.data[:] = self.node.committed
        else:
            self._volume.forget(self.node)


class MemoryVolume:
    """A tree of Nodes. `failing` makes every commit fail with that errno; `calls` lists what was called."""

    def __init__(self, root: str = "") -> None:
        self.root = Node(stat.S_IFDIR | 0o755)
        self.mounted_at = root
        self.dev = next(_devices)
        self.failing = 0
        self.calls: list[str] = []

    def fail_if_asked(self, path: Path) -> None:
        if self.failing:
            raise fail(self.failing, path)

    def attributes(self, node: Node) -> Attributes:
        size = len(node.target) if stat.S_ISLNK(node.mode) else len(node.data)
        times = {"mtime_ns": node.mtime, "atime_ns": node.atime, "ctime_ns": node.ctime}
        return Attributes(
            node.ino, node.mode, size, dev=self.dev, nlink=node.nlink, uid=node.uid, gid=node.gid, **times
        )

    def forget(self, node: Node) -> None:
        folders = [self.root]
        while folders:
            folder = folders.pop()
            for name, child in list(folder.children.items()):
                if child is node:
                    del folder.children[name]
                folders.append(child)

    def _walk(self, path: Path, follow: bool = True) -> tuple[Node, str, Node | None]:
        """Return the parent, the last name and what it names."""
        above: list[Node] = []
        here, name, links = self.root, "", 0
        rest = list(reversed(path))
        while rest:
            if not stat.S_ISDIR(here.mode):
                raise fail(errno.ENOTDIR, path)
            name = rest.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if not above:
                    raise fail(errno.EACCES, path)
                here = above.pop()
                continue
            child = here.children.get(name)
            last = not any(part not in ("", ".") for part in rest)
            if child is not None and stat.S_ISLNK(child.mode) and (follow or not last):
                links += 1
                if links > 40:
                    raise fail(errno.ELOOP, path)
                if child.target.startswith("/"):
                    here, above = self.root, []
                rest += reversed(self._target(child.target, path))
                continue
            if child is None and not last:
                raise fail(errno.ENOENT, path)
            if last:
                return here, name, child
            above.append(here)
            here = child
        return here, name, here

    def _target(self, target: str, path: Path) -> list[str]:
        if not target.startswith("/"):
            return target.split("/")
        if not f"{target}/".startswith(f"{self.mounted_at}/"):
            raise fail(errno.EACCES, path)
        return target[len(self.mounted_at) + 1 :].split("/")

    def _existing(self, path: Path, follow: bool = True) -> Node:
        node = self._walk(path, follow)[2]
        if node is None:
            raise fail(errno.ENOENT, path)
        return node

    def _free(self, path: Path) -> tuple[Node, str]:
        parent, name, node = self._walk(path, follow=False)
        if node is not None:
            raise fail(errno.EEXIST, path)
        return parent, name

    def stat(self, path: Path, *, follow: bool = True) -> Attributes:
        self.calls.append("stat")
        return self.attributes(self._existing(path, follow))

    def scandir(self, path: Path) -> Sequence[tuple[str, Attributes]]:
        node = self._existing(path)
        if not stat.S_ISDIR(node.mode):
            raise fail(errno.ENOTDIR, path)
        return [(name, self.attributes(child)) for name, child in node.children.items()]

    def open(self, path: Path, flags: int, mode: int = 0o666, *, checked: bool = False) -> MemoryFile:
        self.calls.append("open")
        nofollow = flags & os.O_NOFOLLOW or (flags & os.O_CREAT and flags & os.O_EXCL)
        parent, name, node = self._walk(path, follow=not nofollow)
        if node is None:
            if not flags & os.O_CREAT:
                raise fail(errno.ENOENT, path)
            node = parent.children[name] = Node(stat.S_IFREG | mode & 0o7777)
            parent.changed()
            if flags & os.O_EXCL:
                node.committed = b""
            return MemoryFile(self, node, path, flags)
        if flags & os.O_CREAT and flags & os.O_EXCL:
            raise fail(errno.EEXIST, path)
        if stat.S_ISLNK(node.mode):
            raise fail(errno.ELOOP, path)
        if stat.S_ISDIR(node.mode) and flags & (WRITING | os.O_CREAT):
            raise fail(errno.EISDIR, path)
        if stat.S_ISDIR(node.mode):
            raise fail(errno.EISDIR, path)
        if checked:
            permissions.check_open(node.mode, flags, "/".join(path))
        if flags & os.O_TRUNC:
            del node.data[:]
            node.changed()
        return MemoryFile(self, node, path, flags)

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        parent, name = self._free(path)
        parent.children[name] = Node(stat.S_IFDIR | mode & 0o7777)
        parent.nlink += 1
        parent.changed()

    def rmdir(self, path: Path) -> None:
        parent, name, node = self._walk(path, follow=False)
        if node is None:
            raise fail(errno.ENOENT, path)
        if not stat.S_ISDIR(node.mode):
            raise fail(errno.ENOTDIR, path)
        if node.children:
            raise fail(errno.ENOTEMPTY, path)
        del parent.children[name]
        parent.nlink -= 1
        parent.changed()

    def unlink(self, path: Path) -> None:
        parent, name, node = self._walk(path, follow=False)
        if node is None:
            raise fail(errno.ENOENT, path)
        if stat.S_ISDIR(node.mode):
            raise fail(errno.EISDIR, path)
        del parent.children[name]
        node.nlink -= 1
        parent.changed()

    def rename(self, source: Path, target: Path) -> None:
        old_parent, old_name, node = self._walk(source, follow=False)
        parent, name, present = self._walk(target, follow=False)
        if node is None:
            raise fail(errno.ENOENT, source)
        if stat.S_ISDIR(node.mode) and len(target) > len(source) and target[: len(source)] == source:
            raise fail(errno.EINVAL, source)
        if present is node:
            return
        if present is not None:
            self._check_replace(node, present, source, target)
        elif len(source) > len(target) and source[: len(target)] == target:
            raise fail(errno.ENOTEMPTY, target)
        del old_parent.children[old_name]
        parent.children[name] = node
        if stat.S_ISDIR(node.mode):
            old_parent.nlink -= 1
            parent.nlink += 0 if present is not None else 1
        if present is not None:
            present.nlink -= 1
        parent.changed()
        old_parent.changed()

    def _check_replace(self, node: Node, present: Node, source: Path, target: Path) -> None:
        if len(source) > len(target) and source[: len(target)] == target:
            raise fail(errno.ENOTEMPTY, target)
        if stat.S_ISDIR(node.mode) and not stat.S_ISDIR(present.mode):
            raise fail(errno.ENOTDIR, target)
        if stat.S_ISDIR(present.mode) and not stat.S_ISDIR(node.mode):
            raise fail(errno.EISDIR, target)
        if present.children:
            raise fail(errno.ENOTEMPTY, target)

    def chmod(self, path: Path, mode: int, *, follow: bool = True) -> None:
        node = self._existing(path, follow)
        node.mode = stat.S_IFMT(node.mode) | mode & 0o7777

    def chown(self, path: Path, uid: int, gid: int, *, follow: bool = True) -> None:
        node = self._existing(path, follow)
        node.uid = node.uid if uid == -1 else uid
        node.gid = node.gid if gid == -1 else gid

    def utime(self, path: Path, atime_ns: int, mtime_ns: int, *, follow: bool = True) -> None:
        node = self._existing(path, follow)
        node.atime, node.mtime = atime_ns, mtime_ns

    def truncate(self, path: Path, size: int) -> None:
        if stat.S_ISDIR(self._existing(path).mode):
            raise fail(errno.EISDIR, path)
        handle = self.open(path, os.O_RDWR)
        handle.truncate(size)
        handle.close()

    def symlink(self, target: str, path: Path) -> None:
        parent, name = self._free(path)
        parent.children[name] = Node(stat.S_IFLNK | 0o777, target)
        parent.changed()

    def readlink(self, path: Path) -> str:
        node = self._existing(path, follow=False)
        if not stat.S_ISLNK(node.mode):
            raise fail(errno.EINVAL, path)
        return node.target

    def link(self, source: Path, target: Path) -> None:
        node = self._existing(source, follow=False)
        parent, name = self._free(target)
        if stat.S_ISDIR(node.mode):
            raise fail(errno.EPERM, source)
        parent.children[name] = node
        node.nlink += 1
        parent.changed()

    def commit_all(self) -> None:
        self.calls.append("commit_all")

    def flush_times(self) -> None:
        self.calls.append("flush_times")
