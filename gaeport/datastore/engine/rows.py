"""Reading rows: as they are now, as they were at a sequence number, and whether they changed since."""

import sqlite3
import time
from collections.abc import Collection, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from gaeport.errors import Aborted, InvalidArgument


class Row(NamedTuple):
    """A stored entity. `version` and `created` are sequence numbers, `entries` counts its index entries, `prior` is
    the row of the history that it replaced (0: none)."""

    version: int
    created: int
    entries: int
    data: bytes
    prior: int = 0


@dataclass(frozen=True, slots=True)
class Scan:
    """A range of index entries, or of entities by key; lower bounds are inclusive, upper ones exclusive.

    Attributes:
        property: the number of the index in the table of names; None scans entities by key.
        low, high: bounds of the value.
        key_low, key_high: bounds of the key, whatever the value.
    """

    property: int | None
    low: bytes
    high: bytes
    key_low: bytes
    key_high: bytes


def sequence(db: sqlite3.Connection) -> int:
    """Return the sequence number of the last commit."""
    return db.execute("SELECT value FROM meta WHERE name = 'sequence'").fetchone()[0]  # type: ignore[no-any-return]  # sqlite3 gives Any


def check_history(db: sqlite3.Connection, at: int, *, transaction: bool) -> None:
    """Refuse to read at a moment that the history no longer covers.

    Raises:
        Aborted: for a transaction, which can begin anew.
        InvalidArgument: for a read_time; also for one in the future.
    """
    if not transaction and at > time.time_ns() // 1000 and at > sequence(db):
        raise InvalidArgument("the read_time is in the future")
    if at >= db.execute("SELECT value FROM meta WHERE name = 'pruned'").fetchone()[0]:
        return
    if transaction:
        raise Aborted("the transaction began before what the history still holds; begin it anew")
    raise InvalidArgument("the read_time is older than the history that is kept (5 minutes)")


def current(db: sqlite3.Connection, key: bytes) -> Row | None:
    """Return the entity as it is."""
    found = db.execute("SELECT version, created, entries, data, prior FROM entities WHERE key = ?", (key,)).fetchone()
    return Row._make(found) if found else None


def current_and_sequence(db: sqlite3.Connection, key: bytes) -> tuple[Row | None, int]:
    """Return the entity as it is and the sequence number of the last commit, of one moment."""
    found = db.execute(
        "SELECT value, version, created, entries, data, prior FROM meta LEFT JOIN entities ON key = ?"
        " WHERE name = 'sequence'",
        (key,),
    ).fetchone()
    return (None if found[1] is None else Row._make(found[1:])), found[0]


def row_at(db: sqlite3.Connection, key: bytes, at: int | None) -> Row | None:
    """Return the entity as it was at a sequence number, or as it is when that is None."""
    row = current(db, key)
    if at is None or (row is not None and row.version <= at):
        return row
    return (_older(db, row.prior, at) if row is not None else None) or _deleted(db, key, at)


def _older(db: sqlite3.Connection, number: int, at: int) -> Row | None:
    """Return the state at a sequence number of the entity whose latest row in the history has this number."""
    while number:
        found = db.execute(
            "SELECT until, version, created, data, prior FROM history WHERE id = ?", (number,)
        ).fetchone()
        if found is None or found[0] <= at:
            return None
        if found[1] <= at:
            return Row(found[1], found[2], 0, found[3])
        number = found[4]
    return None


def _deleted(db: sqlite3.Connection, key: bytes, at: int) -> Row | None:
    """Return the state at a sequence number of an entity that was deleted afterwards."""
    found = db.execute(
        "SELECT prior FROM deleted WHERE key = ? AND until > ? AND created <= ?", (key, at, at)
    ).fetchone()
    return _older(db, found[0], at) if found else None


def last_deletion(db: sqlite3.Connection, key: bytes) -> int:
    """Return the sequence number from which on a missing entity has surely been missing: of its deletion, of the
    oldest moment that the history covers, or of the file's making."""
    found = db.execute(
        "SELECT max(max(value), ifnull((SELECT max(until) FROM deleted WHERE key = ?), 0)) FROM meta"
        " WHERE name IN ('pruned', 'born')",
        (key,),
    ).fetchone()
    return found[0]  # type: ignore[no-any-return]  # sqlite3 gives Any


def is_taken(db: sqlite3.Connection, key: bytes) -> bool:
    """Whether an id must not be given: its key has an entity, or was reserved."""
    found = db.execute(
        "SELECT EXISTS (SELECT 1 FROM entities WHERE key = ?) OR EXISTS (SELECT 1 FROM reserved WHERE key = ?)",
        (key, key),
    ).fetchone()
    return bool(found[0])


def changed(db: sqlite3.Connection, key: bytes, since: int) -> bool:
    """Whether the entity was written or deleted after a sequence number."""
    found = db.execute(
        "SELECT EXISTS (SELECT 1 FROM entities WHERE key = ? AND version > ?)"
        " OR EXISTS (SELECT 1 FROM deleted WHERE key = ? AND until > ?)",
        (key, since, key, since),
    ).fetchone()
    return bool(found[0])


