"""Which entities an operation on several tables, or one that needs SQLite, has to read; and reading them.

Tables are read one after the other: first the one that names ids or has a filter, then those that are joined to what
was read, by lookups of the ids referred to, or by queries for the rows that refer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pydal.objects import Expression, Field, Select

from gaeport.dal.columns import TableColumns, columns_of, id_of_key
from gaeport.dal.conditions import Comparison, Everything, both
from gaeport.dal.store import Store
from gaeport.dal.translation import Translation, conjuncts, operator_of, translate
from gaeport.datastore import wire
from gaeport.datastore.client import Found
from gaeport.errors import FieldValueError, ScanLimitExceeded

MAX_REFERRED = 300  # values; more than that in ten queries, and one scan is as good


@dataclass(slots=True)
class Source:
    """One table of an operation, under its alias.

    Attributes:
        table: the pyDAL table.
        parts: the conditions that speak of it alone and that its rows must fulfil.
        outer: whether it is joined by LEFT JOIN, so that conditions of the whole query do not bind it.
    """

    table: Any
    parts: list[Any] = field(default_factory=list)
    outer: bool = False

    @property
    def name(self) -> str:
        """The alias."""
        alias: str = self.table._tablename
        return alias

    @property
    def columns(self) -> TableColumns:
        """The table's columns."""
        return columns_of(self.table)


@dataclass(frozen=True, slots=True)
class Edge:
    """Two fields of different tables that are equal in every row of the answer.

    Attributes:
        one: a field.
        other: the other.
        into: for the condition of a LEFT JOIN, the joined table: only its rows may be narrowed by it. "" for any.
    """

    one: Any
    other: Any
    into: str = ""

    def from_to(self, known: Iterable[str], wanted: str) -> tuple[Any, Any] | None:
        """Return the field of a table that is read and that of the wanted table, or None."""
        for here, there in ((self.one, self.other), (self.other, self.one)):
            if here._tablename in known and there._tablename == wanted and self.into in ("", wanted):
                return here, there
        return None


def tables_in(query: Any) -> set[str]:
    """Return the aliases of the tables that a query or expression speaks of."""
    if isinstance(query, Field):
        return {query._tablename}
    if isinstance(query, list | tuple | set):
        return set().union(*map(tables_in, query))
    if hasattr(query, "first") and hasattr(query, "second"):
        return tables_in(query.first) | tables_in(query.second) | tables_in(list((query.optional_args or {}).values()))
    return set()


def sources_of(tables: Iterable[Any], query: Any, join: Any, left: Any) -> tuple[list[Source], list[Edge]]:
    """Return the tables of an operation with their conditions, and what joins them.

    Args:
        tables: the pyDAL tables, under their aliases.
        query: the condition of the whole.
        join: the inner joins, as pyDAL's select takes them.
        left: the left joins.
    """
    sources = {table._tablename: Source(table) for table in tables}
    outer: dict[str, list[Any]] = {}
    for item in _listed(left):
        table = item.first if isinstance(item, Expression) else item
        if isinstance(table, Select):
            continue
        sources.setdefault(table._tablename, Source(table)).outer = True
        outer[table._tablename] = conjuncts(item.second) if isinstance(item, Expression) else []
    inner = conjuncts(query)
    for item in _listed(join):
        if isinstance(item, Expression):
            inner += conjuncts(item.second)
    edges: list[Edge] = []
    for part in inner:
        _assign(part, sources, edges, "")
    for name, parts in outer.items():
        for part in parts:
            _assign(part, sources, edges, name)
    return list(sources.values()), edges


def _listed(joins: Any) -> list[Any]:
    if not joins:
        return []
    return list(joins) if isinstance(joins, list | tuple) else [joins]


def _assign(part: Any, sources: dict[str, Source], edges: list[Edge], into: str) -> None:
    """Note a condition; `into` names the table whose LEFT JOIN it belongs to, "" for the whole query's."""
    names = tables_in(part)
    if len(names) == 1:
        source = sources.get(next(iter(names)))
        if source is not None and (source.name == into if into else not source.outer):
            source.parts.append(part)
    elif len(names) == 2 and operator_of(part) == "eq":  # noqa: SIM102
        if isinstance(part.first, Field) and isinstance(part.second, Field):
            edges.append(Edge(part.first, part.second, into))


