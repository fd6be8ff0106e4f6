"""Named objects as files of a folder: `files/` holds each under its own name, `about/` what else is known of it.

A file's time of modification is its generation, in microseconds, so that content and generation change in one step,
and a file that somebody puts there by hand is an object too. Changes hold a lock that ends with its process.
"""

import errno
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from gaeport import meter
from gaeport.blobs.objects import Conflict, Draft, Stored, patched
from gaeport.errors import file_error

FILES, ABOUT, INCOMING = "files", "about", "incoming"
_fcntl: Any = import_module("fcntl") if os.name == "posix" else None  # Windows has another way to lock
ABANDONED = 86_400  # seconds after which what a killed writer left in `incoming` is removed
_PLACEHOLDER = "%2F"  # the file of an object whose name ends in a slash, in the folder of that name
_ESCAPES = {"": _PLACEHOLDER, ".": "%2E", "..": "%2E%2E"}


class FolderObjects:
    """Keeps objects in files. Several processes may use one folder.

    Args:
        folder: where they lie; made by the first write.
        sync: whether what was stored survives a loss of power; without, it survives kill -9.
    """

    def __init__(self, folder: Path, *, sync: bool = False) -> None:
        self._folder = folder
        self._files, self._about, self._incoming = folder / FILES, folder / ABOUT, folder / INCOMING
        self._sync = sync
        self._kind = f"(folder {folder.name})"

    def stat(self, name: str) -> Stored | None:
        """Return what is stored under a name; None where nothing is."""
        with self._counted("StatObject", storage__class_b=1):
            return self._stored(name)

    def scan(self, prefix: str, *, deep: bool = False, limit: int | None = None) -> Iterator[Stored | str]:
        """Yield the objects below a prefix, and longer prefixes."""
        with self._counted("ListObjects", storage__class_a=1):
            found: list[Stored | str] = []
            for item in self._listed(prefix, deep):
                if limit is not None and len(found) >= limit:
                    break
                found.append(item)
        yield from found

    def read(self, name: str, generation: int, offset: int, length: int) -> bytes:
        """Return a range of the content of a generation."""
        with self._counted("ReadObject", storage__class_b=1) as answer:
            try:
                with open(self._path(name), "rb", buffering=0) as file:
                    if os.fstat(file.fileno()).st_mtime_ns // 1000 != generation:
                        raise Conflict(name)
                    file.seek(offset)
                    data = _read(file, length)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise Conflict(name) from None
            answer.append(len(data))
            return data

    def write(self, draft: Draft, data: bytes) -> Stored:
        """Store a content."""
        upload = self.upload(draft)
        upload.write(data)
        return upload.close()

    def upload(self, draft: Draft) -> "FolderUpload":
        """Begin to store a large content."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._sweep()
        return FolderUpload(self, draft, self._incoming / f"{os.getpid()}-{secrets.token_hex(8)}", sync=self._sync)

    def patch(self, stored: Stored, metadata: Mapping[str, str], *, content_type: str | None = None) -> Stored:
        """Set some of the custom metadata, and the content type where one is given."""
        with self._counted("PatchObject", storage__class_a=1), self._locked():
            made = patched(self._demand(stored.name, stored.generation), stored, metadata, content_type)
            self._remember(made)
            return made

    def move(self, source: Stored, target: str, generation: int) -> Stored:
        """Give an object another name."""
        with self._counted("MoveObject", storage__class_a=1), self._locked():
            over = self._demand(target, generation)
            present = self._demand(source.name, source.generation)
            assert present is not None
            made = replace(present, name=target, generation=_later(present, over), metageneration=1)
            between = replace(made, name=source.name)  # what it is for a moment, with its new generation
            self._remember(between)
            made = self._publish(made, self._path(source.name), over)
            self._forget(present)
            self._forget(between)
            self._prune(source.name)
            return made

    def delete(self, name: str, generation: int) -> None:
        """Remove an object."""
        with self._counted("DeleteObject"), self._locked():
            present = self._demand(name, generation)
            assert present is not None
            self._path(name).unlink()
            self._forget(present)
            self._prune(name)

    def finish(self, draft: Draft, temporary: Path, size: int, checksum: str) -> Stored:
        """Put a file that an upload wrote under its name; see `ObjectUpload.close`."""
        with self._counted("WriteObject", size, storage__class_a=1), self._locked():
            over = self._demand(draft.name, draft.generation)
            stored = Stored(
                draft.name,
                size,
                _later(over),
                metadata=dict(draft.metadata),
                content_type=draft.content_type,
                checksum=checksum,
            )
            return self._publish(stored, temporary, over)

    def _publish(self, stored: Stored, source: Path, over: Stored | None) -> Stored:
        stored = replace(stored, created_ns=stored.generation * 1000, updated_ns=stored.generation * 1000)
        path = self._path(stored.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._remember(stored)  # before the file has its name: nobody asks for this generation yet
            os.utime(source, ns=(stored.generation * 1000, stored.generation * 1000))
            os.replace(source, path)
        except OSError as error:
            self._forget(stored)
            raise file_error(error.errno or errno.EIO, stored.name) from error
        if over is not None:
            self._forget(over)
        return stored

    # What is known of a file

    def _stored(self, name: str) -> Stored | None:
        path = self._path(name)
        while True:
            status = _status(path)
            if status is None:
                return None
            generation = status.st_mtime_ns // 1000
            about = self._remembered(name, generation)
            again = _status(path)
            if again is not None and again.st_mtime_ns // 1000 == generation:  # what was read belongs to this content
                break
        return Stored(
            name,
            status.st_size,
            generation,
            about.get("metageneration", 1),
            generation * 1000,
            about.get("updated", generation * 1000),
            about.get("metadata", {}),
            about.get("content_type", ""),
            about.get("checksum", ""),
        )

    def _demand(self, name: str, generation: int) -> Stored | None:
        found = self._stored(name)
        if (found.generation if found is not None else 0) != generation:
            raise Conflict(name)
        return found

    def _about_path(self, name: str, generation: int) -> Path:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return self._about / digest[:2] / f"{digest[2:40]}.{generation}.json"

    def _remember(self, stored: Stored) -> None:
        about = {
            "name": stored.name,
            "metadata": dict(stored.metadata),
            "content_type": stored.content_type,
            "metageneration": stored.metageneration,
            "updated": stored.updated_ns,
            "checksum": stored.checksum,
        }
        path = self._about_path(stored.name, stored.generation)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(parents=True, exist_ok=True)
        temporary = self._incoming / f"{os.getpid()}-{secrets.token_hex(8)}"
        temporary.write_text(json.dumps(about), "utf-8")
        os.replace(temporary, path)

    def _remembered(self, name: str, generation: int) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._about_path(name, generation).read_text("utf-8"))
            return found
        except FileNotFoundError:
            return {}

    def _forget(self, stored: Stored) -> None:
        self._about_path(stored.name, stored.generation).unlink(missing_ok=True)

    # Files

    def _path(self, name: str) -> Path:
        return self._files.joinpath(*[_escaped(part) for part in name.split("/")])

    def _listed(self, prefix: str, deep: bool) -> Iterator[Stored | str]:
        folder = self._path(prefix).parent if prefix else self._files
        for part in _children(folder):
            name = prefix + part
            if not part.endswith("/") or part == "/":
                stored = self._stored(name if part != "/" else prefix)
                if stored is not None:
                    yield stored
            elif deep:
                yield from self._listed(name, deep)
            else:
                first = next(self._listed(name, True), None)
                if isinstance(first, Stored):
                    yield first if first.name == name else name

    def _prune(self, name: str) -> None:
        """Remove the folders that hold nothing any more."""
        folder = self._path(name).parent
        with suppress(OSError):  # the first that holds something ends it
            while folder != self._files:
                folder.rmdir()
                folder = folder.parent

    def _sweep(self) -> None:
        for left in os.scandir(self._incoming):
            with suppress(FileNotFoundError):  # its writer finished, or another sweep was first
                if left.stat().st_mtime < time.time() - ABANDONED:
                    os.unlink(left.path)

    # Calls

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._about.mkdir(parents=True, exist_ok=True)
        with open(self._folder / "lock", "ab") as file:
            _lock(file)
            try:
                yield
            finally:
                _unlock(file)  # closing is not enough: a child forked by another thread has the file open, too

    @contextmanager
    def _counted(self, call: str, sent: int = 0, **units: int) -> Iterator[list[int]]:
        start, received = time.perf_counter(), [0]
        failed = True
        try:
            yield received
            failed = False
        finally:
            about = meter.About(self._kind, 1, sent=sent, received=received[-1])
            meter.record(call, time.perf_counter() - start, about=about, failed=failed, **units)


class FolderUpload:
    """An object being written to a temporary file."""

    def __init__(self, store: FolderObjects, draft: Draft, temporary: Path, *, sync: bool) -> None:
        self._store, self._draft, self._temporary, self._sync = store, draft, temporary, sync
        self._size = 0
        self._digest = hashlib.blake2b(digest_size=8)
        self._file: IO[bytes] | None = open(temporary, "xb", buffering=0)  # noqa: SIM115  # closed by close or abort

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        if self._file is None:
            raise ValueError(f"the upload of {self._draft.name!r} is closed")
        rest = memoryview(data).cast("B")
        self._size += len(rest)
        self._digest.update(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.abort()
            raise file_error(error.errno or errno.EIO, self._draft.name) from error

    def close(self) -> Stored:
        """Put the object under its name."""
        if self._file is None:
            raise ValueError(f"the upload of {self._draft.name!r} is closed")
        try:
            if self._sync:
                os.fsync(self._file.fileno())
            self._file.close()
            return self._store.finish(self._draft, self._temporary, self._size, self._digest.hexdigest())
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up and leave nothing."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what stays behind lies in `incoming`, never shows, and is swept
                file.close()
                self._temporary.unlink(missing_ok=True)


def _later(*others: Stored | None) -> int:
    """Return a generation after those of others."""
    return max(time.time_ns() // 1000, *[other.generation + 1 for other in others if other is not None], 0)


def _escaped(part: str) -> str:
    return _ESCAPES.get(part, part.replace("%", "%25"))


def _children(folder: Path) -> list[str]:
    """Return what lies in a folder in the order of object names: folders end in a slash, "/" is its placeholder."""
    try:
        with os.scandir(folder) as entries:
            return sorted((_unescaped(entry) for entry in entries), key=lambda part: part if part != "/" else "")
    except (FileNotFoundError, NotADirectoryError):
        return []


def _unescaped(entry: "os.DirEntry[str]") -> str:
    if entry.name == _PLACEHOLDER:
        return "/"
    plain = {escape: part for part, escape in _ESCAPES.items()}.get(entry.name, entry.name.replace("%25", "%"))
    return f"{plain}/" if entry.is_dir(follow_symlinks=False) else plain


def _status(path: Path) -> os.stat_result | None:
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise file_error(error.errno or errno.EIO, path.name) from error
    return status if status.st_mode & 0o170000 == 0o100000 else None


def _read(file: Any, length: int) -> bytes:
    pieces = []
    while length > 0 and (piece := file.read(length)):  # one read() may give less than it was asked for
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _lock(file: IO[bytes]) -> None:
    """Lock a file among processes and threads."""
    if _fcntl is not None:
        _fcntl.flock(file.fileno(), _fcntl.LOCK_EX)
    else:
        _windows_lock(file, "LK_LOCK")


def _unlock(file: IO[bytes]) -> None:
    if _fcntl is not None:
        _fcntl.flock(file.fileno(), _fcntl.LOCK_UN)
    else:
        _windows_lock(file, "LK_UNLCK")


def _windows_lock(file: IO[bytes], kind: str) -> None:
    msvcrt: Any = import_module("msvcrt")
    file.seek(0)
    msvcrt.locking(file.fileno(), getattr(msvcrt, kind), 1)
