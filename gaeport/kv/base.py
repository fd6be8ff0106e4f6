"""The contract of every key-value store: `KV`, what callers hold, on a `Backend`, what a store must supply.

`KV` does what is the same everywhere (namespaces, keys, sizes, times to live, failures, counting); a backend moves
bytes.
"""

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from gaeport import meter
from gaeport.errors import KVUnavailable
from gaeport.kv import encoding
from gaeport.kv.health import ServerHealth

MAX_COUNTER = 2**63 - 1
MAX_NAMESPACE = 100  # characters; leaves room for a hashed key within 250 bytes

_NAMESPACE = re.compile(r"[0-9A-Za-z._-]+")
_T = TypeVar("_T")


class Item(NamedTuple):
    """A value and the token that `cas` wants for replacing exactly this value."""

    value: bytes
    token: object


class Backend(Protocol):
    """What a store supplies. Keys are printable ASCII of at most 250 bytes; values are at most 1,000,000 bytes.

    A time to live is None (for ever) or whole seconds; 0 stands for "expired at once". Values of decimal digits are
    counters. Every method raises KVUnavailable when the server does not answer.
    """

    def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        """Return what is there. KVUnavailable carries what other servers answered as `found`."""
        ...

    def set(self, key: str, value: bytes, ttl: int | None) -> bool:
        """Store, whatever was there."""
        ...

    def add(self, key: str, value: bytes, ttl: int | None) -> bool:
        """Store if nothing is there; atomic."""
        ...

    def cas(self, key: str, value: bytes, token: object, ttl: int | None) -> bool:
        """Store if nobody wrote since `token` was given; atomic."""
        ...

    def touch(self, key: str, ttl: int | None) -> bool:
        """Give what is there another time to live."""
        ...

    def delete(self, key: str) -> bool:
        """Remove; tell whether something was there."""
        ...

    def incr(self, key: str, delta: int) -> int | None:
        """Add to a counter, atomically, not going below 0. None: nothing there. Raises ValueError: not a counter."""
        ...

    def health(self) -> list[ServerHealth]:
        """Return the state of each server."""
        ...

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        ...


