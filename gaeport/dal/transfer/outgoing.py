"""Tables from Datastore into a SQL database: made where they are missing, rows under the ids that they have."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from gaeport.dal.transfer.definitions import target
from gaeport.dal.transfer.errors import TransferError
from gaeport.dal.transfer.incoming import Tell
from gaeport.dal.transfer.rows import batches, first_id
from gaeport.dal.transfer.state import State

SMALL_ID = 2**31 - 1  # the highest id of an integer column of 32 bits
BATCH = 300  # rows; what one query of Datastore returns at most
_SECOND = " (second pass)"


def needs_big_ids(tables: Sequence[Any]) -> bool:
    """Return whether a table of Datastore has an id that an integer of 32 bits cannot hold."""
    return any(first_id(table, last=True) > SMALL_ID for table in tables)


class Outgoing:
    """An export of tables.

    Attributes:
        tables: the tables on Datastore, each with its counterpart in the SQL database.
    """

    def __init__(self, tables: Sequence[tuple[Any, Any]], state: State, tell: Tell) -> None:
        self.tables = list(tables)
        self._state, self._tell = state, tell
        self.db = self.tables[0][1]._db

    def occupied(self) -> list[str]:
        """Return the tables of the target that exist and hold rows already."""
        return [table._tablename for _, table in self.tables if self._exists(table) and not self._empty(table)]

    def _empty(self, table: Any) -> bool:
        return not self.db(table._id != None, ignore_common_filters=True).select(table._id, limitby=(0, 1))  # noqa: E711

    def _exists(self, table: Any) -> bool:
        try:
            self.db.executesql(f"SELECT 1 FROM {table._rname} WHERE 1 = 0")
            return True
        except self.db._adapter.driver.Error:
            return False
        finally:
            self.db.rollback()

    def create(self) -> list[str]:
        """Create the tables that are missing, and return their names."""
        missing = [table for _, table in self.tables if not self._exists(table)]
        usual = self.db._ignore_field_case
        self.db._ignore_field_case = False  # names keep their capitals, as the queries quote them
        try:
            for table in missing:
                self._create(table)
        finally:
            self.db._ignore_field_case = usual
        return [table._tablename for table in missing]

    def _create(self, table: Any) -> None:
        adapter = self.db._adapter
        made = adapter.migrator.create_table(table, migrate=False)
        if adapter.dbengine == "mysql":
            made = made.replace(" CHARACTER SET utf8;", " CHARACTER SET utf8mb4;")  # all of Unicode
        adapter.create_sequence_and_triggers(made, table)
        self.db.commit()

    def remember(self, names: Sequence[str]) -> None:
        """Write the `.table` files of tables that were created: the application's own migrations look for them."""
        for _, table in self.tables:
            if table._tablename in names:
                self.db._adapter.migrator.create_table(table, migrate=True, fake_migrate=True)

    def clear(self) -> None:
        """Delete the rows that the target's tables hold; what an earlier run has cleared stays as it is."""
        for _, table in reversed(self.tables):
            if table._tablename not in self._state.cleared:
                self.db.executesql(f"DELETE FROM {table._rname}")
                self.db.commit()
                self._state.cleared.append(table._tablename)
                self._state.save()

    def run(self) -> None:
        """Move all rows that no earlier run has moved.

        Raises:
            TransferError: the SQL database refuses a row.
        """
        late = self._late()
        for source, table in self.tables:
            self._move(source, table, late[table._tablename])
        for source, table in self.tables:
            if late[table._tablename]:
                self._refer(source, table, late[table._tablename])
        for _, table in self.tables:
            self._advance(table)

    def _move(self, source: Any, table: Any, late: list[str]) -> None:
        name, count = table._tablename, 0
        for batch in batches(source, self._state.tables.get(name, 0), BATCH):
            there = self._there(table, batch)
            self._together(table, batch, partial(self._put, table, there, late))
            self._done(name, batch)
            count += len(batch)
            self._tell(name, count)

    def _there(self, table: Any, batch: Sequence[Any]) -> set[int]:
        """Return the ids of a batch that the target has: of a batch that was interrupted, or of rows to overwrite."""
        first, last = int(batch[0][table._id.name]), int(batch[-1][table._id.name])
        found = self.db((table._id >= first) & (table._id <= last), ignore_common_filters=True).select(table._id)
        return {int(row[table._id.name]) for row in found}

    def _put(self, table: Any, there: set[int], late: list[str], row: Any) -> None:
        number = int(row[table._id.name])
        values = [(field, row[field.name]) for field in table if field is not table._id]
        if number in there:
            self.db._adapter.update(table, table._id == number, [pair for pair in values if pair[0].name not in late])
        else:
            values = [(field, None if field.name in late else value) for field, value in values]
            self.db._adapter.insert(table, [(table._id, number), *values])

    def _refer(self, source: Any, table: Any, late: list[str]) -> None:
        """Set the references that could not be set when the row was inserted."""
        name = table._tablename + _SECOND
        for batch in batches(source, self._state.tables.get(name, 0), BATCH):
            self._together(
                table,
                [row for row in batch if any(row[field] is not None for field in late)],
                partial(self._set, table, late),
            )
            self._done(name, batch)

    def _set(self, table: Any, names: list[str], row: Any) -> None:
        number = int(row[table._id.name])
        self.db._adapter.update(table, table._id == number, [(table[name], row[name]) for name in names])

    def _together(self, table: Any, batch: Sequence[Any], write: Any) -> None:
        """Write the rows of a batch in one transaction; where the database refuses, find out which row it is."""
        try:
            for row in batch:
                write(row)
            self.db.commit()
        except self.db._adapter.driver.Error as error:
            self.db.rollback()
            raise self._named(table, batch, write, error) from error

    def _named(self, table: Any, batch: Sequence[Any], write: Any, error: Exception) -> TransferError:
        label = table._tablename
        for row in batch:
            try:
                write(row)
            except self.db._adapter.driver.Error as reason:
                self.db.rollback()
                return TransferError(f"{label} {row[table._id.name]}: the database refuses it: {_line(reason)}")
        self.db.rollback()
        return TransferError(f"{label}: the database refuses the commit: {_line(error)}")

    def _done(self, name: str, batch: Sequence[Any]) -> None:
        self._state.tables[name] = int(batch[-1]["id"])
        self._state.save()

    def _late(self) -> dict[str, list[str]]:
        """Return by table the references that may point to rows that come later; others check nothing on the way."""
        late: dict[str, list[str]] = {}
        before: set[str] = set()
        for _, table in self.tables:
            fields = [field for field in table if target(field) is not None and target(field) not in before]
            checks = self.db._adapter.dbengine == "postgres"
            late[table._tablename] = [field.name for field in fields if checks]
            before.add(table._tablename)
        return late

    def _advance(self, table: Any) -> None:
        """Let the next id that the database gives be above all that were written; only PostgreSQL has to be told."""
        if self.db._adapter.dbengine != "postgres":
            return
        quoted = table._id._rname
        sequence = f"pg_get_serial_sequence('{table._rname}', '{table._id._raw_rname}')"
        last = f"MAX({quoted})"
        self.db.executesql(f"SELECT setval({sequence}, GREATEST({last}, 1), {last} IS NOT NULL) FROM {table._rname}")
        self.db.commit()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
