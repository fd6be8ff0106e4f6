"""The cache that applications use: values created once, shared by all instances."""

import functools
import hashlib
import inspect
import re
import time
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from gaeport import codec, settings
from gaeport.cache import serializers
from gaeport.cache.clearing import Clearings
from gaeport.cache.creation import Creator, Limits
from gaeport.cache.entry import Entry
from gaeport.cache.page import page
from gaeport.cache.statistics import Statistics
from gaeport.cache.store import Store
from gaeport.errors import KVUnavailable
from gaeport.kv import KV, connect

_P = ParamSpec("_P")
_R = TypeVar("_R")
_DECORATE: Final[Any] = object()


class Cache:
    """A cache shared by every process that names the same URL and namespace.

    A value is created by one caller while the others get the expired one, or wait where there is none. Where the store
    does not answer, values are created and not kept; nothing fails.
    """

    def __init__(
        self,
        url: str | KV | None = None,
        *,
        namespace: str = "cache",
        serializer: str = "codec",
        stale: float = 3600,
        lease: float = 30,
        wait: float = 30,
        pause: float = 5,
    ) -> None:
        """Connect to the store when first used.

        Args:
            url: as `gaeport.kv.connect` takes it, or a store; None: the url under [cache] in gaeport.toml, by default
                "memory://".
            namespace: keeps these keys apart from others in the store.
            serializer: "codec" (gaeport.codec: refuses what it cannot bring back) or "pickle" (takes all; whoever can
                write to the store can run code in the application).
            stale: seconds for which an expired value is kept, to be served while a new one is created or fails to be.
            lease: seconds after which another caller may create what one is creating; more than a creation takes.
            wait: seconds for which a caller waits for another's creation at most, before it creates by itself.
            pause: seconds for which nobody creates again after a failure, where there is an expired value to serve.

        Raises:
            ConfigurationError: the URL or the serializer is unknown.
            MissingExtraError: the store's client library is not installed.
        """
        kv = url if isinstance(url, KV) else connect(url or settings.current().cache.url)
        self.statistics = Statistics()
        self._stale = stale
        self._store = Store(kv.namespace(namespace))
        self._serializer = serializers.named(serializer)
        limits = Limits(stale, lease, wait, pause)
        self._creator = Creator(self._store, self._serializer, self.statistics, limits)

    @property
    def ram(self) -> "Cache":
        """This cache: what web2py keeps in the process's memory is shared by all instances."""
        return self

    @property
    def disk(self) -> "Cache":
        """This cache: App Engine has no disk."""
        return self

    def __call__(
        self,
        key: str,
        f: Callable[[], Any] | None = _DECORATE,
        time_expire: float | None = 300,
        cache_model: object = None,
    ) -> Any:
        """Return a value, in web2py's meaning: the one cached, if younger than `time_expire`, else what `f` returns.

        Args:
            key: of the value.
            f: creates it; None deletes it. Left out, the answer is a decorator for a function without arguments.
            time_expire: seconds; None takes any age; 0 creates the value anew.
            cache_model: taken for web2py's sake; there is one model.

        Raises:
            UnsupportedType: the value holds a type that is not kept.
            Exception: what `f` raises, where there is no expired value to serve instead.
        """
        if f is _DECORATE:
            return lambda function: functools.wraps(function)(lambda: self(key, function, time_expire))
        if f is None:
            self.delete(key)
            return None
        return self._creator.obtain(key, f, time_expire)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value that `set` or a creation stored, if it has not expired, or `default`."""
        try:
            _, entry = self._store.read(key)
        except KVUnavailable:
            self.statistics.add(unavailable=1)
            return default
        if entry is None or entry.payload is None or not self._within_its_time(entry):
            self.statistics.add(misses=1)
            return default
        self.statistics.add(hits=1)
        return self._serializer.loads(entry.payload)

    def set(self, key: str, value: Any, time_expire: float | None = None) -> bool:
        """Store a value; tell whether it was stored.

        Args:
            key: of the value.
            value: of the types of `gaeport.codec`, or whatever can be pickled where that was chosen.
            time_expire: seconds for which `get` returns it; None: for ever.

        Raises:
            UnsupportedType: the value holds another type.
            ValueTooLarge: it is over 1,000,000 bytes, compressed.
        """
        payload = self._serializer.dumps(value)
        try:
            self._store.write(key, self._entry(payload, self._store.clearings(), time_expire))
        except KVUnavailable:
            self.statistics.add(unavailable=1)
            return False
        return True

    def add(self, key: str, value: Any, time_expire: float | None = None) -> bool:
        """Store a value where none is; atomic. Arguments and errors as for `set`."""
        payload = self._serializer.dumps(value)
        try:
            return self._store.add(key, self._entry(payload, self._store.clearings(), time_expire))
        except KVUnavailable:
            self.statistics.add(unavailable=1)
            return False

    def delete(self, key: str) -> bool:
        """Remove a value; tell whether there was one."""
        try:
            return self._store.delete(key)
        except KVUnavailable:
            self.statistics.add(unavailable=1)
            return False

    def clear(self, regex: str | None = None) -> bool:
        """Clear everything, or the keys that begin with a match of a regular expression (web2py's meaning).

        Returns:
            Whether it was cleared: False when the store does not answer.

        Raises:
            re.error: the expression is wrong.
        """
        if regex is not None:
            re.compile(regex)
        try:
            self._store.clear(regex)
        except KVUnavailable:
            self.statistics.add(unavailable=1)
            return False
        return True

    def incr(self, key: str, value: int = 1) -> int:
        """Add to a number, atomically (web2py's `increment`); a missing one becomes `value`.

        Raises:
            TypeError: what is cached is not a number.
            KVUnavailable: the store does not answer, so nothing was added.
        """
        result = value

        def change(clearings: Clearings, entry: Entry | None) -> Entry:
            nonlocal result
            if entry is None or entry.payload is None:
                result = value
                return self._entry(self._serializer.dumps(value), clearings, None)
            result = self._serializer.loads(entry.payload) + value
            payload = self._serializer.dumps(result)
            return Entry(clearings.epoch, clearings.number, entry.made, entry.seconds, entry.until, payload)

        self._store.update(key, change)
        return result

    increment = incr

    def memoize(
        self, time_expire: float | None = 300, *, key: Callable[..., str] | None = None
    ) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
        """Decorate a function so that equal arguments get one creation for all instances.

        The function gets `cache_key(*args)`, and `forget(*args)`, which removes one value.

        Args:
            time_expire: seconds; None: for ever.
            key: from the arguments to the key's end; by default from all of them, which then must be of the types of
                `gaeport.codec` (a method's `self` is not: give a key).
        """

        def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
            signature = inspect.signature(function)
            name = f"memo:{function.__module__}.{function.__qualname__}:"

            def cache_key(*args: _P.args, **kwargs: _P.kwargs) -> str:
                return name + (key(*args, **kwargs) if key else _digest(name, signature, args, kwargs))

            @functools.wraps(function)
            def memoized(*args: _P.args, **kwargs: _P.kwargs) -> _R:
                value: _R = self._creator.obtain(
                    cache_key(*args, **kwargs), lambda: function(*args, **kwargs), time_expire
                )
                return value

            vars(memoized).update(cache_key=cache_key, forget=lambda *a, **k: self.delete(cache_key(*a, **k)))
            return memoized

        return decorate

    def page(
        self, time_expire: float | None = 300, *, vary: tuple[str, ...] = (), key: str | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate a Flask view, a Bottle handler or a WSGI application so that its pages are cached.

        Cached are answers to GET and HEAD, by host, path and query and by the request headers that `vary` or the
        answer's own Vary names; not those that set a cookie, vary by everything, or say private, no-store or no-cache.
        A page gets an ETag, and a browser that has it a 304.

        Args:
            time_expire: seconds; None: for ever.
            vary: names of request headers that the page depends on beside those of its own Vary header.
            key: instead of host, path and query.
        """
        return page(self._creator, time_expire, vary, key)

    def _within_its_time(self, entry: Entry) -> bool:
        return entry.until is None or entry.until - self._stale > time.time()

    def _entry(self, payload: bytes, clearings: Clearings, expire: float | None) -> Entry:
        until = None if expire is None else time.time() + expire + self._stale
        return Entry(clearings.epoch, clearings.number, time.time(), 0.0, until, payload)


def _digest(name: str, signature: inspect.Signature, args: Any, kwargs: Any) -> str:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    packed = codec.dumps(list(bound.arguments.items()), f"arguments of {name}")
    return hashlib.sha256(packed).hexdigest()[:40]
