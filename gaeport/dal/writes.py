"""Inserts, updates and deletes: each row by compare-and-set, rows packed into few commits."""

from collections.abc import Callable, Sequence
from typing import Any

from pydal.helpers.methods import use_common_filters
from pydal.objects import Expression, Query

from gaeport.dal.columns import Column, TableColumns, columns_of, is_null
from gaeport.dal.errors import IntegrityError
from gaeport.dal.ids import Ids, incomplete
from gaeport.dal.plan import Plan
from gaeport.dal.store import chunks
from gaeport.dal.uniques import KIND as MARKER
from gaeport.dal.uniques import Uniques
from gaeport.dal.unit import Operation, Unit, key_of
from gaeport.datastore import wire
from gaeport.datastore.client import Found, backoff
from gaeport.datastore.mutations import delete, insert, update
from gaeport.datastore.outcomes import REFUSED
from gaeport.errors import FailedPrecondition

ATTEMPTS = 8  # of a compare-and-set against others that write the same rows


class Writes:
    """The writing half of an adapter.

    Inside a transaction, and where a buffer is kept, writes go into the thread's unit instead of a commit.
    """

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter
        self.store = adapter.store
        self.uniques = Uniques(adapter.store)
        self.ids = Ids(adapter.store)

    # Inserts.

    def insert(self, table: Any, rows: Sequence[Sequence[tuple[Any, Any]]]) -> list[Any]:
        """Insert rows, as many in one commit as fit, and return their ids, or key names.

        Args:
            table: the pyDAL table.
            rows: for each row the fields with their values.

        Raises:
            IntegrityError: a unique value or an id is taken, or a notnull field has no value. Rows of commits before
                are written.
            FieldValueError: a value does not fit its field.
        """
        columns = columns_of(table)
        entities = [self._entity(columns, row) for row in rows]
        self._complete_keys(columns, entities)
        self.uniques.check_distinct(columns, entities)
        groups = [[wire.Mutation(insert=entity), *self.uniques.claim(columns, entity)] for entity in entities]
        given = _given(columns, rows, entities)
        if self.unit is not None:
            return self._buffered("insert", lambda: self._keep_inserts(columns, groups, given))
        ids: list[Any] = []
        for group in chunks(groups):
            ids += self._insert_chunk(columns, group, given)
        self.adapter.note(Plan("insert", "commit", 0))
        return ids

    def _keep_inserts(self, columns: TableColumns, groups: Sequence[Sequence[Any]], given: set[Any]) -> list[Any]:
        """Put rows into the unit, and return their ids."""
        for found in self.store.lookup(columns, list(given)):
            raise _taken(columns, columns.row_id(found.entity.key))
        self._unit().add(self.uniques.settle(columns, [mutation for group in groups for mutation in group]))
        return [columns.row_id(group[0].insert.key) for group in groups]

    @property
    def unit(self) -> Unit | None:
        """What the writes of this thread go into; None where each is committed at once."""
        found: Unit | None = self.store.units.unit
        return found

    def _unit(self) -> Unit:
        unit = self.unit
        if unit is None:
            raise AssertionError("there is neither a transaction nor a buffer")
        return unit

    def _buffered(self, operation: str, make: Callable[[], list[Any]]) -> list[Any]:
        """Make an operation on the unit, which can make it again, and return the ids of its rows."""
        unit = self._unit()
        restore = unit.saved()
        try:
            outcome = make()
        except BaseException:
            restore()
            raise
        unit.log.append(Operation(make, outcome))
        self.adapter.note(Plan(operation, "buffer", len(outcome) if operation != "insert" else 0))
        return outcome

    def _insert_chunk(self, columns: TableColumns, groups: Sequence[Sequence[Any]], given: set[Any]) -> list[Any]:
        wanted = [mutation for group in groups for mutation in group]
        mutations = wanted
        for attempt in range(ATTEMPTS):
            try:
                results = self.store.commit(mutations)
                break
            except REFUSED as error:
                if attempt == ATTEMPTS - 1:
                    raise IntegrityError(f"the insert into {columns.kind} met others {ATTEMPTS} times") from error
                mutations = self._after_conflict(columns, wanted, given)
        ids, at = [], 0
        for group in groups:
            key = mutations[at].insert.key
            ids.append(columns.row_id(results[at].key if incomplete(key) else key))
            at += len(group)
        return ids

    def _after_conflict(self, columns: TableColumns, mutations: Sequence[Any], given: set[Any]) -> list[Any]:
        """Return the mutations of an insert that failed, with other ids and stale markers taken over."""
        rows = [mutation.insert.key for mutation in mutations if mutation.insert.key.path[0].kind == columns.kind]
        taken = self.store.lookup(columns, [columns.row_id(key) for key in rows if not incomplete(key)])
        for found in taken:
            number = columns.row_id(found.entity.key)
            if number not in given:  # another process made the same id by time, or the counter met a given one
                _renumber(mutations, columns.kind, int(number), self.ids.another(columns))
                continue
            raise _taken(columns, number)
        return self.uniques.settle(columns, mutations)

    def _entity(self, columns: TableColumns, row: Sequence[tuple[Any, Any]]) -> Any:
        values = {field.name: value for field, value in row}
        entity = wire.Entity()
        given = values.pop(columns.id_name, None)
        if not columns.primary:
            entity.key.CopyFrom(self._key(columns, None if given is None else int(given)))
        for name, column in columns.columns.items():
            stored = column.to_wire(values.get(name))
            _put(entity, column, stored)
        columns.fold(entity)
        if columns.primary:
            entity.key.CopyFrom(self.store.client.key(columns.kind, columns.key_name(entity)))
        return entity

    def _key(self, columns: TableColumns, number: int | None) -> Any:
        client = self.store.client
        if number is not None and number < 1:
            raise IntegrityError(f"{columns.kind}.{columns.id_name}: {number} is no id; ids are above 0")
        key = client.key(columns.kind, number or 0)
        if number is None:
            key.path[0].ClearField("id")
        return key

    def _complete_keys(self, columns: TableColumns, entities: Sequence[Any]) -> None:
        """Give new rows ids, where markers have to name them or the application has to know them before the commit."""
        given = [entity.key.path[0].id for entity in entities if entity.key.path[0].id]
        if given:
            self.ids.passed(columns, given)
        now = bool(columns.claims) or self.unit is not None
        self.ids.complete(columns, [entity.key for entity in entities], now=now)

    # Updates and deletes.

    def update(self, table: Any, query: Any, fields: Sequence[tuple[Any, Any]]) -> int:
        """Change the rows that a query selects, and return how many.

        A row that another writer changes in between is read again, and changed if it still belongs to the query.

        Args:
            table: the pyDAL table.
            query: the condition.
            fields: the fields with their values, which may be expressions of the row's own fields.

        Raises:
            IntegrityError: a unique value is taken, or a notnull field gets no value. Rows of commits before are
                changed.
        """
        columns = columns_of(table)
        if columns.id_name and any(field.name == columns.id_name for field, _ in fields):
            raise IntegrityError(f"{columns.kind}.{columns.id_name}: an entity's id cannot be changed")
        computed = [(field, value) for field, value in fields if isinstance(value, Expression | Query)]
        fixed = {
            field.name: columns.columns[field.name].to_wire(value)
            for field, value in fields
            if not isinstance(value, Expression | Query)
        }

        def changed(found: Found, values: Sequence[Any]) -> Any:
            entity = wire.Entity()
            entity.CopyFrom(found.entity)
            stored = dict(fixed)
            for (field, _), value in zip(computed, values, strict=True):
                stored[field.name] = columns.columns[field.name].to_wire(self._parsed(field, value))
            for name, value in stored.items():
                _put(entity, columns.columns[name], value)
            columns.fold(entity)
            return entity

        return len(self._rewrite(table, query, [value for _, value in computed], changed, "update"))

    def _parsed(self, field: Any, value: Any) -> Any:
        return self.adapter.parse_value(value, field._itype, field.type)

    def delete(self, table: Any, query: Any) -> list[Any]:
        """Delete the rows that a query selects, and return their ids."""

        def gone(found: Found, values: Sequence[Any]) -> Any:
            return None

        return self._rewrite(table, query, [], gone, "delete")

    def _rewrite(
        self, table: Any, query: Any, expressions: list[Any], made: Callable[..., Any], operation: str
    ) -> list[Any]:
        """Write anew, or delete, what a query selects, and return the ids."""
        if self.unit is None:
            ids = self._rewrite_now(table, query, expressions, made)
            self.adapter.note(Plan(operation, "commit", len(ids)))
            return ids
        return self._buffered(operation, lambda: self._keep_rewritten(table, query, expressions, made))

    def _keep_rewritten(self, table: Any, query: Any, expressions: list[Any], made: Callable[..., Any]) -> list[Any]:
        """Put the rows that a query selects into the unit as they will be, and return their ids."""
        columns, unit, ids = columns_of(table), self._unit(), []
        for found, values in self._selected(table, query, expressions, set()):
            group = self._group(columns, found, made(found, values))
            self._refuse_taken(columns, group)
            unit.add(self.uniques.settle(columns, group), found)
            ids.append(columns.row_id(found.entity.key))
        return sorted(ids)

    def _rewrite_now(self, table: Any, query: Any, expressions: list[Any], made: Callable[..., Any]) -> list[Any]:
        """Commit the rows that a query selects as they will be; what others change meanwhile is selected again."""
        columns = columns_of(table)
        done: set[int | str] = set()
        for attempt in range(ATTEMPTS):
            selected = self._selected(table, query, expressions, done if attempt else set())
            groups = [self._group(columns, found, made(found, values)) for found, values in selected]
            conflicts = 0
            for group in chunks(groups):
                written = self._write(columns, group)
                conflicts += len(group) - len(written)
                done.update(written)
            if not conflicts:
                break
            if attempt == ATTEMPTS - 1:
                raise FailedPrecondition(f"{conflicts} rows of {columns.kind} were changed by others {ATTEMPTS} times")
            backoff(attempt)
        return sorted(done)

    def _selected(
        self, table: Any, query: Any, expressions: list[Any], done: set[int | str]
    ) -> list[tuple[Found, Sequence[Any]]]:
        """Return the entities that a query selects, with the values of expressions, without those already done."""
        selects = self.adapter.selects
        query = selects.resolved(query)
        filtered = self.adapter.common_filter(query, [table]) if use_common_filters(query) else query
        found = None if expressions else selects.entities(filtered, table, {})
        matched = selects.matched(query, table, expressions) if found is None else [(entry, ()) for entry in found]
        columns = columns_of(table)
        return [(entry, values) for entry, values in matched if columns.row_id(entry.entity.key) not in done]

    def _group(self, columns: TableColumns, found: Found, entity: Any) -> list[Any]:
        if entity is None:
            mutations = [delete(found.entity.key, found.version)]
        elif columns.primary and columns.key_name(entity) != found.entity.key.path[0].name:
            entity.key.path[0].name = columns.key_name(entity)
            mutations = [delete(found.entity.key, found.version), insert(entity)]
        else:
            mutations = [update(entity, found.version)]
        return [*mutations, *self.uniques.change(columns, found.entity, entity)]

    def _write(self, columns: TableColumns, groups: Sequence[Sequence[Any]]) -> list[Any]:
        """Commit groups, each on its own if they cannot be together; return the ids of the rows written."""
        try:
            self.store.commit([mutation for group in groups for mutation in group])
        except REFUSED:
            if len(groups) > 1:
                return [number for group in groups for number in self._write(columns, [group])]
            return self._write_alone(columns, groups[0])
        return [columns.row_id(key_of(group[0])) for group in groups]

    def _write_alone(self, columns: TableColumns, group: Sequence[Any]) -> list[Any]:
        """Try the mutations of one row again, stale markers taken over; return no id where the row itself changed."""
        settled = self.uniques.settle(columns, group)
        self._refuse_taken(columns, group)
        if settled == list(group):
            return []
        try:
            self.store.commit(settled)
        except REFUSED:
            return []
        return [columns.row_id(key_of(group[0]))]

    def _refuse_taken(self, columns: TableColumns, group: Sequence[Any]) -> None:
        """Refuse a row's new primary key if another row has it."""
        keys = [mutation.insert.key for mutation in group if mutation.WhichOneof("operation") == "insert"]
        wanted = [columns.row_id(key) for key in keys if columns.primary and key.path[0].kind == columns.kind]
        for found in self.store.lookup(columns, wanted):
            raise _taken(columns, columns.row_id(found.entity.key))

    def truncate(self, table: Any) -> int:
        """Delete all rows of a table, and the markers of their unique values; return how many."""
        columns = columns_of(table)
        self.ids.reset(columns)
        if columns.claims or self.unit is not None:
            query = self.adapter.id_query(table)
            query.ignore_common_filters = True
            return len(self.delete(table, query))
        keys = list(self.store.ids(columns))
        for group in chunks([[wire.Mutation(delete=key)] for key in keys]):
            self.store.commit([mutation for entry in group for mutation in entry])
        return len(keys)


