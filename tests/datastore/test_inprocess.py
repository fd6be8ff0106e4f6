"""The in-process channel behaves as a grpc.Channel, and both channels count their calls."""

import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from gaeport import meter
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.datastore.inprocess import InProcessChannel, metered
from gaeport.datastore.server import serve
from gaeport.datastore.transport import GrpcTransport
from gaeport.errors import InvalidArgument, NotFound
from tests.datastore.build import entity

LOOKUP = "/google.datastore.v1.Datastore/Lookup"


@pytest.fixture
def channel(engine: Engine) -> InProcessChannel:
    return InProcessChannel(engine)


def lookup_method(channel: Any) -> Any:
    return channel.unary_unary(
        LOOKUP, wire.LookupRequest.SerializeToString, wire.LookupResponse.FromString, _registered_method=True
    )


def good() -> Any:
    return wire.LookupRequest(project_id="project")


def test_a_call_answers(channel: InProcessChannel) -> None:
    method = lookup_method(channel)
    assert method(good(), timeout=1, metadata=()).read_time.seconds > 0
    response, call = method.with_call(good())
    assert (call.code(), call.details(), list(call.trailing_metadata())) == (grpc.StatusCode.OK, "", [])
    assert isinstance(response, wire.LookupResponse)


def test_a_future_is_done_and_tells_its_callbacks(channel: InProcessChannel) -> None:
    future = lookup_method(channel).future(good())
    told: list[Any] = []
    future.add_done_callback(told.append)
    assert told == [future]
    assert future.done()
    assert not future.running()
    assert not future.cancel()
    assert future.exception() is None
    assert future.result(timeout=1) is not None


def test_an_error_is_a_call_and_a_future(channel: InProcessChannel) -> None:
    method = lookup_method(channel)
    with pytest.raises(grpc.RpcError) as caught:
        method(wire.LookupRequest())
    error = caught.value
    assert isinstance(error, grpc.Call)
    assert isinstance(error, grpc.Future)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "project" in error.details()
    future = method.future(wire.LookupRequest())
    assert future.exception().code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError):
        future.result()


def test_an_unknown_method_is_unimplemented(channel: InProcessChannel) -> None:
    for path in ("/google.datastore.v1.Datastore/Other", "/another.Service/Lookup"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_pass_where_no_serializer_is_given(channel: InProcessChannel) -> None:
    answer = channel.unary_unary(LOOKUP)(good().SerializeToString())
    assert wire.LookupResponse.FromString(answer).HasField("read_time")


def test_a_closed_channel_refuses_calls_and_leaves_the_engine_open(engine: Engine) -> None:
    with InProcessChannel(engine) as channel:
        method = lookup_method(channel)
    with pytest.raises(grpc.RpcError) as caught:
        method(good())
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    engine.call("Lookup", good())


def test_interceptors_and_readiness_work(channel: InProcessChannel) -> None:
    grpc.channel_ready_future(channel).result(timeout=5)
    assert lookup_method(metered(channel))(good()) is not None


@pytest.fixture
def served(engine: Engine) -> Iterator[Any]:
    server, port = serve(engine, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


def test_the_engine_is_served_over_grpc(served: Any) -> None:
    client = Client(GrpcTransport(served), project="project")
    client.commit([wire.Mutation(insert=entity(client.key("Kind", 1), n=1))])
    found = client.lookup([client.key("Kind", 1), client.key("Kind", 2)])
    assert [bool(item) for item in found] == [True, False]
    with pytest.raises(NotFound):
        client.commit([wire.Mutation(update=entity(client.key("Kind", 2)))])
    with pytest.raises(InvalidArgument):
        client.transport.call("Lookup", wire.LookupRequest())


def test_calls_of_a_real_channel_are_counted_where_they_were_made(served: Any) -> None:
    channel = metered(served)
    client = Client(GrpcTransport(channel), project="project")
    with meter.measure() as counted:
        client.commit(
            [wire.Mutation(delete=client.key("Kind", 1)), wire.Mutation(upsert=entity(client.key("Kind", 2)))]
        )
        client.lookup([client.key("Kind", 1), client.key("Kind", 2)])
        with pytest.raises(NotFound):
            client.commit([wire.Mutation(update=entity(client.key("Kind", 3)))])
        pending = [lookup_method(channel).future(good()) for _ in range(3)]
        futures.wait([_as_future(call) for call in pending], timeout=10)
    assert counted.calls == {"Commit": 2, "Lookup": 4}
    assert counted.units == {"datastore.delete": 1, "datastore.write": 1, "datastore.read": 2}
    assert counted.seconds > 0


def _as_future(call: Any) -> "futures.Future[Any]":
    # gRPC's futures run their callbacks in order: when ours runs, the counting one has run.
    made: futures.Future[Any] = futures.Future()
    call.add_done_callback(lambda done: made.set_result(done))
    return made


def test_latency_is_added_to_each_call(channel: InProcessChannel) -> None:
    with meter.measure() as counted:
        lookup_method(metered(channel, latency_ms=30))(good())
    assert counted.seconds >= 0.03


class _Meeting:
    """A transport whose calls wait for one another: they end only if they run at once."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    def call(self, method: str, request: Any) -> Any:
        self._barrier.wait(timeout=30)
        meter.record(method, 0.0)
        return wire.LookupResponse()


def test_futures_of_a_concurrent_channel_are_answered_at_once() -> None:
    with InProcessChannel(_Meeting(3), concurrent=True) as channel, meter.measure() as counted:
        pending = [lookup_method(channel).future(good()) for _ in range(3)]
        futures.wait([_as_future(call) for call in pending], timeout=30)
        assert [call.result(timeout=30) for call in pending] == [wire.LookupResponse()] * 3
        assert {call.code() for call in pending} == {grpc.StatusCode.OK}
    assert counted.calls == {"Lookup": 3}


def test_a_future_of_a_concurrent_channel_hands_out_its_error(engine: Engine) -> None:
    with InProcessChannel(engine, concurrent=True) as channel:
        pending = lookup_method(channel).future(wire.LookupRequest())
        with pytest.raises(grpc.RpcError) as caught:
            pending.result(timeout=30)
        assert pending.code() is caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert pending.exception(timeout=30) is caught.value
        assert pending.done()
        assert not pending.cancelled()
