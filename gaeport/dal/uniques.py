"""Unique fields: one marker entity for each value in use, written in the commit that writes the row.

A marker's name says kind, property and value; it holds the row's id. Inserting a marker that exists fails the commit,
which is what makes two rows with one value impossible, in a race too. A marker whose row is gone, or has another
value by now, is stale (entities were written by NDB, or a kind was emptied by hand): it is taken over.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from gaeport.dal.columns import Column, TableColumns, UniqueIndex, is_null
from gaeport.dal.errors import IntegrityError
from gaeport.dal.store import Store
from gaeport.datastore import wire
from gaeport.datastore.mutations import update

KIND = "Unique.value"  # with a dot, which no table has in its name


class Uniques:
    """The markers of one store's rows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _key(self, columns: TableColumns, held: Sequence[Column], values: Sequence[Any]) -> Any:
        """Return the key of the marker for stored values, one for each column."""
        said = "\0".join((self._store.client.namespace, columns.kind, *(column.prop for column in held))).encode()
        for value in values:
            bare = wire.Value()
            bare.CopyFrom(value)
            bare.ClearField("exclude_from_indexes")
            raw = bare.SerializeToString(deterministic=True)
            said += b"\0" + raw if len(held) == 1 else b"\0%d\0%s" % (len(raw), raw)
        return self._store.own_client.key(KIND, hashlib.sha256(said).hexdigest())

    def claim(self, columns: TableColumns, entity: Any) -> list[Any]:
        """Return the mutations that take the values of a new row."""
        return self.change(columns, None, entity)

    def change(self, columns: TableColumns, before: Any, after: Any) -> list[Any]:
        """Return the mutations for a row that changes.

        Args:
            columns: the table.
            before: the entity as it is; None for a new one.
            after: the entity as it will be; None for one that is deleted.
        """
        mutations = []
        for column in columns.claims:
            old, new = self._key_of(columns, column, before), self._key_of(columns, column, after)
            if old == new:
                if new is not None and before.key != after.key:  # the row got another primary key
                    mutations.append(wire.Mutation(upsert=_marker(new, after.key, column)))
                continue
            if old is not None:
                mutations.append(wire.Mutation(delete=old))
            if new is not None:
                mutations.append(wire.Mutation(insert=_marker(new, after.key, column)))
        return mutations

    def _key_of(self, columns: TableColumns, claim: Column | UniqueIndex, entity: Any) -> Any | None:
        """Return the key of the marker that a row holds; None where a value is NULL, which any number may have."""
        held = claim.columns if isinstance(claim, UniqueIndex) else (claim,)
        if entity is None or any(column.prop not in entity.properties for column in held):
            return None
        values = [entity.properties[column.prop] for column in held]
        return None if any(is_null(value) for value in values) else self._key(columns, held, values)

    def settle(self, columns: TableColumns, mutations: Iterable[Any]) -> list[Any]:
        """Return mutations with stale markers taken over: those of a commit that failed, or that is to come.

        Raises:
            IntegrityError: a marker is not stale.
        """
        settled = list(mutations)
        places = [at for at, mutation in enumerate(settled) if _is_marker(mutation)]
        found = self._store.lookup_keys(self._store.own_client, [settled[at].insert.key for at in places])
        for at, present in zip(places, found, strict=True):
            if present is None:
                continue
            marker = settled[at].insert
            column = columns.claim(marker.properties["field"].string_value)
            row = _row_of(present.entity)
            wanted = _row_of(marker)
            if row != wanted and self._in_use(columns, column, row, marker.key):
                raise IntegrityError(f"UNIQUE constraint failed: {column.label}: the row {row} has this value")
            settled[at] = update(marker, present.version)
        return settled

    def _in_use(self, columns: TableColumns, column: Column | UniqueIndex, row: int | str, marker: Any) -> bool:
        found = self._store.lookup(columns, [row])
        if not found:
            return False
        return bool(self._key_of(columns, column, found[0].entity) == marker)

    def check_distinct(self, columns: TableColumns, entities: Sequence[Any]) -> None:
        """Refuse rows of one commit that share a unique value.

        Raises:
            IntegrityError: two of them do.
        """
        for column in columns.claims:
            names = [self._key_of(columns, column, entity) for entity in entities]
            used = [name.path[0].name for name in names if name is not None]
            if len(used) != len(set(used)):
                raise IntegrityError(f"UNIQUE constraint failed: {column.label}: two rows of one insert share a value")


def _marker(key: Any, row: Any, column: Column | UniqueIndex) -> Any:
    marker = wire.Entity(key=key)
    last = row.path[0]
    for name, value in (
        ("row", wire.Value(string_value=last.name) if last.name else wire.Value(integer_value=last.id)),
        ("field", wire.Value(string_value=column.name)),
    ):
        value.exclude_from_indexes = True
        marker.properties[name].CopyFrom(value)
    return marker


def _row_of(marker: Any) -> int | str:
    held = marker.properties["row"]
    row: int | str = held.string_value or held.integer_value
    return row


def _is_marker(mutation: Any) -> bool:
    return bool(mutation.WhichOneof("operation") == "insert" and mutation.insert.key.path[0].kind == KIND)
