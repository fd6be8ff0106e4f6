"""Limits of the embedded Datastore: refused as in production, and the message says what, how much, and the limit."""

from typing import Any

import pytest

from gaeport.datastore import limits, wire
from gaeport.datastore.client import Client
from gaeport.errors import InvalidArgument
from tests.datastore.build import entity, query, run, unindexed, value, where


def put(client: Client, *entities: Any) -> None:
    client.commit([wire.Mutation(upsert=made) for made in entities])


def nested(depth: int) -> Any:
    made = value(1)
    for _ in range(depth):
        made = value({"x": made})
    return unindexed(made)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"p": "x" * 1501}, ["'p'", "('Kind', 1)", "1,501", "1,500"]),
        ({"p": unindexed("x" * 1_048_488)}, ["'p'", "('Kind', 1)", "1,048,488", "1,048,487"]),
        ({name: unindexed(b"x" * 600_000) for name in "pq"}, ["('Kind', 1)", "1,200,0", "1,048,572"]),
        ({"p": list(range(20_001))}, ["('Kind', 1)", "20,001", "20,000"]),
        ({"p": nested(21)}, ["nested", "20"]),
        ({"p": wire.Value()}, ["'p'", "no value"]),
        ({"p": wire.Timestamp(seconds=10**12)}, ["'p'", "years"]),
        ({"p": wire.LatLng(latitude=91)}, ["'p'", "latitude"]),
        ({"p": [value([1])]}, ["'p'", "array"]),
        ({"": 1}, ["empty"]),
        ({"__p__": 1}, ["'__p__'", "reserved"]),
        ({"p" * 1501: 1}, ["1,501", "1,500"]),
    ],
    ids=lambda item: ",".join(item) if isinstance(item, list) else "",
)
def test_properties_have_limits(local: Client, properties: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        put(local, entity(local.key("Kind", 1), **properties))
    assert all(word in str(caught.value) for word in words), caught.value
    assert local.lookup([local.key("Kind", 1)]) == [None]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("", 1), ["kind"]),
        (("__x__", 1), ["reserved"]),
        (("Kind", "__x__"), ["reserved"]),
        (("K" * 1501, 1), ["1,501", "1,500"]),
        (("Kind", "é" * 751), ["1,502", "1,500"]),
        (("Kind", "x" * 1500) * 5, ["bytes", "6144"]),
        (("Kind", 0, "Kind", 1), ["neither id nor name"]),
    ],
)
def test_keys_have_limits(local: Client, path: Any, words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        put(local, entity(local.key(*path)))
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_full_size_entity_fits(local: Client) -> None:
    made = entity(local.key("Kind", 1), p=unindexed(b"x" * 500_000), q=unindexed(b"x" * 100_000))
    made.properties["q"].blob_value += b"x" * (limits.MAX_ENTITY - made.ByteSize())
    assert made.ByteSize() == limits.MAX_ENTITY
    put(local, made)
    assert local.lookup([made.key])[0].entity == made  # type: ignore[union-attr]  # a missing entity fails the test


def test_a_commit_has_a_size(local: Client) -> None:
    made = [entity(local.key("Kind", n), p=unindexed(b"x" * 1_000_000)) for n in range(1, 12)]
    put(local, *made[:10])
    with pytest.raises(InvalidArgument, match="10,485,760"):
        put(local, *made)


def test_a_lookup_has_a_number_of_keys(local: Client) -> None:
    keys = [local.key("Kind", n) for n in range(1, 1002)]
    assert local.lookup(keys) == [None] * 1001  # the client splits it
    with pytest.raises(InvalidArgument, match="1,001"):
        local.transport.call("Lookup", wire.LookupRequest(project_id=local.project, keys=keys))


@pytest.mark.parametrize("namespace", ["a b", "x" * 101, "__n__"])
def test_namespaces_have_rules(local: Client, namespace: str) -> None:
    client = Client(local.transport, project="project", namespace=namespace)
    with pytest.raises(InvalidArgument, match="namespace"):
        put(client, entity(client.key("Kind", 1)))


def test_databases_are_apart(local: Client) -> None:
    other = Client(local.transport, project="project", database="other")
    put(other, entity(other.key("Kind", 1)))
    assert local.lookup([local.key("Kind", 1)]) == [None]
    assert other.lookup([other.key("Kind", 1)])[0] is not None
    with pytest.raises(InvalidArgument, match="database"):
        local.lookup([other.key("Kind", 1)])


def mutation(**fields: Any) -> Any:
    return wire.Mutation(**fields)


KEY = Client(None, project="project").key("Kind", 1)  # type: ignore[arg-type]  # makes a key, calls nothing


@pytest.mark.parametrize(
    "fields",
    [
        {"mutations": [mutation()], "mode": wire.NON_TRANSACTIONAL},
        {"mutations": [mutation(upsert=entity(KEY))]},
        {"mutations": [mutation(upsert=entity(KEY))], "mode": wire.TRANSACTIONAL},
        {"mutations": [mutation(upsert=entity(KEY))] * 2, "mode": wire.NON_TRANSACTIONAL},
        {"mutations": [mutation(upsert=entity(KEY), conflict_resolution_strategy=3)], "mode": wire.NON_TRANSACTIONAL},
        {"mutations": [mutation(insert=entity(KEY), base_version=3)], "mode": wire.NON_TRANSACTIONAL},
        {"transaction": b"nonsense", "mode": wire.TRANSACTIONAL},
        {"transaction": b"nonsense", "mode": wire.NON_TRANSACTIONAL},
    ],
)
def test_commits_that_make_no_sense_are_refused(local: Client, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        local.transport.call("Commit", wire.CommitRequest(project_id="project", **fields))


@pytest.mark.parametrize(("first", "second"), [("upsert", "insert"), ("insert", "insert"), ("delete", "update")])
def test_some_sequences_on_one_entity_are_refused(local: Client, first: str, second: str) -> None:
    made = [mutation(**{name: KEY if name == "delete" else entity(KEY)}) for name in (first, second)]
    with pytest.raises(InvalidArgument, match=f"{first} and then {second}"):
        local.commit(made)


def test_other_sequences_on_one_entity_apply_in_order(local: Client) -> None:
    results = local.commit([
        mutation(insert=entity(KEY, n=1)),
        mutation(update=entity(KEY, n=2)),
        mutation(delete=KEY),
        mutation(upsert=entity(KEY, n=3)),
    ])  # fmt: skip
    found = local.lookup([KEY])[0]
    assert found is not None
    assert found.entity.properties["n"].integer_value == 3
    assert {result.version for result in results} == {found.version}
    assert [found.entity.key.path[0].id for found in local.query(query("Kind", where("n", "<", 3)))] == []


@pytest.mark.parametrize(
    "message",
    [
        query("Kind", limit=-1),
        query("Kind", offset=-1),
        query("Kind", start=b"junk"),
        query("Kind", order=("a", "-a")),
        query("Kind", project=("a", "a")),
        query("Kind", where("a", "=", 1), project=("a",)),
        query("Kind", where("a", "in", list(range(31)))),
        query("Kind", where("a", "not in", list(range(11)))),
        query("Kind", where("a", "=", {"x": 1})),
        query("Kind", where("__key__", "=", 1)),
        query("Kind", where("a", "ancestor", KEY)),
        query("Kind", project=("a", "b"), distinct=("b",), order=("a", "b")),
        query(None, where("a", "=", 1)),
        query(None, order=("-__key__",)),
        query("__reserved__"),
    ],
)
def test_queries_that_production_refuses_are_refused(local: Client, message: Any) -> None:
    with pytest.raises(InvalidArgument):
        run(local, message)
