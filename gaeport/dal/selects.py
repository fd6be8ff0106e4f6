"""Selects, counts and aggregates: by Datastore alone where it can, on the scratch database where it cannot."""

import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from pydal.helpers.methods import use_common_filters
from pydal.objects import Expression, Field, Select

from gaeport.dal import scratch
from gaeport.dal.aggregates import aggregable, aggregate, plain_aggregates
from gaeport.dal.columns import TableColumns, columns_of, id_of_key
from gaeport.dal.conditions import KEY
from gaeport.dal.loading import Edge, Loader, Source, sources_of
from gaeport.dal.nested import correlated, nested_in
from gaeport.dal.plan import Plan
from gaeport.dal.translation import Translation, conjuncts, order_items, order_of, translate
from gaeport.datastore import wire
from gaeport.datastore.client import Found
from gaeport.errors import NotOnDatastore, ScanLimitExceeded

FIRST_BATCH = 100  # entities read at first where a limit may be satisfied before all are read

_IN_MEMORY = ("join", "left", "groupby", "having", "distinct")


class SelectText(str):
    """The SQL of a select, as `_select()` gives it, which knows what it selects, so that it can be run here.

    Attributes:
        query: the condition.
        fields: what to select.
        attributes: the attributes of the select.
    """

    query: Any
    fields: list[Any]
    attributes: dict[str, Any]

    @classmethod
    def of(cls, sql: str, query: Any, fields: list[Any], attributes: dict[str, Any]) -> "SelectText":
        """Return SQL with what it was made from."""
        text = cls(sql)
        text.query, text.fields, text.attributes = query, fields, attributes
        return text


