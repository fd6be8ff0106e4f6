"""A gRPC server around any transport: clients in other programs reach it through DATASTORE_EMULATOR_HOST."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from google.protobuf.message import DecodeError

from gaeport.datastore import grpc_calls, wire
from gaeport.datastore.http2 import Connection, Stream
from gaeport.datastore.transport import SERVICE, Transport
from gaeport.errors import ConfigurationError, DatastoreError

GRACE = 5.0  # seconds that running calls have to end when the server stops
_THREADS = 16  # calls answered at once, besides one on each connection
_LONGEST = 2000  # characters of an error's text: it travels in a header, and clients refuse headers over 8 KiB
_BACKLOG = 128  # connections that wait to be accepted
# What may take long is never answered by the thread that reads the connection: other calls come in there.
_LONG = frozenset(f"/{SERVICE}/{method}".encode() for method in ("RunQuery", "RunAggregationQuery"))
_COMMIT = f"/{SERVICE}/Commit".encode()
_SHORT = 65_536  # bytes of a request that is answered by that thread

_log = logging.getLogger("gaeport")


class Server:
    """A listening socket, its connections, and the threads that answer."""

    def __init__(self, transport: Transport, listener: socket.socket, *, commits_wait: bool = False) -> None:
        """Begin to serve.

        Args:
            transport: what answers.
            listener: a listening socket.
            commits_wait: as for `serve`.
        """
        self._transport = transport
        self._long = _LONG | {_COMMIT} if commits_wait else _LONG
        self._listener = listener
        self._methods = {f"/{SERVICE}/{method}".encode(): method for method in wire.METHODS}
        self._parsers = {method: wire.request_class(method).FromString for method in wire.METHODS}
        self._threads = ThreadPoolExecutor(_THREADS, "gaeport-datastore")
        self._quiet = threading.Condition()  # held for what follows; notified when no call runs any more
        self._connections: set[Connection] = set()
        self._running = 0  # calls
        self._stopping = False
        threading.Thread(target=self._accept, name="gaeport-datastore-listen", daemon=True).start()

    def stop(self, grace: float | None) -> threading.Event:
        """Take no new calls, wait for those that run, and close all connections.

        Args:
            grace: seconds that they have; None gives them none.

        Returns:
            An event that has happened: the server is down.
        """
        with self._quiet:
            self._stopping = True
            connections = list(self._connections)
        _close(self._listener)
        for connection in connections:
            connection.go_away()
        with self._quiet:
            self._quiet.wait_for(lambda: not self._running, grace or 0)
        for connection in connections:
            connection.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        down = threading.Event()
        down.set()
        return down

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if self._has_stopped():
                    return
                time.sleep(0.05)  # too many open files, most likely: some will be closed
                continue
            connection = Connection(sock, self._ready)
            threading.Thread(target=self._serve, args=(connection,), name="gaeport-datastore", daemon=True).start()

    def _has_stopped(self) -> bool:
        with self._quiet:
            return self._stopping

    def _serve(self, connection: Connection) -> None:
        with self._quiet:
            if self._stopping:
                connection.close()
            self._connections.add(connection)
        try:
            connection.serve()
        finally:
            with self._quiet:
                self._connections.discard(connection)

    def _ready(self, connection: Connection, streams: list[Stream]) -> None:
        """Answer requests: a short one that came alone at once, others in threads.

        Handing a call to another thread costs more than most answers.
        """
        with self._quiet:
            if self._stopping:
                return
            self._running += len(streams)
        if len(streams) == 1 and self._is_short(streams[0]):
            self._answer(connection, streams[0])
            return
        for stream in streams:
            self._threads.submit(self._answer, connection, stream)

    def _is_short(self, stream: Stream) -> bool:
        return stream.headers.get(b":path") not in self._long and sum(map(len, stream.body)) <= _SHORT

    def _answer(self, connection: Connection, stream: Stream) -> None:
        try:
            if not stream.cancelled:
                self._answer_or_refuse(connection, stream)
        finally:
            with self._quiet:
                self._running -= 1
                if not self._running:
                    self._quiet.notify_all()

    def _answer_or_refuse(self, connection: Connection, stream: Stream) -> None:
        if not grpc_calls.is_grpc(stream):
            grpc_calls.refuse_http(connection, stream)
            return
        try:
            response = self._response(stream)
        except (DatastoreError, grpc_calls.CallError) as error:
            grpc_calls.refuse(connection, stream, error.code, str(getattr(error, "message", error))[:_LONGEST])
        except Exception as error:  # noqa: BLE001  # the client gets a status; the traceback goes to the server's log
            _log.exception("the embedded Datastore failed at %s", stream.headers.get(b":path"))
            grpc_calls.refuse(connection, stream, "INTERNAL", f"{type(error).__name__}: {error}"[:_LONGEST])
        else:
            grpc_calls.answer(connection, stream, response)

    def _response(self, stream: Stream) -> bytes:
        path = stream.headers.get(b":path", b"")
        method = self._methods.get(path)
        if method is None:
            text = path.decode("ascii", "replace")
            raise grpc_calls.CallError("UNIMPLEMENTED", f"the embedded Datastore has no method {text}")
        grpc_calls.check_deadline(stream)
        message = grpc_calls.message(stream)
        try:
            request = self._parsers[method](message)
        except DecodeError as error:
            raise grpc_calls.CallError("INTERNAL", f"the request is no {method}Request: {error}") from error
        return self._transport.call(method, request).SerializeToString()  # type: ignore[no-any-return]  # wire is untyped


def serve(transport: Transport, host: str, port: int, *, commits_wait: bool = False) -> tuple[Server, int]:
    """Start a server.

    Args:
        transport: what answers, such as the embedded engine; it stays open when the server stops.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        commits_wait: whether a commit may wait for another call of its connection, as with pessimistic concurrency.

    Returns:
        The started server (`stop(grace)` ends it) and its port.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _refused(host, port) from error
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the port of a server that just ended
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _refused(host, port) from error
    bound: int = listener.getsockname()[1]
    return Server(transport, listener, commits_wait=commits_wait), bound


def _refused(host: str, port: int) -> ConfigurationError:
    return ConfigurationError(
        f"cannot listen on port {port} of {host}: it is in use, or the address is not this machine's; "
        "choose another --port or --host"
    )


def run(
    transport: Transport, host: str, port: int, ready: Callable[[str], object], *, commits_wait: bool = False
) -> int:
    """Serve until SIGINT or SIGTERM; the calls that run then have 5 seconds to end.

    Args:
        transport: what answers.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        ready: called with "host:port" once the server answers.
        commits_wait: as for `serve`.

    Returns:
        The exit code, 0.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server, bound = serve(transport, host, port, commits_wait=commits_wait)
        ready(f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}")
        stopped.wait()
        server.stop(GRACE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _close(listener: socket.socket) -> None:
    try:
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept (Linux)
    except OSError:
        pass  # not connected, says macOS, where closing wakes it
    listener.close()
