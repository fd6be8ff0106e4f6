"""References that read their rows together: the first that is followed looks up all of its select in one call."""

import copyreg
import threading
from typing import Any

from pydal.helpers.classes import Reference, Reference_pickler, Reference_unpickler

MAX_TOGETHER = 1_000  # rows of one lookup


class Batch:
    """The references to one table that one select gave.

    Attributes:
        table: the table that they point to.
        ids: those not yet read, in the order in which they came.
        rows: the rows read, by id.
    """

    def __init__(self, table: Any) -> None:
        self.table = table
        self.ids: dict[int, None] = {}
        self.rows: dict[int, Any] = {}

    def row(self, number: int) -> Any:
        """Return the row with an id, or None; the first call reads the others too."""
        if number not in self.rows:
            self.ids.pop(number, None)
            wanted = [number, *list(self.ids)[: MAX_TOGETHER - 1]]
            for other in wanted[1:]:
                del self.ids[other]
            self.rows[number] = None
            table = self.table
            for row in table._db(table._id.belongs(wanted)).select():
                self.rows[int(row[table._id.name])] = row
        return self.rows[number]


class BatchedReference(Reference):  # type: ignore[misc]  # shipped without types
    """A reference whose row is read together with those of its neighbours."""

    _record: Any
    _batch: Batch

    def _Reference__allocate(self) -> None:  # noqa: N802  # pyDAL's own (private) name
        if not self._record:
            self._record = self._batch.row(int(self))
        if not self._record:
            raise RuntimeError(
                f"Using a recursive select but encountered a broken reference: {self._table} {int(self)}"
            )


copyreg.pickle(BatchedReference, Reference_pickler, Reference_unpickler)


class References:
    """Makes the references of an adapter's selects."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self._local = threading.local()

    def begin(self) -> None:
        """Put the references made from here on into batches of their own."""
        self._local.batches = {}

    def make(self, value: Any, referee: str) -> Any:
        """Return the reference with an id to a row of a table; of one with a primarykey, the value as it is."""
        if "." in referee or hasattr(self._db[referee], "_primarykey"):
            return value
        batches = self._local.__dict__.setdefault("batches", {})
        batch = batches.get(referee)
        if batch is None:
            batch = batches[referee] = Batch(self._db[referee])
        reference = BatchedReference(value)
        reference._table, reference._record, reference._batch = batch.table, None, batch
        batch.ids[int(reference)] = None
        return reference
