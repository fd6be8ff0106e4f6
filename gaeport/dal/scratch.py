"""The scratch database: SQLite in memory, into which entities are put for what Datastore cannot do with them.

It holds the rows of one operation at a time, and nothing once the operation is over.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from pydal.objects import Expression

from gaeport.dal.columns import TableColumns
from gaeport.datastore.client import Found

KEY_COLUMN = '"gaeport key"'  # of tables with a primarykey; no field has such a name


def connect() -> sqlite3.Connection:
    """Return an empty scratch database, with the functions that pyDAL's SQL for SQLite calls."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA case_sensitive_like = ON")
    connection.create_function("LOWER", 1, _lower, deterministic=True)  # SQLite's own know ASCII only
    connection.create_function("UPPER", 1, _upper, deterministic=True)
    connection.create_collation("decimal", _compare_decimals)
    return connection


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _upper(text: Any) -> Any:
    return text.upper() if isinstance(text, str) else text


def _compare_decimals(first: str, second: str) -> int:
    one, other = Decimal(first), Decimal(second)
    return (one > other) - (one < other)


def create(connection: sqlite3.Connection, table: Any, columns: TableColumns) -> None:
    """Make an empty table of the name and the columns that pyDAL's SQL uses."""
    parts = [f"{KEY_COLUMN} TEXT PRIMARY KEY" if columns.primary else f"{table._id._rname} INTEGER PRIMARY KEY"]
    parts += [f"{table[column.name]._rname} {column.scratch_type}" for column in columns.columns.values()]
    connection.execute(f"DROP TABLE IF EXISTS {table._rname}")
    connection.execute(f"CREATE TABLE {table._rname} ({', '.join(parts)})")


def row_id(table: Any, columns: TableColumns) -> Any:
    """Return the expression that gives `row_id` of the rows of a select."""
    if not columns.primary:
        return table._id
    return Expression(table._db, lambda: f"{table.sql_shortref}.{KEY_COLUMN}")


def insert(connection: sqlite3.Connection, table: Any, columns: TableColumns, found: Iterable[Found]) -> None:
    """Put entities into a table; one that is there already is replaced."""
    marks = ", ".join("?" * (len(columns.columns) + 1))
    rows = [scratch_row(columns, entry.entity) for entry in found]
    connection.executemany(f"INSERT OR REPLACE INTO {table._rname} VALUES ({marks})", rows)


def drop(connection: sqlite3.Connection, tables: Iterable[Any]) -> None:
    """Remove tables with what they hold."""
    for name in {table._rname for table in tables}:
        connection.execute(f"DROP TABLE IF EXISTS {name}")


def scratch_row(columns: TableColumns, entity: Any) -> Sequence[Any]:
    """Return the values of one entity as they stand in the scratch database."""
    properties = entity.properties
    row: list[Any] = [columns.row_id(entity.key)]
    for column in columns.columns.values():
        value = column.from_wire(properties[column.prop]) if column.prop in properties else None
        row.append(column.to_scratch(value))
    return row
