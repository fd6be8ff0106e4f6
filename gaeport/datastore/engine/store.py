"""The SQLite file, its connections, and what its errors mean."""

import gc
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gaeport.datastore import afterwards
from gaeport.datastore.engine import schema
from gaeport.errors import Aborted, DataLoss, DatastoreError, Internal, PermissionDenied, Reentered, ResourceExhausted

FILE_NAME = "datastore.sqlite3"
BUSY_SECONDS = 60.0  # how long a call waits for other processes
CHECKPOINT = 8_000  # pages of 4 KiB in the write-ahead log after which they are copied to the file: 32 MB at most
LOG_LIMIT = 67_108_864  # bytes; the write-ahead log is cut back to this after a checkpoint

_T = TypeVar("_T")
stores: "weakref.WeakSet[Store]" = weakref.WeakSet()

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


class Session:
    """One connection, used by one thread at a time. `lock` is held while it is in use."""

    __slots__ = ("__weakref__", "db", "lock")

    def __init__(self, db: sqlite3.Connection, lock: "threading.RLock | None" = None) -> None:
        self.db = db
        self.lock = lock or threading.RLock()


class Store:
    """Opens the file, hands out connections and runs read and write transactions on them."""

    def __init__(self, folder: Path | None, *, synchronous: str) -> None:
        """Open or create the file.

        Args:
            folder: where the file lies; made when missing. None keeps everything in memory.
            synchronous: "normal" or "full".

        Raises:
            DataLoss: the file is damaged or another program's.
            PermissionDenied: the folder cannot be written.
        """
        self.path = folder / FILE_NAME if folder else None
        self._synchronous = synchronous
        self._writer = threading.RLock()  # threads queue here; processes wait inside SQLite
        self._writing = False
        self._opening = threading.RLock()
        self._idle: list[Session] = []
        self._sessions: set[Session] = set()
        self._closed = False
        if folder:
            self._make_folder(folder)
        self._give_back(self._open())
        stores.add(self)

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PermissionDenied(f"the data folder {folder} cannot be made: {error.strerror}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionDenied(f"the data folder {folder} cannot be written; choose another by $GAEPORT_DATA")

    def _open(self) -> Session:
        with self._opening:
            if self._closed:
                raise Internal("the embedded Datastore was closed")
            return self._guard(self._connect)

    def _connect(self) -> Session:
        target = str(self.path) if self.path else ":memory:"
        db = sqlite3.connect(
            target, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            _patiently(lambda: schema.prepare(db))
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA secure_delete = OFF")  # Debian's SQLite else writes zeros over all that is deleted
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
            db.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        except BaseException:
            db.close()
            raise
        session = Session(db, None if self.path else self._writer)  # one lock for the one connection to memory
        self._sessions.add(session)
        return session

    def _take(self) -> Session:
        if not self.path:
            if not self._idle:
                raise Internal("the embedded Datastore was closed")
            return self._idle[0]
        while True:
            try:
                session = self._idle.pop()
            except IndexError:
                return self._open()
            if session in self._sessions:
                return session

    def _give_back(self, session: Session) -> None:
        if self.path or not self._idle:
            self._idle.append(session)

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `work` on a connection. A single SELECT is consistent in itself; several need `snapshot`."""
        try:
            return self._answered(work)
        finally:
            afterwards.run()

    def _answered(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return self._on_session(work)
        except sqlite3.Error as error:
            if not _busy(error):
                raise self._translated(error) from error
        return self._guard(lambda: _patiently(lambda: self._on_session(work)))

    def snapshot(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `work`, all of whose reads see one moment."""
        return self.read(lambda db: _transaction(db, "BEGIN", work))

    def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `work` in a write transaction: committed when it returns, undone when it raises.

        Raises:
            Reentered: this thread is in the middle of another one.
        """
        try:
            return self._written(work)
        finally:
            afterwards.run()

    def _written(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._writer:
            if self._writing:
                raise Reentered("a signal handler or a finalizer writes while its thread is in the middle of a Commit")
            collecting = gc.isenabled()
            gc.disable()  # it may close a file of a mount, whose commit would be in the middle of this one
            self._writing = True
            try:
                return self._answered(lambda db: _transaction(db, "BEGIN IMMEDIATE", work))
            finally:
                self._writing = False
                if collecting:
                    gc.enable()

    def _on_session(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        session = self._take()
        with session.lock:
            if session not in self._sessions:  # closed by a fork between taking and locking
                return self._on_session(work)
            try:
                return work(session.db)
            finally:
                self._give_back(session)

    def _guard(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except schema.ForeignFileError as error:
            raise DataLoss(f"{self.path} {error}; move it away, or choose another folder by $GAEPORT_DATA") from error
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> DatastoreError:
        code = _code(error)
        where = self.path or "the database in memory"
        if code in _DAMAGED:
            return DataLoss(
                f"{where} is damaged ({error}); it is left as it is. Restore a copy, or move it away with its -wal "
                "and -shm files to start empty"
            )
        if code in _FULL:
            return ResourceExhausted(f"{where} cannot be written ({error}): is the disk full? Nothing was changed")
        if code in _FORBIDDEN:
            return PermissionDenied(f"{where} cannot be opened for writing ({error}): check the folder's permissions")
        if code in _BUSY:
            return Aborted(f"{where} was busy for more than {BUSY_SECONDS:.0f} s; nothing was changed")
        return Internal(f"{where}: {error}")

    def close(self) -> None:
        """Close every connection; those in use are closed when their call ends."""
        with self._opening:
            self._closed = True
            for session in list(self._sessions):
                with session.lock:
                    self._sessions.discard(session)
                    session.db.close()
            self._idle.clear()

    def before_fork(self) -> None:
        """Wait for calls to end and leave no connection that a child could inherit.

        SQLite keeps a table of open files and their locks for each process; a child that inherits it believes to hold
        locks that it does not, which damages files.
        """
        self._writer.acquire()  # in the order in which a write takes them
        self._opening.acquire()
        for session in list(self._sessions):
            session.lock.acquire()
            if self.path:
                self._sessions.discard(session)
                session.db.close()
                session.lock.release()

    def after_fork(self) -> None:
        """Go on after a fork, in parent and child."""
        for session in self._sessions:
            session.lock.release()
        self._opening.release()
        self._writer.release()


def _transaction(db: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection], _T]) -> _T:
    if _is_reentered(db, begin):
        return work(db)
    db.execute(begin)
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def _is_reentered(db: sqlite3.Connection, begin: str) -> bool:
    """Whether a signal handler or a finalizer reads in the middle of another call, where all share one connection.

    Raises:
        Reentered: it would write.
    """
    if db.in_transaction and begin != "BEGIN":
        raise Reentered("a signal handler or a finalizer writes while its thread is in the middle of a call")
    return db.in_transaction


def _patiently(work: Callable[[], _T]) -> _T:
    # SQLite does not call its busy handler everywhere (log recovery, change of journal mode).
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not _busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; absent from errors of Python's own


def _busy(error: sqlite3.Error) -> bool:
    return _code(error) in _BUSY
