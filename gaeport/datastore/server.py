"""A gRPC server around any transport, for Datastore clients in other programs."""

from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any

from gaeport.datastore import wire
from gaeport.datastore.transport import SERVICE, Transport
from gaeport.errors import ConfigurationError, DatastoreError

if TYPE_CHECKING:
    import grpc

_THREADS = 16
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]


def serve(transport: Transport, host: str, port: int) -> "tuple[grpc.Server, int]":
    """Start a server.

    Args:
        transport: what answers, such as the embedded engine.
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
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}; choose another --port") from error
    if not bound:
        raise ConfigurationError(f"cannot listen on {host}:{port}; choose another --port")
    server.start()
    return server, bound


def _handler(transport: Transport, method: str) -> "grpc.RpcMethodHandler[Any, Any]":
    import grpc

    def answer(request: Any, context: Any) -> Any:
        try:
            return transport.call(method, request)
        except DatastoreError as error:
            context.abort(grpc.StatusCode[error.code], error.message)

    parse: Callable[[bytes], Any] = wire.request_class(method).FromString
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=parse, response_serializer=lambda response: response.SerializeToString()
    )
