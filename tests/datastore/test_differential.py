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


def random_mutation(rng: random.Random, client: Client, versions: dict[bytes, list[int]]) -> Any:
    """Return a mutation of one of few keys; `versions` holds those that the client's server once gave a key."""
    key = client.key("Few", rng.randrange(1, 5))
    operation = rng.choice(("insert", "update", "upsert", "delete"))
    content = key if operation == "delete" else entity(key, n=rng.randrange(3))
    made = wire.Mutation(**{operation: content})
    # Not 0: the emulator remembers what was deleted, and holds it not to be at version 0.
    known = [1, *versions.setdefault(key.SerializeToString(), [])]
    pick, guarded = rng.random(), rng.random() < 0.5
    if guarded and operation != "insert":
        made.base_version = known[int(pick * len(known))] if pick < 0.5 else known[-1]
        made.conflict_resolution_strategy = wire.FAIL if pick < 0.9 else wire.SERVER_VALUE
    return made


def outcome(client: Client, mutations: list[Any], versions: dict[bytes, list[int]]) -> Any:
    """Commit; return the error's code, or for each mutation whether its entity got a new version."""
    try:
        results = client.commit(mutations)
    except DatastoreError as error:
        # Of several faults each server names the one that it meets first.
        return error.code if len(mutations) == 1 else "refused"
    changed = []
    for mutation, result in zip(mutations, results, strict=True):
        operation = mutation.WhichOneof("operation")
        key = mutation.delete if operation == "delete" else getattr(mutation, operation).key
        known = versions[key.SerializeToString()]
        changed.append(result.version not in known)
        if operation != "delete" and result.HasField("update_time"):
            known.append(result.version)
    return changed


def content(client: Client) -> list[Any]:
    found = client.lookup([client.key("Few", n) for n in range(1, 5)])
    return [item and item.entity.properties["n"].integer_value for item in found]


@pytest.mark.parametrize("seed", range(4))
def test_random_commits_have_the_same_outcome(pair: Any, seed: int) -> None:
    states: list[tuple[Client, dict[bytes, list[int]], random.Random]] = [
        (client, {}, random.Random(seed)) for client in pair
    ]
    for _ in range(60):
        answers = []
        for client, versions, rng in states:
            mutations = [random_mutation(rng, client, versions) for _ in range(rng.choice((1, 1, 2, 3)))]
            answers.append((outcome(client, mutations, versions), content(client), len(versions)))
        assert answers[0] == answers[1], mutations


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


@pytest.mark.parametrize("seed", range(8))
def test_random_queries_have_the_same_results_in_the_same_order(pair: Any, seed: int) -> None:
    rng = random.Random(seed)
    mine, theirs = pair
    for _ in range(25):
        made = entity(random_key(rng, mine), **{name: random_value(rng) for name in NAMES if rng.random() < 0.8})
        for client in pair:
            client.commit([wire.Mutation(upsert=made)])
    for _ in range(40):
        message = random_query(rng, mine)
        expected = answer(theirs, message)
        # UNKNOWN: the emulator itself fails on an ancestor filter that stands alone in an OR.
        assert expected in ("UNKNOWN", answer(mine, message)), message
