"""A stand-in for Cloud Logging's gRPC service, which accepts, refuses, hangs or dies when told so."""

import threading
from concurrent import futures
from typing import Any, Literal

import grpc

Mood = Literal["accept", "refuse", "hang", "error"]


class LoggingServer:
    """`google.logging.v2.LoggingServiceV2/WriteLogEntries` on 127.0.0.1.

    Attributes:
        mood: what it does with calls.
        entries: what was accepted, by insert id; a repeated one replaces the first, as in Cloud Logging.
        calls: how many calls arrived.
    """

    def __init__(self, port: int = 0) -> None:
        self.mood: Mood = "accept"
        self.entries: dict[str, Any] = {}
        self.calls = 0
        self.arrived = threading.Event()
        self._release = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def client(self) -> Any:
        """Return google-cloud-logging's client on a channel to this server."""
        from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
        from google.cloud.logging_v2.services.logging_service_v2.transports import LoggingServiceV2GrpcTransport

        channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        return LoggingServiceV2Client(transport=LoggingServiceV2GrpcTransport(channel=channel))

    def stop(self) -> None:
        """Die; calls that hang end."""
        self.mood = "error"
        stopped = self._server.stop(0)
        self._release.set()
        stopped.wait(10)

    def _handlers(self) -> Any:
        from google.cloud.logging_v2.types import WriteLogEntriesRequest, WriteLogEntriesResponse

        method = grpc.unary_unary_rpc_method_handler(
            self._write,
            request_deserializer=WriteLogEntriesRequest.deserialize,
            response_serializer=WriteLogEntriesResponse.serialize,
        )
        return grpc.method_handlers_generic_handler("google.logging.v2.LoggingServiceV2", {"WriteLogEntries": method})

    def _write(self, request: Any, context: grpc.ServicerContext) -> Any:
        from google.cloud.logging_v2.types import WriteLogEntriesResponse

        self.calls += 1
        self.arrived.set()
        if self.mood == "hang":
            self._release.wait(30)
        if self.mood == "refuse":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no permission")
        if self.mood == "error":
            context.abort(grpc.StatusCode.UNAVAILABLE, "try later")
        for entry in request.entries:
            self.entries[entry.insert_id] = entry
        return WriteLogEntriesResponse()
