"""Transactions of the engine: snapshots, conflicts, expiry, and reading in the past."""

from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import history, transactions
from gaeport.datastore.engine.engine import Engine
from gaeport.errors import Aborted, InvalidArgument
from tests.datastore.build import begin, both, commit_in, entity, ids, lookup_in, query, rollback, run, where

Mutation = wire.Mutation


def put(client: Client, *path: str | int, **properties: Any) -> int:
    made = entity(client.key(*path), **properties)
    return client.commit([Mutation(upsert=made)])[0].version  # type: ignore[no-any-return]  # wire is untyped


def delete(client: Client, *path: str | int) -> None:
    client.commit([Mutation(delete=client.key(*path))])


def run_in(client: Client, token: bytes, message: Any) -> Any:
    return run(client, message, read_options=wire.ReadOptions(transaction=token))


def numbers(response: Any) -> list[int]:
    return [found.entity.properties["n"].integer_value for found in response.found]


def write_anything(client: Client, token: bytes) -> None:
    commit_in(client, token, Mutation(upsert=entity(client.key("Unrelated", 1))))


def test_a_lookup_that_begins_a_transaction_takes_part_in_it(local: Client) -> None:
    put(local, "Kind", 1, n=1)
    request = wire.LookupRequest(project_id=local.project, keys=[local.key("Kind", 1)])
    request.read_options.new_transaction.read_write.SetInParent()
    token = local.transport.call("Lookup", request).transaction
    put(local, "Kind", 1, n=2)
    with pytest.raises(Aborted):
        write_anything(local, token)


def test_a_transaction_reads_as_of_its_beginning(local: Client) -> None:
    for n in (1, 2, 3):
        put(local, "Kind", n, n=n)
    token = begin(local)
    put(local, "Kind", 1, n=10)
    put(local, "Kind", 4, n=4)
    delete(local, "Kind", 2)
    put(local, "Kind", 3, n=30)
    put(local, "Kind", 3, n=31)
    keys = [local.key("Kind", n) for n in (1, 2, 3, 4)]
    response = lookup_in(local, token, *keys)
    assert sorted(numbers(response)) == [1, 2, 3]
    assert ids(run_in(local, token, query("Kind"))) == [1, 2, 3]
    assert ids(run_in(local, token, query("Kind", where("n", "<", 10), order=("-n",)))) == [3, 2, 1]
    assert ids(run_in(local, token, query("Kind", where("n", "=", 4)))) == []
    assert ids(run_in(local, token, query(None, where("__key__", "ancestor", local.key("Kind", 2))))) == [2]


def test_of_two_that_read_and_write_one_entity_the_second_is_aborted(local: Client) -> None:
    put(local, "Kind", 1, n=1)
    key = local.key("Kind", 1)
    first, second = begin(local), begin(local)
    for token in (first, second):
        lookup_in(local, token, key)
    commit_in(local, first, Mutation(update=entity(key, n=2)))
    with pytest.raises(Aborted):
        commit_in(local, second, Mutation(update=entity(key, n=3)))
    assert local.lookup([key])[0].entity.properties["n"].integer_value == 2  # type: ignore[union-attr]  # a missing entity fails the test


def test_transactions_on_different_entities_do_not_meet(local: Client) -> None:
    tokens = [begin(local) for _ in range(5)]
    for n, token in enumerate(tokens, 1):
        lookup_in(local, token, local.key("Kind", n))
    for n, token in enumerate(tokens, 1):
        commit_in(local, token, Mutation(insert=entity(local.key("Kind", n))))
    assert len(ids(run(local, query("Kind")))) == 5


@pytest.mark.parametrize("change", ["create", "recreate", "delete"])
def test_an_entity_that_came_or_went_is_a_change(local: Client, change: str) -> None:
    if change != "create":
        put(local, "Kind", 1, n=1)
    token = begin(local)
    lookup_in(local, token, local.key("Kind", 1))
    if change != "create":
        delete(local, "Kind", 1)
    if change != "delete":
        put(local, "Kind", 1, n=2)
    with pytest.raises(Aborted):
        write_anything(local, token)


@pytest.mark.parametrize(
    "message",
    [
        query("Kind", where("n", "=", 5)),
        query("Kind", where("n", ">", 4), order=("n",)),
        query("Kind"),
        query("Kind", both(where("n", "=", 5), where("m", "=", None))),
        query("Kind", project=("__key__",)),
        query(None),
    ],
    ids=["equality", "range", "kind", "two", "keys", "kindless"],
)
def test_a_result_that_a_query_would_now_have_is_a_change(local: Client, message: Any) -> None:
    put(local, "Kind", 1, n=1, m=None)
    token = begin(local)
    run_in(local, token, message)
    put(local, "Kind", 2, n=5, m=None)
    with pytest.raises(Aborted):
        write_anything(local, token)


def test_an_empty_result_of_an_unknown_kind_or_property_is_watched_too(local: Client) -> None:
    for first in ({}, {"other": 1}):
        if first:
            put(local, "Fresh", 1, **first)
        token = begin(local)
        assert ids(run_in(local, token, query("Fresh", where("n", "=", 5)))) == []
        put(local, "Fresh", 2, n=5)
        with pytest.raises(Aborted):
            write_anything(local, token)
        delete(local, "Fresh", 2)


