"""Several index ranges at once: what stands in all of them, at a cost that the smallest of them sets."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from gaeport.datastore.engine import rows

MANY = 3000  # index entries; so many are not read, tested and sorted if an index has the order already


def common_keys(
    db: sqlite3.Connection, scans: Sequence[rows.Scan], at: int | None, *, descending: bool, after: bytes | None
) -> Iterator[bytes]:
    """Yield the keys that all ranges hold, in order: each range in turn is sought from where the one before stands.

    Args:
        db: the connection, inside a transaction.
        scans: ranges of one value each, with the same bounds of the key.
        at: the sequence number to read at; None reads the present.
        descending: whether to go from the end.
        after: where to begin, exclusively.
    """
    rest = scans[0]
    if after is not None:
        rest = replace(rest, key_high=after) if descending else replace(rest, key_low=after + b"\x00")
    agreed, candidate, turn = 0, b"", 0
    while True:
        scan = replace(scans[turn], key_low=rest.key_low, key_high=rest.key_high)
        found = _first(db, scan, at, descending=descending)
        if found is None:
            return
        agreed = agreed + 1 if found == candidate else 1
        candidate = found
        if agreed == len(scans):
            yield candidate
            agreed = 0
        past = agreed == 0  # else the others are sought from the candidate on, itself included
        if descending:
            rest = replace(rest, key_high=candidate if past else candidate + b"\x00")
        else:
            rest = replace(rest, key_low=candidate + b"\x00" if past else candidate)
        turn = (turn + 1) % len(scans)


def _first(db: sqlite3.Connection, scan: rows.Scan, at: int | None, *, descending: bool) -> bytes | None:
    if scan.key_low >= scan.key_high:
        return None
    with closing(rows.entries(db, scan, at, descending=descending, after=None)) as found:
        return next((key for _, key in found), None)


def is_small(db: sqlite3.Connection, scan: rows.Scan) -> bool:
    """Whether a range of one value holds fewer than MANY entries now."""
    found = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM entries WHERE property = ? AND value = ? AND key >= ? AND key < ?"
        " LIMIT ?)",
        (scan.property, scan.low, scan.key_low, scan.key_high, MANY),
    ).fetchone()
    return found[0] < MANY  # type: ignore[no-any-return]  # sqlite3 gives Any


def entries_also_in(
    db: sqlite3.Connection,
    scan: rows.Scan,
    others: Sequence[rows.Scan],
    *,
    descending: bool,
    after: tuple[bytes, bytes] | None,
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (value, key) of a range as it is now, in order, where the key also stands in all others.

    Args:
        db: the connection, inside a transaction.
        scan: the range that has the order.
        others: ranges of one value each.
        descending: whether to go from the end, values and keys both.
        after: where to begin, exclusively.
    """
    order, beyond = ("DESC", "<") if descending else ("ASC", ">")
    where = "property = ? AND value >= ? AND value < ? AND key >= ? AND key < ?"
    bounds = [scan.property, scan.low, scan.high, scan.key_low, scan.key_high]
    if after is not None:
        where += f" AND value {beyond}= ? AND (value, key) {beyond} (?, ?)"
        bounds += [after[0], *after]
    for other in others:
        where += " AND EXISTS (SELECT 1 FROM entries WHERE property = ? AND value = ? AND key = walked.key)"
        bounds += [other.property, other.low]
    sql = f"SELECT value, key FROM entries AS walked WHERE {where} ORDER BY value {order}, key {order}"
    with closing(db.execute(sql, bounds)) as cursor:
        yield from cursor
