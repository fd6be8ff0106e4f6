"""A grpc.Channel that answers inside the process, and one that counts its calls.

Google's libraries (google-cloud-ndb, google-cloud-datastore) run on either unchanged.
"""

import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc

from gaeport import meter
from gaeport.datastore import wire
from gaeport.datastore.transport import SERVICE, Transport, record
from gaeport.errors import DatastoreError

if TYPE_CHECKING:  # generic for the type checker, plain classes at run time
    _Future = grpc.Future[Any]
    _MultiCallable = grpc.UnaryUnaryMultiCallable[Any, Any]
    _Interceptor = grpc.UnaryUnaryClientInterceptor[Any, Any]
else:
    _Future = grpc.Future
    _MultiCallable = grpc.UnaryUnaryMultiCallable
    _Interceptor = grpc.UnaryUnaryClientInterceptor

_OK_CODE = grpc.StatusCode.OK
_THREADS = 16  # futures answered at once


class _Outcome(grpc.Call, _Future):
    """A finished call: its response or its error, in the shapes in which gRPC hands them out."""

    def __init__(self, response: Any = None, code: grpc.StatusCode = _OK_CODE, details: str = "") -> None:
        self._response = response
        self._code = code
        self._details = details

    def _error(self) -> "InProcessError | None":
        return None

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def initial_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def result(self, timeout: float | None = None) -> Any:
        error = self._error()
        if error is not None:
            raise error
        return self._response

    def exception(self, timeout: float | None = None) -> "InProcessError | None":
        return self._error()

    def traceback(self, timeout: float | None = None) -> Any:
        error = self._error()
        return error.__traceback__ if error is not None else None

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        fn(self)

    def add_callback(self, callback: Callable[[], Any]) -> bool:
        return False  # the call is over

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float:
        return 0.0

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True


