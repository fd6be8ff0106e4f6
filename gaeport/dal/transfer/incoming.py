"""Tables from a SQL database into Datastore: each batch and how far it got in one commit."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from gaeport.dal.columns import columns_of, id_of_key
from gaeport.dal.store import Store, chunks
from gaeport.dal.transfer.errors import TransferError
from gaeport.dal.transfer.markers import Duplicate, Markers
from gaeport.dal.transfer.rows import batches, entity_of
from gaeport.dal.transfer.state import ATTEMPTS, REPEATABLE, State
from gaeport.datastore import wire
from gaeport.datastore.client import retried
from gaeport.datastore.limits import MAX_ENTITY

BATCH = 450  # rows; with the state and some markers still one commit
KEPT = 5_000  # duplicates that the state remembers, which is one entity; `gaeport data unique` finds all
Tell = Callable[[str, int], object]  # a table, and how many of its rows have been dealt with


class Incoming:
    """An import of tables.

    Attributes:
        tables: the tables of the SQL database, each with its counterpart on Datastore.
    """

    def __init__(self, tables: Sequence[tuple[Any, Any]], state: State, tell: Tell) -> None:
        self.tables = list(tables)
        self._state, self._tell = state, tell
        self._store: Store = self.tables[0][1]._db._adapter.store
        self._markers = Markers(self._store)

    def occupied(self) -> list[str]:
        """Return the tables of the target that hold rows already."""
        store = self._store
        found = []
        for _, target in self.tables:
            if next(iter(store.ids(columns_of(target))), None) is not None:
                found.append(target._tablename)
        return found

    def clear(self) -> None:
        """Delete the rows that the target's tables hold; what an earlier run has cleared stays as it is."""
        for _, target in self.tables:
            if target._tablename not in self._state.cleared:
                target._db._adapter.writes.truncate(target)
                self._state.cleared.append(target._tablename)
                self._state.save()

    def run(self) -> None:
        """Move all rows that no earlier run has moved.

        Raises:
            TransferError: a row does not fit.
        """
        for source, target in self.tables:
            name, count = source._tablename, 0
            for batch in batches(source, self._state.tables.get(name, _start(source)), BATCH):
                self._write(target, name, [entity(target, row) for row in batch])
                count += len(batch)
                self._tell(name, count)
        self._claim_again()

    def _write(self, target: Any, name: str, entities: Sequence[Any]) -> None:
        columns, ids = columns_of(target), target._db._adapter.writes.ids
        for group in chunks([[wire.Mutation(upsert=entity)] for entity in entities]):
            rows = [mutation for (mutation,) in group]
            numbers = [id_of_key(mutation.upsert.key) for mutation in rows]
            retried(partial(ids.passed, columns, numbers), REPEATABLE, ATTEMPTS)
            self._state.tables[name] = numbers[-1]
            # The state goes along: what is committed is known to be. Duplicates are noted once they are known.
            duplicates = self._markers.commit(
                columns, [mutation.upsert for mutation in rows], [*rows, self._state.mutation()]
            )
            if duplicates:
                self._state.duplicates += _noted(name, duplicates)[: KEPT - len(self._state.duplicates)]
                self._state.save()

    def _claim_again(self) -> None:
        """Try those again whose value another row had: that row may have been imported, and changed, since."""
        left: list[Duplicate] = []
        for _, target in self.tables:
            columns = columns_of(target)
            ids = sorted({number for table, _, number in self._state.duplicates if table == target._tablename})
            for found in self._store.lookup(columns, ids):
                left += self._markers.commit(columns, [found.entity])
        self.duplicates = left


def check(tables: Sequence[tuple[Any, Any]], tell: Tell) -> list[str]:
    """Read everything, write nothing, and return what does not fit: one reason a row.

    Args:
        tables: the tables of the SQL database, each with its counterpart on Datastore.
        tell: is told how many rows have been looked at.
    """
    problems = []
    for source, target in tables:
        count = 0
        for batch in batches(source, _start(source), BATCH):
            problems += [problem for row in batch if (problem := _problem(target, row))]
            count += len(batch)
            tell(source._tablename, count)
    return problems


def _problem(target: Any, row: Any) -> str:
    try:
        entity(target, row)
    except TransferError as error:
        return str(error)
    return ""


def entity(target: Any, row: Any) -> Any:
    """Return the entity that a row becomes.

    Raises:
        TransferError: it does not fit; the message names the row.
    """
    number = int(row[target._id.name])
    name = target._tablename
    if number < 1:
        raise TransferError(f"{name} {number}: ids are above 0 in Datastore")
    columns = columns_of(target)
    made = entity_of(target, row, target._db._adapter.store.client.key(columns.kind, number))
    size = made.ByteSize()
    if size > MAX_ENTITY:
        raise TransferError(f"{name} {number}: the row has {size:,} bytes; an entity has at most {MAX_ENTITY:,}")
    return made


def _start(source: Any) -> int:
    """Return an id below every row's: ids below 1 must be met, to be refused."""
    table = source
    lowest = table._db(table._id < 1, ignore_common_filters=True).select(table._id, orderby=table._id, limitby=(0, 1))
    table._db.commit()
    return int(lowest[0][table._id.name]) - 1 if lowest else 0


def _noted(name: str, duplicates: Iterable[Duplicate]) -> list[tuple[str, str, int]]:
    return [(name, duplicate.label, duplicate.row) for duplicate in duplicates]
