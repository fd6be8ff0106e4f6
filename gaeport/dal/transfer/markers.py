"""Markers of unique values for rows that have none: rows that are imported, and those of a field that became unique."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gaeport.dal.columns import Column, TableColumns, id_of_key
from gaeport.dal.conditions import Everything
from gaeport.dal.store import Store
from gaeport.dal.transfer.state import commit
from gaeport.dal.uniques import Uniques
from gaeport.datastore.mutations import insert, update
from gaeport.datastore.outcomes import REFUSED

ATTEMPTS = 8  # against others that write the same markers
BATCH = 300  # rows


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row whose unique value another row has.

    Attributes:
        label: table and field.
        value: the value, as plain Python.
        row: the id of the row without a marker.
        holder: the id of the row that the marker names.
    """

    label: str
    value: Any
    row: int
    holder: int


class Markers:
    """Makes the markers of rows; a row whose value another has gets none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uniques = Uniques(store)

    def commit(self, columns: TableColumns, entities: Sequence[Any], others: Sequence[Any] = ()) -> list[Duplicate]:
        """Commit the markers of rows, together with other mutations that may be committed twice.

        Args:
            columns: the table.
            entities: the rows, as they are or as `others` will make them.
            others: `wire.Mutation`s without conditions.

        Returns:
            The rows that got no marker for one of their values.
        """
        wanted, duplicates = self._distinct(columns, entities)
        client = self._store.client
        for attempt in range(ATTEMPTS):
            mutations = [*others, *wanted.values()]
            try:
                if mutations:
                    commit(client, mutations)
                return duplicates
            except REFUSED:
                if attempt == ATTEMPTS - 1:
                    raise
                wanted = self._settled(columns, entities, wanted, duplicates)
        raise AssertionError("ATTEMPTS must be at least 1")

    def _distinct(self, columns: TableColumns, entities: Sequence[Any]) -> tuple[dict[str, Any], list[Duplicate]]:
        """Return the mutations by marker; of rows that share a value, the first has it."""
        wanted: dict[str, Any] = {}
        duplicates: list[Duplicate] = []
        for entity in entities:
            for mutation in self._uniques.claim(columns, entity):
                first = wanted.setdefault(mutation.insert.key.path[0].name, mutation)
                if first is not mutation:
                    duplicates.append(_duplicate(columns, mutation.insert, entity, _row(first.insert)))
        return wanted, duplicates

    def _settled(
        self, columns: TableColumns, entities: Sequence[Any], wanted: dict[str, Any], duplicates: list[Duplicate]
    ) -> dict[str, Any]:
        """Return the mutations that are left to do, by what is there; what others hold goes to the duplicates."""
        by_id = {id_of_key(entity.key): entity for entity in entities}
        markers = {name: _marker(mutation) for name, mutation in wanted.items()}
        found = self._store.own_client.lookup([marker.key for marker in markers.values()])
        left: dict[str, Any] = {}
        for (name, marker), present in zip(markers.items(), found, strict=True):
            if present is None:
                left[name] = insert(marker)
                continue
            row, holder = _row(marker), _row(present.entity)
            if row == holder:
                continue
            if self._holds(columns, marker, holder, by_id):
                duplicates.append(_duplicate(columns, marker, by_id[row], holder))
            else:
                left[name] = update(marker, present.version)
        return left

    def _holds(self, columns: TableColumns, marker: Any, holder: int, by_id: dict[int, Any]) -> bool:
        """Return whether the row that a marker names has its value: now, or after the commit that is under way."""
        entity = by_id.get(holder)
        if entity is None:
            found = self._store.lookup(columns, [holder])
            entity = found[0].entity if found else None
        if entity is None:
            return False
        claims = self._uniques.claim(columns, entity)
        return any(mutation.insert.key == marker.key for mutation in claims)

    def backfill(
        self, columns: TableColumns, tell: Callable[[int], object], *, only_check: bool
    ) -> tuple[int, list[Duplicate]]:
        """Make the missing markers of all rows of a table.

        Args:
            columns: the table; its `unique` says for which fields.
            tell: is told how many rows were looked at.
            only_check: whether to look for duplicates alone, in memory, and write nothing.

        Returns:
            The number of rows, and those that got no marker.
        """
        count = 0
        duplicates: list[Duplicate] = []
        seen: dict[str, int] = {}
        for entities in self._batches(columns):
            if only_check:
                duplicates += self._repeated(columns, entities, seen)
            else:
                duplicates += self.commit(columns, entities)
            count += len(entities)
            tell(count)
        return count, duplicates

    def _repeated(self, columns: TableColumns, entities: Sequence[Any], seen: dict[str, int]) -> Iterator[Duplicate]:
        for entity in entities:
            for mutation in self._uniques.claim(columns, entity):
                row = id_of_key(entity.key)
                holder = seen.setdefault(mutation.insert.key.path[0].name, row)
                if holder != row:
                    yield _duplicate(columns, mutation.insert, entity, holder)

    def _batches(self, columns: TableColumns) -> Iterator[list[Any]]:
        batch: list[Any] = []
        for found in self._store.client.query(self._store.query(columns, Everything())):
            batch.append(found.entity)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


def _marker(mutation: Any) -> Any:
    return mutation.insert if mutation.WhichOneof("operation") == "insert" else mutation.update


def _row(marker: Any) -> int:
    number: int = marker.properties["row"].integer_value
    return number


def _duplicate(columns: TableColumns, marker: Any, entity: Any, holder: int) -> Duplicate:
    column: Column = columns.columns[marker.properties["field"].string_value]
    value = column.from_wire(entity.properties[column.prop])
    return Duplicate(column.label, value, id_of_key(entity.key), holder)
