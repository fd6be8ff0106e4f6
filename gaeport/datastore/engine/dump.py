"""All entities as of one moment, read in slices: an SQLite transaction that stays open lets the log grow."""

import sqlite3
from collections.abc import Iterator
from functools import partial

from gaeport.datastore.engine import rows
from gaeport.datastore.engine.store import Store

SLICE_BYTES = 4_000_000  # of entities that one SQLite transaction reads

# An entity that was deleted since, perhaps made anew, is in `deleted`; its data is in the history.
_SLICE = """
SELECT key, version, data FROM entities WHERE key > ? AND created <= ?
UNION ALL SELECT key, NULL, NULL FROM deleted WHERE key > ? AND until > ? AND created <= ?
ORDER BY key
"""


def entities(store: Store) -> Iterator[bytes]:
    """Yield all entities, serialized, in the order of their keys, as they are now.

    Raises:
        Aborted: it took longer than the history covers.
    """
    at = store.read(rows.sequence)
    after: bytes | None = b""
    while after is not None:
        found, after = store.snapshot(partial(_slice, after=after, at=at))
        yield from found


def _slice(db: sqlite3.Connection, after: bytes, at: int) -> tuple[list[bytes], bytes | None]:
    """Return the next entities, and the last of their keys if there may be more."""
    rows.check_history(db, at, transaction=True)
    found: list[bytes] = []
    size = 0
    for key, version, data in db.execute(_SLICE, (after, at, after, at, at)):
        if version is None or version > at:
            older = rows.row_at(db, key, at)
            assert older is not None, "a row that was overwritten, and is not in the history"
            data = older.data
        found.append(data)
        size += len(data)
        if size > SLICE_BYTES:
            return found, key
    return found, None
