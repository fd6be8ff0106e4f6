"""A file of a bucket that is open, or was changed and not stored yet: one object for all its handles in this process.

Every write of its object names the generation that it was made from. Where somebody else was faster, the newest content
is read and the changes are made to that.
"""

import errno
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from gaeport.blobs.objects import OPERATION, REMEMBERED, Conflict, Draft, ObjectUpload, Stored, operations
from gaeport.datastore import afterwards
from gaeport.errors import file_error
from gaeport.fs import disk
from gaeport.fs.datastore.attempts import attempts, guarded
from gaeport.fs.datastore.content import Changes, Extent, Memory, Piece, View
from gaeport.fs.gcs.facts import Facts, changed, facts_of, metadata_of, others, told, told_ino
from gaeport.fs.gcs.names import content_type
from gaeport.fs.gcs.reading import WHOLE, Reader
from gaeport.fs.volume import Attributes, Path

if TYPE_CHECKING:
    from gaeport.fs.gcs.volume import GcsVolume

ONE_REQUEST = 8 << 20  # bytes stored in one call; more goes up in pieces
PIECE = 1 << 20  # bytes handed to an upload at a time
KEPT = 8 << 20  # bytes written last that stay here and may be changed, while those before them go up
KEPT_TO_READ = 32 << 20  # of a file opened for reading, too: zipfile goes back to the beginning of each member
SENT = "sent"  # the source of what an upload under way has already

_TOO_LATE = (
    f"of a large file that is being written, all but the last {KEPT >> 20} MiB or so ({KEPT_TO_READ >> 20} MiB of one "
    "that is opened for reading, too) are in the bucket's hands already and cannot be read or changed before it is "
    "closed; write in order, or write a temporary file and copy it"
)
_REPLACED = "somebody replaced, moved or removed it since it was opened; what was written is not stored"