class Loader:
    """Reads the tables of one operation.

    Attributes:
        found: the entities read, by alias.
        entities: how many were read.
        reasons: what made reading necessary, for messages.
    """

    def __init__(self, store: Store, reasons: Sequence[str]) -> None:
        self.store = store
        self.found: dict[str, list[Found]] = {}
        self.entities = 0
        self.reasons = list(reasons)
        self._limit = store.address.scan_limit

    def load(self, sources: Sequence[Source], edges: Sequence[Edge]) -> None:
        """Read all tables.

        Raises:
            ScanLimitExceeded: one of them would take more than `scan_limit` entities.
        """
        plans = {source.name: self._own(source) for source in sources}
        waiting = sorted(sources, key=lambda source: _rank(source, plans[source.name]))
        while waiting:
            source = next((entry for entry in waiting if self.found and self._joined(entry, edges)), waiting[0])
            waiting.remove(source)
            self._load_one(source, plans[source.name], edges)

    def _own(self, source: Source) -> Translation:
        return translate(source.parts, source.table, self.store.client.key)

    def _joined(self, source: Source, edges: Sequence[Edge]) -> tuple[Any, Any] | None:
        pairs = (edge.from_to(self.found, source.name) for edge in edges)
        usable = [pair for pair in pairs if pair is not None and _usable(pair[1], source)]
        usable.sort(key=lambda pair: pair[1].name != source.columns.id_name)  # a lookup before a query
        return usable[0] if usable else None

    def _load_one(self, source: Source, own: Translation, edges: Sequence[Edge]) -> None:
        pair = None if own.ids is not None or own.empty else self._joined(source, edges)
        narrowed = None if pair is None else self._referring(source, own, *pair)
        self.take(source, own if narrowed is None else narrowed)

    def take(self, source: Source, translation: Translation) -> None:
        """Read what a translation lets through, up to the limit where something is left to do in memory."""
        self.reasons += translation.reasons
        limited = translation.ids is None and bool(self.reasons)
        entries = self.store.fetch(
            source.columns, translation, limit=None if translation.split or not limited else self._limit + 1
        )
        found = list(islice(entries, self._limit + 1)) if limited else list(entries)
        if limited and len(found) > self._limit:
            raise ScanLimitExceeded(source.columns.kind, self._limit, list(dict.fromkeys(self.reasons or ["a join"])))
        self.entities += len(found)
        self.found[source.name] = found

    def _referring(self, source: Source, own: Translation, known: Any, wanted: Any) -> Translation | None:
        """Return the translation narrowed to the rows whose field has a value that was read; None: no narrower."""
        values = self._values(known)
        if wanted.name == source.columns.id_name:
            return Translation(ids=[int(value) for value in values if isinstance(value, int) and value > 0])
        if len(values) > MAX_REFERRED:
            return None
        column = source.columns.columns[wanted.name]
        try:
            stored = tuple(column.to_wire(value) for value in values)
        except FieldValueError:
            return None
        if not stored:
            return Translation(ids=[])
        among = Comparison(column.prop, wire.IN, stored)
        alone = len(stored) > 30 or not isinstance(own.condition, Everything | Comparison)
        return Translation(among if alone else both([own.condition, among]))

    def _values(self, known: Any) -> list[Any]:
        table_columns = columns_of(known.table)
        entries = self.found[known._tablename]
        if known.name == table_columns.id_name:
            return list(dict.fromkeys(id_of_key(entry.entity.key) for entry in entries))
        column = table_columns.columns[known.name]
        values: dict[Any, None] = {}
        for entry in entries:
            properties = entry.entity.properties
            value = column.from_wire(properties[column.prop]) if column.prop in properties else None
            if value is not None and not isinstance(value, list):
                values[value] = None
        return list(values)


def _rank(source: Source, own: Translation) -> tuple[bool, bool, bool]:
    """Sort key: what is read first. Never a left-joined table; then ids, then filters."""
    return source.outer, own.ids is None, isinstance(own.condition, Everything)


def _usable(wanted: Any, source: Source) -> bool:
    if wanted.name == source.columns.id_name:
        return True
    column = source.columns.columns.get(wanted.name)
    return column is not None and column.searchable and not column.kind.is_list
