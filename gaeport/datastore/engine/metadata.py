"""Metadata queries: the kinds `__namespace__`, `__kind__` and `__property__`, answered from the table of index names.

Source: "Datastore Metadata" (metadata queries); which filters and orders are refused was measured on the Datastore
emulator, as was the form of the answers.
"""

import operator
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.engine import rows
from gaeport.datastore.engine.names import BY_KIND
from gaeport.datastore.engine.search import MAX_BATCH, Hit, Result
from gaeport.datastore.engine.transactions import Transaction
from gaeport.datastore.keys import AFTER_DESCENDANTS, escape, partition_bytes, unescape
from gaeport.datastore.values import AFTER_ALL
from gaeport.errors import InvalidArgument

NAMESPACE, KIND, PROPERTY = "__namespace__", "__kind__", "__property__"
_PATHS = {NAMESPACE: (NAMESPACE,), KIND: (KIND,), PROPERTY: (KIND, PROPERTY)}

_MARK = b"m1"  # the first bytes of a cursor
_DEFAULT_NAMESPACE_ID = 1  # the default namespace has no name; its key has this id
# The first byte of an index value tells its type (gaeport.datastore.values).
_REPRESENTATIONS = {0x30: "BOOLEAN", 0x50: "DOUBLE", 0x20: "INT64", 0x10: "NULL", 0x60: "POINT", 0x70: "REFERENCE"}
_REPRESENTATIONS |= {0x40: "STRING"}

_COMPARISONS: dict[int, Callable[[Any, Any], bool]] = {
    wire.EQUAL: operator.eq,
    wire.LESS_THAN: operator.lt,
    wire.LESS_THAN_OR_EQUAL: operator.le,
    wire.GREATER_THAN: operator.gt,
    wire.GREATER_THAN_OR_EQUAL: operator.ge,
    wire.HAS_ANCESTOR: lambda names, ancestor: names[: len(ancestor)] == ancestor,
}

# A metadata entity is known by the names in its key: (namespace,), (kind,) or (kind, property). They sort as the keys.
Names = tuple[str, ...]


def is_metadata(query: Any) -> bool:
    """Whether a query asks for one of the metadata kinds."""
    return len(query.kind) == 1 and query.kind[0].name in _PATHS