def entries(
    db: sqlite3.Connection, scan: Scan, at: int | None, *, descending: bool = False, after: tuple[bytes, bytes] | None
) -> Generator[tuple[bytes, bytes], None, None]:
    """Yield (value, key) of a range in order; values of a scan by key are empty.

    Args:
        db: the connection, inside a transaction.
        scan: the range.
        at: the sequence number to read at; None reads the present.
        descending: whether to go from the end, values and keys both.
        after: where to begin, exclusively, in the direction of reading.
    """
    order, beyond = ("DESC", "<") if descending else ("ASC", ">")
    if scan.property is None:
        tables, values, columns = _entity_ranges(scan, at)
        if after is not None:
            tables = [f"{table} AND key {beyond} ?" for table in tables]
            values = [[*part, after[1]] for part in values]
    else:
        tables, values, columns = _entry_ranges(scan, at)
        if after is not None:
            # The plain bound lets SQLite seek; the pair decides.
            tables = [f"{table} AND value {beyond}= ? AND (value, key) {beyond} (?, ?)" for table in tables]
            values = [[*part, after[0], *after] for part in values]
    selects = " UNION ALL ".join(f"SELECT {columns} FROM {table}" for table in tables)
    sql = f"{selects} ORDER BY 1 {order}, 2 {order}"
    with closing(db.execute(sql, [value for part in values for value in part])) as cursor:
        yield from cursor


def _entity_ranges(scan: Scan, at: int | None) -> tuple[list[str], list[list[bytes | int]], str]:
    bounds: list[bytes | int] = [scan.key_low, scan.key_high]
    where = "key >= ? AND key < ?"
    if at is None:
        return [f"entities WHERE {where}"], [bounds], "x'' AS value, key"
    now, then = f"entities WHERE {where} AND created <= ?", f"deleted WHERE {where} AND until > ? AND created <= ?"
    return [now, then], [[*bounds, at], [*bounds, at, at]], "x'' AS value, key"


def _entry_ranges(scan: Scan, at: int | None) -> tuple[list[str], list[list[bytes | int]], str]:
    bounds: list[bytes | int] = [scan.property or 0, scan.low, scan.high, scan.key_low, scan.key_high]
    where = "property = ? AND value >= ? AND value < ? AND key >= ? AND key < ?"
    if scan.high == scan.low + b"\x00":  # one value: the key's bounds can be sought too
        bounds = [scan.property or 0, scan.low, scan.key_low, scan.key_high]
        where = "property = ? AND value = ? AND key >= ? AND key < ?"
    if at is None:
        return [f"entries WHERE {where}"], [bounds], "value, key"
    now, then = f"entries WHERE {where} AND since <= ?", f"old_entries WHERE until > ? AND {where} AND since <= ?"
    return [now, then], [[*bounds, at], [at, *bounds, at]], "value, key"


def count(
    db: sqlite3.Connection,
    scan: Scan,
    at: int | None,
    without_values: Collection[bytes],
    without_keys: Collection[bytes],
    *,
    most: int | None,
) -> int:
    """Return how many entities have an index entry in a range.

    Args:
        db: the connection, inside a transaction.
        scan: the range, not one by key.
        at: the sequence number to read at; None reads the present.
        without_values, without_keys: entries that do not count.
        most: where to stop counting.
    """
    tables, bounds, _ = _entry_ranges(scan, at)
    left_out = [*without_values, *without_keys]
    where = f" AND value NOT IN ({_marks(without_values)}) AND key NOT IN ({_marks(without_keys)})"
    selects = " UNION ALL ".join(f"SELECT key FROM {table}{where}" for table in tables)
    distinct = "" if scan.high == scan.low + b"\x00" else "DISTINCT"  # several values of one entity may be in a range
    sql = f"SELECT count(*) FROM (SELECT {distinct} key FROM ({selects}) LIMIT ?)"
    parameters = [value for part in bounds for value in (*part, *left_out)]
    return db.execute(sql, (*parameters, -1 if most is None else most)).fetchone()[0]  # type: ignore[no-any-return]  # sqlite3 gives Any


def _marks(values: Collection[bytes]) -> str:
    return ", ".join("?" for _ in values)


def scan_changed(db: sqlite3.Connection, scan: Scan, since: int) -> bool:
    """Whether a range gained or lost an entry after a sequence number."""
    if scan.property is None:
        sql = (
            "SELECT EXISTS (SELECT 1 FROM entities WHERE key >= ? AND key < ? AND version > ?)"
            " OR EXISTS (SELECT 1 FROM deleted WHERE key >= ? AND key < ? AND until > ?)"
        )
        return bool(db.execute(sql, (scan.key_low, scan.key_high, since) * 2).fetchone()[0])
    where = "property = ? AND value >= ? AND value < ? AND key >= ? AND key < ?"
    sql = (
        f"SELECT EXISTS (SELECT 1 FROM entries WHERE {where} AND since > ?)"
        f" OR EXISTS (SELECT 1 FROM old_entries WHERE {where} AND until > ?)"
    )
    bounds = (scan.property, scan.low, scan.high, scan.key_low, scan.key_high, since)
    return bool(db.execute(sql, bounds * 2).fetchone()[0])
