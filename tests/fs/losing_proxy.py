"""A TCP proxy that loses answers: what was sent arrives, and the connection breaks before the answer comes back."""

import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from gaeport.datastore.transport import Transport

WITHHELD = 0.3  # seconds of answers that are thrown away before the connection breaks: the server is done by then


class LosingProxy:
    """Listens on 127.0.0.1 and passes on to a server.

    Attributes:
        host: where it listens.
        lost: how many connections were broken.
    """

    def __init__(self, server: str) -> None:
        name, _, port = server.partition(":")
        self._server = (name, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._armed = threading.Event()
        self.lost = 0
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = [self._listener]
        self._start(self._accept)

    def lose_next(self) -> None:
        """Lose the next answer."""
        self._armed.set()

    def close(self) -> None:
        """Stop, with every connection."""
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # broken already
        for one in self._sockets:
            one.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            self._start(self._pass_on, client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while True:
                for ready in select.select([client, server], [], [], 0.05)[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    if ready is client:
                        server.sendall(data)
                    elif self._armed.is_set():
                        self._lose(client, server)
                        return
                    else:
                        client.sendall(data)
        except (OSError, ValueError):  # the proxy, or one of the two, was closed
            return
        finally:
            client.close()
            server.close()

    def _lose(self, client: socket.socket, server: socket.socket) -> None:
        """Let the request arrive whole, and throw the answer away."""
        self._armed.clear()
        self.lost += 1
        end = time.monotonic() + WITHHELD
        while (left := end - time.monotonic()) > 0:
            for ready in select.select([client, server], [], [], left)[0]:
                data = ready.recv(1 << 16)
                if not data:
                    return
                if ready is client:
                    server.sendall(data)


class Armed:
    """A transport through the proxy that loses the answers to chosen Commits."""

    def __init__(self, inner: Transport, proxy: LosingProxy, chosen: Callable[[int], bool]) -> None:
        self._inner, self._proxy, self._chosen, self.commits = inner, proxy, chosen, 0

    def call(self, method: str, request: Any) -> Any:
        if method == "Commit":
            self.commits += 1
            if self._chosen(self.commits):
                self._proxy.lose_next()
        return self._inner.call(method, request)
