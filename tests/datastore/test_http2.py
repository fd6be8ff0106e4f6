"""The server's HTTP/2, met by an implementation of its own (h2), by bytes on the wire, and by gRPC."""

import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from h2 import events
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.datastore.http2 import PREFACE
from gaeport.datastore.server import serve
from gaeport.datastore.transport import SERVICE
from tests.datastore.build import entity

LOOKUP = f"/{SERVICE}/Lookup"
HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", LOOKUP),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


class Peer:
    """A client that sees every frame."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.http = H2Connection()
        self.http.initiate_connection()
        self.flush()
        self.until(events.RemoteSettingsChanged)

    def flush(self) -> None:
        self.socket.sendall(self.http.data_to_send())

    def call(self, body: bytes, headers: list[tuple[str, str]] = HEADERS, **how: Any) -> int:
        number = self.http.get_next_available_stream_id()
        self.http.send_headers(number, headers, **how)
        self.http.send_data(number, body, end_stream=True)
        self.flush()
        return number

    def until(self, *kinds: type) -> list[Any]:
        """Return all events up to the first of these kinds."""
        seen: list[Any] = []
        while not any(isinstance(event, kinds) for event in seen):
            data = self.socket.recv(65_536)
            assert data, f"closed after {seen}"
            seen += self.http.receive_data(data)
            self.flush()
        return seen

    def status(self) -> dict[bytes, bytes]:
        """Return the headers of the next answer, those at its end included."""
        kinds = (events.ResponseReceived, events.TrailersReceived)
        return {
            name: value
            for event in self.until(events.StreamEnded)
            if isinstance(event, kinds)
            for name, value in event.headers or []
        }


@pytest.fixture
def port(engine: Engine) -> Iterator[int]:
    server, port = serve(engine, "127.0.0.1", 0)
    yield port
    server.stop(None)


@pytest.fixture
def peer(port: int) -> Iterator[Peer]:
    made = Peer(port)
    with made.socket:
        yield made


def packed(message: Any) -> bytes:
    data = message.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + bytes(data)


def lookup(*keys: Any) -> bytes:
    return packed(wire.LookupRequest(project_id="project", keys=keys))


def stored(local: Client, size: int) -> Any:
    key = local.key("Kind", "large")
    blob = wire.Value(blob_value=bytes(size), exclude_from_indexes=True)
    local.commit([wire.Mutation(upsert=wire.Entity(key=key, properties={"b": blob}))])
    return key


def received(seen: list[Any]) -> int:
    return sum(len(event.data) for event in seen if isinstance(event, events.DataReceived))


def ended(peer: Peer) -> int:
    """Return the number of the next stream that is answered whole."""
    [number] = [event.stream_id for event in peer.until(events.StreamEnded) if isinstance(event, events.StreamEnded)]
    return int(number or 0)


def test_an_answer_larger_than_the_windows_comes_in_parts(peer: Peer, local: Client) -> None:
    peer.call(lookup(stored(local, 1_000_000)))
    total = 0
    while total < 1_000_000:
        seen = peer.until(events.DataReceived)
        total += received(seen)
        for event in seen:
            if isinstance(event, events.DataReceived):
                peer.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        peer.flush()


def test_an_answer_that_waits_for_its_window_holds_up_no_other(peer: Peer, local: Client) -> None:
    peer.http.update_settings({4: 5000})  # the window of each stream
    peer.flush()
    peer.until(events.SettingsAcknowledged)
    waiting = peer.call(lookup(stored(local, 60_000)))
    assert received(peer.until(events.DataReceived)) == 5000
    other = peer.call(lookup(local.key("Kind", "none")))
    assert ended(peer) == other
    peer.http.increment_flow_control_window(100_000, waiting)
    peer.flush()
    assert ended(peer) == waiting


def test_a_smaller_first_window_counts_for_open_streams_too(peer: Peer, local: Client) -> None:
    peer.http.update_settings({4: 10})
    peer.flush()
    peer.until(events.SettingsAcknowledged)
    number = peer.call(lookup(stored(local, 100)))
    assert received(peer.until(events.DataReceived)) == 10
    peer.http.increment_flow_control_window(1000, number)
    peer.flush()
    assert received(peer.until(events.StreamEnded)) > 100


def test_headers_may_be_padded_split_and_have_a_priority(peer: Peer, local: Client) -> None:
    long = ("x-long", "y" * 40_000)  # needs three frames
    peer.call(lookup(local.key("K", 1)), [*HEADERS, long], priority_weight=20, priority_depends_on=0)
    assert peer.status()[b"grpc-status"] == b"0"
    number = peer.http.get_next_available_stream_id()
    peer.http.send_headers(number, HEADERS)
    peer.http.send_data(number, lookup(local.key("K", 1)), end_stream=True, pad_length=9)
    peer.flush()
    assert peer.status()[b"grpc-status"] == b"0"


def test_header_blocks_are_read_by_the_table_of_their_time(peer: Peer, local: Client) -> None:
    for step in range(6):
        path = LOOKUP if step % 2 else LOOKUP + "Not"
        peer.call(lookup(local.key("K", 1)), [*HEADERS[:2], (":path", path), *HEADERS[3:], ("x-step", str(step // 3))])
        assert peer.status()[b"grpc-status"] == (b"0" if step % 2 else b"12")


def test_a_ping_is_answered_and_unknown_frames_are_ignored(peer: Peer) -> None:
    peer.socket.sendall(struct.pack(">HBBBI", 0, 3, 0xEE, 0, 0) + b"abc")
    peer.http.ping(b"12345678")
    peer.flush()
    [ping] = [event for event in peer.until(events.PingAckReceived) if isinstance(event, events.PingAckReceived)]
    assert ping.ping_data == b"12345678"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ErrorCodes.PROTOCOL_ERROR),
        (PREFACE + struct.pack(">HBBBI", 0x2000, 0, 0, 0, 1), ErrorCodes.FRAME_SIZE_ERROR),  # 2 MiB of data
        (PREFACE + struct.pack(">HBBBI", 0, 1, 0, 0, 1) + b"x", ErrorCodes.PROTOCOL_ERROR),  # data on an idle stream
        (PREFACE + struct.pack(">HBBBI", 0, 0, 9, 4, 1), ErrorCodes.PROTOCOL_ERROR),  # CONTINUATION of nothing
        (PREFACE + struct.pack(">HBBBI", 0, 1, 1, 4, 1) + b"\xff", ErrorCodes.COMPRESSION_ERROR),
        (PREFACE + struct.pack(">HBBBI", 0, 1, 1, 4, 2) + b"\x83", ErrorCodes.PROTOCOL_ERROR),  # an even stream
        (PREFACE + struct.pack(">HBBBI", 0, 5, 4, 0, 0) + b"abcde", ErrorCodes.FRAME_SIZE_ERROR),  # settings
        (PREFACE + struct.pack(">HBBBI", 0, 1, 6, 0, 0) + b"a", ErrorCodes.FRAME_SIZE_ERROR),  # a ping
        (PREFACE + struct.pack(">HBBBI", 0, 0, 5, 4, 1), ErrorCodes.PROTOCOL_ERROR),  # a push
    ],
)
def test_a_broken_protocol_ends_the_connection_with_its_code(port: int, sent: bytes, code: ErrorCodes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(sent)
        data = b""
        while part := sock.recv(65_536):
            data += part
    http = H2Connection()
    http.initiate_connection()
    [end] = [event for event in http.receive_data(data) if isinstance(event, events.ConnectionTerminated)]
    assert end.error_code == code


@pytest.mark.parametrize(
    ("changed", "body", "expected"),
    [
        (("content-type", "text/plain"), b"", {b":status": b"415"}),
        ((":path", "/other/Method"), b"", {b"grpc-status": b"12"}),
        (("grpc-timeout", "0m"), lookup(), {b"grpc-status": b"4"}),
        (("grpc-timeout", "soon"), lookup(), {b"grpc-status": b"13"}),
        (("grpc-encoding", "zstd"), b"\1\0\0\0\1x", {b"grpc-status": b"12"}),
        (("grpc-encoding", "gzip"), b"\1\0\0\0\1x", {b"grpc-status": b"13"}),
        (("te", "trailers"), b"\0\0\0\0\x05x", {b"grpc-status": b"13"}),
        (("te", "trailers"), b"\0\0\0\0\1x", {b"grpc-status": b"13"}),  # no protobuf message
    ],
)
def test_what_is_no_call_gets_its_status(
    peer: Peer, changed: tuple[str, str], body: bytes, expected: dict[bytes, bytes]
) -> None:
    peer.call(body, list((dict(HEADERS) | dict([changed])).items()))
    found = peer.status()
    assert {name: found.get(name) for name in expected} == expected


def test_messages_of_errors_travel_whole(peer: Peer, local: Client) -> None:
    peer.call(lookup(local.key("K", "ä%" * 700)))
    text = peer.status()[b"grpc-message"]
    assert b"%C3%A4%25" in text
    assert text.isascii()


@pytest.mark.parametrize("method", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_understood(port: int, local: Client, method: grpc.Compression) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}", compression=method) as channel:
        call = channel.unary_unary(LOOKUP, None, wire.LookupResponse.FromString)
        request = wire.LookupRequest(project_id="project", keys=[local.key("K", "x" * 900)])
        assert len(call(request.SerializeToString()).missing) == 1


class Slow:
    """Answers when told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.answered: list[str] = []

    def call(self, method: str, request: Any) -> Any:
        if method in ("RunQuery", "Commit"):
            self.begun.set()
            assert self.go_on.wait(20)
        self.answered.append(method)
        return wire.response_class(method)()


