"""Pessimistic concurrency: writes wait for the transactions that have read what they change."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine, locks
from gaeport.datastore.server import serve
from gaeport.datastore.transport import GrpcTransport
from gaeport.errors import Aborted, DatastoreError
from tests.datastore.build import begin, commit_in, entity, lookup_in, query, rollback, run, where


@pytest.fixture
def client() -> Iterator[Client]:
    engine = Engine(None, concurrency="pessimistic")
    yield Client(engine, project="project")
    engine.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT", 0.05)


def put(client: Client, number: int, n: int) -> Any:
    return wire.Mutation(upsert=entity(client.key("Kind", number), n=n))


def outcome(work: Callable[[], object]) -> Callable[[], str]:
    """Begin something in a thread; return what waits for it and tells how it ended."""
    ended: list[str] = []

    def run_it() -> None:
        try:
            work()
            ended.append("done")
        except DatastoreError as error:
            ended.append(error.code)

    thread = threading.Thread(target=run_it)
    thread.start()

    def wait() -> str:
        thread.join(20)
        return ended[0]

    return wait


@pytest.mark.usefixtures("impatient")
def test_a_write_of_what_a_transaction_has_read_is_aborted_and_the_transaction_goes_on(client: Client) -> None:
    client.commit([put(client, 1, 1)])
    token = begin(client)
    lookup_in(client, token, client.key("Kind", 1))
    with pytest.raises(Aborted, match="contention"):
        client.commit([put(client, 1, 2)])
    commit_in(client, token, put(client, 1, 3))
    client.commit([put(client, 1, 4)])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("number", "n", "expected"), [(2, 5, "ABORTED"), (2, 0, "done"), (1, 0, "ABORTED"), (3, 9, "done")]
)
def test_what_a_query_has_read_is_locked_its_gaps_too(client: Client, number: int, n: int, expected: str) -> None:
    client.commit([put(client, 1, 5), put(client, 3, 9)])
    token = begin(client)
    run(client, query("Kind", where("n", "=", 5)), read_options=wire.ReadOptions(transaction=token))
    assert outcome(lambda: client.commit([put(client, number, n)]))() == expected


def test_a_write_goes_on_when_the_transaction_is_over(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    engine: Any = client.transport
    wait_for_end = engine._transactions.wait_for_end

    def noted(*arguments: Any) -> bool:
        waiting.set()
        return bool(wait_for_end(*arguments))

    monkeypatch.setattr(engine._transactions, "wait_for_end", noted)
    monkeypatch.setattr(locks, "WAIT", 20)
    for finish in (rollback, commit_in):
        token = begin(client)
        lookup_in(client, token, client.key("Kind", 1))
        ended = outcome(lambda: client.commit([put(client, 1, 2)]))
        assert waiting.wait(20)
        finish(client, token)
        assert ended() == "done"
        waiting.clear()


def test_of_two_that_wait_for_each_other_one_is_committed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT", 20)
    tokens = [begin(client), begin(client)]
    for token in tokens:
        lookup_in(client, token, client.key("Kind", 1))
    found = [outcome(partial(commit_in, client, token, put(client, 1, 1))) for token in tokens]
    assert sorted(wait() for wait in found) == ["ABORTED", "done"]


def test_calls_of_one_connection_may_wait_for_each_other(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT", 20)
    server, port = serve(client.transport, "127.0.0.1", 0, commits_wait=True)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        remote = Client(GrpcTransport(channel), project="project")
        token = begin(remote)
        lookup_in(remote, token, remote.key("Kind", 1))
        waiting = outcome(lambda: remote.commit([put(remote, 1, 1)]))
        lookup_in(remote, token, remote.key("Kind", 2))
        rollback(remote, token)
        assert waiting() == "done"
    server.stop(None)


def test_read_only_transactions_lock_nothing(client: Client) -> None:
    token = begin(client, read_only=True)
    lookup_in(client, token, client.key("Kind", 1))
    client.commit([put(client, 1, 1)])
