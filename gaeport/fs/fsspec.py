"""A file system for fsspec, protocol `gaeport`: `fsspec.open("gaeport://uploads/a.txt")`.

The first part of a path is a mount's name (`name`, by default its `path` in gaeport.toml); the root lists the mounts.
It works on the mounts' volumes themselves, so that nothing of Python's file functions needs to be replaced; where the
directory is mounted in the process, both see the same files at once.
"""

import errno
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from gaeport.errors import MissingExtraError, file_error
from gaeport.fs import named
from gaeport.fs.datastore.bulk import Whole, batches
from gaeport.fs.patching.files import umask
from gaeport.fs.places import Naming
from gaeport.fs.syncing.sides import PIECE
from gaeport.fs.volume import Attributes, OpenFile, Path, Volume

try:
    from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
except ImportError as error:
    raise MissingExtraError("fsspec is not installed: pip install 'gaeport[fsspec]'") from error

_MAGIC = "*?["
_FLAGS = {
    "rb": os.O_RDONLY,
    "wb": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "ab": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "xb": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}


class GaeportFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The application's mounts.

    Args:
        auto_mkdir: whether the directories above a file that is written are made where they are missing, as object
            stores have it. It costs nothing where they are there.
    """

    protocol = "gaeport"
    root_marker = ""
    mirror_sync_methods = False

    def __init__(self, auto_mkdir: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.auto_mkdir = auto_mkdir

    @property
    def fsid(self) -> str:
        """Tells whether two are the same store."""
        from gaeport import settings

        config = settings.current()
        if config.environment == "embedded":
            return f"gaeport-{config.data}-{config.own_namespace}"
        return f"gaeport-{config.project}-{config.database}-{config.own_namespace}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Return a path without protocol, and without ".", ".." and doubled slashes."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        plain = super()._strip_protocol(path).strip("/")
        return posixpath.normpath(f"/{plain}")[1:] if plain else ""

    # Places

    def _place(self, path: str) -> tuple[Volume, Path]:
        """Return volume and path in it. Raises IsADirectoryError for what is above the mounts."""
        mount, rest = named.split(self._strip_protocol(path))
        if mount is None:
            raise file_error(errno.EISDIR, path)
        return mount.volume, tuple(rest.split("/")) if rest else ()

    def _above(self, path: str) -> list[str] | None:
        """Return the names in a directory that only leads to mounts; None for a path in a mount."""
        path = self._strip_protocol(path)
        if named.split(path)[0] is not None:
            return None
        lead = f"{path}/" if path else ""
        return sorted({name[len(lead) :].split("/")[0] for name in named.mounts() if name.startswith(lead)})

    # Looking

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Return what is known of a path: name, size, type ("file", "directory", "other"), times in seconds since 1970,
        mode, ino; of a link what it leads to, with `islink` and `destination`.

        Raises:
            FileNotFoundError: nothing is there.
        """
        path = self._strip_protocol(path)
        if self._above(path) is not None:
            return {"name": path, "size": 0, "type": "directory"}
        volume, parts = self._place(path)
        with Naming(path):
            return self._info(path, volume, parts, volume.stat(parts, follow=False))

    def _info(self, name: str, volume: Volume, parts: Path, found: Attributes) -> dict[str, Any]:
        link = stat.S_ISLNK(found.mode)
        shown = found
        if link:
            try:
                shown = volume.stat(parts)
            except OSError:
                shown = found  # it leads nowhere
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory"}
        result = {
            "name": name,
            "size": 0 if stat.S_ISDIR(shown.mode) else shown.size,
            "type": kinds.get(stat.S_IFMT(shown.mode), "other"),
            "created": shown.ctime_ns / 1e9,
            "mtime": shown.mtime_ns / 1e9,
            "mode": shown.mode,
            "uid": shown.uid,
            "gid": shown.gid,
            "ino": shown.ino,
            "nlink": shown.nlink,
            "islink": link,
        }
        if link:
            result["destination"] = volume.readlink(parts)
        return result

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Return a directory's names, or with `detail` what `info` tells of each; of a file, itself."""
        path = self._strip_protocol(path)
        above = self._above(path)
        if above is not None:
            names = [f"{path}/{name}".lstrip("/") for name in above]
            return [self.info(name) for name in names] if detail else names
        volume, parts = self._place(path)
        with Naming(path):
            try:
                rows = sorted(volume.scandir(parts))
            except NotADirectoryError:
                found = self.info(path)
                return [found] if detail else [path]
            if not detail:
                return [f"{path}/{name}" for name, _ in rows]
            return [self._info(f"{path}/{name}", volume, (*parts, name), found) for name, found in rows]

    def exists(self, path: str, **options: Any) -> bool:
        """Tell whether something is there. Raises OSError when the store does not answer."""
        try:
            self.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def created(self, path: str) -> datetime:
        """Return when a path last changed at all: no earlier time is kept."""
        return self._moment(path, "created")

    def modified(self, path: str) -> datetime:
        """Return when a path's content last changed."""
        return self._moment(path, "mtime")

    def _moment(self, path: str, which: str) -> datetime:
        found = self.info(path)
        if which not in found:
            raise file_error(errno.EISDIR, found["name"], "what is above the mounts has no times")
        return datetime.fromtimestamp(found[which], UTC)

    def checksum(self, path: str) -> int:
        """Return a number that changes when the file does: of its identity, size and times, not of its content."""
        found = self.info(path)
        return hash((found.get("ino"), found["size"], found.get("mtime"), found.get("created"))) & (1 << 63) - 1

    def ukey(self, path: str) -> str:
        """Return `checksum` as text."""
        return f"{self.checksum(path):016x}"

    # Reading

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> "GaeportFile":
        return GaeportFile(self, path, mode, block_size, autocommit, cache_options=cache_options, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Return a file's content, or the bytes from `start` to `end` (negative ones count from the end)."""
        volume, parts = self._place(path)
        with Naming(path):
            handle = volume.open(parts, os.O_RDONLY)
            try:
                first, last, _ = slice(start, end).indices(handle.size)
                return b"".join(_pieces(handle, first, last))
            finally:
                handle.close()

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **options: Any) -> Any:
        """Return a file's content, or for several (a list, a pattern, `recursive`) a dict of contents by path.

        Small files are read hundreds in a call.

        Args:
            path: one or a list.
            recursive: whether directories stand for what is in them.
            on_error: "raise", "omit", or "return" the errors in place of contents.
        """
        if options or on_error not in ("raise", "omit", "return"):
            return super().cat(path, recursive=recursive, on_error=on_error, **options)
        wanted = self.expand_path(path, recursive=recursive)
        if not (len(wanted) > 1 or isinstance(path, list) or wanted[0] != self._strip_protocol(path)):
            return self.cat_file(wanted[0])
        contents: dict[str, Any] = self._small_contents(wanted)
        for one in wanted:
            if one not in contents:
                try:
                    contents[one] = self.cat_file(one)
                except OSError as error:
                    if recursive and isinstance(error, IsADirectoryError):
                        continue  # it stands for what is in it
                    if on_error == "raise":
                        raise
                    if on_error == "return":
                        contents[one] = error
        return {one: contents[one] for one in wanted if one in contents}

    def _small_contents(self, wanted: Sequence[str]) -> dict[str, bytes]:
        contents: dict[str, bytes] = {}
        for volume, places in self._grouped(wanted).items():
            bulk: Any = getattr(volume, "bulk", None)
            for batch in batches(places, [1] * len(places)) if bulk is not None else ():
                answers = bulk.read([parts for _, parts in batch])
                contents |= {name: found[1] for (name, _), found in zip(batch, answers, strict=True) if found}
        return contents

    def _grouped(self, wanted: Sequence[str]) -> dict[Volume, list[tuple[str, Path]]]:
        """Return paths with their places, by volume; what is in none is left out."""
        grouped: dict[Volume, list[tuple[str, Path]]] = {}
        for name in wanted:
            try:
                volume, parts = self._place(name)
            except OSError:
                continue
            grouped.setdefault(volume, []).append((name, parts))
        return grouped

    # Writing

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Write a whole file; with mode="create", FileExistsError where it is there: one winner among all instances."""
        with self.open(path, "xb" if mode == "create" else "wb", **options) as file:
            file.write(value)

    def pipe(self, path: Any, value: bytes | None = None, **options: Any) -> None:
        """Write a whole file, or those of a dict of contents by path: small ones, hundreds in a call.

        In a transaction they are written one by one, when that ends.
        """
        if not isinstance(path, dict) or options or self._intrans:
            super().pipe(path, value, **options)
            return
        left = {self._strip_protocol(name): content for name, content in path.items()}
        for volume, places in self._grouped(list(left)).items():
            bulk: Any = getattr(volume, "bulk", None)
            for batch in batches(places, [len(left[name]) for name, _ in places]) if bulk is not None else ():
                names = {parts: name for name, parts in batch if parts}
                unwritten = bulk.write([_whole(parts, left[name]) for parts, name in names.items()])
                for done in names.keys() - {file.path for file in unwritten}:
                    del left[names[done]]
        for name, content in left.items():
            self.pipe_file(name, content)

    def touch(self, path: str, truncate: bool = True, **options: Any) -> None:
        """Make an empty file; empty an existing one, or with truncate=False set its times to now."""
        if truncate or not self.exists(path):
            with self.open(path, "wb" if truncate else "ab", **options):
                return
        volume, parts = self._place(path)
        now = int(datetime.now(UTC).timestamp() * 1e9)
        with Naming(path):
            volume.utime(parts, now, now)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copy a file in bounded memory; of a directory, make one.

        Raises:
            OSError: EINVAL for a file onto itself, under whatever names: writing would empty what is to be read.
        """
        if self.isdir(path1):
            self.makedirs(path2, exist_ok=True)
            return
        with self._open(self._strip_protocol(path1)) as source:
            self._demand_other(source.handle, path1, path2)
            target = self._open(self._strip_protocol(path2), "wb")
            try:
                for piece in _pieces(source.handle, 0, source.size):
                    target.write(piece)
            except BaseException:
                target.discard()
                raise
            target.close()

    def _demand_other(self, source: OpenFile, path1: str, path2: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            volume, parts = self._place(path2)
            target, found = volume.stat(parts), source.attributes()
            if (target.dev, target.ino) == (found.dev, found.ino):
                raise file_error(errno.EINVAL, self._strip_protocol(path2), f"it is the same file as {path1}")

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **options: Any) -> None:
        """Move: within a mount by one rename, atomically and whatever the size; else by copying and removing."""
        if isinstance(path1, str) and isinstance(path2, str) and maxdepth is None:
            source, target = self._strip_protocol(path1), self._strip_protocol(path2)
            if not any(sign in source for sign in _MAGIC) and (path2.endswith("/") or self.isdir(target)):
                target = f"{target}/{posixpath.basename(source)}"
            if self._renamed(source, target):
                return
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)

    def _renamed(self, source: str, target: str) -> bool:
        if any(sign in source for sign in _MAGIC):
            return False
        (volume, old), (other, new) = self._place(source), self._place(target)
        if volume is not other or not old or not new:
            return False
        with Naming(source, target):
            self._with_parents(target, lambda: volume.rename(old, new))
        return True

    # Directories, and removing

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Make a directory, and with `create_parents` those above it. FileExistsError where something is there."""
        if create_parents:
            self.makedirs(self._parent(path), exist_ok=True)
        if self._above(path) is not None:
            raise file_error(errno.EEXIST, path)
        volume, parts = self._place(path)
        with Naming(path):
            volume.mkdir(parts, 0o777 & ~umask.value)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and those above it."""
        path = self._strip_protocol(path)
        if self._above(path) is not None:
            if not exist_ok:
                raise file_error(errno.EEXIST, path)
            return
        try:
            self.mkdir(path, create_parents=False)
        except FileExistsError:
            if not exist_ok or not self.isdir(path):
                raise
        except FileNotFoundError:
            self.makedirs(self._parent(path), exist_ok=True)
            self.makedirs(path, exist_ok=True)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        volume, parts = self._place(path)
        with Naming(path):
            volume.rmdir(parts)

    def rm_file(self, path: str) -> None:
        """Remove a file, a link, or an empty directory."""
        volume, parts = self._place(path)
        with Naming(path):
            if stat.S_ISDIR(volume.stat(parts, follow=False).mode):
                volume.rmdir(parts)
            else:
                volume.unlink(parts)

    _rm = rm_file

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and with `recursive` directories with what is in them.

        Raises:
            IsADirectoryError: a directory, without `recursive`.
        """
        for name in path if isinstance(path, list) else [path]:
            plain = self._strip_protocol(name)
            if maxdepth is not None or any(sign in plain for sign in _MAGIC):
                super().rm(name, recursive=recursive, maxdepth=maxdepth)
                continue
            volume, parts = self._place(plain)
            with Naming(plain):
                if not stat.S_ISDIR(volume.stat(parts, follow=False).mode):
                    volume.unlink(parts)
                elif not recursive:
                    raise file_error(errno.EISDIR, plain, "recursive=True removes directories")
                else:
                    _remove_tree(volume, parts)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permission bits."""
        volume, parts = self._place(path)
        with Naming(path):
            volume.chmod(parts, mode)

    def _with_parents(self, path: str, do: Any) -> Any:
        """Do something that needs the directory above a path; where that is missing, make it and try again."""
        try:
            return do()
        except FileNotFoundError:
            parent = self._parent(path)
            if not self.auto_mkdir or self.isdir(parent):
                raise
            self.makedirs(parent, exist_ok=True)
            return do()


class GaeportFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """An open file: it keeps to the file that it was opened on, whatever becomes of the name.

    What is written appears when it is closed (in a transaction: when that ends); `discard` drops it.
    """

    DEFAULT_BLOCK_SIZE = PIECE

    def __init__(
        self, fs: GaeportFileSystem, path: str, mode: str, block_size: int | None, autocommit: bool, **options: Any
    ) -> None:
        if mode not in _FLAGS:
            raise ValueError(f"mode {mode!r} of {path}: valid modes are {', '.join(_FLAGS)}, and the same for text")
        self.handle: OpenFile = self._opened(fs, path, mode)
        self._done = False
        options["size"] = self.handle.size
        super().__init__(fs, path, mode, block_size or "default", autocommit, **options)
        if mode == "ab":
            self.loc = self.handle.size

    @staticmethod
    def _opened(fs: GaeportFileSystem, path: str, mode: str) -> OpenFile:
        volume, parts = fs._place(path)
        permissions = 0o666 & ~umask.value
        with Naming(path):
            if mode == "rb":
                return volume.open(parts, _FLAGS[mode])
            opened: OpenFile = fs._with_parents(path, lambda: volume.open(parts, _FLAGS[mode], permissions))
            return opened

    def _fetch_range(self, start: int, end: int) -> bytes:
        with Naming(self.path):
            return b"".join(_pieces(self.handle, start, min(end, self.size)))

    def _upload_chunk(self, final: bool = False) -> bool:
        data = self.buffer.getbuffer()
        with Naming(self.path):
            if self.mode == "ab" and data:
                self.handle.append(data)
            elif data:
                self.handle.pwrite(data, self.offset)
        data.release()
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Make what was written visible."""
        if not self._done:
            self._done = True
            with Naming(self.path):
                self.handle.close()

    def discard(self) -> None:
        """Drop what was written; a file that this created by mode "xb" is removed."""
        if self._done:
            return
        self._done = self.closed = True
        self.handle.discard()
        if self.mode == "xb":
            self.fs.rm_file(self.path)

    def close(self) -> None:
        """Write what is left, and commit. Raises OSError when that fails; it is closed all the same."""
        if self.closed:
            return
        try:
            super().close()
        except BaseException:
            if not self._done:
                self._done = True
                self.handle.discard()
            raise
        finally:
            self.closed = True
            if self.mode == "rb" and not self._done:
                self._done = True
                self.handle.close()


def _pieces(handle: OpenFile, start: int, end: int) -> Iterator[bytes]:
    while start < end and (piece := handle.pread(min(PIECE, end - start), start)):
        yield piece
        start += len(piece)


def _whole(parts: Path, content: bytes) -> Whole:
    now = int(datetime.now(UTC).timestamp() * 1e9)
    return Whole(parts, bytes(content), 0o666 & ~umask.value, now, now, in_place=True)


def _remove_tree(volume: Volume, parts: Path) -> None:
    quick = getattr(volume, "rmtree", None)
    try:
        if quick is not None and parts and quick(parts):
            return
    except OSError:
        pass  # name by name: what stands in the way is told below
    for name, found in volume.scandir(parts):
        if stat.S_ISDIR(found.mode):
            _remove_tree(volume, (*parts, name))
        else:
            volume.unlink((*parts, name))
    if parts:
        volume.rmdir(parts)