class KV:
    """A key-value store with expiry: keys are str, values bytes.

    Everything in it may vanish at any time. When a server does not answer, the first calls wait for the time-out; then
    the server is left out for a while and calls return at once: reads answer as if nothing were there (None, {}),
    writes answer False (incr None). That is logged once per outage. A strict view raises KVUnavailable instead.

    Every `ttl` is in seconds: None lives until evicted; a fraction is rounded up to whole seconds; 0 or less means
    expired at once (the call removes what it would have written). An entry never outlives its ttl; memcached, whose
    clock ticks once a second, may end it up to a second early.
    """

    def __init__(self, backend: Backend, *, namespace: str = "", strict: bool = False) -> None:
        """Wrap a backend; applications call `gaeport.kv.connect` instead.

        Args:
            backend: the store.
            namespace: what keeps these keys apart from others in the same store.
            strict: whether calls raise KVUnavailable instead of answering a miss.
        """
        self._backend = backend
        self._prefix = namespace
        self._strict = strict
        for part in namespace.split("/") if namespace else ():
            _check_namespace(part, namespace)

    def namespace(self, name: str) -> "KV":
        """Return a view on the keys of one more namespace, inside this one.

        Args:
            name: of the characters 0-9 A-Z a-z . _ -; all names together at most 100.

        Raises:
            ValueError: the name has other characters, or is too long.
        """
        _check_namespace(name, name)
        return KV(self._backend, namespace=f"{self._prefix}/{name}".lstrip("/"), strict=self._strict)

    def strict(self, on: bool = True) -> "KV":
        """Return a view whose calls raise KVUnavailable when the server does not answer (or, on=False, do not)."""
        return KV(self._backend, namespace=self._prefix, strict=on)

    def get(self, key: str) -> bytes | None:
        """Return the value, or None. Raises KVUnavailable (strict only)."""
        item = self._read("kv.get", [key]).get(key)
        return item.value if item else None

    def gets(self, key: str) -> Item | None:
        """Return the value with its token for `cas`, or None. Raises KVUnavailable (strict only)."""
        return self._read("kv.gets", [key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the values of those keys that are there, in one round trip a server.

        Raises:
            KVUnavailable: strict only; some server did not answer.
        """
        wanted = list(dict.fromkeys(keys))
        found = self._read("kv.get_many", wanted) if wanted else {}
        return {key: item.value for key, item in found.items()}

    def set(self, key: str, value: bytes, ttl: float | None = None) -> bool:
        """Store a value, whatever was there.

        Args:
            key: any str; long or unusual ones are hashed.
            value: bytes; over 1,000,000 it is compressed.
            ttl: seconds, as the class says.

        Returns:
            True; False when the server does not answer.

        Raises:
            ValueTooLarge: the value is over the limit compressed, too.
            TypeError: the value is not bytes.
            KVUnavailable: strict only.
        """
        stored, seconds = self._value(key, value), whole_seconds(ttl)
        call = partial(self._backend.set, self._key(key), stored, seconds)
        return self._call("kv.set", call, False, sent=len(stored))

    def add(self, key: str, value: bytes, ttl: float | None = None) -> bool:
        """Store a value if nothing is there; of many that try at once exactly one succeeds.

        Returns:
            Whether it was stored. Arguments and errors as for `set`.
        """
        stored, seconds = self._value(key, value), whole_seconds(ttl)
        call = partial(self._backend.add, self._key(key), stored, seconds)
        return self._call("kv.add", call, False, sent=len(stored))

    def cas(self, key: str, value: bytes, token: object, ttl: float | None = None) -> bool:
        """Store a value if nobody wrote or removed the key since `gets` gave the token (compare and set).

        Returns:
            Whether it was stored. Other arguments and errors as for `set`.
        """
        stored, seconds = self._value(key, value), whole_seconds(ttl)
        call = partial(self._backend.cas, self._key(key), stored, token, seconds)
        return self._call("kv.cas", call, False, sent=len(stored))

    def touch(self, key: str, ttl: float | None) -> bool:
        """Give an entry another time to live, counted from now; tell whether it was there."""
        seconds = whole_seconds(ttl)
        return self._call("kv.touch", lambda: self._backend.touch(self._key(key), seconds), False)

    def delete(self, key: str) -> bool:
        """Remove an entry; tell whether it was there."""
        return self._call("kv.delete", lambda: self._backend.delete(self._key(key)), False)

    def incr(self, key: str, delta: int = 1, *, initial: int | None = None, ttl: float | None = None) -> int | None:
        """Add to a counter, atomically. A counter is a value of decimal digits, from 0 to 2**63 - 1.

        Args:
            key: the counter.
            delta: what to add; a negative one stops at 0.
            initial: what a missing counter counts as; None leaves it missing.
            ttl: of a counter made by this call, in seconds.

        Returns:
            The new value; None when there is none and no `initial`, or when the server does not answer.

        Raises:
            ValueError: the value is not a counter, or would go over 2**63 - 1.
            KVUnavailable: strict only.
        """
        if not -MAX_COUNTER <= delta <= MAX_COUNTER or not 0 <= (initial or 0) <= MAX_COUNTER:
            raise ValueError(f"incr of {key!r}: delta and initial must lie within 0 and 2**63 - 1, signs aside")
        first = None if initial is None else _checked(key, max(0, initial + delta))
        try:
            return self._incr(key, delta, first, whole_seconds(ttl))
        except KVUnavailable:
            if self._strict:
                raise
            return None

    def _incr(self, key: str, delta: int, first: int | None, ttl: int | None) -> int | None:
        name = self._key(key)
        while True:
            try:
                value = self._timed("kv.incr", lambda: self._backend.incr(name, delta))
            except ValueError as error:
                raise ValueError(f"incr of {key!r}: {error}") from None
            if value is not None:
                return _checked(key, value)
            if first is None or self._timed("kv.add", lambda: self._backend.add(name, b"%d" % first, ttl)):
                return first

    @property
    def available(self) -> bool:
        """Whether every server is believed to answer; costs no call."""
        return all(server.up for server in self.health())

    def health(self) -> list[ServerHealth]:
        """Return what is known of each server; costs no call."""
        return self._backend.health()

    def close(self) -> None:
        """Close the connections of this store and of all its views; the next call opens new ones."""
        self._backend.close()

    def _key(self, key: str) -> str:
        return encoding.stored_key(self._prefix, key)

    def _value(self, key: str, value: bytes) -> bytes:
        return encoding.stored_value(key, value)

    def _read(self, name: str, keys: list[str]) -> dict[str, Item]:
        stored = {self._key(key): key for key in keys}

        def read() -> dict[str, Item]:
            return self._backend.get_many(list(stored))

        nothing: dict[str, Item] = {}
        found = self._call(name, read, nothing, len(keys))
        return {stored[key]: Item(encoding.value_of(item.value), item.token) for key, item in found.items()}

    def _call(self, name: str, call: Callable[[], _T], otherwise: _T, count: int = 1, sent: int = 0) -> _T:
        try:
            return self._timed(name, call, count, sent)
        except KVUnavailable as error:
            if self._strict:
                raise
            return error.found if isinstance(error.found, type(otherwise)) else otherwise

    def _timed(self, name: str, call: Callable[[], _T], count: int = 1, sent: int = 0) -> _T:
        started, failed, received = time.perf_counter(), True, 0
        try:
            found = call()
            failed = False
            if isinstance(found, dict) and meter.wanted():
                received = sum(len(item.value) for item in found.values())
            return found
        finally:
            about = meter.About(self._prefix, count, sent, received)
            meter.record(name, time.perf_counter() - started, about=about, failed=failed)


def whole_seconds(ttl: float | None) -> int | None:
    """Return a time to live as backends want it: None, or whole seconds, rounded up; 0 for "expired at once".

    Raises:
        ValueError: it is not a number.
    """
    if ttl is None or ttl == math.inf:
        return None
    if math.isnan(ttl):
        raise ValueError("ttl must be a number of seconds or None, not NaN")
    return max(0, math.ceil(ttl))


def _check_namespace(part: str, whole: str) -> None:
    if not _NAMESPACE.fullmatch(part) or len(whole) > MAX_NAMESPACE:
        raise ValueError(
            f"namespace {whole!r} must be at most {MAX_NAMESPACE} of the characters 0-9 A-Z a-z . _ - ('/' nests)"
        )


def _checked(key: str, value: int) -> int:
    if value > MAX_COUNTER:
        raise ValueError(f"incr of {key!r}: {value} is over the limit of a counter, 2**63 - 1")
    return value
