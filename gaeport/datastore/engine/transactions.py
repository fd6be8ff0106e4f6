"""Open transactions: where each began and what it has read. No SQLite transaction stays open for them."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gaeport.datastore.engine import rows
from gaeport.errors import Aborted, InvalidArgument

LIFETIME = 270.0  # seconds, as in production
IDLE = 60.0  # seconds without a call


@dataclass(slots=True)
class Transaction:
    """A transaction.

    Attributes:
        token: names it to the client.
        sequence: it reads as of this sequence number.
        read_only: whether it may only read.
        fixed: whether `sequence` came from a read_time.
        keys: the entities it read, found or not.
        scans: the ranges it read.
        begun, used: seconds on the clock.
        closed: whether its commit has begun.
    """

    token: bytes
    sequence: int
    read_only: bool
    fixed: bool = False
    keys: set[bytes] = field(default_factory=set)
    scans: list[rows.Scan] = field(default_factory=list)
    begun: float = 0.0
    used: float = 0.0
    closed: bool = False

    def check_unchanged(self, db: sqlite3.Connection) -> None:
        """Raise Aborted if anything that was read has changed since the transaction began."""
        rows.check_history(db, self.sequence, transaction=True)
        if rows.sequence(db) == self.sequence:
            return
        if any(rows.changed(db, key, self.sequence) for key in self.keys):
            raise Aborted("an entity that the transaction read was changed by another; begin it anew")
        if any(rows.scan_changed(db, scan, self.sequence) for scan in self.scans):
            raise Aborted("the result of a query of the transaction was changed by another; begin it anew")


class Transactions:
    """The open transactions of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none.

        Args:
            clock: seconds, growing.
        """
        self._clock = clock
        self._lock = threading.Condition()  # notified when a transaction is over
        self._open: dict[bytes, Transaction] = {}

    def begin(self, sequence: int, *, read_only: bool, fixed: bool = False) -> Transaction:
        """Open a transaction that reads as of `sequence`."""
        now = self._clock()
        transaction = Transaction(os.urandom(16), sequence, read_only, fixed, begun=now, used=now)
        with self._lock:
            if len(self._open) % 64 == 63:
                self._drop_expired(now)
            self._open[transaction.token] = transaction
        return transaction

    def get(self, token: bytes, *, close: bool = False) -> Transaction:
        """Return an open transaction.

        Args:
            token: which.
            close: whether it takes no further calls; `end` must follow.

        Raises:
            InvalidArgument: it is unknown, over, or expired.
        """
        now = self._clock()
        with self._lock:
            transaction = self._open.get(token)
            if transaction is not None and _expired(transaction, now):
                del self._open[token]
                raise InvalidArgument(f"the transaction has expired (after {LIFETIME:.0f} s, or {IDLE:.0f} s idle)")
            if transaction is None or transaction.closed:
                raise InvalidArgument("the transaction is invalid or closed")
            transaction.closed = close
        transaction.used = now
        return transaction

    def end(self, token: bytes) -> Transaction | None:
        """Close a transaction and return it, or None if it is not open."""
        with self._lock:
            self._lock.notify_all()
            return self._open.pop(token, None)

    def read_write(self) -> list[Transaction]:
        """Return the open transactions that may write."""
        now = self._clock()
        with self._lock:
            return [found for found in self._open.values() if not found.read_only and not _expired(found, now)]

    def wait_for_end(self, tokens: set[bytes], seconds: float) -> bool:
        """Wait until none of these transactions is open; return whether that was so in time."""
        with self._lock:
            return self._lock.wait_for(lambda: self._open.keys().isdisjoint(tokens), max(0.0, seconds))

    def _drop_expired(self, now: float) -> None:
        for token in [token for token, transaction in self._open.items() if _expired(transaction, now)]:
            del self._open[token]


def _expired(transaction: Transaction, now: float) -> bool:
    return now - transaction.begun > LIFETIME or now - transaction.used > IDLE
