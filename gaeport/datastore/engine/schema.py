"""The SQLite file: its tables, and the check that a file is ours.

A sequence number is the commit's time in microseconds since 1970, made to grow with every commit. A row is valid from
its sequence number until it is overwritten; then it moves to the history, which says until when it was valid.

The history only grows at its end, which is the cheapest thing to write: a row names the one that it replaced
(`prior`), and so does a deleted entity's row, so that no index on keys is needed to find an older state.
"""

import sqlite3
import time

FORMAT = 4
APPLICATION_ID = 0x67414550  # "gAEP"

# `total` is the number of data bytes ever moved to the history, so that its size is known without adding it up.
# `died` is the key where the entity was deleted, so that its row in `deleted` goes when the history is pruned.
_TABLES = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE);
CREATE TABLE entities (
    key BLOB PRIMARY KEY NOT NULL, version INTEGER NOT NULL, created INTEGER NOT NULL, entries INTEGER NOT NULL,
    prior INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE history (
    id INTEGER PRIMARY KEY, until INTEGER NOT NULL, version INTEGER NOT NULL, created INTEGER NOT NULL,
    prior INTEGER NOT NULL, total INTEGER NOT NULL, died BLOB, data BLOB NOT NULL);
CREATE TABLE deleted (
    key BLOB NOT NULL, until INTEGER NOT NULL, created INTEGER NOT NULL, prior INTEGER NOT NULL,
    PRIMARY KEY (key, until)) WITHOUT ROWID;
CREATE TABLE entries (
    property INTEGER NOT NULL, value BLOB NOT NULL, key BLOB NOT NULL, since INTEGER NOT NULL,
    PRIMARY KEY (property, value, key)) WITHOUT ROWID;
CREATE TABLE old_entries (
    until INTEGER NOT NULL, property INTEGER NOT NULL, value BLOB NOT NULL, key BLOB NOT NULL, since INTEGER NOT NULL,
    PRIMARY KEY (until, property, value, key)) WITHOUT ROWID;
CREATE TABLE reserved (key BLOB PRIMARY KEY NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('format', {FORMAT}), ('pruned', 0);
"""


class ForeignFileError(Exception):
    """The SQLite file was not made by gaeport, or by a newer gaeport; the text says which."""


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables in an empty file, or check that the file is one of ours.

    Raises:
        ForeignFileError: it is not; the file is left untouched.
    """
    if _is_ours(db):
        return
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ours(db):  # another process may have been faster
            for statement in _TABLES.strip().split(";\n"):
                db.execute(statement)
            now = time.time_ns() // 1000
            db.execute("INSERT INTO meta VALUES ('born', ?), ('sequence', ?)", (now, now))
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _is_ours(db: sqlite3.Connection) -> bool:
    # The tables first: another process that makes them just now commits them together with the id.
    has_tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        if has_tables:
            raise ForeignFileError("is an SQLite file that another program made")
        return False
    found = db.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    if found is None or found[0] != FORMAT:
        number = found[0] if found else "none"
        raise ForeignFileError(f"has format {number}; this release of gaeport reads format {FORMAT}")
    return True
