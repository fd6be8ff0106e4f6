"""The store inside the process: for tests, for one process, and as the fastest cache of all."""

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gaeport.kv.base import MAX_COUNTER, Item
from gaeport.kv.encoding import is_counter
from gaeport.kv.health import ServerHealth

LIMIT = 67_108_864  # bytes: 64 MiB, a sixth of the smallest App Engine instance; memcached's own default too
OVERHEAD = 300  # bytes an entry costs beside its key and value (measured on CPython 3.11: dictionary, objects)


@dataclass(slots=True)
class _Entry:
    value: bytes
    expires: float | None
    token: int


class MemoryBackend:
    """Entries in a dictionary. Beyond `limit` bytes those not used for longest go first."""

    def __init__(self, limit: int = LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an empty store.

        Args:
            limit: bytes that keys and values may use, overhead included.
            clock: seconds; must not go backwards.
        """
        self._limit = limit
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._used = 0
        self._tokens = itertools.count(1)
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes in use."""
        return self._used

    def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        found = {}
        with self._lock:
            for key in keys:
                entry = self._live(key)
                if entry is not None:
                    self._entries.move_to_end(key)
                    found[key] = Item(entry.value, entry.token)
        return found

    def set(self, key: str, value: bytes, ttl: int | None) -> bool:
        with self._lock:
            self._put(key, value, ttl)
        return True

    def add(self, key: str, value: bytes, ttl: int | None) -> bool:
        with self._lock:
            if self._live(key) is not None:
                return False
            self._put(key, value, ttl)
        return True

    def cas(self, key: str, value: bytes, token: object, ttl: int | None) -> bool:
        with self._lock:
            entry = self._live(key)
            if entry is None or entry.token != token:
                return False
            self._put(key, value, ttl)
        return True

    def touch(self, key: str, ttl: int | None) -> bool:
        with self._lock:
            entry = self._live(key)
            if entry is None:
                return False
            entry.expires = self._expiry(ttl)
            self._entries.move_to_end(key)
        return True

    def delete(self, key: str) -> bool:
        with self._lock:
            there = self._live(key) is not None
            self._drop(key)
        return there

    def incr(self, key: str, delta: int) -> int | None:
        with self._lock:
            entry = self._live(key)
            if entry is None:
                return None
            if not is_counter(entry.value):
                raise ValueError("the value is not a counter")
            value = max(0, int(entry.value) + delta)
            if value <= MAX_COUNTER:
                self._replace(key, entry, b"%d" % value)
        return value

    def health(self) -> list[ServerHealth]:
        return [ServerHealth("memory", True, 0, 0)]

    def close(self) -> None:
        """Keep everything: there is no connection to close."""

    def after_fork(self) -> None:
        """Make the lock anew: in the child nobody would release the parent's."""
        self._lock = threading.Lock()

    def _expiry(self, ttl: int | None) -> float | None:
        return None if ttl is None else self._clock() + ttl

    def _live(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires is not None and entry.expires <= self._clock():
            self._drop(key)
            return None
        return entry

    def _put(self, key: str, value: bytes, ttl: int | None) -> None:
        self._drop(key)
        if ttl == 0:
            return
        self._entries[key] = _Entry(value, self._expiry(ttl), next(self._tokens))
        self._used += _size(key, value)
        self._shrink()

    def _replace(self, key: str, entry: _Entry, value: bytes) -> None:
        self._used += len(value) - len(entry.value)
        entry.value, entry.token = value, next(self._tokens)
        self._entries.move_to_end(key)
        self._shrink()

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._used -= _size(key, entry.value)

    def _shrink(self) -> None:
        while self._used > self._limit and self._entries:
            self._drop(next(iter(self._entries)))


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD
