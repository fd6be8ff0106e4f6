"""What was overwritten, kept for transactions and read_time, and pruned by time and size."""

import sqlite3
import threading
import time

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

    def keep(self, key: bytes, row: Row) -> None:
        """Keep the row that this commit overwrites or deletes."""
        self._count += 1
        self._db.execute(
            "INSERT INTO history (key, until, version, created, data, total) VALUES (?, ?, ?, ?, ?, ? + ifnull("
            "(SELECT total FROM history ORDER BY id DESC LIMIT 1), 0))",
            (key, self._sequence, row.version, row.created, row.data, len(row.data)),
        )

    def keep_entry(self, number: int, value: bytes, key: bytes) -> None:
        """Keep the index entry that this commit removes."""
        self._db.execute(
            "INSERT INTO old_entries (until, property, value, key, since)"
            " SELECT ?1, property, value, key, since FROM entries WHERE property = ?2 AND value = ?3 AND key = ?4",
            (self._sequence, number, value, key),
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
        newest = self._db.execute("SELECT total FROM history ORDER BY id DESC LIMIT 1").fetchone()
        too_old = time.time_ns() // 1000 - KEEP
        droppable = [(row, until) for row, until, total in oldest if until <= too_old or total <= newest[0] - MAX_BYTES]
        if droppable:
            self._drop(*droppable[-1])

    def _drop(self, last_row: int, through: int) -> None:
        self._db.execute("DELETE FROM history WHERE id <= ?", (last_row,))
        self._db.execute("DELETE FROM old_entries WHERE until <= ?", (through,))
        self._db.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'pruned'", (through,))
