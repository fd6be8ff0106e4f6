"""The entities of one project, database and namespace, as the adapter reads and writes them."""

from collections.abc import Iterator, Sequence
from typing import Any

from gaeport import settings
from gaeport.dal.columns import TableColumns
from gaeport.dal.commits import commit
from gaeport.dal.conditions import Everything, Nothing, split, to_filter
from gaeport.dal.transactions import MAX_COMMIT, TransactionClient, Units
from gaeport.dal.translation import Translation
from gaeport.dal.unit import Unit, over, path_of, pending
from gaeport.dal.uri import Address
from gaeport.datastore import connection, wire
from gaeport.datastore.client import Client, Found

MAX_MUTATIONS = 500  # of one commit; no limit of Datastore's, but a bound on what one retry repeats


class Store:
    """Reads and writes by the settings in force, which tests change; reads see what the thread's unit has changed.

    Attributes:
        address: what the connection string says.
        units: the open transactions and buffers.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.units = Units(self._plain, self._transactional, buffered=address.buffer == "request")

    def _plain(self) -> Client:
        return Client(connection.transport(), **self._where())

    def _transactional(self, unit: Unit) -> TransactionClient:
        return TransactionClient(connection.transport(), unit, **self._where())

    def _where(self) -> dict[str, str]:
        config, address = settings.current(), self.address
        return {
            "project": address.project or config.project,
            "database": config.database if address.database is None else address.database,
            "namespace": config.namespace if address.namespace is None else address.namespace,
        }

    @property
    def client(self) -> Client:
        """The thin client, of the open transaction if there is one; made anew, since settings may have changed."""
        unit = self.units.unit
        return self._plain() if unit is None or not unit.depth else self._transactional(unit)

    @property
    def own_client(self) -> Client:
        """The thin client on the namespace of gaeport's own entities, of the same project and database."""
        client = self.client
        client.namespace = settings.current().own_namespace
        return client

    @property
    def outside(self) -> Client:
        """The thin client on gaeport's own namespace, apart from any open transaction."""
        client = self._plain()
        client.namespace = settings.current().own_namespace
        return client

    def touched(self, columns: TableColumns) -> bool:
        """Return whether rows of a table have changes that wait for a commit."""
        unit = self.units.unit
        return unit is not None and bool(unit.of(columns.kind))

    def waiting(self, columns: TableColumns) -> tuple[list[Found], list[Found]]:
        """Return the rows of a table that have changes waiting, as they are stored and as they will be."""
        unit = self.units.unit
        changes = [] if unit is None else list(unit.of(columns.kind).values())
        before = [change.before for change in changes if change.before is not None]
        after = [pending(change) for change in changes]
        return before, [found for found in after if found is not None]

    def lookup(self, columns: TableColumns, ids: Sequence[int | str]) -> list[Found]:
        """Return the entities that exist of those ids (or key names), in the order of the ids."""
        client = self.client
        found = self.lookup_keys(client, [client.key(columns.kind, number) for number in ids])
        return [entity for entity in found if entity is not None]

    def lookup_keys(self, client: Client, keys: Sequence[Any]) -> list[Found | None]:
        """Return the entities of keys, in order; None where there is none."""
        unit = self.units.unit
        if unit is None or not keys:
            return client.lookup(keys) if keys else []
        changes = [unit.of(kind).get(name) for kind, name in map(path_of, keys)]
        asked = [key for key, change in zip(keys, changes, strict=True) if change is None]
        stored = iter(client.lookup(asked) if asked else [])
        found = [next(stored) if change is None else pending(change) for change in changes]
        return [entry and unit.note(entry) for entry in found]

    def fetch(
        self,
        columns: TableColumns,
        translation: Translation,
        *,
        order: Sequence[tuple[str, int]] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[Found]:
        """Yield the entities that a translation lets through.

        Args:
            columns: the table.
            translation: what to fetch; a lookup by id ignores order, limit and offset.
            order: properties and directions; not together with a translation that is split.
            limit: entities at most, after the offset.
            offset: entities to leave out; none where rows have changes waiting.

        Rows with changes that wait for a commit come last, whether or not the translation lets them through.
        """
        if translation.empty:
            return
        if translation.ids is not None:
            yield from self.lookup(columns, translation.ids)
        elif not self.touched(columns):
            yield from self._stored(columns, translation, order, limit, offset)
        else:
            yield from self.committed(columns, translation, order=order, limit=limit)
            yield from self.waiting(columns)[1]

    def committed(
        self,
        columns: TableColumns,
        translation: Translation,
        *,
        order: Sequence[tuple[str, int]] = (),
        limit: int | None = None,
    ) -> Iterator[Found]:
        """Yield the entities that a translation lets through and that have no changes waiting; see `fetch`."""
        unit = self.units.unit
        changes = {} if unit is None else unit.of(columns.kind)
        more = None if limit is None else limit + len(changes)
        yield from over(changes, self._stored(columns, translation, order, more, 0))

    def _stored(
        self,
        columns: TableColumns,
        translation: Translation,
        order: Sequence[tuple[str, int]],
        limit: int | None,
        offset: int,
    ) -> Iterator[Found]:
        if translation.empty:
            return
        unit = self.units.unit
        found = self._queried(columns, translation, order, limit, offset)
        yield from found if unit is None else map(unit.note, found)

    def _queried(
        self,
        columns: TableColumns,
        translation: Translation,
        order: Sequence[tuple[str, int]],
        limit: int | None,
        offset: int,
    ) -> Iterator[Found]:
        queries = [self.query(columns, condition, order) for condition in split(translation.condition)]
        if len(queries) == 1:
            query = queries[0]
            query.offset = offset
            if limit is not None:
                query.limit.value = limit
            yield from self.client.query(query)
            return
        yield from self._merged(columns, queries)

    def _merged(self, columns: TableColumns, queries: Sequence[Any]) -> Iterator[Found]:
        seen: set[int | str] = set()
        for query in queries:
            for found in self.client.query(query):
                number = columns.row_id(found.entity.key)
                if number not in seen:
                    seen.add(number)
                    yield found

    def query(self, columns: TableColumns, condition: Any, order: Sequence[tuple[str, int]] = ()) -> Any:
        """Return the `wire.Query` for a condition that is not Nothing."""
        query = wire.Query()
        query.kind.add(name=columns.kind)
        if not isinstance(condition, Everything | Nothing):
            query.filter.CopyFrom(to_filter(condition))
        for prop, direction in order:
            query.order.add(direction=direction).property.name = prop
        return query

    def aggregate(self, columns: TableColumns, condition: Any, operator: str, prop: str = "") -> Any:
        """Return the `wire.Value` of a count, sum or avg over what a condition lets through."""
        aggregation = wire.AggregationQuery.Aggregation()
        getattr(aggregation, operator).SetInParent()
        if prop:
            getattr(aggregation, operator).property.name = prop
        return self.client.aggregate(self.query(columns, condition), aggregation)

    def ids(self, columns: TableColumns) -> Iterator[Any]:
        """Yield the keys of all entities of a table."""
        query = self.query(columns, Everything())
        query.projection.add().property.name = "__key__"
        for found in self.client.query(query):
            yield found.entity.key

    def commit(self, mutations: Sequence[Any]) -> list[Any]:
        """Apply mutations all or nothing, at once; see `commits.commit`."""
        self.units.note_write()
        return commit(self._plain(), mutations)


def chunks(groups: Sequence[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Yield groups of mutations packed for one commit each; a group stays together."""
    packed: list[Sequence[Any]] = []
    count = size = 0
    for group in groups:
        weight = sum(mutation.ByteSize() for mutation in group)
        if packed and (count + len(group) > MAX_MUTATIONS or size + weight > MAX_COMMIT):
            yield packed
            packed, count, size = [], 0, 0
        packed.append(group)
        count, size = count + len(group), size + weight
    if packed:
        yield packed
