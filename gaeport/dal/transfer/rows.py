"""The rows of a table in the order of their ids, and a digest of each that is the same in every database."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from gaeport.dal.columns import Column, columns_of
from gaeport.dal.transfer.errors import TransferError
from gaeport.datastore import wire
from gaeport.errors import GaeportError

_DIGEST = 16  # bytes


def batches(table: Any, after: int, size: int) -> Iterator[list[Any]]:
    """Yield a table's rows in lists, by ascending ids.

    Args:
        table: the pyDAL table.
        after: the id after which to begin.
        size: rows of one list at most.

    Raises:
        TransferError: a row cannot be read; the message names it.
    """
    while True:
        found = _batch(table, after, size)
        if found:
            yield found
            after = int(found[-1][table._id.name])
        if len(found) < size:
            return


def _batch(table: Any, after: int, size: int) -> list[Any]:
    try:
        return _read(table, list(table), after, size)
    except GaeportError:
        raise
    except Exception as error:
        table._db.rollback()
        raise _named(table, after, size, error) from error


def _read(table: Any, fields: list[Any], after: int, size: int) -> list[Any]:
    db = table._db
    found = db(table._id > after, ignore_common_filters=True).select(
        *fields, orderby=table._id, limitby=(0, size), cacheable=True
    )
    db.commit()  # no transaction stays open between two batches
    return list(found)


def _named(table: Any, after: int, size: int, error: Exception) -> TransferError:
    """Find the row that cannot be read among those of a batch."""
    label = table._tablename
    for row in _read(table, [table._id], after, size):
        number = int(row[table._id.name])
        try:
            _read(table, list(table), number - 1, 1)
        except Exception as reason:  # noqa: BLE001  # what pyDAL's parsers and the drivers raise has no common root
            return TransferError(f"{label} {number} cannot be read: {reason}")
    return TransferError(f"{label}: the rows after {after} cannot be read: {error}")


def first_id(table: Any, *, last: bool = False) -> int:
    """Return the lowest id of a table (or the highest, with `last`); 0 where it has no row."""
    order = ~table._id if last else table._id
    found = table._db(table._id > 0, ignore_common_filters=True).select(table._id, orderby=order, limitby=(0, 1))
    table._db.commit()
    return int(found[0][table._id.name]) if found else 0


def entity_of(table: Any, row: Any, key: Any) -> Any:
    """Return the entity that stands for a row.

    Raises:
        TransferError: a value does not fit; the message names the row.
    """
    entity = wire.Entity(key=key)
    for column in columns_of(table).columns.values():
        column.put(entity, stored(column, row))
    columns_of(table).fold(entity)
    return entity


def stored(column: Column, row: Any) -> Any:
    """Return the `wire.Value` of one field of a row.

    Raises:
        TransferError: it does not fit; the message names the row.
    """
    try:
        return column.to_wire(row[column.name])
    except (GaeportError, ValueError, TypeError) as error:
        table = column.label.partition(".")[0]
        raise TransferError(f"{table} {row['id']}: {error}") from error


def digest(table: Any, row: Any, *, seconds: bool) -> bytes:
    """Return a digest of a row's id and values.

    Args:
        table: the pyDAL table, of any database.
        row: the row as pyDAL gives it.
        seconds: whether fractions of seconds count for nothing: pyDAL writes none into SQL databases.
    """
    made = hashlib.blake2b(str(int(row[table._id.name])).encode(), digest_size=_DIGEST)
    for column in columns_of(table).columns.values():
        said = _canonical(column, row, seconds)
        made.update(b"%d:" % len(said) + said)
    return made.digest()


def _canonical(column: Column, row: Any, seconds: bool) -> bytes:
    value = row[column.name]
    if value is not None and column.encoder is None and column.kind.name in ("json", "jsonb"):
        return json.dumps(value, sort_keys=True, default=str).encode()
    found = stored(column, row)
    if seconds and found.WhichOneof("value_type") == "timestamp_value":
        found.timestamp_value.nanos = 0
    said: bytes = found.SerializeToString(deterministic=True)
    return said
