"""gRPC over HTTP/2, unary calls (source: "gRPC over HTTP2", doc/PROTOCOL-HTTP2.md of gRPC): from a stream to a request
message and from an answer, or a status, to what is sent."""

import time
import zlib
from functools import cache
from urllib.parse import quote

from gaeport.datastore.http2 import Connection, Stream

# The numbers of the status codes; source: grpc/status.h.
CODES = {
    name: number
    for number, name in enumerate(
        (
            *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
            *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
            *("UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
        )
    )
}
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}  # of grpc-timeout, in seconds
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}  # as zlib takes them, for each grpc-encoding
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_PREFIX = 5  # bytes before a message: whether it is compressed, and its length


class CallError(Exception):
    """A call that cannot be understood; `code` is the name of its status."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def deadline(stream: Stream) -> float | None:
    """Return when the client gives up, in seconds of `time.monotonic()`, or None.

    Raises:
        CallError: the client's timeout cannot be read.
    """
    timeout = stream.headers.get(b"grpc-timeout")
    if timeout is None:
        return None
    if not timeout[:-1].isdigit() or timeout[-1:] not in _UNITS:
        raise CallError("INTERNAL", f"the timeout {timeout!r} cannot be read")
    return stream.arrived + int(timeout[:-1]) * _UNITS[timeout[-1:]]


def check_deadline(stream: Stream) -> None:
    """Refuse a call whose client has given up: nothing may happen behind its back.

    Raises:
        CallError: DEADLINE_EXCEEDED.
    """
    end = deadline(stream)
    if end is not None and end <= time.monotonic():
        raise CallError("DEADLINE_EXCEEDED", "the deadline had passed before the call began")


def message(stream: Stream) -> bytes:
    """Return the one message of a request.

    Raises:
        CallError: there is none, or more than one, or it is compressed in an unknown way.
    """
    body = stream.body[0] if len(stream.body) == 1 else b"".join(stream.body)
    if len(body) < _PREFIX or len(body) != _PREFIX + int.from_bytes(body[1:_PREFIX], "big"):
        raise CallError("INTERNAL", "the request is not one whole message")
    if not body[0]:
        return body[_PREFIX:]
    encoding = stream.headers.get(b"grpc-encoding", b"")
    if encoding not in _WINDOW_BITS:
        raise CallError("UNIMPLEMENTED", f"the request is compressed by {encoding!r}; gzip and deflate are known")
    try:
        return zlib.decompress(body[_PREFIX:], _WINDOW_BITS[encoding])
    except zlib.error as error:
        raise CallError("INTERNAL", f"the request cannot be decompressed: {error}") from error


def is_grpc(stream: Stream) -> bool:
    """Whether the stream is a gRPC call at all."""
    return stream.headers.get(b"content-type", b"").startswith(b"application/grpc")


def answer(connection: Connection, stream: Stream, response: bytes) -> None:
    """Send a response message with status OK."""
    body = b"\x00" + len(response).to_bytes(4, "big") + response
    connection.answer(stream, _block((":status", "200"), _CONTENT_TYPE), body, _block(("grpc-status", "0")))


def refuse(connection: Connection, stream: Stream, code: str, text: str) -> None:
    """Send a status, by name, in place of an answer."""
    status = ("grpc-status", str(CODES[code]))
    told = ("grpc-message", quote(text, safe=_PRINTABLE))
    connection.answer(stream, b"", b"", _encoded((":status", "200"), _CONTENT_TYPE, _ACCEPTED, status, told))


def refuse_http(connection: Connection, stream: Stream) -> None:
    """Answer what is no gRPC call, as the protocol wants it: 415, unsupported media type."""
    connection.answer(stream, b"", b"", _block((":status", "415")))


_CONTENT_TYPE = ("content-type", "application/grpc")
_ACCEPTED = ("grpc-accept-encoding", "identity,deflate,gzip")


@cache
def _block(*headers: tuple[str, str]) -> bytes:
    return _encoded(*headers)


def _encoded(*headers: tuple[str, str]) -> bytes:
    """Return a header block that leaves the peer's table as it is, so that threads can send in any order."""
    from hpack import Encoder, NeverIndexedHeaderTuple

    return bytes(Encoder().encode([NeverIndexedHeaderTuple(*header) for header in headers], huffman=False))