class MetadataSearcher:
    """One metadata query of one request; in the place of a `search.Searcher`."""

    def __init__(self, request: Any, query: Any) -> None:
        """Check the query.

        Raises:
            InvalidArgument: it filters by anything but comparisons of `__key__`, or orders otherwise than by it.
        """
        self._query = query
        self._partition = request.partition_id
        self._project, self._database = request.project_id, request.database_id
        self._kind = query.kind[0].name
        projection = [item.property.name for item in query.projection]
        if projection not in ([], ["__key__"]) or query.distinct_on:
            raise InvalidArgument(f"a query of the kind {self._kind} can project __key__ only")
        self._keys_only = bool(projection)
        if any(item.property.name != "__key__" or item.direction == wire.DESCENDING for item in query.order):
            raise InvalidArgument(f"a query of the kind {self._kind} can be ordered by __key__ ascending only")
        if query.offset < 0 or (query.HasField("limit") and query.limit.value < 0):
            raise InvalidArgument("offset and limit cannot be negative")
        self._conditions = list(self._read_filter(query.filter)) if query.HasField("filter") else []
        if query.start_cursor:
            self._conditions.append((operator.gt, _from_cursor(query.start_cursor)))
        if query.end_cursor:
            self._conditions.append((operator.le, _from_cursor(query.end_cursor)))

    def _read_filter(self, node: Any) -> Iterator[tuple[Callable[[Any, Any], bool], Names]]:
        which = node.WhichOneof("filter_type")
        if which == "composite_filter" and node.composite_filter.op == wire.AND:
            for part in node.composite_filter.filters:
                yield from self._read_filter(part)
            return
        leaf = node.property_filter
        if which != "property_filter" or leaf.property.name != "__key__" or leaf.op not in _COMPARISONS:
            raise InvalidArgument(f"a query of the kind {self._kind} can filter by comparisons of __key__ only")
        path = leaf.value.key_value.path
        kinds = tuple(element.kind for element in path)
        if not kinds or kinds != _PATHS[self._kind][: len(kinds)]:
            raise InvalidArgument(f"a filter of a query of the kind {self._kind} needs a key of that kind, not {kinds}")
        yield _COMPARISONS[leaf.op], tuple(element.name for element in path)

    def results(
        self, db: sqlite3.Connection, transaction: Transaction | None, at: int | None, *, with_rows: bool
    ) -> Iterator[Result]:
        """Yield the results in order, offset and limit applied, cursors too."""
        found = self._found(db, at)
        last = self._query.offset + self._query.limit.value if self._query.HasField("limit") else None
        for names in found[self._query.offset : last]:
            entity = self._entity(db, names, at)
            yield Result(Hit(b"", b""), rows.Row(0, 0, 0, entity.SerializeToString()))

    def count(
        self, db: sqlite3.Connection, transaction: Transaction | None, at: int | None, most: int | None
    ) -> int | None:
        """Return None: the results themselves are counted."""
        return None

    def fill_batch(self, db: sqlite3.Connection, batch: Any, transaction: Transaction | None, at: int | None) -> None:
        """Fill a QueryResultBatch with as many results as one answer holds."""
        query = self._query
        found = self._found(db, at)
        batch.entity_result_type = wire.KEY_ONLY if self._keys_only else wire.FULL
        batch.end_cursor = query.start_cursor
        batch.skipped_results = min(query.offset, len(found))
        found = found[query.offset :]
        limit = query.limit.value if query.HasField("limit") else len(found)
        for names in found[: min(limit, MAX_BATCH)]:
            result = batch.entity_results.add(entity=self._entity(db, names, at))
            result.cursor = batch.end_cursor = _to_cursor(names)
        done = len(batch.entity_results) == len(found)
        full = len(batch.entity_results) == limit
        batch.more_results = (
            wire.NO_MORE_RESULTS if done else wire.MORE_RESULTS_AFTER_LIMIT if full else wire.NOT_FINISHED
        )

    def _found(self, db: sqlite3.Connection, at: int | None) -> list[Names]:
        candidates = {NAMESPACE: self._namespaces, KIND: self._kinds, PROPERTY: self._properties}[self._kind]
        return sorted(candidates(db, at))

    def _wanted(self, names: Names) -> bool:
        return all(holds(names, bound) for holds, bound in self._conditions)

    def _namespaces(self, db: sqlite3.Connection, at: int | None) -> set[Names]:
        found: set[Names] = set()
        for number, (namespace, _, prop) in self._indexes(db, b""):
            names = (namespace,)
            if prop == BY_KIND and names not in found and self._wanted(names) and _exists(db, number, at):
                found.add(names)
        return found

    def _kinds(self, db: sqlite3.Connection, at: int | None) -> set[Names]:
        return {
            (kind,)
            for number, (_, kind, prop) in self._indexes(db, self._namespace)
            if prop == BY_KIND and self._wanted((kind,)) and _exists(db, number, at)
        }

    def _properties(self, db: sqlite3.Connection, at: int | None) -> set[Names]:
        return {
            (kind, prop)
            for number, (_, kind, prop) in self._indexes(db, self._namespace)
            if prop != BY_KIND and self._wanted((kind, prop)) and _exists(db, number, at)
        }

    @property
    def _namespace(self) -> bytes:
        return escape(self._partition.namespace_id.encode())

    def _indexes(self, db: sqlite3.Connection, more: bytes) -> list[tuple[int, tuple[str, str, str]]]:
        """Return the number of each index of this database, with namespace, kind and property."""
        database = partition_bytes(self._project, self._database, "")[:-1]  # without the end of the namespace
        low = database + more
        found = db.execute("SELECT id, name FROM names WHERE name >= ? AND name < ?", (low, low + AFTER_DESCENDANTS))
        return [(number, _parts(name[len(database) :])) for number, name in found]

    def _entity(self, db: sqlite3.Connection, names: Names, at: int | None) -> Any:
        entity = wire.Entity()
        partition = entity.key.partition_id
        partition.project_id, partition.database_id = self._project, self._database
        partition.namespace_id = self._partition.namespace_id
        for kind, name in zip(_PATHS[self._kind], names, strict=True):
            element = entity.key.path.add(kind=kind)
            if name:
                element.name = name
            else:
                element.id = _DEFAULT_NAMESPACE_ID
        if self._kind == PROPERTY and not self._keys_only:
            shown = entity.properties["property_representation"].array_value.values
            for representation in self._representations(db, names, at):
                shown.add(string_value=representation)
        return entity

    def _representations(self, db: sqlite3.Connection, names: Names, at: int | None) -> Iterator[str]:
        partition = partition_bytes(self._project, self._database, self._partition.namespace_id)
        name = partition + escape(names[0].encode()) + names[1].encode()
        [number] = db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
        for tag, representation in _REPRESENTATIONS.items():
            if _exists(db, number, at, bytes((tag,)), bytes((tag + 1,))):
                yield representation


def _exists(db: sqlite3.Connection, number: int, at: int | None, low: bytes = b"", high: bytes = AFTER_ALL) -> bool:
    """Whether an index has an entry with a value in a range."""
    scan = rows.Scan(number, low, high, b"", AFTER_ALL)
    return next(rows.entries(db, scan, at, after=None), None) is not None


def _parts(name: bytes) -> tuple[str, str, str]:
    namespace, kind, prop = name.split(b"\x00", 2)
    return unescape(namespace).decode(), unescape(kind).decode(), prop.decode()


def _to_cursor(names: Names) -> bytes:
    return _MARK + b"".join(escape(name.encode()) for name in names)


def _from_cursor(cursor: bytes) -> Names:
    if not cursor.startswith(_MARK):
        raise InvalidArgument("the cursor belongs to another query")
    return tuple(unescape(part).decode() for part in cursor[len(_MARK) :].split(b"\x00")[:-1])
