"""`store = "log"`: what is written to the files of a mount becomes log entries, a line each.

A log file kept in Datastore would cost a write to one entity in each request, and one entity takes about one a second.
Here a line goes to standard output as one structured line, which App Engine carries to Cloud Logging. Nothing is
stored: files are empty when they are read, and known only to the process that opened them.
"""

import errno
import itertools
import json
import os
import re
import stat
import threading
import time
from collections.abc import Iterator, Sequence

from gaeport.errors import file_error
from gaeport.fs import disk, opened, permissions
from gaeport.fs.datastore.handle import writable
from gaeport.fs.volume import Attributes, Path

MAX_MESSAGE = 200_000  # bytes; an entry may have 256 KB, and escapes take room
HEAD = 160  # characters at a line's start in which its severity is looked for

_SEVERITY = re.compile(r"\b(DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|FATAL|ALERT|EMERGENCY)\b", re.IGNORECASE)
_SAME = {"WARN": "WARNING", "FATAL": "CRITICAL"}
_TRACEBACK = ("Traceback (most recent call last):", "During handling of", "The above exception was")
_numbers = itertools.count(2)
_stdout = threading.RLock()


def entries(text: str) -> Iterator[str]:
    """Yield the entries of a text: its lines, but a traceback and what is indented with the line before."""
    current: list[str] = []
    tracing = False
    for line in text.splitlines():
        begins = line.startswith(_TRACEBACK)
        if current and (begins or tracing or line[:1] in (" ", "\t")):
            current.append(line)
        else:
            if current:
                yield "\n".join(current).rstrip()
            current = [line] if line.strip() else []
        tracing = begins or (tracing and (not line or line[0] in " \t"))
    if current:
        yield "\n".join(current).rstrip()


def severity_of(message: str) -> str:
    """Return the severity that a message names at its start; ERROR for a traceback, DEFAULT without either."""
    found = _SEVERITY.search(message[:HEAD].partition("\n")[0])
    if found is not None:
        name = found[1].upper()
        return _SAME.get(name, name)
    return "ERROR" if _TRACEBACK[0] in message else "DEFAULT"


def emit(message: str, file: str) -> None:
    """Write one entry to standard output; several for a message that is too long for one."""
    fields = {
        "severity": severity_of(message),
        "logging.googleapis.com/labels": {"file": file},
        **opened.request_fields(),
    }
    raw = message.encode("utf-8", "backslashreplace")
    for start in range(0, len(raw), MAX_MESSAGE):
        part = raw[start : start + MAX_MESSAGE].decode("utf-8", "replace")
        line = json.dumps({"message": part, **fields}).encode() + b"\n"
        with _stdout:  # not sys.stdout: an application may have put a file of this mount there
            while line:
                line = line[os.write(1, line) :]


class LogFile:
    """An open file whose lines become entries; see `gaeport.fs.volume.OpenFile`."""

    def __init__(self, node: "_Node", dev: int, name: str, flags: int) -> None:
        self._node, self._dev, self._name = node, dev, name
        self._writable = writable(flags)
        self._lock = threading.RLock()
        self._rest = b""
        self._closed = False

    @property
    def size(self) -> int:
        """Always 0."""
        return 0

    def attributes(self) -> Attributes:
        """What fstat tells."""
        return self._node.attributes(self._dev)

    def pread(self, length: int, offset: int) -> bytes:
        """Return nothing: what was written is in the log."""
        return b""

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        """Log the lines that are complete, wherever they are written."""
        self.append(data)
        return len(data)

    def append(self, data: bytes | memoryview) -> int:
        """Log the lines that are complete. Raises EBADF when opened for reading only."""
        if not self._writable or self._closed:
            raise file_error(errno.EBADF, self._name)
        with self._lock:
            whole, end, self._rest = (self._rest + bytes(data)).rpartition(b"\n")
            self._node.mtime = time.time_ns()
            self._log(whole + end)
        return 0

    def truncate(self, size: int) -> None:
        """Do nothing: it is empty."""

    def sync(self) -> None:
        """Log what was written, the last line too if it has no end yet."""
        with self._lock:
            rest, self._rest = self._rest, b""
            self._log(rest)

    def close(self) -> None:
        """Log the rest, and let go."""
        self.sync()
        self._closed = True

    def discard(self) -> None:
        """Let go; what was logged is logged."""
        self._rest, self._closed = b"", True

    def _log(self, data: bytes) -> None:
        for entry in entries(data.decode("utf-8", "replace")):
            emit(entry, self._name)


class _Node:
    """A file or directory that this process has made."""

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.ino = next(_numbers)
        self.mtime = time.time_ns()

    def attributes(self, dev: int) -> Attributes:
        links = 2 if stat.S_ISDIR(self.mode) else 1
        times = {"mtime_ns": self.mtime, "atime_ns": self.mtime, "ctime_ns": self.mtime}
        return Attributes(ino=self.ino, mode=self.mode, size=0, dev=dev, nlink=links, **times)


