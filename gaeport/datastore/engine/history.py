"""What was overwritten, kept for transactions and read_time, and pruned by time and size."""

import sqlite3
import threading
import time
from collections.abc import Sequence

from gaeport.datastore.engine.rows import Row

KEEP = 300_000_000  # microseconds; a transaction lives 270 s
MAX_BYTES = 268_435_456  # of overwritten data; beyond it the oldest goes earlier
EVERY = 64  # rows moved to the history by this process between two prunings
AT_ONCE = 256  # rows pruned at most at a time: four times what came in, so it catches up

_moved = threading.local()


class History:
    """Moves rows to the history in one commit."""

    def __init__(self, db: sqlite3.Connection, sequence: int) -> None:
        self._db = db
        self._sequence = sequence
        self._count = 0

    def keep(self, key: bytes, row: Row, *, died: bool) -> int:
        """Keep the row that this commit overwrites or deletes; return its number in the history."""
        self._count += 1
        number = self._db.execute(
            "INSERT INTO history (until, version, created, prior, total, died, data) VALUES (?, ?, ?, ?, ? + ifnull("
            "(SELECT total FROM history ORDER BY id DESC LIMIT 1), 0), ?, ?)",
            (self._sequence, row.version, row.created, row.prior, len(row.data), key if died else None, row.data),
        ).lastrowid
        assert number is not None
        if died:
            self._db.execute(
                "INSERT INTO deleted (key, until, created, prior) VALUES (?, ?, ?, ?)",
                (key, self._sequence, row.created, number),
            )
        return number

    def keep_entries(self, entries: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Keep the index entries that this commit removes: property number, value and key."""
        self._count += len(entries)
        self._db.executemany(
            "INSERT INTO old_entries (until, property, value, key, since)"
            f" SELECT {self._sequence}, property, value, key, since FROM entries"
            " WHERE property = ? AND value = ? AND key = ?",
            entries,
        )

    def prune(self) -> None:
        """Now and then, drop what is too old or too much. Part of the commit, so readers see a consistent horizon."""
        moved = getattr(_moved, "count", EVERY) + self._count
        _moved.count = moved
        if moved < EVERY:
            return
        _moved.count = 0
        oldest = self._db.execute(
            "SELECT id, until, total FROM history ORDER BY id LIMIT ?", (max(AT_ONCE, 4 * self._count),)
        ).fetchall()
        if not oldest:
            return
        newest = self._db.execute("SELECT total FROM history ORDER BY id DESC LIMIT 1").fetchone()
        too_old = time.time_ns() // 1000 - KEEP
        droppable = [(row, until) for row, until, total in oldest if until <= too_old or total <= newest[0] - MAX_BYTES]
        if droppable:
            self._drop(*droppable[-1])

    def _drop(self, last_row: int, through: int) -> None:
        self._db.execute(
            "DELETE FROM deleted WHERE (key, until) IN (SELECT died, until FROM history WHERE id <= ?"
            " AND died IS NOT NULL)",
            (last_row,),
        )
        self._db.execute("DELETE FROM history WHERE id <= ?", (last_row,))
        self._db.execute("DELETE FROM old_entries WHERE until <= ?", (through,))
        self._db.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'pruned'", (through,))
