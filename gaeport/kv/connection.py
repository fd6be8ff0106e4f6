"""From a URL to a store: `connect`."""

import importlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from gaeport.errors import ConfigurationError, MissingExtraError
from gaeport.kv.base import KV, Backend
from gaeport.kv.memory import LIMIT, MemoryBackend

TIMEOUT = 0.25  # seconds for connecting and for each answer; a healthy server in the same region takes 0.001

_EXAMPLES = "memory://, memcached://host:port[,host:port], redis://host:port/0, rediss://host:port/0, appengine://"
_lock = threading.Lock()
_named: dict[str, MemoryBackend] = {}


class _Forkable(Protocol):
    def after_fork(self) -> None: ...


_B = TypeVar("_B", bound=_Forkable)
_backends: "weakref.WeakSet[_Forkable]" = weakref.WeakSet()


def connect(url: str, *, namespace: str = "", strict: bool = False, timeout: float | None = None) -> KV:
    """Return the key-value store that a URL names. No server is called before the first use.

    Args:
        url: one of
            memory:// (private to this object), memory://NAME (shared in the process), ?limit=BYTES;
            memcached://host:port[,host:port …];
            redis://[user:password@]host:port/DATABASE, rediss:// with TLS, unix:// (Redis or Valkey);
            appengine:// (the bundled memcache).
            Options after "?": namespace, timeout (seconds), strict (1 or 0).
        namespace: keeps these keys apart from others in the same store.
        strict: whether calls raise KVUnavailable when the server does not answer, instead of answering a miss.
        timeout: seconds to wait for a connection and for each answer; by default 0.25.

    Raises:
        ConfigurationError: the URL has an unknown scheme, option or value.
        MissingExtraError: the client library is not installed.
    """
    parts = urlsplit(url)
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        raise ConfigurationError(f"{_shown(parts)}: unknown scheme {parts.scheme!r}; valid: {_EXAMPLES}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    namespace = namespace or options.pop("namespace", "")
    strict = options.pop("strict", "1" if strict else "0") not in ("0", "false", "")
    try:
        seconds = timeout or float(options.pop("timeout", TIMEOUT))
        kv = KV(opener(parts, options, seconds), namespace=namespace, strict=strict)
    except ValueError as error:
        raise ConfigurationError(f"{_shown(parts)}: {error}") from error
    if options:
        raise ConfigurationError(f"{_shown(parts)}: unknown option {', '.join(sorted(options))}")
    return kv


def _shown(parts: SplitResult) -> str:
    """The URL without its password."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _memory(parts: SplitResult, options: dict[str, str], timeout: float) -> Backend:
    limit = int(options.pop("limit", LIMIT))
    name = parts.netloc + parts.path.rstrip("/")
    if not name:
        return _forkable(MemoryBackend(limit))
    with _lock:
        if name not in _named:
            _named[name] = _forkable(MemoryBackend(limit))
        return _named[name]


def _memcached(parts: SplitResult, options: dict[str, str], timeout: float) -> Backend:
    with _extra("memcached", "pymemcache"):
        from gaeport.kv.memcached import MemcachedBackend, address
    servers = [address(part) for part in parts.netloc.split(",")]
    return _forkable(MemcachedBackend(servers, timeout))


def _redis(parts: SplitResult, options: dict[str, str], timeout: float) -> Backend:
    with _extra("redis", "redis"):
        from gaeport.kv.redis import RedisBackend
    left = urlencode(options)  # redis-py's own, such as ssl_ca_certs
    options.clear()
    return _forkable(RedisBackend(urlunsplit(parts._replace(query=left)), timeout))


def _appengine(parts: SplitResult, options: dict[str, str], timeout: float) -> Backend:
    with _extra("appengine", "google.appengine.api"):
        from gaeport.kv.appengine import AppEngineBackend
    return _forkable(AppEngineBackend(timeout))


_OPENERS: dict[str, Callable[[SplitResult, dict[str, str], float], Backend]] = {
    "memory": _memory,
    "memcached": _memcached,
    "redis": _redis,
    "rediss": _redis,
    "unix": _redis,
    "appengine": _appengine,
}


@contextmanager
def _extra(name: str, package: str) -> Iterator[None]:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(f"{package} is not installed; pip install 'gaeport[{name}]'") from error
    yield


def _forkable(backend: _B) -> _B:
    _backends.add(backend)
    return backend


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for backend in list(_backends):
        backend.after_fork()


os.register_at_fork(after_in_child=_after_fork)
