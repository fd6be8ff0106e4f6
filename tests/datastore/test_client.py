"""The thin client against servers that fail, defer and answer in parts."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client, Found, key_bytes
from gaeport.datastore.transport import GrpcTransport
from gaeport.errors import Aborted, Cancelled, DatastoreError, Internal, InvalidArgument, Unavailable
from tests.datastore.build import entity, query


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


class Scripted:
    """A transport that answers from a list; an error in it is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Any] = []

    def call(self, method: str, request: Any) -> Any:
        self.requests.append((method, request))
        answer = self.answers.pop(0)
        if isinstance(answer, DatastoreError):
            raise answer
        return answer(request) if callable(answer) else answer


def client_of(*answers: Any) -> tuple[Client, Scripted]:
    transport = Scripted(*answers)
    return Client(transport, project="project"), transport


def all_found(request: Any) -> Any:
    response = wire.LookupResponse()
    for key in request.keys:
        response.found.add(version=1).entity.CopyFrom(entity(key))
    return response


def test_reads_are_repeated_after_errors_that_a_repeat_can_cure() -> None:
    client, transport = client_of(Aborted("x"), Unavailable("x"), Internal("x"), all_found)
    assert isinstance(client.lookup([client.key("Kind", 1)])[0], Found)
    assert len(transport.requests) == 4


def test_reads_give_up_after_five_attempts() -> None:
    client, transport = client_of(*[Unavailable("x")] * 9)
    with pytest.raises(Unavailable):
        client.lookup([client.key("Kind", 1)])
    assert len(transport.requests) == 5


@pytest.mark.parametrize("error", [Aborted("x"), Unavailable("x")])
def test_commits_are_never_repeated(error: DatastoreError) -> None:
    client, transport = client_of(error)
    with pytest.raises(type(error)):
        client.commit([wire.Mutation(delete=client.key("Kind", 1))])
    assert len(transport.requests) == 1


def test_other_errors_pass_at_once() -> None:
    client, transport = client_of(InvalidArgument("x"))
    with pytest.raises(InvalidArgument):
        list(client.query(query("Kind")))
    assert len(transport.requests) == 1


def test_deferred_keys_are_looked_up_again() -> None:
    def half(request: Any) -> Any:
        response = wire.LookupResponse(deferred=request.keys[1:])
        response.found.add(version=1).entity.CopyFrom(entity(request.keys[0]))
        return response

    client, transport = client_of(half, half, all_found)
    found = client.lookup([client.key("Kind", n) for n in (1, 2, 3)])
    assert [item and item.entity.key.path[0].id for item in found] == [1, 2, 3]
    assert len(transport.requests) == 3


def test_a_query_goes_on_until_all_batches_came() -> None:
    def batch(count: int, more: int) -> Callable[[Any], Any]:
        def answer(request: Any) -> Any:
            response = wire.RunQueryResponse()
            response.batch.more_results = more
            response.batch.end_cursor = b"end"
            response.batch.skipped_results = min(request.query.offset, 2)
            for n in range(count):
                response.batch.entity_results.add().entity.key.path.add(kind="Kind", id=n + 1)
            return response

        return answer

    client, transport = client_of(batch(0, wire.NOT_FINISHED), batch(3, wire.NOT_FINISHED), batch(2, 3))
    assert len(list(client.query(query("Kind", offset=4, limit=5)))) == 5
    sent = [(r.query.offset, r.query.limit.value, r.query.start_cursor) for _, r in transport.requests]
    assert sent == [(4, 5, b""), (2, 5, b"end"), (0, 2, b"end")]


def test_equal_keys_have_equal_bytes_whatever_their_partition() -> None:
    one, other = Client(None, project="a").key("K", 1), Client(None, project="b").key("K", 1)  # type: ignore[arg-type]  # keys need no transport
    named = Client(None, project="a").key("K", "1")  # type: ignore[arg-type]  # keys need no transport
    assert key_bytes(one) == key_bytes(other) != key_bytes(named)


def test_a_channel_that_was_closed_meanwhile_is_a_cancelled_call() -> None:
    import grpc

    channel = grpc.insecure_channel("127.0.0.1:1")
    client = Client(GrpcTransport(channel), project="p")
    channel.close()
    with pytest.raises(Cancelled, match="closed channel"):
        client.commit([])
