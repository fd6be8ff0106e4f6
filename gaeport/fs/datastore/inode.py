"""An open file as this process knows it: one object for all its handles, and the commit that publishes changes.

A handle keeps to its file: it commits only where the file with its inode number is now, renamed or not, and nowhere
once that is gone.
"""

import errno
import secrets
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gaeport.datastore import afterwards
from gaeport.datastore.client import Client
from gaeport.datastore.mutations import insert, update
from gaeport.datastore.outcomes import CONFLICTS, UNCERTAIN
from gaeport.errors import file_error
from gaeport.fs.datastore.attempts import Outcome, attempts, guarded
from gaeport.fs.datastore.content import Changes, Piece, View
from gaeport.fs.datastore.entries import (
    Entry,
    constant,
    decode,
    encode,
    entry_key,
    guard_key,
    inode_key,
    new_nonce,
    unescape,
)
from gaeport.fs.datastore.storage import SPILL, Settled, Upload
from gaeport.fs.datastore.tree import Directory
from gaeport.fs.volume import Attributes, Path

if TYPE_CHECKING:
    from gaeport.fs.datastore.volume import DatastoreVolume


def with_owner(entry: Entry, fields: dict[str, Any]) -> dict[str, Any]:
    """Return attributes to set; with another owner, a file loses the bits that let it run as its owner, as on Linux."""
    if entry.type != "file" or not fields.keys() <= {"uid", "gid"}:
        return fields
    gone = stat.S_ISUID | (stat.S_ISGID if entry.mode & stat.S_IXGRP else 0)
    return {**fields, "mode": entry.mode & ~gone}


class Unsure(NamedTuple):
    """A commit that was sent, with an answer that did not come.

    Attributes:
        nonce: its mark.
        size: of the content then, bytes.
        edits: how often the content had been changed then.
    """

    nonce: bytes
    size: int
    edits: int