class LogVolume:
    """The files of one mount; see `gaeport.fs.volume.Volume`.

    Args:
        name: the mount's name, which entries carry before the file's.
        root: the mounted directory on disk; directories that were deployed in it are there.
    """

    def __init__(self, name: str, root: str) -> None:
        self._name, self._root = name, root
        self._dev = 0x6C00_0000 | next(_numbers)
        self._lock = threading.RLock()
        self._nodes: dict[Path, _Node] = {(): _Node(stat.S_IFDIR | 0o755)}

    def stat(self, path: Path, *, follow: bool = True) -> Attributes:
        """Return the attributes of a file that this process opened, or of a directory."""
        return self._find(path).attributes(self._dev)

    def scandir(self, path: Path) -> Sequence[tuple[str, Attributes]]:
        """Return the entries that this process made."""
        self._directory(path)
        depth = len(path)
        with self._lock:
            found = [(where, node) for where, node in self._nodes.items() if len(where) == depth + 1]
        return [(where[-1], node.attributes(self._dev)) for where, node in found if where[:depth] == path]

    def open(self, path: Path, flags: int, mode: int = 0o666, *, checked: bool = False) -> LogFile:
        """Open or create a file."""
        with self._lock:
            node = self._known(path)
            created = node is None
            if node is None:
                if not flags & os.O_CREAT:
                    raise self._error(errno.ENOENT, path)
                node = self._make(path, stat.S_IFREG | mode & 0o7777)
            elif flags & os.O_CREAT and flags & os.O_EXCL:
                raise self._error(errno.EEXIST, path)
            if stat.S_ISDIR(node.mode):
                raise self._error(errno.EISDIR, path)
            if checked and not created:
                permissions.check_open(node.mode, flags, "/".join((self._name, *path)))
        return LogFile(node, self._dev, "/".join((self._name, *path)), flags)

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Create a directory."""
        with self._lock:
            if self._known(path) is not None:
                raise self._error(errno.EEXIST, path)
            self._make(path, stat.S_IFDIR | mode & 0o7777)

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory."""
        with self._lock:
            self._directory(path)
            if self.scandir(path):
                raise self._error(errno.ENOTEMPTY, path)
            self._nodes.pop(path, None)

    def unlink(self, path: Path) -> None:
        """Forget a file."""
        with self._lock:
            if stat.S_ISDIR(self._find(path).mode):
                raise self._error(errno.EISDIR, path)
            del self._nodes[path]

    def rename(self, source: Path, target: Path) -> None:
        """Move a file or directory (log handlers that rotate do so)."""
        with self._lock:
            self._find(source)
            self._directory(target[:-1])
            depth = len(source)
            for path in [path for path in self._nodes if path[:depth] == source]:
                self._nodes[(*target, *path[depth:])] = self._nodes.pop(path)

    def chmod(self, path: Path, mode: int, *, follow: bool = True) -> None:
        """Set the permission bits."""
        node = self._find(path)
        node.mode = stat.S_IFMT(node.mode) | mode & 0o7777

    def chown(self, path: Path, uid: int, gid: int, *, follow: bool = True) -> None:
        """Do nothing: a log has no owner."""
        self._find(path)

    def utime(self, path: Path, atime_ns: int, mtime_ns: int, *, follow: bool = True) -> None:
        """Set the time of modification."""
        self._find(path).mtime = mtime_ns

    def truncate(self, path: Path, size: int) -> None:
        """Do nothing: files are empty."""
        self._find(path)

    def symlink(self, target: str, path: Path) -> None:
        """Refuse: EPERM."""
        raise self._error(errno.EPERM, path)

    def readlink(self, path: Path) -> str:
        """Refuse: EINVAL."""
        self._find(path)
        raise self._error(errno.EINVAL, path)

    def link(self, source: Path, target: Path) -> None:
        """Refuse: EPERM."""
        raise self._error(errno.EPERM, source)

    def commit_all(self) -> None:
        """Do nothing: each file logs its lines when they are written."""

    def _make(self, path: Path, mode: int) -> _Node:
        self._directory(path[:-1])
        made = self._nodes[path] = _Node(mode)
        return made

    def _known(self, path: Path) -> _Node | None:
        with self._lock:
            node = self._nodes.get(path)
            if node is None and disk.is_dir("/".join((self._root, *path))):
                node = self._nodes[path] = _Node(stat.S_IFDIR | 0o755)
            return node

    def _find(self, path: Path) -> _Node:
        node = self._known(path)
        if node is None:
            if path:
                self._directory(path[:-1])
            raise self._error(errno.ENOENT, path)
        return node

    def _directory(self, path: Path) -> None:
        if not stat.S_ISDIR(self._find(path).mode):
            raise self._error(errno.ENOTDIR, path)

    def _error(self, number: int, path: Path) -> OSError:
        return file_error(number, "/".join(path))
