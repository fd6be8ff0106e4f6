"""One HTTP/2 connection, as far as a server of unary calls needs it (RFC 9113): frames, settings, flow control.

grpcio's server passes each call through three threads and takes longer for that than the engine for the answer; here
the thread that reads a request may answer it. Header blocks are hpack's business.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR = 0, 1, 3, 6, 9
_DATA, _HEADERS, _PRIORITY_FRAME, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE = range(9)
_CONTINUATION = 9
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_MAX_CONCURRENT_STREAMS, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 3, 4, 5

_WINDOW = (1 << 31) - 1  # bytes; the largest window there is, since requests are small or limited by the engine
_DEFAULT_WINDOW = 65_535
_GIVE_BACK = 1 << 20  # bytes received, after which the connection's window is opened again by as much
_FRAME_IN = 1 << 20  # bytes of a frame that is taken: fewer frames in large commits
_FRAME_OUT = 16_384  # bytes of a frame that every peer takes
_STREAMS = 1000  # calls at once on one connection; the client lets others wait
_HEADER_BLOCK = 1 << 16  # bytes, compressed
_KNOWN_BLOCKS = 64
_RECEIVE = 1 << 16
_PATIENCE = 0.5  # seconds


class Http2Error(Exception):
    """The peer broke the protocol; `code` is the error code of its GOAWAY."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Stream:
    """One request, and the way back.

    Attributes:
        id: the number of the stream.
        headers: the request's, by lower-case name.
        body: what was received.
        arrived: when the headers came, in seconds of `time.monotonic()`.
        cancelled: whether the client has given up.
    """

    __slots__ = ("arrived", "body", "cancelled", "headers", "id", "rest", "trailers", "window")

    def __init__(self, number: int, headers: dict[bytes, bytes], window: int) -> None:
        self.id = number
        self.headers = headers
        self.body: list[bytes] = []
        self.arrived = time.monotonic()
        self.cancelled = False
        self.window = window
        self.rest = memoryview(b"")  # of the answer's body, until the client's window opens
        self.trailers = b""