class Inode:
    """A file that is open, or was changed and not committed yet.

    Attributes:
        lock: held while content or place are read or changed; makes one commit of what several threads wrote.
        ino: its inode number.
        parent: the directory of its name, `name`.
        entry: as last read or committed; None while the file exists only in this process, or only as deployed.
        version: the version of what stands under its key: the entry, or a whiteout; None where the key is free.
        view: the content as this process sees it.
        changes: what was done to it since `entry`.
        linked: whether a name leads to it; what is written after the last name went is dropped.
        created: whether it is to be committed even without a change, since opening created it.
        handles: how many are open.
        writers: how many of them may write.
        pending: created here, and known to nobody else before the first commit.
        partial: `entry` was read without its content, for an opening that truncates.
        hard: whether it has (or had) several names, and lies in an Inode entity.
        deployed: the content as deployed, of a file that nobody has changed yet; None of others.
    """

    def __init__(self, volume: "DatastoreVolume", parent: Directory, name: str, ino: int, view: View) -> None:
        self._volume = volume
        self.lock = threading.RLock()
        self.ino = ino
        self.parent = parent
        self.name = name
        self.entry: Entry | None = None
        self.version: int | None = None
        self.view = view
        self.changes = Changes()
        self.linked = True
        self.created = False
        self.handles = 0
        self.writers = 0
        self.pending = False
        self.partial = False
        self.hard = False
        self.deployed: tuple[Piece, ...] | None = None
        self.path_above: Path = ()  # a deployed file's directory, to be copied up before the first commit
        self.fresh: Entry = Entry("file", ino)  # what a first commit makes of it: mode and owner
        self._modified: int | None = None
        self._written_at: int | None = None
        self._upload: Upload | None = None
        self._unsure_uploads: list[Upload] = []  # that a commit without an answer may have ended
        self._unsure: Unsure | None = None
        self._edits = 0
        self._busy = False  # whether a thread, which has the lock, is in the middle of a change or a commit
        self._late: list[Callable[[], object]] = []  # what a signal handler in that thread does meanwhile
        self._unspilled = 0  # bytes written since pieces in memory were last looked at

    @property
    def dirty(self) -> bool:
        """Whether there is something to commit."""
        return self.created or bool(self.changes)

    @property
    def path(self) -> str:
        """Its name, for messages."""
        return self.name

    def attributes(self) -> Attributes:
        """Return what fstat tells, changes included."""
        with self.lock:
            entry = self.entry or self.fresh
            if self.dirty or not self.linked:
                modified = entry.mtime if self._modified is None else self._modified
                entry = replace(entry, size=self.view.size, mtime=modified)
            found = entry.attributes(self._volume.tree.dev)
            return found if self.linked else replace(found, nlink=0)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        with self.lock:
            load = self._volume.storage.load
            return guarded(lambda: self.view.read(offset, length, load), self.path)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put data at `offset`."""
        with self.lock:
            if self._busy:
                self._late.append(partial(self.write, offset, bytes(data)))
                return
            self._busy = True
            try:
                self.changes.on_write(offset, offset + len(data))
                self.view.write(offset, data)
                self._written(len(data))
            finally:
                self._end()

    def append(self, data: bytes | memoryview) -> int:
        """Put data at the end; returns the new end."""
        with self.lock:
            if self._busy:
                self._late.append(partial(self.append, bytes(data)))
                return self.view.size + len(data)
            self._busy = True
            try:
                self.changes.on_append(self.view.size)
                self.view.write(self.view.size, data)
                self._written(len(data))
            finally:
                self._end()
            return self.view.size

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes."""
        with self.lock:
            if self._busy:
                self._late.append(partial(self.truncate, size))
                return
            self._busy = True
            try:
                self.changes.on_truncate(size, self.view.size)
                self.view.truncate(size)
                self._written(0)
            finally:
                self._end()

    def _end(self) -> None:
        """Do what a signal handler or a finalizer asked for in the middle of what this thread was doing."""
        self._busy = False
        while self._late:
            self._late.pop(0)()

    def _written(self, count: int) -> None:
        self._modified = self._written_at = time.time_ns()
        self._edits += 1
        self._unspilled += count
        if self._unspilled >= SPILL:
            self._unspilled = 0
            spill = self._volume.storage.spill
            guarded(lambda: spill(self.view, self._current_upload), self.path)

    def _current_upload(self) -> Upload:
        if self._upload is None:
            self._upload = self._volume.storage.upload(self.ino)
        return self._upload

    def refresh(self, entry: Entry, version: int, *, hard: bool) -> None:
        """Take over what was read just now, content included, unless changes wait here."""
        with self.lock:
            newer = self.version is None or version > self.version
            if not self.dirty and (newer or self.partial):
                self.entry, self.version, self.view, self.partial = entry, version, entry.view(), False
                self.hard = hard
            elif self.partial and self.changes.replaced:  # what is read now is what a discard returns to
                self.entry, self.version, self.partial, self.hard = entry, version, False, hard

    def revert(self) -> None:
        """Drop the changes."""
        with self.lock:
            self.changes, self.created, self._modified, self._unsure = Changes(), False, None, None
            self._unsure_uploads = []
            if self.entry is not None:
                self.view = self.entry.view()
            elif self.deployed is not None:
                self.view = View(self.deployed)

    def commit(self) -> None:
        """Publish the changes; does nothing where there are none, or where no name leads here any more.

        Raises:
            OSError: EIO when the store refuses, ENOENT when the directory is gone; the changes stay. EDEADLK in a
                signal handler or a finalizer in the middle of what this thread does with the file.
        """
        with self.lock:
            if self._busy:
                raise file_error(errno.EDEADLK, self.path, "it is being changed")
            if not self.dirty:
                return
            if not self.linked:
                self.changes, self.created = Changes(), False
                return
            self._busy = True
            try:
                guarded(self._commit, self.path)
            except OSError:
                lease = self._volume.leases.held(self.ino)
                if lease is not None and lease.lost:
                    self.revert()
                raise
            finally:
                self._end()

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do something once what this thread is in the middle of is over, with this file or with another one."""
        if self._busy:
            self._late.append(work)
        else:
            afterwards.add(work)

    def reload(self) -> None:
        """Read what is stored now, unless changes wait here (after a lock was acquired)."""
        with self.lock:
            if self.linked and not self.dirty:
                guarded(self._reload, self.path)

    def _reload(self) -> None:
        client = self._volume.connect()
        found = client.lookup([self._key(client)])[0] if self.parent.id else None
        entry = decode(found) if found is not None else None
        if found is not None and entry is not None and entry.ino == self.ino and entry.type != "hard":
            self.entry, self.version = entry, found.version
        elif self.entry is not None:
            entry = self._follow()
            self.linked = entry is not None
        else:
            return  # as it was deployed
        if entry is not None:
            self.view, self.partial, self.deployed = entry.view(), False, None

    def insert_exclusively(self) -> None:
        """Create the file, empty, at once.

        Raises:
            FileExistsError: somebody else was first.
        """
        nonce = new_nonce()
        entry = self.fresh.after(nonce)
        for _ in attempts(self.path):
            try:
                results = self._volume.connect().commit(self._mutations(entry, Settled(self.view, b"", b"")))
            except (*CONFLICTS, *UNCERTAIN):
                if self._inserted(nonce):
                    break
            else:
                self._committed(entry, results[0].version, self.view)
                break

    def _inserted(self, nonce: bytes) -> bool:
        client = self._volume.connect()
        found = client.lookup([entry_key(client, str(self.parent.id), self.name)])[0]
        entry = decode(found) if found is not None else None
        if found is not None and entry is not None and entry.type != "whiteout":
            if not entry.did(nonce):
                raise file_error(errno.EEXIST, self.path)
            self._committed(entry, found.version, entry.view())
            return True
        self.version = found.version if found is not None else None
        if found is None and not self._volume.restore(self.parent):
            raise file_error(errno.ENOENT, self.path, "its directory was removed")
        return False

    def set(self, fields: dict[str, Any]) -> None:
        """Take over attributes that were set by path: mode, uid, gid, atime, mtime."""
        with self.lock:
            if self.entry is not None:
                self.entry = replace(self.entry, **fields)
            else:
                self.fresh = replace(self.fresh, **fields)
            self._written_at = None
            if "mtime" in fields:
                self._modified = fields["mtime"]

    def change(self, fields: dict[str, Any]) -> None:
        """Set attributes of the file that is open, wherever it is now, and commit them; only here, once it is gone."""
        with self.lock:
            if self.linked and self.entry is None and not self.pending:
                self.created = True  # only deployed so far
            self.commit()
            nonce, doubt = new_nonce(), False
            for _ in attempts(self.path):
                if not self.linked or self.entry is None:
                    return self.set(with_owner(self.entry or self.fresh, fields))
                outcome = self._changed_once(nonce, fields)
                if outcome.results is not None:
                    return None
                doubt = doubt or not outcome.certain
                newest = self._relocate(nonce, doubt)
                if newest is not None and newest.did(nonce):
                    return None
            return None

    def _changed_once(self, nonce: bytes, fields: dict[str, Any]) -> Outcome:
        client = self._volume.connect()
        found = client.lookup([self._key(client)])[0]
        entry = decode(found) if found is not None else None
        if found is None or entry is None or entry.ino != self.ino or entry.type == "hard":
            return Outcome(None)
        entry = entry.after(nonce, ctime=time.time_ns(), **with_owner(entry, fields))
        mutation = update(encode(self._key(client), entry), found.version)
        outcome = self._volume.try_commit(lambda: [mutation])
        if outcome.results is not None:
            self.entry, self.version, self.view = entry, outcome.results[0].version, entry.view()
            self.partial = False
        return outcome

    def renamed(self, parent: Directory, name: str) -> None:
        """One of its several names is another now."""
        with self.lock:
            self.parent, self.name = parent, name

    def linked_again(self, names: int, version: int, base: int | None) -> None:
        """The file got one more name by this process.

        Args:
            names: how many it has now.
            version: the version of its Inode now.
            base: the version of what that was made from.
        """
        with self.lock:
            self.set({"nlink": names})
            if self.version == base:
                self.version, self.hard = version, True

    def moved(self, parent: Directory, name: str, entry: Entry, version: int, base: int | None) -> None:
        """The file got another name by a rename of this process.

        Args:
            parent: its directory now.
            name: its name now.
            entry: what stands there.
            version: the version of that.
            base: the version that the rename moved.
        """
        with self.lock:
            if self.version is not None and self.version > version:
                return  # a commit found it there, and went on
            self.parent, self.name = parent, name
            if self.dirty and self.version != base:
                return  # somebody changed it before it moved: the commit will conflict, and merge
            if not self.dirty:
                self.view = entry.view()
            self.entry, self.version, self.partial = entry, version, False

    def _commit(self) -> None:
        if self.parent.id is None:
            self.parent = self._volume.stored_parent(self)
        self._volume.turns.wait(self.ino)
        base = self.entry, self.version
        try:
            self._publish_changes()
        except BaseException:
            if self.dirty:  # the view is still made from this, and not from a newer one that was met on the way
                self.entry, self.version = base
            if self._unsure is not None and self._upload is not None:
                self._unsure_uploads.append(self._upload)
                self._upload = None
            raise

    def _uploads(self) -> list[Upload]:
        return [*self._unsure_uploads, self._upload] if self._upload is not None else self._unsure_uploads

    def _publish_changes(self) -> None:
        """Commit the changes, made to whatever content is the newest."""
        view, nonce, doubt = self._view_to_commit()
        if nonce is None:
            return
        for conflicts in attempts(self.path):
            began = time.monotonic()
            settled = self._settle(view)
            entry = self._next_entry(nonce, view, settled)
            self._unsure = Unsure(nonce, self.view.size, self._edits)
            try:
                version = self._publish(self._mutations(entry, settled))[0].version
            except CONFLICTS:
                newest = self._relocate(nonce, doubt)
            except UNCERTAIN:
                doubt = True
                newest = self._relocate(nonce, doubt)
            else:
                self._committed(entry, version, settled.view)
                self._volume.turns.committed(self.ino, began, conflicts)
                return
            if not self.linked:
                return
            if newest is not None and newest.did(nonce):
                self._committed(newest, self.version or 0, newest.view())
                return
            if any(upload.lost() for upload in self._uploads()):
                raise file_error(errno.EIO, self.path, "what was written waited so long that it was collected")
            view = self.changes.replay(self.view, newest.view()) if newest is not None else view

    def _view_to_commit(self) -> tuple[View, bytes | None, bool]:
        """Return what is to be published, by which mark, and whether that may have been done already.

        Where the last commit's answer did not come, the store is asked first: nothing is appended twice. Without a mark
        there is nothing left to do.
        """
        unsure = self._unsure
        if unsure is None:
            return self.view, new_nonce(), False
        newest = self._relocate(unsure.nonce, True)
        applied = newest is not None and newest.did(unsure.nonce)
        if not self.linked:
            return self.view, None, False
        if newest is not None and applied and self._edits == unsure.edits:
            self._committed(newest, self.version or 0, newest.view())
            return self.view, None, False
        if applied:
            self._unsure_uploads = []
            self.changes.applied(unsure.size, self.view.size)
        same = self._edits == unsure.edits
        view = self.changes.replay(self.view, newest.view()) if newest is not None else self.view
        return view, unsure.nonce if same else new_nonce(), same

    def _publish(self, mutations: list[Any]) -> list[Any]:
        lease = self._volume.leases.held(self.ino)
        return self._volume.connect().commit(mutations) if lease is None else lease.publish(mutations)

    def _settle(self, view: View) -> Settled:
        appending = self.changes.appended is not None and not self.changes.written and not self.changes.replaced
        return self._volume.storage.settle(view, self.ino, self._current_upload, appending=appending)

    def _next_entry(self, nonce: bytes, view: View, settled: Settled) -> Entry:
        now = time.time_ns()
        return (self.entry or self.fresh).after(
            nonce,
            ino=self.ino,
            size=view.size,
            mtime=(self.entry or self.fresh).mtime if self._modified is None else self._modified,
            ctime=now if self._written_at is None else self._written_at,
            extents=settled.extents,
            inline=settled.inline,
        )

    def _mutations(self, entry: Entry, settled: Settled) -> list[Any]:
        client = self._volume.connect()
        entity = encode(self._key(client), entry)
        mutations = [insert(entity)] if self.version is None else [update(entity, self.version)]
        if self.entry is None:
            number = secrets.randbelow(self.parent.guards)
            mutations.append(update(constant(guard_key(client, str(self.parent.id), number))))
        mutations += settled.mutations
        needed = entry.sources()
        unused = (self.entry.sources() if self.entry is not None else set()) - needed
        for upload in self._uploads():
            mutations.append(upload.finish())
            unused |= set(upload.written) - needed
        return mutations + self._volume.storage.drop(unused)

    def _relocate(self, nonce: bytes, doubt: bool) -> Entry | None:
        """Look where the file is now; returns its newest entry, None where its name is still free.

        Args:
            nonce: of the commit that failed.
            doubt: whether it may have been applied.
        """
        client = self._volume.connect()
        found = client.lookup([self._key(client)])[0]
        entry = decode(found) if found is not None else None
        if self.hard:
            self.linked = entry is not None
        if entry is not None and entry.type == "hard" and entry.ino == self.ino:
            newest = self._became_hard()
            self.linked = newest is not None
            return newest
        if found is not None and entry is not None and (entry.ino == self.ino or entry.did(nonce)):
            self.entry, self.version = entry, found.version
            return entry
        if self.hard:
            return None
        existed = self.entry is not None or (self.deployed is not None and found is not None)
        if existed or doubt:
            followed = self._follow()
            if followed is not None or existed:
                self.linked = followed is not None
                return followed
        return self._adopt(entry, found.version if found is not None else None)

    def _follow(self) -> Entry | None:
        """The name holds another file: find where this one went; None where it is gone."""
        moved = self._volume.tree.find(self.ino)
        if moved is None:
            return None
        key, found = moved
        entry = decode(found)
        self.name = unescape(key.path[-1].name)
        self.parent = replace(self.parent, id=key.path[0].name)
        if entry.type == "hard":
            return self._became_hard()
        self.entry, self.version = entry, found.version
        return entry

    def _became_hard(self) -> Entry | None:
        """It got a second name meanwhile, and its content moved to an Inode; None where that is gone."""
        self.hard = True
        client = self._volume.connect()
        found = client.lookup([self._key(client)])[0]
        if found is None:
            return None
        self.entry, self.version = decode(found), found.version
        return self.entry

    def _key(self, client: Client) -> Any:
        """Return the key of the entity that holds it."""
        return inode_key(client, self.ino) if self.hard else entry_key(client, str(self.parent.id), self.name)

    def _adopt(self, entry: Entry | None, version: int | None) -> Entry | None:
        """Somebody else made a file of this name first: it is the one that is open here, as on a disk."""
        if entry is None or entry.type == "whiteout":
            self.version = version
            if entry is None and not self._volume.restore(self.parent):
                raise file_error(errno.ENOENT, self.path, "its directory was removed")
            return None
        if entry.type == "hard":
            self._volume.adopt(self, entry.ino)
            return self._became_hard()
        if entry.type != "file":
            raise file_error(errno.EISDIR if entry.type == "dir" else errno.ELOOP, self.path)
        self._volume.adopt(self, entry.ino)
        self.entry, self.version = entry, version
        return entry

    def _committed(self, entry: Entry, version: int, view: View) -> None:
        self.entry, self.version, self.view = entry, version, view
        self.partial, self.deployed = False, None
        self.changes, self.created, self._modified, self._upload = Changes(), False, None, None
        self._unsure, self._unsure_uploads = None, []
        self._written_at = None
        if self.pending:
            self._volume.named(self)
