"""Moving files, by the call that moves an object, and directories, by one such call for each object in them."""

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING

from gaeport.blobs.objects import Conflict, Stored
from gaeport.errors import file_error
from gaeport.fs.datastore.attempts import attempts
from gaeport.fs.gcs.directories import DEPLOYED
from gaeport.fs.gcs.facts import FUSE_MTIME, MTIME, times
from gaeport.fs.gcs.names import content_type
from gaeport.fs.gcs.tree import Node
from gaeport.fs.volume import Path

if TYPE_CHECKING:
    from gaeport.fs.gcs.volume import GcsVolume

THREADS = 8  # moves under way; each waits for Cloud Storage
BATCH = 500  # objects of a directory kept in mind at once


class Renames:
    """The moves within one volume."""

    def __init__(self, volume: "GcsVolume") -> None:
        self._volume = volume
        self._tree = volume.tree

    def rename(self, source: Path, target: Path) -> None:
        """Move `source` to `target`, replacing a file or an empty directory there (os.replace).

        A file is moved at once where the server has the call for it; a directory object by object.
        """
        if not source or not target:
            raise file_error(errno.EBUSY, "/".join(source or target), "the root of a mount cannot be moved")
        for _ in attempts("/".join(source)):
            old, new = self._tree.resolve(source, follow=False), self._tree.resolve(target, follow=False)
            if self._volume.stored_below(old) or self._volume.stored_below(new):
                continue
            self._check(old, new, source)
            if old.path == new.path or self._moved(old, new):
                return

    def _moved(self, old: Node, new: Node) -> bool:
        """Move; False where somebody changed something meanwhile."""
        if old.kind == "dir":
            self._move_directory(old, new)
            return True
        try:
            self._move_file(old, new)
        except Conflict:
            return False
        return True

    def _check(self, old: Node, new: Node, source: Path) -> None:
        name = "/".join(new.path)
        if not old.exists:
            raise file_error(errno.ENOENT, "/".join(source))
        if old.kind == "dir" and new.path[: len(old.path)] == old.path and new.path != old.path:
            raise file_error(errno.EINVAL, name)
        if old.path[: len(new.path)] == new.path and new.path != old.path:
            raise file_error(errno.ENOTEMPTY, name)
        if new.exists and new.kind == "dir" and old.kind != "dir":
            raise file_error(errno.EISDIR, name)
        if new.exists and new.kind != "dir" and old.kind == "dir":
            raise file_error(errno.ENOTDIR, name)
        if old.deployed is not None and old.path != new.path:
            raise file_error(errno.EROFS, "/".join(source), DEPLOYED)

    def _move_file(self, old: Node, new: Node) -> None:
        assert old.stored is not None
        moving, over = self._volume.inode_of(old), self._volume.inode_of(new)
        generation = new.stored.generation if new.stored is not None else 0
        try:
            made = self._tree.objects.move(old.stored, self._tree.names.of(new.path), generation)
        finally:
            self._tree.changed()
        if over is not None and over is not moving:
            over.unlinked()
        made = self._renamed(old, made)
        if moving is not None:
            self._volume.moved(moving, made, old.stored)

    def _renamed(self, old: Node, made: Stored) -> Stored:
        """Tell what a move would change: the time of an object that tells none, a type that only its name had told."""
        mtime = old.facts.mtime if old.facts is not None else None
        wanted = times(mtime=mtime) if not {MTIME, FUSE_MTIME} & made.metadata.keys() else {}
        former, kind = content_type(old.path[-1]), content_type(self._volume.path_of(made)[-1])
        retyped = kind if old.kind == "file" and made.content_type == former != kind else None
        if not wanted and retyped is None:
            return made
        try:
            return self._tree.objects.patch(made, wanted, content_type=retyped)
        except Conflict:
            return made  # somebody has changed it already

    def _move_directory(self, old: Node, new: Node) -> None:
        directories = self._volume.directories
        if new.exists:
            directories.demand_empty(new, new.path)
            directories.remove(new)
        before, after = self._tree.names.below(old.path), self._tree.names.below(new.path)
        if len(after) > len(before):
            self._demand_room(old.path, len(after.encode()) - len(before.encode()))
        try:
            everything = directories.everything(old.path)
            while batch := list(islice(everything, BATCH)):
                self._move_all([(stored, after + stored.name[len(before) :]) for stored in batch])
        finally:
            self._tree.changed()

    def _demand_room(self, path: Path, more: int) -> None:
        """Refuse before the first move what would fail at a later one: a name that becomes too long."""
        for stored in self._volume.directories.everything(path):
            if len(stored.name.encode()) + more > 1024:
                raise file_error(errno.ENAMETOOLONG, stored.name, "objects' names are bounded by 1,024 bytes")

    def _move_all(self, moves: list[tuple[Stored, str]]) -> None:
        def job(stored: Stored, target: str) -> Callable[[], None]:
            return lambda: self._move_object(stored, target)

        if len(moves) == 1:
            return self._move_object(*moves[0])
        with ThreadPoolExecutor(THREADS, "gaeport-moves") as pool:
            running = [pool.submit(copy_context().run, job(*move)) for move in moves]
        for one in running:
            one.result()
        return None

    def _move_object(self, stored: Stored, target: str) -> None:
        """Move one object of a directory; the newest content of it, if somebody writes it just now."""
        newest: Stored | None = stored
        for _ in attempts(stored.name):
            if newest is None:
                return  # somebody removed it, or moved it before
            try:
                made = self._tree.objects.move(newest, target, 0)
            except Conflict:
                if self._tree.objects.stat(target) is not None:
                    raise file_error(errno.ENOTEMPTY, target, "somebody writes to it while it is moved to") from None
                newest = self._tree.objects.stat(stored.name)
            else:
                self._volume.object_moved(newest, made)
                return