class InProcessError(_Outcome, grpc.RpcError):
    """A call that failed; a grpc.RpcError that is also the call and the future, as gRPC's own are."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        _Outcome.__init__(self, None, code, details)
        Exception.__init__(self, f"{code.name}: {details}")

    def _error(self) -> "InProcessError":
        return self


class _Pending(grpc.Call, _Future):
    """A call that a thread of the channel is still answering."""

    def __init__(self, answer: "futures.Future[_Outcome]") -> None:
        self._answer = answer

    def _outcome(self, timeout: float | None = None) -> _Outcome:
        try:
            return self._answer.result(timeout)
        except futures.TimeoutError as error:
            raise grpc.FutureTimeoutError from error

    def code(self) -> grpc.StatusCode:
        return self._outcome().code()

    def details(self) -> str:
        return self._outcome().details()

    def initial_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def result(self, timeout: float | None = None) -> Any:
        return self._outcome(timeout).result()

    def exception(self, timeout: float | None = None) -> "InProcessError | None":
        return self._outcome(timeout).exception()

    def traceback(self, timeout: float | None = None) -> Any:
        return self._outcome(timeout).traceback()

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        self._answer.add_done_callback(lambda _: fn(self))

    def add_callback(self, callback: Callable[[], Any]) -> bool:
        if self.done():
            return False
        self._answer.add_done_callback(lambda _: callback())
        return True

    def is_active(self) -> bool:
        return not self.done()

    def time_remaining(self) -> float:
        return 0.0

    def cancel(self) -> bool:
        return False  # it may have been applied: the caller waits for the answer

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return not self.done()

    def done(self) -> bool:
        return self._answer.done()


class _UnaryUnary(_MultiCallable):
    """One method of the in-process channel."""

    def __init__(
        self,
        channel: "InProcessChannel",
        path: str,
        serialize: Callable[[Any], bytes] | None,
        deserialize: Callable[[bytes], Any] | None,
    ) -> None:
        service, _, method = path.lstrip("/").rpartition("/")
        self._channel = channel
        self._path = path
        self._method = method if service == SERVICE and method in wire.METHODS else None
        self._serialize = serialize
        self._deserialize = deserialize

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return self._answer(request).result()

    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, Any]:
        outcome = self._answer(request)
        return outcome.result(), outcome

    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        threads = self._channel.threads
        if threads is None:
            return self._answer(request)
        context = contextvars.copy_context()
        context.run(meter.pin)
        return _Pending(threads.submit(context.run, self._answer, request))

    def _answer(self, request: Any) -> _Outcome:
        if self._method is None:
            return InProcessError(grpc.StatusCode.UNIMPLEMENTED, f"the embedded Datastore has no method {self._path}")
        transport = self._channel.transport
        if transport is None:
            return InProcessError(grpc.StatusCode.CANCELLED, "the channel was closed")
        raw = self._serialize(request) if self._serialize else request
        try:
            message = wire.request_class(self._method).FromString(raw)
            response = transport.call(self._method, message).SerializeToString()
        except DatastoreError as error:
            return InProcessError(grpc.StatusCode[error.code], error.message)
        return _Outcome(self._deserialize(response) if self._deserialize else response)


class InProcessChannel(grpc.Channel):
    """A grpc.Channel on a transport inside the process; calls run in the caller's thread and ignore time-outs."""

    def __init__(self, transport: Transport, *, concurrent: bool = False) -> None:
        """Make a channel.

        Args:
            transport: what answers.
            concurrent: whether futures are answered in threads, several at once. Only a transport that waits gains by
                it, such as one that adds latency.
        """
        self.transport: Transport | None = transport
        self.threads = futures.ThreadPoolExecutor(_THREADS, "gaeport-channel") if concurrent else None

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> "_MultiCallable":
        """Return the callable for a method path such as "/google.datastore.v1.Datastore/Lookup"."""
        return _UnaryUnary(self, method, request_serializer, response_deserializer)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Refuse: Datastore has no streaming methods."""
        raise NotImplementedError(f"{method}: the embedded Datastore has no streaming methods")

    stream_unary = unary_stream
    stream_stream = unary_stream

    def subscribe(self, callback: Callable[[Any], Any], try_to_connect: bool | None = False) -> None:
        """Report the one state there is: ready."""
        callback(grpc.ChannelConnectivity.READY)

    def unsubscribe(self, callback: Callable[[Any], Any]) -> None:
        """Do nothing: the state never changes."""

    def close(self) -> None:
        """Refuse further calls; the transport stays open."""
        self.transport = None
        if self.threads is not None:
            self.threads.shutdown(wait=False)

    def __enter__(self) -> "InProcessChannel":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Counter(_Interceptor):
    def __init__(self, latency_ms: float) -> None:
        self._latency = latency_ms / 1000

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        start = time.perf_counter()
        if self._latency:
            time.sleep(self._latency)
        context = contextvars.copy_context()  # the answer may come in a thread of gRPC's
        context.run(meter.pin)
        call = continuation(details, request)
        method = details.method.rpartition("/")[2]
        call.add_done_callback(lambda done: context.run(_count, method, start, request, done))
        return call


def _count(method: str, start: float, request: Any, call: Any) -> None:
    response = call.result() if not call.cancelled() and call.code() is _OK_CODE else None
    record(method, time.perf_counter() - start, _plain(request), _plain(response))


def _plain(message: Any) -> Any:
    # Google's libraries wrap messages in proto-plus objects, which lack WhichOneof.
    return getattr(message, "_pb", message)


def metered(channel: grpc.Channel, latency_ms: float = 0.0) -> grpc.Channel:
    """Return a channel that counts the calls of another by `gaeport.meter`.

    Args:
        channel: a real channel.
        latency_ms: milliseconds to wait before each call.
    """
    interceptors: Sequence[Any] = (_Counter(latency_ms),)
    return grpc.intercept_channel(channel, *interceptors)
