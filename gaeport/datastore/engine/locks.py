"""Pessimistic concurrency: what a read-write transaction has read, others write only once it is over.

Source: "Transactions", concurrency modes. The reads of open transactions are the shared locks; they are known to the
process that serves the transactions, and to no other. Commits validate what they read in either mode.
"""

import sqlite3
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from gaeport.datastore.engine import rows
from gaeport.datastore.engine.transactions import Transaction, Transactions
from gaeport.errors import Aborted

WAIT = 2.0  # seconds that a write waits for a lock; what the Firestore emulator waits (measured)

_T = TypeVar("_T")


class LockedError(Exception):
    """A commit would change what other transactions have read; `tokens` names them."""

    def __init__(self, tokens: set[bytes]) -> None:
        super().__init__(f"locked by {len(tokens)} transactions")
        self.tokens = tokens


def write(transactions: Transactions, own: Transaction | None, attempt: Callable[[], _T]) -> _T:
    """Return what a commit returns, once those who have read what it changes are over.

    A transaction that has to wait gives up its own locks: of two that wait for each other the later one is committed,
    and the validation of the other finds that.

    Args:
        transactions: the open ones.
        own: the transaction that is committed, or None.
        attempt: commits, or changes nothing and raises LockedError.

    Raises:
        Aborted: they were not over in time.
    """
    deadline = time.monotonic() + WAIT
    while True:
        try:
            return attempt()
        except LockedError as error:
            if own is not None:
                transactions.end(own.token)
            if not transactions.wait_for_end(error.tokens, deadline - time.monotonic()):
                raise Aborted(
                    f"too much contention on these entities: another transaction has read them, and was not over after "
                    f"{WAIT:.0f} s; please try again"
                ) from error


def check(
    db: sqlite3.Connection,
    transactions: Transactions,
    own: Transaction | None,
    changed: Collection[bytes],
    sequence: int,
) -> None:
    """Refuse a commit that changes what other open transactions have read.

    Args:
        db: the connection, after the commit's changes were made.
        transactions: the open ones.
        own: the transaction that is committed, or None.
        changed: the keys of the commit's mutations.
        sequence: the commit's sequence number.

    Raises:
        LockedError: it does.
    """
    holders = {
        other.token
        for other in transactions.read_write()
        if other is not own and _has_read(db, other, changed, sequence)
    }
    if holders:
        raise LockedError(holders)


def _has_read(db: sqlite3.Connection, other: Transaction, changed: Collection[bytes], sequence: int) -> bool:
    if any(key in other.keys for key in changed):
        return True
    return any(rows.scan_changed(db, scan, sequence - 1) for scan in tuple(other.scans))