def test_a_long_query_holds_up_no_other_call_of_its_connection(local: Client) -> None:
    slow = Slow()
    server, port = serve(slow, "127.0.0.1", 0)
    peer = Peer(port)
    query = peer.call(packed(wire.RunQueryRequest()), [*HEADERS[:2], (":path", f"/{SERVICE}/RunQuery"), *HEADERS[3:]])
    assert slow.begun.wait(20)
    assert peer.call(lookup()) == ended(peer)
    slow.go_on.set()
    assert query == ended(peer)
    peer.socket.close()
    server.stop(None)


def test_a_call_that_was_cancelled_before_it_began_changes_nothing(peer: Peer, local: Client) -> None:
    request = wire.CommitRequest(project_id="project", mode=wire.NON_TRANSACTIONAL)
    request.mutations.add(upsert=entity(local.key("K", 1)))
    number = peer.http.get_next_available_stream_id()
    peer.http.send_headers(number, [*HEADERS[:2], (":path", f"/{SERVICE}/Commit"), *HEADERS[3:]])
    peer.http.send_data(number, packed(request), end_stream=True)
    peer.http.reset_stream(number, ErrorCodes.CANCEL)
    peer.call(lookup(local.key("K", 1)))  # in the same packet
    assert peer.status()[b"grpc-status"] == b"0"
    assert local.lookup([local.key("K", 1)]) == [None]


def test_stopping_waits_for_the_calls_that_run_and_takes_no_more() -> None:
    slow = Slow()
    server, port = serve(slow, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        running = channel.unary_unary(f"/{SERVICE}/Commit", None, None).future(b"", timeout=20)
        assert slow.begun.wait(20)
        stopping = threading.Thread(target=server.stop, args=(20,))
        stopping.start()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=20).close()
            except ConnectionError:
                break
        slow.go_on.set()
        assert running.result() == b""
        stopping.join(20)
    assert not stopping.is_alive()
    assert slow.answered == ["Commit"]


def test_a_client_that_reads_nothing_does_not_keep_the_server_from_stopping(engine: Engine, local: Client) -> None:
    server, port = serve(engine, "127.0.0.1", 0)
    peer = Peer(port)
    peer.http.update_settings({4: 2**31 - 1})
    peer.http.increment_flow_control_window(2**30)
    peer.flush()
    peer.until(events.SettingsAcknowledged)
    key = stored(local, 1_000_000)
    for _ in range(16):  # more than the sockets hold
        peer.call(lookup(key))
    assert server.stop(0.1).is_set()
    peer.socket.close()
