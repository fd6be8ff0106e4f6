"""Short ways to write messages of the Datastore API in tests."""

from typing import Any

from gaeport.datastore import wire

OPERATORS = {
    "<": wire.LESS_THAN,
    "<=": wire.LESS_THAN_OR_EQUAL,
    ">": wire.GREATER_THAN,
    ">=": wire.GREATER_THAN_OR_EQUAL,
    "=": wire.EQUAL,
    "!=": wire.NOT_EQUAL,
    "in": wire.IN,
    "not in": wire.NOT_IN,
    "ancestor": wire.HAS_ANCESTOR,
}

_FIELDS = {
    bool: "boolean_value",
    int: "integer_value",
    float: "double_value",
    str: "string_value",
    bytes: "blob_value",
}
_MESSAGES = {wire.Timestamp: "timestamp_value", wire.LatLng: "geo_point_value", wire.Key: "key_value"}


def value(content: Any, *, unindexed: bool = False) -> Any:
    """Return a Value; a dict makes an embedded entity, a list an array."""
    made = wire.Value(exclude_from_indexes=unindexed)
    if isinstance(content, wire.Value):
        made.CopyFrom(content)
    elif content is None:
        made.null_value = 0
    elif isinstance(content, list):
        made.array_value.SetInParent()
        made.array_value.values.extend(value(item) for item in content)
    elif isinstance(content, dict):
        made.entity_value.SetInParent()
        for name, item in content.items():
            made.entity_value.properties[name].CopyFrom(value(item))
    elif type(content) in _FIELDS:
        setattr(made, _FIELDS[type(content)], content)
    else:
        getattr(made, _MESSAGES[type(content)]).CopyFrom(content)
    return made


def unindexed(content: Any) -> Any:
    """Return a Value that is excluded from indexes."""
    return value(content, unindexed=True)


def entity(key: Any, **properties: Any) -> Any:
    """Return an Entity."""
    made = wire.Entity(key=key)
    for name, content in properties.items():
        made.properties[name].CopyFrom(value(content))
    return made


def where(name: str, operator: str, content: Any) -> Any:
    """Return a property filter."""
    made = wire.Filter()
    made.property_filter.property.name = name
    made.property_filter.op = OPERATORS[operator]
    made.property_filter.value.CopyFrom(value(content))
    return made


def both(*filters: Any) -> Any:
    """Return the AND of filters."""
    made = wire.Filter()
    made.composite_filter.op = wire.AND
    made.composite_filter.filters.extend(filters)
    return made


def either(*filters: Any) -> Any:
    """Return the OR of filters."""
    made = both(*filters)
    made.composite_filter.op = wire.OR
    return made


def query(
    kind: str | None = None,
    filter: Any = None,
    *,
    order: tuple[str, ...] = (),
    project: tuple[str, ...] = (),
    distinct: tuple[str, ...] = (),
    limit: int | None = None,
    offset: int = 0,
    start: bytes = b"",
    end: bytes = b"",
) -> Any:
    """Return a Query; an order with a leading minus descends."""
    made = wire.Query(offset=offset, start_cursor=start, end_cursor=end)
    if kind is not None:
        made.kind.add(name=kind)
    if filter is not None:
        made.filter.CopyFrom(filter)
    for name in order:
        direction = wire.DESCENDING if name.startswith("-") else wire.ASCENDING
        made.order.add(direction=direction).property.name = name.removeprefix("-")
    for name in project:
        made.projection.add().property.name = name
    for name in distinct:
        made.distinct_on.add(name=name)
    if limit is not None:
        made.limit.value = limit
    return made


def run(client: Any, message: Any, **fields: Any) -> Any:
    """Run a query by one call and return its batch."""
    request = wire.RunQueryRequest(project_id=client.project, database_id=client.database, query=message, **fields)
    request.partition_id.project_id = client.project
    request.partition_id.database_id = client.database
    request.partition_id.namespace_id = client.namespace
    return client.transport.call("RunQuery", request).batch


def ids(batch: Any) -> list[Any]:
    """Return the last id or name of each result's key."""
    return [last.name or last.id for last in (result.entity.key.path[-1] for result in batch.entity_results)]


def begin(client: Any, *, read_only: bool = False) -> bytes:
    """Begin a transaction and return its token."""
    request = wire.BeginTransactionRequest(project_id=client.project, database_id=client.database)
    if read_only:
        request.transaction_options.read_only.SetInParent()
    return client.transport.call("BeginTransaction", request).transaction


def lookup_in(client: Any, transaction: bytes, *keys: Any) -> Any:
    """Look keys up inside a transaction and return the response."""
    request = wire.LookupRequest(project_id=client.project, database_id=client.database, keys=keys)
    request.read_options.transaction = transaction
    return client.transport.call("Lookup", request)


def commit_in(client: Any, transaction: bytes, *mutations: Any) -> Any:
    """Commit a transaction and return the response."""
    request = wire.CommitRequest(
        project_id=client.project, database_id=client.database, mutations=mutations, transaction=transaction
    )
    request.mode = wire.TRANSACTIONAL
    return client.transport.call("Commit", request)


def rollback(client: Any, transaction: bytes) -> None:
    """Roll a transaction back."""
    request = wire.RollbackRequest(project_id=client.project, database_id=client.database, transaction=transaction)
    client.transport.call("Rollback", request)
