"""One serving process: waitress on a socket that is listening already, stopped without losing a request."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

_GRACE = 8.0  # seconds that running requests get to finish after a signal
_TICK = 0.05  # seconds between looks at what still runs, while stopping


class Server:
    """Serves one application with several threads until a signal, or `stop`, ends it."""

    def __init__(self, app: Callable[..., Any], listener: socket.socket, threads: int) -> None:
        """Prepare; no request is answered before `run`.

        Args:
            app: the WSGI application.
            listener: a listening socket, which may be shared with other processes.
            threads: how many requests are answered at once.
        """
        import waitress

        # Says that more requests wait than there are threads: under a load test that is the point, not a problem.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._sockets: dict[int, Any] = {}
        self._stopping = threading.Event()
        self._listener = listener
        self._server = waitress.create_server(
            app,
            map=self._sockets,
            sockets=[listener],
            threads=threads,
            ident="gaeport",
            max_request_body_size=32 * 1024 * 1024,  # "Quotas and limits": a request of App Engine standard
        )

    def run(self) -> None:
        """Answer requests until SIGINT, SIGTERM or `stop`; finish those that run, for 8 seconds at most."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        from waitress import wasyncore

        while not self._stopping.is_set():
            wasyncore.loop(timeout=1, map=self._sockets, count=1)
        self._drain()

    def stop(self) -> None:
        """End `run`; may be called from any thread."""
        self._stopping.set()
        self._server.pull_trigger()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.stop()

    def _drain(self) -> None:
        self._sockets.pop(self._listener.fileno(), None)  # accept no more; the socket is the other workers' too
        from waitress import wasyncore

        deadline = time.monotonic() + _GRACE
        while self._is_busy() and time.monotonic() < deadline:
            wasyncore.loop(timeout=_TICK, map=self._sockets, count=1)
        self._server.task_dispatcher.shutdown(timeout=max(0.1, deadline - time.monotonic()))

    def _is_busy(self) -> bool:
        channels = self._server.active_channels.values()
        return any(channel.requests or channel.total_outbufs_len for channel in channels)