class Selects:
    """The reading half of an adapter."""

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter

    def rows(self, query: Any, fields: list[Any], attributes: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """Run a select.

        Args:
            query: the condition; None for none.
            fields: Fields and Expressions.
            attributes: pyDAL's: left, join, distinct, orderby, groupby, having, limitby, orderby_on_limitby.

        Returns:
            The names of the columns, and the rows as tuples of values that the parser takes.

        Raises:
            ScanLimitExceeded: too much would have to be read for what is done in memory.
        """
        if attributes.get("for_update"):
            return self._locked(query, fields, attributes)
        query = self.resolved(query)
        served = self._direct(query, fields, attributes) or self._aggregated(query, fields, attributes)
        return served or self._in_memory(query, fields, attributes)

    def _locked(self, query: Any, fields: list[Any], attributes: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """Run a select FOR UPDATE: a transaction holds what it reads anyhow; a buffer compares versions at its commit.

        Raises:
            NotOnDatastore: there is neither.
        """
        units, rest = self.adapter.store.units, {**attributes, "for_update": False}
        if units.unit is None:
            raise NotOnDatastore("select(for_update=True) belongs inside db.transaction(), or needs ?buffer=request")
        with units.unit.watch() as seen:
            colnames, rows = self.rows(query, fields, rest)
        if not units.in_transaction:
            units.unit.guard(_among(seen, fields, rows))
        return colnames, rows

    def resolved(self, query: Any, outer: Any = None) -> Any:
        """Return a query with its nested selects replaced by the values that they give now.

        Those that speak of tables of the query around them stay.

        Args:
            query: the query, or a part of it.
            outer: the names of the tables of the whole query; None at its root.
        """
        if outer is None:
            outer = self.adapter.tables(query)
        if not hasattr(query, "first") or not hasattr(query, "op") or isinstance(query, Field):
            return query
        first, second = self.resolved(query.first, outer), query.second
        stays = isinstance(second, Select) and correlated(second, outer, self.adapter.tables(second._query))
        values = None if stays else self.nested_values(second)
        second = self.resolved(second, outer) if values is None else values
        if first is query.first and second is query.second:
            return query
        made = type(query)(query.db, query.op, first, second, **(query.optional_args or {}))
        if hasattr(query, "ignore_common_filters"):
            made.ignore_common_filters = query.ignore_common_filters
        return made

    def nested_values(self, nested: Any) -> list[Any] | None:
        """Return the values of a nested select of one column, or None where it is none."""
        if isinstance(nested, SelectText):
            query, fields, attributes = nested.query, nested.fields, nested.attributes
        elif isinstance(nested, Select):
            query, fields, attributes = nested._query, nested._qfields, nested._attributes
        else:
            return None
        if len(fields) != 1:
            raise ValueError("Subquery in belongs() must select exactly 1 column")
        _, rows = self.rows(query, fields, dict(attributes))
        return list(dict.fromkeys(row[0] for row in rows))

    # What Datastore serves alone.

    def _single(self, query: Any, fields: Sequence[Any]) -> tuple[Any, Any] | None:
        """Return the only table and the query with the common filters, or None where there are several tables."""
        tables = self.adapter.tables(query)
        if use_common_filters(query):
            query = self.adapter.common_filter(query, list(tables.values()))
            tables = self.adapter.tables(query)
        for field in fields:
            if isinstance(field, Field):
                tables.setdefault(field._tablename, field.table)
        if len(tables) != 1:
            return None
        table = next(iter(tables.values()))
        return None if isinstance(table, Select) else (table, query)

    def translation(self, query: Any, table: Any) -> Translation:
        """Translate a query on one table."""
        parts = [] if query is None else conjuncts(query)
        return translate(parts, table, self.adapter.store.client.key)

    def _direct(self, query: Any, fields: list[Any], attributes: dict[str, Any]) -> tuple[list[str], list[Any]] | None:
        if any(attributes.get(name) for name in _IN_MEMORY) or not all(isinstance(field, Field) for field in fields):
            return None
        single = self._single(query, fields)
        if single is None:
            return None
        table, query = single
        found = self.entities(query, table, attributes)
        if found is None:
            return None
        return [field.longname for field in fields], _plain_rows(table, fields, found)

    def entities(self, query: Any, table: Any, attributes: dict[str, Any]) -> list[Found] | None:
        """Return the entities of a table that a query selects, in order, or None where Datastore alone cannot tell."""
        translation = self.translation(query, table)
        order, reasons = order_of(attributes.get("orderby"), table)
        limitby = attributes.get("limitby")
        if reasons or not translation.exact:
            return None
        if limitby and not order and attributes.get("orderby_on_limitby", True):
            order = default_order(columns_of(table))
        if translation.split and (order or limitby):
            return None
        if translation.ids is not None:
            return self._looked_up(table, translation, order, limitby)
        offset, limit = (limitby[0], max(0, limitby[1] - limitby[0])) if limitby else (0, None)
        columns = columns_of(table)
        if not translation.empty and self.adapter.store.touched(columns):
            return None
        found = (
            []
            if limit == 0
            else list(self.adapter.store.fetch(columns, translation, order=order, limit=limit, offset=offset))
        )
        if not order and not limitby:
            found.sort(key=lambda entry: columns.row_id(entry.entity.key))  # as SQL databases give them
        self._plan("select", "nothing" if translation.empty else "query", len(found))
        return found

    def _looked_up(
        self, table: Any, translation: Translation, order: Sequence[tuple[str, int]], limitby: Any
    ) -> list[Found] | None:
        ids = translation.ids or []
        if len(ids) > 1 and [name for name, _ in order] not in ([], [KEY]):
            return None
        found: list[Found] = self.adapter.store.lookup(columns_of(table), sorted(ids))
        if order and order[0][1] == wire.DESCENDING:
            found.reverse()
        self._plan("select", "lookup", len(found))
        return found[limitby[0] : limitby[1]] if limitby else found

    def _aggregated(
        self, query: Any, fields: list[Any], attributes: dict[str, Any]
    ) -> tuple[list[str], list[Any]] | None:
        """Return one row of counts, sums, averages, least and greatest values, read from the indexes alone."""
        if any(attributes.get(name) for name in (*_IN_MEMORY, "orderby", "limitby")):
            return None
        wanted = plain_aggregates(fields)
        single = self._single(query, [field for _, field in wanted]) if wanted else None
        if single is None:
            return None
        table, query = single
        translation = self.translation(query, table)
        if not translation.exact or translation.ids is not None or translation.split or translation.empty:
            return None
        if self.adapter.store.touched(columns_of(table)):
            return None
        if not all(aggregable(table, name, field) for name, field in wanted):
            return None
        row = tuple(aggregate(self.adapter.store, table, translation, name, field) for name, field in wanted)
        self._plan("select", "aggregation", 0)
        return [self.adapter._colexpand(field, {}) for field in fields], [row]

    def count(self, query: Any, distinct: Any) -> int:
        """Return how many rows a query selects, or how many different values they have of what `distinct` says."""
        query = self.resolved(query)
        several = order_items(distinct)
        if distinct is True:  # rows that differ in more than the id
            several = [field for table in self.adapter.tables(query).values() for field in table if field.type != "id"]
        if len(several) > 1 or distinct is True:
            return len(self.rows(query, several, {"distinct": True})[1])
        single = None if distinct else self._single(query, [])
        if single is not None:
            table, filtered = single
            translation = self.translation(filtered, table)
            if translation.empty:
                self._plan("count", "nothing", 0)
                return 0
            if translation.exact and not translation.split:
                return self._counted(table, translation) + self._uncommitted(filtered, table, translation)
        sql = self.adapter.count_sql(query, distinct)
        rows = self._evaluate(query, [distinct] if distinct else [], {}, lambda: sql, "count")
        number: int = rows[0][0]
        return number

    def _counted(self, table: Any, translation: Translation) -> int:
        columns, store = columns_of(table), self.adapter.store
        if translation.ids is not None:
            found = store.lookup(columns, translation.ids)
            self._plan("count", "lookup", len(found))
            return len(found)
        self._plan("count", "aggregation", 0)
        number: int = store.aggregate(columns, translation.condition, "count").integer_value
        return number

    def _uncommitted(self, filtered: Any, table: Any, translation: Translation) -> int:
        """Return by how many rows the changes that wait for a commit make a count larger or smaller."""
        columns, store = columns_of(table), self.adapter.store
        if translation.ids is not None or not store.touched(columns):
            return 0
        sql = self.adapter.count_sql(filtered, None)
        before, after = (self._on_scratch(table, found, sql)[0][0] for found in store.waiting(columns))
        difference: int = after - before
        return difference

    def _on_scratch(self, table: Any, found: Sequence[Found], sql: str) -> list[Any]:
        columns, connection = columns_of(table), self.adapter.connection
        try:
            scratch.create(connection, table, columns)
            scratch.insert(connection, table, columns, found)
            rows: list[Any] = connection.execute(sql).fetchall()
        finally:
            scratch.drop(connection, [table])
        return rows

    # What needs the scratch database.

    def _in_memory(self, query: Any, fields: list[Any], attributes: dict[str, Any]) -> tuple[list[str], list[Any]]:
        plain = {name: value for name, value in attributes.items() if name not in ("cache", "processor", "cacheable")}
        if plain.get("distinct") and plain["distinct"] is not True:
            return self._distinct_on(query, fields, plain)
        colnames, sql = self.adapter.select_sql(query, fields, plain)
        return colnames, self._evaluate(query, fields, plain, lambda: sql, "select")

    def _distinct_on(self, query: Any, fields: list[Any], attributes: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """Return the first row, by the order, for each value of what `distinct` names: PostgreSQL's DISTINCT ON."""
        named = order_items(attributes["distinct"])
        rest = {**attributes, "distinct": False, "limitby": None, "orderby": attributes.get("orderby") or named}
        colnames, sql = self.adapter.select_sql(query, [*fields, *named], rest)
        rows = self._evaluate(query, [*fields, *named], rest, lambda: sql, "select")
        firsts: dict[Any, Any] = {}
        for row in rows:
            firsts.setdefault(row[len(fields) :], row[: len(fields)])
        low, high = attributes.get("limitby") or (0, None)
        return colnames[: len(fields)], list(firsts.values())[low:high]

    def matched(self, query: Any, table: Any, expressions: Sequence[Any]) -> list[tuple[Found, Sequence[Any]]]:
        """Return the entities of a table that a query selects, with the values that expressions have on each of them.

        Query and expressions are evaluated on the very versions returned, so that a compare-and-set holds them.
        """
        columns = columns_of(table)
        fields = [scratch.row_id(table, columns), *expressions]
        attributes = {"orderby_on_limitby": False}
        _, sql = self.adapter.select_sql(query, fields, attributes)
        read: list[Found] = []
        rows = self._evaluate(query, fields, attributes, lambda: sql, "select", read)
        own = [entry for entry in read if entry.entity.key.path[0].kind == columns.kind]
        entities = {columns.row_id(entry.entity.key): entry for entry in own}
        return [(entities[row[0]], row[1:]) for row in rows]

    def _evaluate(
        self,
        query: Any,
        fields: Sequence[Any],
        attributes: dict[str, Any],
        sql: Callable[[], str],
        operation: str,
        read: list[Found] | None = None,
    ) -> list[Any]:
        """Read what an operation needs (into `read`), run its SQL on it, and return the rows."""
        inner = nested_in(query, fields, *attributes.values())
        loader = Loader(self.adapter.store, _reasons(fields, attributes) + (["a nested select"] if inner else []))
        sources, edges = self._sources(query, fields, attributes)
        loader.reasons += order_of(attributes.get("orderby"), sources[0].table)[1] if len(sources) == 1 else ["a join"]
        blocks = [
            (sources, edges),
            *(self._sources(select._query, select._qfields, select._attributes) for select in inner),
        ]
        all_sources = [source for block in blocks for source in block[0]]
        connection = self.adapter.connection
        try:
            for source in all_sources:
                scratch.create(connection, source.table, source.columns)
            streamed = None if inner else self._streamed(sources, loader, attributes, sql)
            if streamed is None:
                for block in blocks:
                    self._put_on_scratch(loader, *block, read)
                streamed = connection.execute(sql()).fetchall()
        except sqlite3.OperationalError as error:
            raise SyntaxError(f"SQLite, which does this in memory, does not understand it: {error}") from error
        finally:
            scratch.drop(connection, [source.table for source in all_sources])
        if any(self.adapter.store.touched(source.columns) for source in all_sources):
            loader.reasons.append("changes that are not committed yet")
        self._plan(operation, "memory", loader.entities, loader.reasons)
        return streamed

    def _sources(
        self, query: Any, fields: Sequence[Any], attributes: dict[str, Any]
    ) -> tuple[list[Source], list[Edge]]:
        """Return the tables of a select, without those of selects inside of it, and what joins them."""
        filtered = query
        if use_common_filters(query):
            filtered = self.adapter.common_filter(query, list(self.adapter.tables(query).values()))
        tables = self._tables(query, fields, attributes)
        return sources_of(tables, filtered, attributes.get("join"), attributes.get("left"))

    def _put_on_scratch(
        self, loader: Loader, sources: list[Source], edges: list[Edge], read: list[Found] | None
    ) -> None:
        loader.found = {}
        loader.load(sources, edges)
        for source in sources:
            scratch.insert(self.adapter.connection, source.table, source.columns, loader.found[source.name])
            if read is not None:
                read += loader.found[source.name]

    def _streamed(
        self, sources: Sequence[Source], loader: Loader, attributes: dict[str, Any], sql: Callable[[], str]
    ) -> list[Any] | None:
        """Read in order, batch by batch, until a limit is satisfied; None where the order does not allow that."""
        limitby = attributes.get("limitby")
        if not limitby or len(sources) != 1 or any(attributes.get(name) for name in _IN_MEMORY):
            return None
        source = sources[0]
        translation = self.translation_of(source)
        order, reasons = order_of(attributes.get("orderby"), source.table)
        if reasons or translation.ids is not None or translation.split:
            return None
        if not order and attributes.get("orderby_on_limitby", True):
            order = default_order(source.columns)
        loader.reasons += translation.reasons
        entries = self.adapter.store.committed(source.columns, translation, order=order)
        return self._until(entries, source, loader, limitby, sql)

    def _until(
        self, entries: Iterator[Found], source: Source, loader: Loader, limitby: Any, sql: Callable[[], str]
    ) -> list[Any]:
        connection = self.adapter.connection
        limit = self.adapter.store.address.scan_limit if loader.reasons else sys.maxsize
        wanted, size = limitby[1] - limitby[0], max(FIRST_BATCH, limitby[1])
        while True:
            batch = list(islice(entries, min(size, limit + 1 - loader.entities)))
            loader.entities += len(batch)
            if loader.entities > limit:
                raise ScanLimitExceeded(source.columns.kind, limit, loader.reasons)
            scratch.insert(connection, source.table, source.columns, batch)
            rows: list[Any] = connection.execute(sql()).fetchall()
            if len(rows) >= wanted or not batch:
                break
            size *= 2
        # Only now: beside them, rows that come later in the order and were not read would seem not to be needed.
        waiting = self.adapter.store.waiting(source.columns)[1]
        if waiting:
            scratch.insert(connection, source.table, source.columns, waiting)
            rows = connection.execute(sql()).fetchall()
        return rows

    def translation_of(self, source: Source) -> Translation:
        """Translate the conditions of a source."""
        return translate(source.parts, source.table, self.adapter.store.client.key)

    def _tables(self, query: Any, fields: Sequence[Any], attributes: dict[str, Any]) -> list[Any]:
        joins = [attributes.get(name) or None for name in ("join", "left")]
        joined = [item for join in joins if join for item in (join if isinstance(join, list | tuple) else [join])]
        conditions = [item for item in joined if isinstance(item, Expression)]
        others = [item for item in fields if isinstance(item, Expression)]
        tables = dict(self.adapter.tables(query, *others, *[item.second for item in conditions]))
        for item in joined:
            table = item.first if isinstance(item, Expression) else item
            tables[table._tablename] = table
        return [table for table in tables.values() if not isinstance(table, Select)]

    def _plan(self, operation: str, served: str, entities: int, reasons: Sequence[str] = ()) -> None:
        self.adapter.note(Plan(operation, served, entities, list(dict.fromkeys(reasons))))


def default_order(columns: TableColumns) -> list[tuple[str, int]]:
    """Return the order of a select that has a limit and names none: by the id, or by the fields of the key."""
    if not columns.primary:
        return [(KEY, wire.ASCENDING)]
    return [(column.prop, wire.ASCENDING) for column in columns.primary]


def _plain_rows(table: Any, fields: Sequence[Any], found: Sequence[Found]) -> list[Any]:
    """Return the values of the fields of each entity."""
    columns = columns_of(table)
    getters = [columns.columns.get(field.name) for field in fields]
    rows = []
    for entry in found:
        properties = entry.entity.properties
        row: list[Any] = []
        for column in getters:
            if column is None:
                row.append(id_of_key(entry.entity.key))
            elif column.prop in properties:
                row.append(column.from_wire(properties[column.prop]))
            else:
                row.append(None)
        rows.append(tuple(row))
    return rows


def _among(seen: dict[tuple[str, int | str], Found], fields: Sequence[Any], rows: Sequence[Any]) -> Any:
    """Return, of the entities read for a select, those of its rows; all of a kind whose ids were not selected."""
    chosen: dict[str, set[Any]] = {}
    for at, field in enumerate(fields):
        plain = isinstance(field, Field) and not isinstance(field.table, Select)
        columns = columns_of(field.table) if plain else None
        if columns is not None and field.name == columns.id_name:
            chosen.setdefault(columns.kind, set()).update(row[at] for row in rows)
    return {path: found for path, found in seen.items() if path[0] not in chosen or path[1] in chosen[path[0]]}


def _reasons(fields: Sequence[Any], attributes: dict[str, Any]) -> list[str]:
    """Return what of a select is done in memory whatever its condition."""
    found = [name for name in _IN_MEMORY if attributes.get(name)]
    if any(not isinstance(field, Field) for field in fields):
        found.append("an expression among the fields")
    return found
