"""memcached: one or several servers, by pymemcache.

A key belongs to one server (rendezvous hashing: a server more or less moves no other keys). While that server is away
its keys are missing; they do not move to another, where they would go stale once it is back.
"""

import hashlib
import select
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, TypeVar

from pymemcache import exceptions as memcache
from pymemcache.client.base import Client

from gaeport.errors import KVUnavailable
from gaeport.kv.base import Item
from gaeport.kv.health import Breaker, ServerHealth

PORT = 11211
_RELATIVE = 30 * 86_400  # seconds; memcached takes a longer time to live for a date
_LAST_DATE = 2**31 - 1  # memcached's dates end here; what lives longer lives for ever
_IDLE = 32  # connections kept for reuse, a server

_T = TypeVar("_T")


class MemcachedBackend:
    """Several servers as one store."""

    def __init__(self, servers: Sequence[tuple[str, int]], timeout: float) -> None:
        """Prepare; nothing is connected yet.

        Args:
            servers: (host, port) of each; all processes must name the same ones, in any order.
            timeout: seconds for connecting and for each answer.
        """
        self._servers = [_Server(host, port, timeout) for host, port in servers]

    def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        found: dict[str, Item] = {}
        failure: KVUnavailable | None = None
        for server, its_keys in self._by_server(keys).items():
            try:
                answer = server.call(methodcaller("gets_many", its_keys))
            except KVUnavailable as error:
                failure = error
                continue
            found.update((key, Item(value, token)) for key, (value, token) in answer.items())
        if failure is not None:
            raise KVUnavailable(str(failure), found) from failure
        return found

    def set(self, key: str, value: bytes, ttl: int | None) -> bool:
        return self._call(key, lambda client: client.set(key, value, _expiry(ttl), noreply=False)) is True

    def add(self, key: str, value: bytes, ttl: int | None) -> bool:
        return self._call(key, lambda client: client.add(key, value, _expiry(ttl), noreply=False)) is True

    def cas(self, key: str, value: bytes, token: object, ttl: int | None) -> bool:
        if not isinstance(token, bytes) or not token.isdigit():
            return False  # of another store
        return self._call(key, lambda client: client.cas(key, value, token, _expiry(ttl), noreply=False)) is True

    def touch(self, key: str, ttl: int | None) -> bool:
        return self._call(key, lambda client: client.touch(key, _expiry(ttl), noreply=False)) is True

    def delete(self, key: str) -> bool:
        return self._call(key, lambda client: client.delete(key, noreply=False)) is True

    def incr(self, key: str, delta: int) -> int | None:
        def add(client: Any) -> Any:
            return client.incr(key, delta, noreply=False) if delta >= 0 else client.decr(key, -delta, noreply=False)

        try:
            value: int | None = self._call(key, add)
        except memcache.MemcacheClientError as error:
            raise ValueError("the value is not a counter") from error
        return value

    def health(self) -> list[ServerHealth]:
        return [server.breaker.health() for server in self._servers]

    def close(self) -> None:
        for server in self._servers:
            server.drop()

    def after_fork(self) -> None:
        """Forget the parent's connections and locks."""
        for server in self._servers:
            server.after_fork()

    def _call(self, key: str, operation: Callable[[Any], _T]) -> _T:
        return self._server_of(key).call(operation)

    def _by_server(self, keys: Sequence[str]) -> dict["_Server", list[str]]:
        grouped: dict[_Server, list[str]] = {}
        for key in keys:
            grouped.setdefault(self._server_of(key), []).append(key)
        return grouped

    def _server_of(self, key: str) -> "_Server":
        if len(self._servers) == 1:
            return self._servers[0]
        return max(self._servers, key=lambda server: server.weight(key))


class _Server:
    """One server and the connections to it; as many as there are threads that call it at once."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.name = f"{host}:{port}"
        self.breaker = Breaker(f"memcached {self.name}")
        self._address = ("127.0.0.1" if host == "localhost" else host, port)  # pymemcache tries one address only
        self._timeout = timeout
        self._seed = hashlib.blake2b(self.name.encode(), digest_size=8)
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._idle)

    def weight(self, key: str) -> bytes:
        """Return what decides which server has a key: the one that weighs most."""
        weighed = self._seed.copy()
        weighed.update(key.encode())
        return weighed.digest()

    def call(self, operation: Callable[[Any], _T]) -> _T:
        """Run an operation on a connection. Raises KVUnavailable, and pymemcache's error for a refused command."""
        trying = self.breaker.check()
        client = self._take()
        try:
            result = operation(client)
        except memcache.MemcacheClientError:
            self._answered(client)
            raise
        except (OSError, memcache.MemcacheUnexpectedCloseError, memcache.MemcacheUnknownError) as error:
            client.close()
            self.drop()  # the others lead to the same dead process
            raise self.breaker.failed(error, trying) from error
        except memcache.MemcacheServerError as error:
            self._answered(client)
            raise KVUnavailable(f"memcached {self.name} refuses: {error}") from error
        self._answered(client)
        return result

    def drop(self) -> None:
        """Close the idle connections."""
        with self._lock:
            _close_all(self._idle)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self.breaker.after_fork()
        _close_all(self._idle)  # closes this process's copies of the sockets; the parent's stay open

    def _take(self) -> Any:
        while True:
            with self._lock:
                client = self._idle.pop() if self._idle else None
            if client is None:
                return self._new()
            if _is_quiet(client):
                return client
            client.close()

    def _new(self) -> Any:
        return Client(
            self._address, connect_timeout=self._timeout, timeout=self._timeout, no_delay=True, default_noreply=False
        )

    def _answered(self, client: Any) -> None:
        self.breaker.answered()
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(client)
                return
        client.close()


def address(text: str) -> tuple[str, int]:
    """Return (host, port) of "host:port", "host" or "[v6]:port". Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    if not host.strip("[]") or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"server {text!r} is not host:port")
    return host.strip("[]"), int(port)


def _expiry(ttl: int | None) -> int:
    if ttl is None:
        return 0
    if ttl == 0:
        return -1
    if ttl <= _RELATIVE:
        return ttl
    date = int(time.time()) + ttl
    return date if date < _LAST_DATE else 0


def _is_quiet(client: Any) -> bool:
    """Whether a connection is as it was left: a closed one, or one with a late answer in it, is readable."""
    if client.sock is None:
        return True
    poll = select.poll()
    poll.register(client.sock, select.POLLIN)
    return not poll.poll(0)


def _close_all(clients: list[Any]) -> None:
    while clients:
        clients.pop().close()