class GcsInode:
    """An open file.

    Attributes:
        lock: held while content or place are read or changed.
        path_parts: where it is in the mount.
        facts: what stat tells, as stored or set; size and times of changes left out.
        stored: the object as last read or written; None while there is none.
        view: the content as this process sees it.
        changes: what was done to it since `stored`.
        created: whether it is to be stored even without a change, since opening created it.
        linked: whether its name still leads to it; what is written after that is dropped.
        pending: created here and not stored yet.
        handles, writers: how many are open, and how many of them may write.
        readable: whether some handle was opened for reading, too.
        deployed: the path on disk of a deployed file that nobody has changed yet.
    """

    def __init__(self, volume: "GcsVolume", path: Path, facts: Facts, stored: Stored | None) -> None:
        self._volume = volume
        self.lock = threading.RLock()
        self.path_parts = path
        self.facts = facts
        self.stored = stored
        self.view = _whole(stored)
        self.changes = Changes()
        self.created = self.pending = False
        self.linked = True
        self.handles = self.writers = 0
        self.readable = False
        self.deployed: str | None = None
        self._reader = Reader(volume.objects)
        self._upload: ObjectUpload | None = None
        self._sent = 0  # bytes that the upload under way has
        self._modified: int | None = None
        self._mark = ""
        self._doubts: list[tuple[str, Changes]] = []  # writes that may have been done, and what was changed since

    @property
    def ino(self) -> int:
        """Its inode number."""
        return self.facts.ino

    @property
    def path(self) -> str:
        """Its path in the mount, for messages."""
        return "/".join(self.path_parts)

    @property
    def dirty(self) -> bool:
        """Whether there is something to store."""
        return self.created or bool(self.changes)

    def attributes(self) -> Attributes:
        """Return what fstat tells, changes included."""
        with self.lock:
            facts = replace(self.facts, size=self.view.size)
            if (self.dirty or not self.linked) and self._modified is not None:
                facts = replace(facts, mtime=self._modified, ctime=max(self._modified, facts.ctime))
            found = facts.attributes(self._volume.tree.dev)
            return found if self.linked else replace(found, nlink=0)

    # Content

    def show_deployed(self, where: str) -> None:
        """Take a deployed file for the content, until it is changed."""
        self.deployed = where
        self.view = View([Extent(f"d:{where}", 0, self.facts.size)])

    def load(self) -> None:
        """Read a small content whole: it stays readable whoever replaces it. Raises Conflict when it is gone."""
        with self.lock:
            stored = self.stored
            if stored is None or self.changes or stored.size > WHOLE or not _is_stored(self.view):
                return
            data = self._volume.objects.read(stored.name, stored.generation, 0, stored.size)
            if len(data) != stored.size:
                raise Conflict(stored.name)
            self.view = View([Memory(data)])

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        with self.lock:
            return guarded(lambda: self.view.read(offset, length, self._load), self.path)

    def _load(self, extent: Extent) -> bytes:
        kind, _, rest = extent.source.partition(":")
        if kind == SENT:
            raise file_error(errno.ESPIPE, self.path, _TOO_LATE)
        if kind == "d":
            return disk.read(rest, extent.offset, extent.length)
        name = self._volume.names.of(self.path_parts)
        data = self._reader.read(name, int(rest), extent.offset, extent.length)
        if len(data) < extent.length:
            raise file_error(errno.EIO, self.path, f"the store gave {len(data):,} of {extent.length:,} bytes")
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put data at `offset`."""
        with self.lock:
            if offset < self._sent and len(data):
                raise file_error(errno.ESPIPE, self.path, _TOO_LATE)
            for changes in self._noted():
                changes.on_write(offset, offset + len(data))
            self.view.write(offset, data)
            self._written()

    def append(self, data: bytes | memoryview) -> int:
        """Put data at the end; returns the new end."""
        with self.lock:
            for changes in self._noted():
                changes.on_append(self.view.size)
            self.view.write(self.view.size, data)
            self._written()
            return self.view.size

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes."""
        with self.lock:
            if 0 < size < self._sent:
                raise file_error(errno.ESPIPE, self.path, _TOO_LATE)
            if size == 0:
                self._abort()
            for changes in self._noted():
                changes.on_truncate(size, self.view.size)
            self.view.truncate(size)
            self._modified = time.time_ns()

    def _noted(self) -> list[Changes]:
        return [self.changes, *(later for _, later in self._doubts)]

    def _written(self) -> None:
        self._modified = time.time_ns()
        if self.linked and self._may_send() and self.view.size - self._sent >= self._kept + ONE_REQUEST:
            guarded(self._send_some, self.path)

    @property
    def _kept(self) -> int:
        return KEPT_TO_READ if self.readable else KEPT

    def _may_send(self) -> bool:
        """Tell whether all of the content is new. What was not cut to nothing first may be meant to be read, too."""
        if self.changes.replaced or self._sent:
            return True
        began_empty = self.deployed is None and (self.stored is None or not self.stored.size)
        return began_empty and not self.readable

    def _send_some(self) -> None:
        """Hand the older part of what was written to an upload, so that memory stays bounded."""
        try:
            if self._upload is None:
                self._upload = self._volume.objects.upload(self._draft())
            while (more := self.view.size - self._sent - self._kept) > 0:
                self._upload.write(self._take(min(PIECE, more)))
        except Conflict:
            raise self._lost() from None
        except BaseException:  # of a signal handler, too: nobody knows how much of the piece arrived
            self.revert()
            raise

    def _take(self, length: int) -> bytes:
        """Return the next bytes that an upload gets, and keep them no longer."""
        data = self.view.read(self._sent, length, self._load)
        rest = self.view.pieces[1:] if self._sent else self.view.pieces
        first = rest[0]
        if isinstance(first, Memory) and first.length > length:
            del first.data[:length]
        else:
            rest = self.view.slice(self._sent + length, self.view.size)
        self._sent += length
        self.view.pieces = [Extent(f"{SENT}:", 0, self._sent), *rest]
        return data

    def _lost(self) -> OSError:
        """Give up what was sent, since somebody else stored the file meanwhile; returns the error that says so."""
        self.revert()
        return file_error(errno.ESTALE, self.path, _REPLACED)

    def _abort(self) -> None:
        upload, self._upload, self._sent = self._upload, None, 0
        if upload is not None:
            upload.abort()

    def revert(self) -> None:
        """Drop the changes."""
        with self.lock:
            self._abort()
            self.changes, self.created, self._modified, self._doubts = Changes(), False, None, []
            if self.deployed is not None:
                self.show_deployed(self.deployed)
            else:
                self.view = _whole(self.stored)

    # What others did

    def refresh(self, stored: Stored) -> None:
        """Take over what was read just now, unless changes wait here."""
        with self.lock:
            known = self.stored
            if self.dirty or (known is not None and stored.generation < known.generation):
                return
            if known is None or stored.generation > known.generation:
                self.view, self.deployed = _whole(stored), None
            self._took(stored)

    def reload(self) -> None:
        """Read what is stored now, unless changes wait here (after a lock was acquired)."""
        with self.lock:
            if not self.linked or self.dirty or (self.stored is None and self.deployed is None):
                return
            found = self._volume.objects.stat(self._volume.names.of(self.path_parts))
            if found is not None and self.is_mine(found):
                self.refresh(found)
            elif self.stored is not None:
                self.linked = False

    def is_mine(self, found: Stored) -> bool:
        """Tell whether an object is this file: the same inode number, or written by who knows none."""
        return told_ino(found) in (None, self.ino)

    def _took(self, stored: Stored) -> None:
        self.stored = stored
        self.facts = facts_of(stored, self.ino)

    def set(self, fields: dict[str, int]) -> None:
        """Take over attributes, to be stored with the content: mode, uid, gid, atime, mtime."""
        with self.lock:
            self.facts = changed(self.facts, fields)
            if "mtime" in fields:
                self._modified = fields["mtime"]

    def change(self, fields: dict[str, int]) -> None:
        """Set attributes of the file that is open, and store them; only here, once its name is gone."""
        with self.lock:
            if self.linked and self.stored is None and not self.pending:
                self.created = True  # only deployed so far
            self.commit()
            for _ in attempts(self.path):
                if not self.linked or self.stored is None:
                    return self.set(fields)
                if self._changed_once(self.stored, fields):
                    return None
            return None

    def _changed_once(self, stored: Stored, fields: dict[str, int]) -> bool:
        try:
            self.patched(self._volume.objects.patch(stored, told(changed(self.facts, fields), fields)), stored)
        except Conflict:
            found = self._volume.objects.stat(self._volume.names.of(self.path_parts))
            if found is None or not self.is_mine(found):
                raise file_error(errno.ESTALE, self.path, _REPLACED) from None
            self.refresh(found)
            return False
        finally:
            self._volume.tree.changed()
        return True

    def patched(self, stored: Stored, base: Stored) -> None:
        """Take over an object whose metadata this process has just set."""
        with self.lock:
            if self.stored is not None and self.stored.generation == base.generation:
                former = self.facts.mtime
                self._took(stored)
                if self.changes and self.facts.mtime != former:
                    self._modified = self.facts.mtime

    def moved(self, path: Path, stored: Stored, base: Stored) -> None:
        """The object got another name by a rename of this process."""
        with self.lock:
            self.path_parts = path
            if self.stored is None or self.stored.generation != base.generation:
                pass  # the next store will conflict, and find it
            elif (stored.size, stored.checksum) != (base.size, base.checksum):
                self.refresh(stored)  # somebody has changed it there already
            else:
                self._renumbered(f"o:{stored.generation}")
                self._took(stored)

    def _renumbered(self, source: str) -> None:
        """Read what is stored from the same content's new generation."""
        self.view.pieces = [
            replace(piece, source=source) if isinstance(piece, Extent) and piece.source[:2] == "o:" else piece
            for piece in self.view.pieces
        ]

    def unlinked(self) -> None:
        """Its name is gone; what is still written is for its handles only."""
        with self.lock:
            self.linked = self.pending = False
            self._abort()

    # Storing

    def insert_exclusively(self) -> None:
        """Create the object, empty, at once. Raises FileExistsError when somebody else was first."""
        with self.lock:
            try:
                stored = self._volume.objects.write(self._draft(), b"")
            except Conflict:
                raise file_error(errno.EEXIST, self.path) from None
            self._committed(stored, View())

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do something once the call to the embedded engine is over that this thread is in the middle of."""
        afterwards.add(work)

    def commit(self) -> None:
        """Store the changes; does nothing where there are none, or where no name leads here any more.

        Raises:
            OSError: EIO when the store refuses, ESTALE when the file is not what was opened; the changes stay.
        """
        with self.lock:
            if not self.dirty:
                return
            if not self.linked:
                self.changes, self.created = Changes(), False
                return
            guarded(self._commit, self.path)

    def _commit(self) -> None:
        base = self.stored
        try:
            view, stored = self._stored()
        except BaseException:
            self._in_doubt(base)
            raise
        modified = self._modified
        self._committed(stored, view)
        if view.size > ONE_REQUEST and modified is not None:
            self._date(modified)

    def _stored(self) -> tuple[View, Stored]:
        """Store the changes, made to whatever content is the newest; returns the content and its object."""
        view = self.view
        for _ in attempts(self.path):
            self._demand_lease()
            try:
                return view, self._store(view)
            except Conflict:
                if self._sent:
                    raise self._lost() from None
                view = self._again(view)
                if not self.dirty and self.stored is not None:
                    return view, self.stored  # a former try, which failed, has stored it all
        raise AssertionError("attempts ends with an error")

    def _in_doubt(self, base: Stored | None) -> None:
        """Note that a write failed, and perhaps was done all the same.

        Args:
            base: what the content here was made from; a newer one, to which the changes were made meanwhile, is not.
        """
        if self.dirty:
            self.stored = base
            self._doubts = [*self._doubts, (self._mark, Changes())][-REMEMBERED:]

    def _demand_lease(self) -> None:
        """See to it that a lock which this process took is still its own.

        Raises:
            OSError: EIO, it is not; the changes are dropped.
        """
        lease = self._volume.leases.held(self.ino)
        if lease is None:
            return
        lease.renew()
        if lease.lost:
            self.revert()
            raise file_error(errno.EIO, self.path, "its lock was lost: this process did not renew it in time")

    def _store(self, view: View) -> Stored:
        if self._upload is None and view.size <= ONE_REQUEST:
            return self._volume.objects.write(self._draft(), self._content(view, 0, view.size))
        upload = self._upload or self._volume.objects.upload(self._draft())
        try:
            for offset in range(self._sent, view.size, PIECE):
                upload.write(self._content(view, offset, min(PIECE, view.size - offset)))
            return upload.close()
        except Conflict:
            raise
        except BaseException:
            if self._sent:  # what went up is gone with the upload
                self.revert()
            raise
        finally:
            upload.abort()

    def _content(self, view: View, offset: int, length: int) -> bytes:
        """Return a part of a content that is to be stored. Raises Conflict where its base is gone."""
        try:
            return view.read(offset, length, self._load)
        except OSError as error:
            if error.errno == errno.ESTALE:
                raise Conflict(self.path) from error
            raise

    def _date(self, modified: int) -> None:
        """Tell the time of a file that went up in pieces: its metadata were sent before its last byte was written."""
        stored = self.stored
        assert stored is not None
        with suppress(Conflict):  # somebody was faster, and told a later time
            self._took(self._volume.objects.patch(stored, metadata_of(replace(self.facts, mtime=modified))))

    def _draft(self) -> Draft:
        self._mark = secrets.token_hex(8)
        modified = self.facts.mtime if self._modified is None else self._modified
        metadata = others(self.stored) | metadata_of(replace(self.facts, mtime=modified))
        metadata[OPERATION] = operations(self.stored, self._mark)
        name = self._volume.names.of(self.path_parts)
        generation = self.stored.generation if self.stored is not None else 0
        kept = self.stored.content_type if self.stored is not None else ""
        return Draft(name, generation, metadata, kept or content_type(name))

    def _again(self, view: View) -> View:
        """Return the newest content with the changes made to it.

        Raises:
            OSError: ESTALE, this file is not under its name any more.
        """
        found = self._volume.objects.stat(self._volume.names.of(self.path_parts))
        if found is None:
            if self.stored is not None:
                raise file_error(errno.ESTALE, self.path, _REPLACED)
            return view
        if self.stored is None and self.deployed is None and self.pending:
            self.facts = facts_of(found, self._volume.names.ino(self.path_parts))
            self._volume.adopt(self)
        elif not self.is_mine(found):
            raise file_error(errno.ESTALE, self.path, _REPLACED)
        if facts_of(found, self.ino).kind != "file":
            raise file_error(errno.ELOOP, self.path)
        self._took(found)
        marks = found.metadata.get(OPERATION, "").split()
        for mark, later in self._doubts:
            if mark in marks:  # what was changed before is in there
                self.changes, self.created = replace(later, written=list(later.written)), False
        return self.changes.replay(self.view, _whole(found))

    def _committed(self, stored: Stored, view: View) -> None:
        ours = stored.metadata.get(OPERATION, "").partition(" ")[0] == self._mark
        self._took(stored)
        self.view = view if ours and stored.size <= WHOLE and view.size == stored.size else _whole(stored)
        self.changes, self.created, self._modified, self._doubts = Changes(), False, None, []
        self.deployed, self._upload, self._sent = None, None, 0
        if self.pending:
            self._volume.named(self)


def _whole(stored: Stored | None) -> View:
    """Return the content of an object, to be read from there."""
    return View([Extent(f"o:{stored.generation}", 0, stored.size)] if stored is not None else [])


def _is_stored(view: View) -> bool:
    piece: Piece | None = view.pieces[0] if len(view.pieces) == 1 else None
    return isinstance(piece, Extent) and piece.source.startswith("o:")
