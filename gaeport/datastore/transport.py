"""How a request message reaches a Datastore: in the process, or over gRPC; counted and, by choice, delayed.

A transport is anything with `call(method, request)`. The embedded engine is one itself.
"""

import os
import time
from collections.abc import Iterable
from typing import Any, Protocol

from google.protobuf.message import Message

from gaeport import meter
from gaeport.datastore import wire
from gaeport.errors import Cancelled, datastore_error

SERVICE = "google.datastore.v1.Datastore"
_RECORDING = "GAEPORT_RECORD_QUERIES" in os.environ  # recording.VARIABLE; the module is loaded only where it is set
_KINDS = 3  # that a counted call names
_NO_KEY = wire.Key()
_OF_KEYS = frozenset({"Lookup", "AllocateIds", "ReserveIds"})
_OF_QUERIES = frozenset({"RunQuery", "RunAggregationQuery"})
TIMEOUT = 60.0  # seconds; generous, since giving up a Commit leaves open whether it was applied


class Transport(Protocol):
    """Something that answers Datastore requests."""

    def call(self, method: str, request: Any) -> Any:
        """Answer one request.

        Args:
            method: one of `wire.METHODS`.
            request: the message `wire.request_class(method)`; the transport may keep it, so it is not used again.

        Returns:
            The message `wire.response_class(method)`.

        Raises:
            DatastoreError: of the class that the status code has.
        """
        ...


class GrpcTransport:
    """Calls a server over a grpc.Channel."""

    def __init__(self, channel: Any) -> None:
        self._methods = {
            method: channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=_serialize,
                response_deserializer=wire.response_class(method).FromString,
            )
            for method in wire.METHODS
        }

    def call(self, method: str, request: Any) -> Any:
        """Send the request and wait at most TIMEOUT seconds for the answer."""
        import grpc

        try:
            return self._methods[method](request, timeout=TIMEOUT, metadata=routing(request))
        except grpc.RpcError as error:
            raise datastore_error(error.code().name, error.details() or "") from error
        except ValueError as error:  # what grpc raises when another thread has closed the channel
            raise Cancelled(str(error)) from error


class MeteredTransport:
    """Counts the calls of another transport and, by choice, delays them."""

    def __init__(self, inner: Transport, latency_ms: float = 0.0) -> None:
        self._inner = inner
        self._latency = latency_ms / 1000

    def call(self, method: str, request: Any) -> Any:
        """Pass the request on; count the call with what production bills for it, refused ones included."""
        start = time.perf_counter()
        response = None
        try:
            if self._latency:
                time.sleep(self._latency)
            response = self._inner.call(method, request)
            return response
        finally:
            record(method, time.perf_counter() - start, request, response)


def record(method: str, seconds: float, request: Any, response: Any) -> None:
    """Count one call, and record it where `gaeport indexes` asks for that.

    Args:
        method: one of `wire.METHODS`.
        seconds: how long the answer took.
        request: the message.
        response: the message, or None where there was no answer or a refusal.
    """
    if _RECORDING:
        from gaeport.datastore import recording

        recording.note(method, request)
    if meter.wanted():
        meter.record(
            method,
            seconds,
            about=lambda: about(method, request, response),
            failed=response is None,
            **billed(method, request, response),
        )


def about(method: str, request: Any, response: Any) -> meter.About:
    """Return the kinds that a call asked for or wrote, the number of its entities or keys, and its bytes."""
    keys: Iterable[Any] = ()
    kinds: list[str] = []
    count = 0
    if method in _OF_KEYS:
        keys, count = request.keys, len(request.keys)
    elif method == "Commit":
        keys, count = map(_key_of, request.mutations), len(request.mutations)
    elif method in _OF_QUERIES:
        query = request.query if method == "RunQuery" else request.aggregation_query.nested_query
        kinds = [kind.name for kind in query.kind]
        count = len(response.batch.entity_results) if method == "RunQuery" and response is not None else 0
    for key in keys:
        path = key.path
        if path and (kind := path[-1].kind) not in kinds:
            kinds.append(kind)
    named = kinds[0] if len(kinds) == 1 else ", ".join(kinds[:_KINDS]) + (" …" if len(kinds) > _KINDS else "")
    return meter.About(named, count, request.ByteSize(), 0 if response is None else response.ByteSize())


def _key_of(mutation: Any) -> Any:
    operation = mutation.WhichOneof("operation")
    if operation is None:
        return _NO_KEY
    value = getattr(mutation, operation)
    return value if operation == "delete" else value.key


def billed(method: str, request: Any, response: Any) -> dict[str, int]:
    """Return the billed operations of one answered call (source: "Firestore in Datastore mode pricing").

    A lookup bills each key, found or not; a query each entity it returns, and at least one read.
    """
    if response is None:
        return {}
    if method == "Lookup":
        return {"datastore__read": len(response.found) + len(response.missing)}
    if method == "RunQuery":
        return {"datastore__read": max(1, len(response.batch.entity_results) + response.batch.skipped_results)}
    if method == "Commit":
        deletes = sum(1 for mutation in request.mutations if mutation.WhichOneof("operation") == "delete")
        return {"datastore__write": len(request.mutations) - deletes, "datastore__delete": deletes}
    return {"datastore__read": 1} if method == "RunAggregationQuery" else {}


def routing(request: Any) -> tuple[tuple[str, str], ...]:
    """Return the call metadata by which Google's front end finds the database (needed for named ones)."""
    value = f"project_id={request.project_id}"
    if request.database_id:
        value += f"&database_id={request.database_id}"
    return (("x-goog-request-params", value),)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
