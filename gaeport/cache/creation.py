"""Who creates a value, and what the others get meanwhile."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gaeport.cache.clearing import Clearings
from gaeport.cache.entry import Entry
from gaeport.cache.flights import Flight, Flights
from gaeport.cache.serializers import Serializer
from gaeport.cache.statistics import Statistics
from gaeport.cache.store import Store
from gaeport.errors import KVUnavailable, ValueTooLarge

_FIRST_POLL, _LAST_POLL = 0.01, 0.2  # seconds between two looks for another process's value
UNSHARED_FOR = 60.0  # seconds for which nobody waits for a value that turned out not to be shared

_log = logging.getLogger("gaeport.cache")


class Unshared(Exception):
    """What a creator raises to give its caller a value that nobody else may get."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, as `Cache` explains them."""

    stale: float
    lease: float
    wait: float
    pause: float


class Creator:
    """Gets values from the store, or has them created once."""

    def __init__(self, store: Store, serializer: Serializer, statistics: Statistics, limits: Limits) -> None:
        self._store = store
        self._serializer = serializer
        self._count = statistics.add
        self._limits = limits
        self._flights = Flights()

    def obtain(self, key: str, create: Callable[[], Any], expire: float | None) -> Any:
        """Return the value of a key, creating it where it is missing or older than `expire` seconds."""
        if expire is not None and expire <= 0:
            return self._anew(key, create)
        try:
            clearings, entry = self._store.read(key)
        except KVUnavailable:
            return self._shared(key, create, expire)
        if entry is None:
            return self._shared(key, create, expire)
        if entry.payload is None:
            return self._unshared(create) if entry.is_fresh(UNSHARED_FOR) else self._shared(key, create, expire)
        fresh = entry.is_fresh(expire)
        if fresh and not entry.is_due(expire):
            self._count(hits=1)
            return self._serializer.loads(entry.payload)
        return self._renewed(key, create, expire, clearings, entry, fresh)

    def put(self, key: str, value: Any, expire: float | None) -> None:
        """Store a value that was created otherwise; where the store does not answer, do without."""
        try:
            self._make(key, lambda: value, expire, self._store.clearings())
        except KVUnavailable:
            self._count(unavailable=1)

    def _anew(self, key: str, create: Callable[[], Any]) -> Any:
        """Create without asking (time_expire = 0), for others to read."""
        self._count(misses=1)
        try:
            clearings = self._store.clearings()
        except KVUnavailable:
            return self._unshared(create)
        try:
            return self._make(key, create, 0, clearings)[0]
        except Unshared as unshared:
            return unshared.value

    def _unshared(self, create: Callable[[], Any]) -> Any:
        try:
            return self._timed(create)[0]
        except Unshared as unshared:
            return unshared.value

    def _renewed(
        self, key: str, create: Callable[[], Any], expire: float | None, clearings: Clearings, old: Entry, fresh: bool
    ) -> Any:
        """Create in place of an old value; or return that one, while somebody else creates or when creating fails."""
        assert old.payload is not None
        flight, leads = self._flights.join(key)
        if not leads:
            return self._old(old.payload, fresh)
        mine = None
        try:
            mine, newer = self._lease_or_newer(key, expire, old)
            if mine is None:
                return self._old(newer or old.payload, fresh or newer is not None)
            self._count(misses=1)
            value, flight.payload = self._make(key, create, expire, clearings)
            return value
        except Unshared as unshared:
            flight.unshared = True
            return unshared.value
        except Exception as error:  # noqa: BLE001 - whatever the application raises; logged with its traceback
            self._failed(key, old, error)
            if mine is not None:
                self._release(key, mine, self._limits.pause)
                mine = None
            return self._old(old.payload, fresh)
        finally:
            if mine is not None:
                self._release(key, mine)
            self._flights.end(key, flight)

    def _lease_or_newer(self, key: str, expire: float | None, old: Entry) -> tuple[bytes | None, bytes | None]:
        """Return the right to create, or a newer value that somebody else created meanwhile, or neither."""
        try:
            mine = self._store.lease(key, self._limits.lease)
            if mine is None:
                return None, None
            _, now = self._store.read(key)
        except KVUnavailable:
            self._count(unavailable=1)
            return None, None
        if now is None or now.payload is None or now.made <= old.made or not now.is_fresh(expire):
            return mine, None
        self._release(key, mine)
        return None, now.payload

    def _old(self, payload: bytes, fresh: bool) -> Any:
        self._count(**{"hits" if fresh else "stale": 1})
        return self._serializer.loads(payload)

    def _failed(self, key: str, old: Entry, error: Exception) -> None:
        self._count(failures=1)
        _log.error(
            "creating %r failed; serving the value of %.0f s ago for at least %.0f s more",
            key,
            old.age,
            self._limits.pause,
            exc_info=error,
        )

    def _shared(self, key: str, create: Callable[[], Any], expire: float | None) -> Any:
        """Create what is missing: one thread of this process does (if no other process is at it), the others wait."""
        while True:
            flight, leads = self._flights.join(key)
            if leads:
                try:
                    return self._lead(key, create, expire, flight)
                finally:
                    self._flights.end(key, flight)
            landed = flight.wait(self._limits.wait + self._limits.lease)
            if flight.error is not None:
                raise flight.error
            if flight.payload is not None:
                self._count(hits=1)
                return self._serializer.loads(flight.payload)
            if flight.unshared or not landed:
                return self._unshared(create)

    def _lead(self, key: str, create: Callable[[], Any], expire: float | None, flight: Flight) -> Any:
        mine = None
        clearings: Clearings | None = None
        try:
            mine, clearings, payload = self._lease_or_value(key, expire)
            if payload is not None:
                flight.payload = payload
                self._count(hits=1)
                return self._serializer.loads(payload)
        except KVUnavailable:
            self._count(unavailable=1)
        self._count(misses=1)
        try:
            value, flight.payload = self._make(key, create, expire, clearings)
            return value
        except Unshared as unshared:
            flight.unshared = True
            self._mark_unshared(key, clearings)
            return unshared.value
        except Exception as error:
            self._count(failures=1)
            flight.error = error
            raise
        finally:
            if mine is not None:
                self._release(key, mine)

    def _lease_or_value(self, key: str, expire: float | None) -> tuple[bytes | None, Clearings | None, bytes | None]:
        """Return the right to create, or the value once another process has created it.

        After `wait` seconds neither: (None, …, None).
        """
        end, pause = time.monotonic() + self._limits.wait, _FIRST_POLL
        mine = self._store.lease(key, self._limits.lease)
        while True:
            # Read again with the lease in hand: another may have created the value since it was missed.
            clearings, entry, leased = self._store.read_while_leased(key)
            if entry is not None and entry.payload is not None and entry.is_fresh(expire):
                if mine is not None:
                    self._release(key, mine)
                return None, clearings, entry.payload
            unshared = entry is not None and entry.payload is None
            if mine is not None or unshared or time.monotonic() >= end:
                return mine, clearings, None
            if leased:
                time.sleep(pause)
                pause = min(pause * 1.5, _LAST_POLL)
            else:
                mine = self._store.lease(key, self._limits.lease)

    def _make(
        self, key: str, create: Callable[[], Any], expire: float | None, clearings: Clearings | None
    ) -> tuple[Any, bytes]:
        """Create a value and store it. Returns it and its bytes. `clearings` None: the store does not answer."""
        value, seconds = self._timed(create)
        payload = self._serializer.dumps(value)
        if clearings is not None:
            until = None if expire is None else time.time() + expire + self._limits.stale
            entry = Entry(clearings.epoch, clearings.number, time.time(), seconds, until, payload)
            try:
                self._store.write(key, entry)
            except KVUnavailable:
                self._count(unavailable=1)
            except ValueTooLarge as error:
                _log.warning("not cached: %s", error)
        return value, payload

    def _timed(self, create: Callable[[], Any]) -> tuple[Any, float]:
        started = time.perf_counter()
        value = create()
        seconds = time.perf_counter() - started
        self._count(creations=1, seconds=seconds)
        return value, seconds

    def _mark_unshared(self, key: str, clearings: Clearings | None) -> None:
        if clearings is None:
            return
        now = time.time()
        entry = Entry(clearings.epoch, clearings.number, now, 0.0, now + UNSHARED_FOR, None)
        try:
            self._store.write(key, entry)
        except KVUnavailable:
            self._count(unavailable=1)

    def _release(self, key: str, mine: bytes, after: float = 0) -> None:
        try:
            self._store.release(key, mine, after)
        except KVUnavailable:
            self._count(unavailable=1)  # it runs out by itself
