"""The cache as cachelib's and Flask-Caching's code expects it.

`GaeportCache(url)` wherever a cachelib cache is taken (Flask-Session's SESSION_CACHELIB, for one); for Flask-Caching
`CACHE_TYPE = "gaeport.cache.cachelib.GaeportCache"` and `CACHE_OPTIONS = {"url": …}`.
"""

import math
from datetime import timedelta
from typing import Any

from gaeport.cache.cache import Cache
from gaeport.errors import KVUnavailable, MissingExtraError
from gaeport.kv import KV

try:
    from cachelib.base import BaseCache
except ImportError as error:  # it is there wherever code for it is
    raise MissingExtraError("cachelib is not installed; pip install cachelib") from error


class GaeportCache(BaseCache):
    """A cachelib cache on `gaeport.cache.Cache`. `inc` and `dec` are atomic here."""

    def __init__(
        self,
        url: str | KV | Cache = "memory://",
        default_timeout: int | timedelta = 300,
        namespace: str = "cachelib",
        serializer: str = "codec",
        ignore_delete_many_errors: bool = True,
    ) -> None:
        """Connect when first used.

        Args:
            url: as `Cache` takes it, or a cache.
            default_timeout: seconds, where a call names none; 0: for ever.
            namespace: keeps these keys apart from others.
            serializer: "codec" or "pickle", as `Cache` explains them.
            ignore_delete_many_errors: whether `delete_many` goes on without keys that it could not delete.
        """
        self.default_timeout = _seconds(default_timeout)
        self.ignore_delete_many_errors = ignore_delete_many_errors
        self.cache = url if isinstance(url, Cache) else Cache(url, namespace=namespace, serializer=serializer, stale=0)

    def get(self, key: str) -> Any:
        """Return the value, or None."""
        return self.cache.get(key)

    def set(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool:
        """Store a value for `timeout` seconds; 0: for ever; None: the default."""
        return self.cache.set(key, value, self._expire(timeout))

    def add(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool:
        """Store a value where none is; atomic."""
        return self.cache.add(key, value, self._expire(timeout))

    def delete(self, key: str) -> bool:
        """Remove a value; tell whether there was one."""
        return self.cache.delete(key)

    def has(self, key: str) -> bool:
        """Tell whether there is a value."""
        missing = object()
        return self.cache.get(key, missing) is not missing

    def clear(self) -> bool:
        """Remove everything of this cache, and of nobody else's."""
        return self.cache.clear()

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add, atomically; a missing value counts as 0. None when the store does not answer."""
        try:
            return self.cache.incr(key, delta)
        except KVUnavailable:
            return None

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract, atomically; a missing value counts as 0. None when the store does not answer."""
        return self.inc(key, -delta)

    def _expire(self, timeout: int | timedelta | None) -> float | None:
        seconds = _seconds(self.default_timeout if timeout is None else timeout)
        return None if seconds == 0 else seconds


def _seconds(timeout: float | timedelta) -> int:
    """Return whole seconds, rounded up: a short time must not become 0, which is for ever. Raises TypeError."""
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    if not isinstance(timeout, int | float):
        raise TypeError(f"a timeout is a number of seconds or a timedelta, not {type(timeout).__name__}: {timeout!r}")
    return math.ceil(timeout)
