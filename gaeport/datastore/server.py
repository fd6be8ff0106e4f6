"""A gRPC server around any transport: clients in other programs reach it through DATASTORE_EMULATOR_HOST."""

import logging
import signal
import threading
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any

from gaeport.datastore import wire
from gaeport.datastore.transport import SERVICE, Transport
from gaeport.errors import ConfigurationError, DatastoreError

if TYPE_CHECKING:
    import grpc

GRACE = 5.0  # seconds that running calls have to end when the server stops
_THREADS = 16  # calls answered at once; each is short, and none waits for another's transaction
_LONGEST = 2000  # characters of an error's text: it travels in a header, and clients refuse headers over 8 KiB
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # else a second server would share the port unnoticed
]

_log = logging.getLogger("gaeport")


def serve(transport: Transport, host: str, port: int) -> "tuple[grpc.Server, int]":
    """Start a server.

    Args:
        transport: what answers, such as the embedded engine; it stays open when the server stops.
        host: the address to listen on.
        port: the port; 0 takes a free one.

    Returns:
        The started server (`stop(grace)` ends it) and its port.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    import grpc

    server = grpc.server(futures.ThreadPoolExecutor(_THREADS, "gaeport-datastore"), options=_OPTIONS)
    methods = {method: _handler(transport, method) for method in wire.METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    try:
        bound = server.add_insecure_port(_address(host, port))
    except RuntimeError:
        bound = 0
    if not bound:
        raise ConfigurationError(
            f"cannot listen on port {port} of {host}: it is in use, or the address is not this machine's; "
            "choose another --port or --host"
        )
    server.start()
    return server, bound


def run(transport: Transport, host: str, port: int, ready: Callable[[str], object]) -> int:
    """Serve until SIGINT or SIGTERM; the calls that run then have 5 seconds to end.

    Args:
        transport: what answers.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        ready: called with "host:port" once the server answers.

    Returns:
        The exit code, 0.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server, bound = serve(transport, host, port)
        ready(_address(host, bound))
        stopped.wait()
        server.stop(GRACE).wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _handler(transport: Transport, method: str) -> "grpc.RpcMethodHandler[Any, Any]":
    import grpc

    def answer(request: Any, context: Any) -> Any:
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:  # the client has given up; nothing may happen behind its back
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline had passed before the call began")
        try:
            return transport.call(method, request)
        except DatastoreError as error:
            context.abort(grpc.StatusCode[error.code], error.message[:_LONGEST])
        except Exception as error:  # noqa: BLE001  # the client gets a status; the traceback goes to the server's log
            _log.exception("the embedded Datastore failed at %s", method)
            context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"[:_LONGEST])

    parse: Callable[[bytes], Any] = wire.request_class(method).FromString
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=parse, response_serializer=lambda response: response.SerializeToString()
    )
