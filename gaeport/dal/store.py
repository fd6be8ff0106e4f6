"""The entities of one project, database and namespace, as the adapter reads and writes them."""

from collections.abc import Iterator, Sequence
from typing import Any

from gaeport import settings
from gaeport.dal.columns import TableColumns, id_of_key
from gaeport.dal.conditions import Everything, Nothing, split, to_filter
from gaeport.dal.translation import Translation
from gaeport.dal.uri import Address
from gaeport.datastore import connection, wire
from gaeport.datastore.client import Client, Found, retried
from gaeport.errors import Aborted

COMMIT_ATTEMPTS = 6
MAX_MUTATIONS = 500  # of one commit; no limit of Datastore's, but a bound on what one retry repeats
MAX_COMMIT = 8_388_608  # bytes; leaves 2 MiB of the 10 MiB for keys and framing


class Store:
    """Reads and writes by the settings in force, which tests change."""

    def __init__(self, address: Address) -> None:
        self.address = address

    @property
    def client(self) -> Client:
        """The thin client; made anew, since settings and connection may have changed."""
        config, address = settings.current(), self.address
        return Client(
            connection.transport(),
            project=address.project or config.project,
            database=config.database if address.database is None else address.database,
            namespace=config.namespace if address.namespace is None else address.namespace,
        )

    @property
    def own_client(self) -> Client:
        """The thin client on the namespace of gaeport's own entities, of the same project and database."""
        client = self.client
        own = settings.current().own_namespace
        return Client(client.transport, project=client.project, database=client.database, namespace=own)

    def lookup(self, columns: TableColumns, ids: Sequence[int]) -> list[Found]:
        """Return the entities that exist of those ids, in the order of the ids."""
        client = self.client
        found = client.lookup([client.key(columns.kind, number) for number in ids]) if ids else []
        return [entity for entity in found if entity is not None]

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
            offset: entities to leave out.
        """
        if translation.empty:
            return
        if translation.ids is not None:
            yield from self.lookup(columns, translation.ids)
            return
        queries = [self.query(columns, condition, order) for condition in split(translation.condition)]
        if len(queries) == 1:
            query = queries[0]
            query.offset = offset
            if limit is not None:
                query.limit.value = limit
            yield from self.client.query(query)
            return
        yield from self._merged(queries)

    def _merged(self, queries: Sequence[Any]) -> Iterator[Found]:
        seen: set[int] = set()
        for query in queries:
            for found in self.client.query(query):
                number = id_of_key(found.entity.key)
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
        """Apply mutations all or nothing; repeated where another transaction got in the way."""
        client = self.client
        return list(retried(lambda: client.commit(mutations), (Aborted,), COMMIT_ATTEMPTS))


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
