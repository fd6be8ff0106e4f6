"""Random entities, commits and queries: the engine answers as the Firestore emulator does."""

import random
from typing import Any

import grpc
import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.datastore.transport import GrpcTransport
from gaeport.errors import DatastoreError
from tests.datastore.build import both, either, entity, query, run, unindexed, value, where

NAMES = ("p", "q", "r")
POOL: tuple[Any, ...] = (
    None, -3, 0, 1, 2, 7, 1.0, 2.5, -0.5, float("inf"), True, False, "", "a", "ab", "b\x00c", "ä", b"a", b"\xff\x00",
    wire.Timestamp(seconds=0, nanos=2000), wire.Timestamp(seconds=1_700_000_000),
    wire.LatLng(latitude=1.5, longitude=-2), wire.LatLng(latitude=-3, longitude=2),
)  # fmt: skip


@pytest.fixture
def pair(firestore_emulator: str) -> Any:
    project = f"differential-{random.randrange(10**9)}"
    channel = grpc.insecure_channel(firestore_emulator)
    engine = Engine(None)
    yield Client(engine, project=project), Client(GrpcTransport(channel), project=project)
    engine.close()
    channel.close()


def random_value(rng: random.Random) -> Any:
    chance = rng.random()
    if chance < 0.2:
        return value([rng.choice(POOL[:12]) for _ in range(rng.randrange(4))])
    if chance < 0.3:
        return unindexed(rng.choice(POOL))
    if chance < 0.4:
        return value({"x": rng.choice(POOL[:8]), "y": [1, rng.choice(POOL[:8])]})
    return value(rng.choice(POOL))


def random_key(rng: random.Random, client: Client) -> Any:
    parent = ("Parent", rng.choice(("a", "b"))) if rng.random() < 0.5 else ()
    return client.key(*parent, "Kind", rng.choice((1, 2, 30, 400, "1", "a", "ab", "z\x00", "é")))


def random_filter(rng: random.Random, client: Client, depth: int = 0) -> Any:
    chance = rng.random()
    if depth < 2 and chance < 0.35:
        join = both if rng.random() < 0.6 else either
        return join(*(random_filter(rng, client, depth + 1) for _ in range(rng.randrange(1, 4))))
    if chance < 0.45:
        return where("__key__", rng.choice((">", ">=", "<", "<=", "=")), random_key(rng, client))
    if chance < 0.5:
        return where("__key__", "ancestor", client.key("Parent", rng.choice(("a", "b"))))
    name = rng.choice((*NAMES, "p.x", "q.y"))
    operator = rng.choice(("=", "=", "<", "<=", ">", ">=", "!=", "in", "not in"))
    if operator in ("in", "not in"):
        return where(name, operator, [rng.choice(POOL[1:12]) for _ in range(rng.randrange(1, 4))])
    return where(name, operator, rng.choice(POOL))


def random_query(rng: random.Random, client: Client) -> Any:
    order = tuple(rng.choice(("", "-")) + name for name in rng.sample(NAMES, rng.choice((0, 0, 1, 1, 2))))
    return query(
        "Kind",
        random_filter(rng, client) if rng.random() < 0.8 else None,
        order=order,
        project=tuple(rng.sample(NAMES, rng.choice((1, 2)))) if rng.random() < 0.15 else (),
    )


def answer(client: Client, message: Any) -> Any:
    """Return the results of a query: keys, once each, and shown values; or the error's code."""
    try:
        batch = run(client, message)
    except DatastoreError as error:
        return error.code
    found = []
    for result in batch.entity_results:
        key = tuple((step.kind, step.id, step.name) for step in result.entity.key.path)
        shown = result.entity.SerializeToString(deterministic=True) if message.projection else b""
        if (key, shown) not in found:  # the emulator repeats an entity for each of its values
            found.append((key, shown))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_random_queries_have_the_same_results_in_the_same_order(pair: Any, seed: int) -> None:
    rng = random.Random(seed)
    mine, theirs = pair
    for _ in range(25):
        made = entity(random_key(rng, mine), **{name: random_value(rng) for name in NAMES if rng.random() < 0.8})
        for client in pair:
            client.commit([wire.Mutation(upsert=made)])
    for _ in range(40):
        message = random_query(rng, mine)
        assert answer(mine, message) == answer(theirs, message), message
