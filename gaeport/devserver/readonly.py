"""Makes the file system read-only as App Engine's is: everything but the temporary folder.

An audit hook sees every file operation that Python makes for the application, those that go around `open` included,
and refuses writes with EROFS and the `[[mount]]` line that would allow them. Writes into a mount never get here: they
do not reach the system. What C extensions and child processes do on their own is not seen.
"""

import errno
import os
import sqlite3
import sqlite3.dbapi2
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaeport.fs import native
from gaeport.settings import Settings

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_TMPFILE = getattr(os, "O_TMPFILE", 0)
_native_connect = sqlite3.connect


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be written.

    Attributes:
        root: the application's folder.
        writable: folders that may be written, symbolic links resolved.
        readonly: folders that may not, even inside a writable one; the longest folder that holds a path decides.
    """

    root: str
    writable: tuple[str, ...]
    readonly: tuple[str, ...]

    @classmethod
    def of(cls, config: Settings) -> "Rules":
        """Return the rules for an application: the temporary folder, devices and gaeport's own data are writable."""
        folders = [tempfile.gettempdir(), "/tmp", "/dev", "/proc/self"]
        if not config.in_memory:
            folders.append(str(config.data_path))
        root = native.realpath(str(config.root))
        return cls(root, tuple(native.realpath(folder) for folder in folders), (root, "/"))

    def allow(self, path: str) -> bool:
        """Whether a file may be written; `path` is absolute, with symbolic links resolved."""
        if "/site-packages/" in path and "/__pycache__" in path:
            return True  # installed packages may keep their bytecode: else each start would compile them again
        if path.startswith("/memfd:"):
            return True  # anonymous memory, by /proc/self/fd: where the content of a mount's file has a descriptor
        return _longest(path, self.writable) >= _longest(path, self.readonly)


#: Told of a write that would be refused, in place of the refusal: the real path, and whether it is a folder to be made.
Observer = Callable[[str, bool], None]

_rules: Rules | None = None
_observer: Observer | None = None
_hooked = False
_connecting = threading.local()


def enforce(config: Settings) -> None:
    """Refuse writes from now on, in this process and those forked from it."""
    global _rules, _hooked
    _rules = Rules.of(config)
    if not _hooked:
        sys.addaudithook(_hook)  # cannot be taken away again; it does nothing without rules
        _hooked = True
    sqlite3.connect = sqlite3.dbapi2.connect = _read_only_connect


def observe(observer: Observer | None) -> None:
    """Let writes happen that the rules refuse, and tell of each; None: refuse them again."""
    global _observer
    _observer = observer


def lift() -> None:
    """Allow everything again."""
    global _rules
    _rules = None
    sqlite3.connect = sqlite3.dbapi2.connect = _native_connect


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _rules is not None:
        examine = _EXAMINERS.get(event)
        if examine is not None:
            examine(*arguments)


def _open(path: Any, mode: str | None, flags: int) -> None:
    if not flags & _WRITE_FLAGS or not isinstance(path, str | bytes | os.PathLike):
        return
    found = _mode(path)
    if _TMPFILE and flags & _TMPFILE == _TMPFILE:
        _refuse(os.path.join(os.fsdecode(path), "x"), path)
    elif found is None:
        # Linux reports a missing folder before the read-only file system, and a missing file without O_CREAT.
        if flags & os.O_CREAT and _mode(_folder(os.fsdecode(path))) is not None:
            _refuse(path, path)
    elif _is_regular(found) and not (flags & os.O_CREAT and flags & os.O_EXCL):
        _refuse(path, path)


def _mkdir(path: Any, mode: int, dir_fd: int) -> None:
    if _mode(path, dir_fd) is None and _mode(_folder(os.fsdecode(path)), dir_fd) is not None:
        _refuse(path, path, dir_fd, is_folder=True)


def _change(path: Any, *rest: Any) -> None:
    """Refuse to change or remove what exists; a dir_fd is the last argument of those events that have one."""
    dir_fd = rest[-1] if rest and isinstance(rest[-1], int) else -1
    if not isinstance(path, str | bytes | os.PathLike):
        return  # a file descriptor: whatever it is open for was allowed when it was opened
    mode = _mode(path, dir_fd)
    if mode is not None:
        _refuse(path, path, dir_fd, is_folder=stat.S_ISDIR(mode))


def _truncate(path: Any, length: int) -> None:
    _change(path)


def _rename(source: Any, target: Any, source_fd: int, target_fd: int) -> None:
    if _mode(source, source_fd) is not None:
        _refuse(source, source, source_fd)
        _refuse(target, target, target_fd)


def _link(source: Any, target: Any, source_fd: int, target_fd: int) -> None:
    if _mode(source, source_fd) is not None and _mode(target, target_fd) is None:
        _refuse(target, target, target_fd)


def _symlink(source: Any, target: Any, dir_fd: int) -> None:
    if _mode(target, dir_fd) is None:
        _refuse(target, target, dir_fd)


