"""What Datastore clients are timed at: get, put and query, as functions to be called again and again."""

import uuid
from collections.abc import Callable
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.client import Client

Work = Callable[[], object]

_AT_ONCE = 500  # entities of each commit that fills a kind
_VALUES = 1000  # different numbers in a kind


def get(client: Client) -> Work:
    """Return what looks up one entity."""
    key = client.key("Bench", uuid.uuid4().hex)
    client.commit([wire.Mutation(upsert=entity(key, indexed=False))])
    return lambda: client.lookup([key])


def put(client: Client, count: int, *, indexed: bool) -> Work:
    """Return what puts one of `count` new entities, made beforehand, each time it is called."""
    keys = (client.key("Bench", uuid.uuid4().hex) for _ in range(count))
    waiting = [wire.Mutation(upsert=entity(key, indexed=indexed)) for key in keys]
    return lambda: client.commit([waiting.pop()])


def entity(key: Any, *, indexed: bool) -> Any:
    """Return an entity of five strings."""
    made = wire.Entity(key=key)
    for number in range(5):
        value = made.properties[f"property{number}"]
        value.string_value = uuid.uuid4().hex
        value.exclude_from_indexes = not indexed
    return made


def fill(client: Client, kind: str, count: int, *, indexed: bool = True) -> None:
    """Put a kind of `count` entities, ids from 1 on, with a number each."""
    for start in range(0, count, _AT_ONCE):
        made = [wire.Entity(key=client.key(kind, n + 1)) for n in range(start, min(start + _AT_ONCE, count))]
        for n, item in enumerate(made, start):
            item.properties["number"].integer_value = n % _VALUES
            item.properties["number"].exclude_from_indexes = not indexed
        client.commit([wire.Mutation(upsert=item) for item in made])


def query(client: Client, kind: str, *, selective: bool) -> Work:
    """Return what reads 20 of a kind: the first, or those that a filter finds."""
    asked = wire.Query()
    asked.kind.add(name=kind)
    asked.limit.value = 20
    if selective:
        asked.filter.property_filter.property.name = "number"
        asked.filter.property_filter.op = wire.EQUAL
        asked.filter.property_filter.value.integer_value = 7
    return lambda: list(client.query(asked))


def over_grpc(host: str, like: Client) -> Client:
    """Return a client on a server, for the same project and namespace as another client."""
    import grpc

    from gaeport.datastore.transport import GrpcTransport

    return Client(GrpcTransport(grpc.insecure_channel(host)), project=like.project, namespace=like.namespace)