class Connection:
    """A connection: `serve` reads from it, `answer` may be called by any thread."""

    def __init__(self, sock: socket.socket, ready: Callable[["Connection", list[Stream]], None]) -> None:
        """Take over a connected socket.

        Args:
            sock: the socket.
            ready: called by `serve` with the requests that have come in completely, in order.
        """
        from hpack import Decoder

        self._sock = sock
        self._ready = ready
        self._decoder: Any = Decoder()
        self._known_blocks: dict[bytes, dict[bytes, bytes]] = {}
        self._streams: dict[int, Stream] = {}
        self._last = 0  # the highest stream number that the client has used
        self._open_block: tuple[int, int, bytearray] | None = None  # of a header block that CONTINUATION goes on with
        self._received = 0  # bytes since the connection's window was opened last
        self._complete: list[Stream] = []
        self._sending = threading.Lock()  # held for what follows, and while writing to the socket
        self._window = _DEFAULT_WINDOW  # of the connection, bytes that may be sent
        self._first_window = _DEFAULT_WINDOW  # of each new stream
        self._waiting: dict[int, Stream] = {}  # answers that did not fit the windows

    def serve(self) -> None:
        """Read until the peer or `close` ends the connection."""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._greet()
            self._read()
        except Http2Error as error:
            self.go_away(error.code)
        except OSError:
            pass  # the peer is gone, and with it all who wait for an answer
        finally:
            with self._sending:
                for stream in self._streams.values():
                    stream.cancelled = True
            self.close()
            self._sock.close()

    def answer(self, stream: Stream, head: bytes, body: bytes, trailers: bytes) -> None:
        """Send a whole answer: two header blocks, and between them a body if there is one.

        Args:
            stream: the request.
            head: the first header block, b"" where the trailers are all there is.
            body: the bytes between; may wait for the client to open its windows.
            trailers: the last header block.
        """
        start = _frame(_HEADERS, _END_HEADERS, stream.id, head) if head else b""
        with self._sending:
            if stream.cancelled:
                return
            if not body or len(body) <= min(_FRAME_OUT, stream.window, self._window):
                self._window -= len(body)
                self._streams.pop(stream.id, None)
                middle = _frame(_DATA, 0, stream.id, body) if body else b""
                self._send(start + middle + _end(stream.id, trailers))
                return
            self._send(start)
            stream.rest, stream.trailers = memoryview(body), trailers
            self._waiting[stream.id] = stream
            self._send_waiting()

    def go_away(self, code: int = NO_ERROR) -> None:
        """Tell the client to begin nothing new here; one that does not read what it was sent is not told."""
        if not self._sending.acquire(timeout=_PATIENCE):
            return
        try:
            self._send(_frame(_GOAWAY, 0, 0, struct.pack(">II", self._last, code)))
        finally:
            self._sending.release()

    def close(self) -> None:
        """End the connection; `serve` returns."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def _greet(self) -> None:
        wanted = ((_MAX_CONCURRENT_STREAMS, _STREAMS), (_INITIAL_WINDOW_SIZE, _WINDOW), (_MAX_FRAME_SIZE, _FRAME_IN))
        settings = b"".join(struct.pack(">HI", name, number) for name, number in wanted)
        opened = struct.pack(">I", _WINDOW - _DEFAULT_WINDOW)
        with self._sending:
            self._send(_frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, opened))

    def _read(self) -> None:
        buffer = bytearray()
        greeted = False
        while True:
            data = self._sock.recv(_RECEIVE)
            if not data:
                return
            buffer += data
            if not greeted:
                if not PREFACE.startswith(bytes(buffer[: len(PREFACE)])):
                    raise Http2Error(PROTOCOL_ERROR, "no HTTP/2 preface")
                if len(buffer) < len(PREFACE):
                    continue
                del buffer[: len(PREFACE)]
                greeted = True
            self._take_frames(buffer)
            if self._received >= _GIVE_BACK:
                with self._sending:
                    self._send(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
                self._received = 0
            complete, self._complete = [stream for stream in self._complete if not stream.cancelled], []
            if complete:
                self._ready(self, complete)

    def _take_frames(self, buffer: bytearray) -> None:
        """Take all whole frames from the start of what was received."""
        position = 0
        while len(buffer) - position >= 9:
            length = int.from_bytes(buffer[position : position + 3], "big")
            if length > _FRAME_IN:
                raise Http2Error(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = position + 9 + length
            if len(buffer) < end:
                break
            number = int.from_bytes(buffer[position + 5 : position + 9], "big") & _WINDOW
            self._take(buffer[position + 3], buffer[position + 4], number, bytes(buffer[position + 9 : end]))
            position = end
        del buffer[:position]

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._open_block is not None and (kind != _CONTINUATION or number != self._open_block[0]):
            raise Http2Error(PROTOCOL_ERROR, "a header block was interrupted")
        if kind == _HEADERS:
            self._take_headers(flags, number, payload)
        elif kind == _DATA:
            self._take_data(flags, number, payload)
        elif kind == _WINDOW_UPDATE:
            self._take_window(number, payload)
        elif kind == _PING:
            if not flags & _ACK:
                with self._sending:
                    self._send(_frame(_PING, _ACK, 0, _exactly(payload, 8)))
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._take_settings(payload)
        elif kind == _RST_STREAM:
            self._cancel(number)
        elif kind == _CONTINUATION:
            self._continue_block(flags, payload)
        elif kind == _PUSH_PROMISE:
            raise Http2Error(PROTOCOL_ERROR, "a client cannot push")
        # PRIORITY, GOAWAY (the client closes when its calls are over) and unknown frames mean nothing here.

    def _take_headers(self, flags: int, number: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise Http2Error(PROTOCOL_ERROR, f"a request on stream {number}")
        payload = _unpadded(flags, payload)
        if flags & _PRIORITY:
            payload = payload[5:]
        if flags & _END_HEADERS:
            self._take_block(flags, number, payload)
        else:
            self._open_block = (number, flags, bytearray(payload))

    def _continue_block(self, flags: int, payload: bytes) -> None:
        if self._open_block is None:
            raise Http2Error(PROTOCOL_ERROR, "a CONTINUATION that continues nothing")
        number, first_flags, block = self._open_block
        block += payload
        if len(block) > _HEADER_BLOCK:
            raise Http2Error(PROTOCOL_ERROR, "a header block without end")
        if flags & _END_HEADERS:
            self._open_block = None
            self._take_block(first_flags, number, bytes(block))

    def _take_block(self, flags: int, number: int, block: bytes) -> None:
        headers = self._known_blocks.get(block)
        if headers is None:
            headers = self._decoded(block)
        if number > self._last:
            self._last = number
            with self._sending:
                self._streams[number] = Stream(number, headers, self._first_window)
        elif number not in self._streams:
            return  # of a call that is over
        if flags & _END_STREAM:
            self._complete.append(self._streams[number])

    def _decoded(self, block: bytes) -> dict[bytes, bytes]:
        from hpack import HPACKError

        before = self._table()
        try:
            headers = dict(self._decoder.decode(block, raw=True))
        except HPACKError as error:
            raise Http2Error(COMPRESSION_ERROR, str(error)) from error
        # A block that leaves the table as it is means the same until another comes that does not. Most calls of a
        # client have such a block, and decoding one takes longer than a lookup.
        if self._table() != before or len(self._known_blocks) == _KNOWN_BLOCKS:
            self._known_blocks.clear()
        else:
            self._known_blocks[block] = headers
        return headers

    def _table(self) -> tuple[int, int, object]:
        """Return what differs when something was added to hpack's table or removed from it."""
        entries = self._decoder.header_table.dynamic_entries
        newest = entries[0] if entries else None
        return len(entries), id(newest), newest

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._received += len(payload)
        stream = self._streams.get(number)
        if stream is None:
            if number > self._last or number == 0:
                raise Http2Error(PROTOCOL_ERROR, f"data on stream {number}, which is idle")
            return  # of a call that is over
        stream.body.append(_unpadded(flags, payload))
        if flags & _END_STREAM:
            self._complete.append(stream)

    def _take_settings(self, payload: bytes) -> None:
        if len(payload) % 6:
            raise Http2Error(FRAME_SIZE_ERROR, "settings of a strange size")
        with self._sending:
            for name, number in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW_SIZE:
                    if number > _WINDOW:
                        raise Http2Error(FLOW_CONTROL_ERROR, f"a window of {number} bytes")
                    for stream in self._streams.values():
                        stream.window += number - self._first_window
                    self._first_window = number
            self._send(_frame(_SETTINGS, _ACK, 0, b""))
            self._send_waiting()

    def _take_window(self, number: int, payload: bytes) -> None:
        more = int.from_bytes(_exactly(payload, 4), "big") & _WINDOW
        with self._sending:
            if number == 0:
                self._window += more
            elif number in self._streams:
                self._streams[number].window += more
            if self._window > _WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, f"a window of {self._window} bytes")
            self._send_waiting()

    def _cancel(self, number: int) -> None:
        with self._sending:
            stream = self._streams.pop(number, None)
            self._waiting.pop(number, None)
            if stream is not None:
                stream.cancelled = True

    def _send_waiting(self) -> None:
        """Send of the answers that wait what the windows allow; called with the lock."""
        for stream in list(self._waiting.values()):
            if self._window <= 0:
                return
            parts = []
            while stream.rest and (size := min(_FRAME_OUT, stream.window, self._window, len(stream.rest))) > 0:
                parts.append(_frame(_DATA, 0, stream.id, bytes(stream.rest[:size])))
                stream.rest = stream.rest[size:]
                stream.window -= size
                self._window -= size
            if not stream.rest:
                del self._waiting[stream.id]
                self._streams.pop(stream.id, None)
                parts.append(_end(stream.id, stream.trailers))
            if parts:
                self._send(b"".join(parts))

    def _send(self, data: bytes) -> None:
        """Write to the socket; called with the lock. What nobody reads any more is dropped."""
        try:
            self._sock.sendall(data)
        except OSError:
            self.close()


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 0xFF, kind, flags, number) + payload


def _end(number: int, trailers: bytes) -> bytes:
    return _frame(_HEADERS, _END_HEADERS | _END_STREAM, number, trailers)


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Error(PROTOCOL_ERROR, "more padding than there is in the frame")
    return payload[1 : len(payload) - payload[0]]


def _exactly(payload: bytes, size: int) -> bytes:
    if len(payload) != size:
        raise Http2Error(FRAME_SIZE_ERROR, f"{len(payload)} bytes in place of {size}")
    return payload