def _connect(database: Any) -> None:
    """Refuse a database that would be made, or that is opened past `sqlite3.connect`, which keeps it read-only."""
    path = _database_file(database)
    if path is None or _rules is None or _rules.allow(_real(path, -1)):
        return
    if _observer is not None:
        _observer(_real(path, -1), False)
        return
    if _mode(path) is None or not getattr(_connecting, "read_only", False):
        raise OSError(
            errno.EROFS,
            "Read-only file system: on App Engine only the temporary folder can hold an SQLite database, and loses it "
            "with the instance; a mount cannot, since SQLite opens its files itself. Keep such data in Datastore",
            path,
        )


def _read_only_connect(database: Any, *args: Any, **kwargs: Any) -> Any:
    """What sqlite3.connect is replaced by: a deployed database can be read, and refuses to be written."""
    path = _database_file(database)
    if path is None or _rules is None or _observer is not None or _rules.allow(_real(path, -1)):
        return _native_connect(database, *args, **kwargs)
    _connecting.read_only = True
    try:
        connection = _native_connect(database, *args, **kwargs)
    finally:
        _connecting.read_only = False
    connection.execute("PRAGMA query_only = ON")
    return connection


_EXAMINERS: dict[str, Callable[..., None]] = {
    "open": _open,
    "os.mkdir": _mkdir,
    "os.remove": _change,
    "os.rmdir": _change,
    "os.rename": _rename,
    "os.link": _link,
    "os.symlink": _symlink,
    "os.truncate": _truncate,
    "os.utime": _change,
    "os.chmod": _change,
    "os.chown": _change,
    "os.setxattr": lambda path, *_: _change(path),
    "os.removexattr": lambda path, *_: _change(path),
    "sqlite3.connect": _connect,
}


def _refuse(path: Any, spelled: Any, dir_fd: int = -1, *, is_folder: bool = False) -> None:
    """Raise EROFS where a path may not be written."""
    if _rules is None:
        return
    real = _real(path, dir_fd)
    if _rules.allow(real):
        return
    if _observer is not None:
        _observer(real, is_folder)
    else:
        raise OSError(errno.EROFS, f"{os.strerror(errno.EROFS)}: {remedy(_rules.root, real, is_folder)}", spelled)


def remedy(root: str, path: str, is_folder: bool = False) -> str:
    """Return the words that say which line of gaeport.toml would allow a write.

    Args:
        root: the application's folder.
        path: what was to be written, absolute.
        is_folder: whether it was a folder to be made.
    """
    lead = "on App Engine only mounts and the temporary folder can be written;"
    folder = os.path.dirname(path)
    if is_folder and folder == root:
        folder = path
    if folder == root:
        return (
            f"{lead} {os.path.basename(path)!r} lies beside the code: keep it in a folder of its own, "
            f"and add that folder to gaeport.toml:{_mount_lines('data')}"
        )
    inside = os.path.relpath(folder, root)
    return f"{lead} add to gaeport.toml:{_mount_lines(folder if inside.startswith('..') else inside)}"


def _mount_lines(folder: str) -> str:
    # Lines of their own, to be pasted; str() of an OSError puts the refused file's name after the last one.
    return f'\n[[mount]]\npath = "{folder}"\nrefused'


def _longest(path: str, folders: tuple[str, ...]) -> int:
    return max(
        (len(folder) for folder in folders if path == folder or path.startswith(_with_slash(folder))), default=-1
    )


def _with_slash(folder: str) -> str:
    return folder if folder.endswith("/") else f"{folder}/"


def _real(path: Any, dir_fd: int) -> str:
    text = os.fsdecode(path)
    if dir_fd >= 0 and not text.startswith("/"):
        text = os.path.join(_folder_of(dir_fd), text)
    return native.realpath(os.path.abspath(text))


def _folder_of(descriptor: int) -> str:
    if sys.platform == "darwin":
        import fcntl

        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return str(native.readlink(f"/proc/self/fd/{descriptor}"))


def _folder(path: str) -> str:
    return os.path.dirname(path.rstrip("/")) or "."


def _mode(path: Any, dir_fd: int = -1) -> int | None:
    """Return the mode of what is on the disk, symbolic links not followed; None: nothing is there."""
    try:
        mode: int = native.lstat(path, dir_fd=dir_fd if dir_fd >= 0 else None).st_mode
        return mode
    except (OSError, ValueError):
        return None


def _is_regular(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _database_file(database: Any) -> str | None:
    """Return the file that sqlite3.connect() will open; None: it keeps nothing, or opens read-only anyway."""
    text = os.fsdecode(database) if isinstance(database, str | bytes | os.PathLike) else ""
    if text.startswith("file:"):
        from urllib.parse import parse_qs, unquote, urlsplit

        parts = urlsplit(text)
        query = parse_qs(parts.query)
        if query.get("mode", [""])[0] in ("ro", "memory"):
            return None
        text = unquote(parts.path)
    return None if text in ("", ":memory:") else str(Path(text))