def _given(columns: TableColumns, rows: Sequence[Any], entities: Sequence[Any]) -> set[Any]:
    """Return the ids or key names that the application chose."""
    if columns.primary:
        return {columns.row_id(entity.key) for entity in entities}
    return {int(value) for row in rows for field, value in row if field.name == columns.id_name and value}


def _taken(columns: TableColumns, number: int | str) -> IntegrityError:
    names = [column.name for column in columns.primary] or [columns.id_name]
    what = "the key" if columns.primary else "the id"
    return IntegrityError(f"UNIQUE constraint failed: {columns.kind}.{', '.join(names)}: {what} {number} is taken")


def _renumber(mutations: Sequence[Any], kind: str, old: int, new: int) -> None:
    """Give the row with an id, and the markers of its values, another id."""
    for mutation in mutations:
        last = mutation.insert.key.path[0]
        if last.kind == kind and last.id == old:
            last.id = new
        elif "row" in mutation.insert.properties and last.kind == MARKER:
            row = mutation.insert.properties["row"]
            row.integer_value = new if row.integer_value == old else row.integer_value


def _put(entity: Any, column: Column, stored: Any) -> None:
    if column.notnull and is_null(stored):
        raise IntegrityError(f"NOT NULL constraint failed: {column.label}")
    column.put(entity, stored)