def test_a_change_outside_a_query_is_none(local: Client) -> None:
    put(local, "Kind", 1, n=1)
    token = begin(local)
    run_in(local, token, query("Kind", where("n", "=", 1)))
    put(local, "Kind", 2, n=2)
    put(local, "Other", 1, n=1)
    write_anything(local, token)


@pytest.mark.parametrize(("order", "beyond", "within"), [((), 9, 1), (("n",), 9, 1), (("-n",), 1, 9)])
def test_what_lies_beyond_a_limit_is_not_watched(
    local: Client, order: tuple[str, ...], beyond: int, within: int
) -> None:
    for n in (2, 4, 6, 8):
        put(local, "Kind", n, n=n)
    tokens = [begin(local), begin(local)]
    for token in tokens:
        assert len(ids(run_in(local, token, query("Kind", order=order, limit=1)))) == 1
    put(local, "Kind", beyond, n=beyond)
    write_anything(local, tokens[0])
    put(local, "Kind", within, n=within)
    with pytest.raises(Aborted):
        write_anything(local, tokens[1])


def test_a_result_that_changed_without_leaving_the_query_is_a_change(local: Client) -> None:
    put(local, "Kind", 1, n=1, m=1)
    token = begin(local)
    run_in(local, token, query("Kind", where("n", "=", 1)))
    put(local, "Kind", 1, n=1, m=2)
    with pytest.raises(Aborted):
        write_anything(local, token)


def test_reading_alone_is_never_aborted(local: Client) -> None:
    put(local, "Kind", 1, n=1)
    token = begin(local)
    lookup_in(local, token, local.key("Kind", 1))
    put(local, "Kind", 1, n=2)
    commit_in(local, token)


def test_a_read_only_transaction_sees_its_snapshot(local: Client) -> None:
    put(local, "Kind", 1, n=1)
    token = begin(local, read_only=True)
    put(local, "Kind", 1, n=2)
    assert numbers(lookup_in(local, token, local.key("Kind", 1))) == [1]


def test_a_read_time_shows_the_past(local: Client) -> None:
    put(local, "Kind", 1, n=1)
    request = wire.LookupRequest(project_id=local.project, keys=[local.key("Kind", 1)])
    moment = local.transport.call("Lookup", request).read_time
    put(local, "Kind", 1, n=2)
    put(local, "Kind", 2, n=2)
    past = wire.ReadOptions(read_time=moment)
    assert numbers(local.transport.call("Lookup", wire.LookupRequest(
        project_id=local.project, keys=request.keys, read_options=past))) == [1]  # fmt: skip
    assert ids(run(local, query("Kind"), read_options=past)) == [1]


def test_a_read_time_in_the_future_is_refused(local: Client) -> None:
    future = wire.ReadOptions(read_time=wire.Timestamp(seconds=2**33))
    with pytest.raises(InvalidArgument, match="future"):
        run(local, query("Kind"), read_options=future)


@pytest.mark.parametrize("call", ["lookup", "query", "commit"])
def test_an_unknown_transaction_is_refused(local: Client, call: str) -> None:
    token = begin(local)
    rollback(local, token)
    rollback(local, token)  # no error, as in production
    calls = {
        "lookup": lambda: lookup_in(local, token, local.key("Kind", 1)),
        "query": lambda: run_in(local, token, query("Kind")),
        "commit": lambda: commit_in(local, token),
    }
    with pytest.raises(InvalidArgument):
        calls[call]()


@pytest.mark.parametrize("limit", ["IDLE", "LIFETIME"])
def test_a_transaction_expires(local: Client, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token = begin(local)
    monkeypatch.setattr(transactions, limit, -1.0)
    with pytest.raises(InvalidArgument, match="expired"):
        lookup_in(local, token, local.key("Kind", 1))


def test_the_history_is_pruned_and_older_transactions_are_aborted(
    local: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_BYTES", 10_000)
    put(local, "Kind", 1, n=0)
    token = begin(local)
    for n in range(1, 300):
        put(local, "Kind", 1, n=n, filler="x" * 1000)
    rows = engine._store.read(lambda db: db.execute("SELECT count(*), sum(length(data)) FROM history").fetchone())
    assert rows[0] < 100
    with pytest.raises(Aborted):
        lookup_in(local, token, local.key("Kind", 1))
    with pytest.raises(InvalidArgument, match="read_time"):
        local.transport.call("Lookup", wire.LookupRequest(
            project_id=local.project, keys=[local.key("Kind", 1)],
            read_options=wire.ReadOptions(read_time=wire.Timestamp(seconds=1))))  # fmt: skip


def test_old_history_goes_and_the_present_stays(local: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEEP", 0)
    for n in range(200):
        put(local, "Kind", 1, n=n)
    counts = engine._store.read(lambda db: [
        db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("history", "old_entries")])  # fmt: skip
    assert max(counts) <= 2 * history.EVERY
    assert ids(run(local, query("Kind", where("n", "=", 199)))) == [1]
