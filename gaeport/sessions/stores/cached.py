"""Sessions in Datastore with a cache before it that may vanish, lag behind, or come back with old content.

What makes it safe:

- An entry carries its Datastore version and when that was read; older than `cache_ttl` it counts for nothing.
- A reader that finds nothing takes a lease (`add`) before it reads Datastore, and fills by compare-and-set on that
  lease: one that was held up finds it overwritten by a logout, or gone with a flushed cache, and fills nothing.
- A writer replaces only what is older than what it wrote, by compare-and-set.
- A logout leaves a tombstone that outlives every entry. If the cache cannot take it, this process remembers it, and
  distrusts every entry from before the outage.
- The cookie carries the least version acceptable: who changed a session never reads what was before.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gaeport import codec
from gaeport.errors import DamagedValue
from gaeport.kv import KV, Item
from gaeport.sessions.record import Change, Record, decode, encode
from gaeport.sessions.stores.base import About, SessionGone, Stored, is_id, name_of
from gaeport.sessions.stores.datastore import DatastoreStore
from gaeport.sessions.stores.entities import Version

LEASE = 10  # seconds; a reader of Datastore that takes longer fills nothing
_MAX_PENDING = 10_000  # tombstones remembered for a cache that does not answer

_log = logging.getLogger("gaeport.sessions")


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the cache holds for a session: a record, a tombstone (no record), or a lease (no record, a nonce)."""

    version: Version
    confirmed: float
    record: Record | None = None
    lease: bytes = b""


@dataclass(frozen=True, slots=True)
class _Handle:
    version: Version
    cache_token: Any = None

    @property
    def number(self) -> int:
        return self.version.number

    @property
    def nonce(self) -> bytes:
        return self.version.nonce


class CachedStore:
    """Sessions in Datastore, read through a cache and written through it.

    A read costs one call of the cache; a write one Commit and one call of the cache. Without the cache it works like
    the Datastore store.
    """

    def __init__(
        self, store: DatastoreStore, kv: KV, cache_ttl: float = 60, clock: Callable[[], float] = time.time
    ) -> None:
        """Put a cache before a store.

        Args:
            store: what keeps the sessions.
            kv: the cache, in a namespace that is the sessions' own.
            cache_ttl: seconds after which an entry is read from Datastore again; a session that was revoked while
                the cache did not answer ends at the latest then.
            clock: seconds since 1970.
        """
        self._store = store
        self._kv = kv.strict(False)
        self._cache_ttl = cache_ttl
        self._clock = clock
        self._distrusted = 0.0  # entries confirmed before are from before an outage
        self._pending: dict[str, float] = {}  # tombstones that the cache did not take, with the time they end

    def load(self, token: str) -> Stored | None:
        """See `Store.load`."""
        session_id, least = _parts(token)
        if not is_id(session_id):
            return None
        name = name_of(session_id)
        self._bury_pending()
        item = self._kv.gets(name)
        if item is None and not self._kv.available:
            self._distrusted = self._clock()
        entry = _entry(item)
        if name in self._pending:
            return None
        if entry is not None and self._counts(entry):
            if not entry.record and not entry.lease:
                return None
            if entry.record and entry.version.number >= least and item is not None:
                return Stored(token, entry.record, _Handle(entry.version, item.token))
        return self._load_and_fill(session_id, name, item, entry)

    def insert(self, record: Record, replacing: Stored | None = None) -> Stored:
        """See `Store.insert`."""
        inner = None if replacing is None else _inner(replacing)
        started = self._clock()
        stored = self._store.insert(record, inner)
        if inner is not None:
            self._bury(name_of(inner.token))
        self._add(stored, started)
        return _outer(stored)

    def update(self, stored: Stored, change: Change) -> Stored:
        """See `Store.update`."""
        inner = _inner(stored)
        started = self._clock()
        try:
            written = self._store.update(inner, change)
        except SessionGone:
            self._bury(name_of(inner.token))
            raise
        self._replace(written, started, stored.handle.cache_token)
        return _outer(written)

    def renew(self, stored: Stored, change: Change) -> Stored:
        """See `Store.renew`."""
        inner = _inner(stored)
        started = self._clock()
        try:
            moved = self._store.renew(inner, change)
        finally:
            self._bury(name_of(inner.token))  # moved or gone: in any case not to be found here any more
        self._add(moved, started)
        return _outer(moved)

    def delete(self, token: str) -> None:
        """See `Store.delete`."""
        session_id, _ = _parts(token)
        if is_id(session_id):
            self.revoke([name_of(session_id)])

    def of_user(self, user: str) -> Iterator[About]:
        """See `Store.of_user`."""
        return self._store.of_user(user)

    def every(self) -> Iterator[About]:
        """See `Store.every`."""
        return self._store.every()

    def revoke(self, names: Iterable[str]) -> int:
        """See `Store.revoke`."""
        wanted = list(dict.fromkeys(names))
        count = self._store.revoke(wanted)
        for name in wanted:  # afterwards: a reader between the two must not find the session and fill it in again
            self._bury(name)
        return count

    def _counts(self, entry: _Entry) -> bool:
        if entry.record is None:
            return True
        age = self._clock() - entry.confirmed
        return age <= self._cache_ttl and entry.confirmed > self._distrusted

    def _load_and_fill(self, session_id: str, name: str, item: Item | None, entry: _Entry | None) -> Stored | None:
        cache_token = self._lease(name) if item is None else None
        if item is not None and entry is not None and not entry.lease:
            cache_token = item.token
        started = self._clock()
        found = self._store.load(session_id)
        if found is None:
            return None
        older = entry is None or entry.version.number <= found.handle.number
        if cache_token is not None and older:
            self._kv.cas(name, self._encoded(found, started), cache_token, self._cache_ttl)
        return _outer(found)

    def _lease(self, name: str) -> Any:
        """Return the token of a lease taken just now, or None where somebody was faster or the cache is away."""
        nonce = secrets.token_bytes(8)
        if not self._kv.add(name, _encode(_Entry(Version(0, b""), self._clock(), lease=nonce)), LEASE):
            return None
        item = self._kv.gets(name)
        entry = _entry(item)
        return item.token if item is not None and entry is not None and entry.lease == nonce else None

    def _add(self, stored: Stored, started: float) -> None:
        """Put a new session in; nobody can have logged out of it, since nobody knows its id yet."""
        self._kv.add(name_of(stored.token), self._encoded(stored, started), self._cache_ttl)

    def _replace(self, written: Stored, started: float, cache_token: Any) -> None:
        """Put what was written in the place of something older; nothing, a tombstone or a newer one is left."""
        name = name_of(written.token)
        data = self._encoded(written, started)
        if cache_token is not None and self._kv.cas(name, data, cache_token, self._cache_ttl):
            return
        while True:
            item = self._kv.gets(name)
            entry = _entry(item)
            if item is None or entry is None or entry.record is None:
                return
            if entry.version.number >= written.handle.number:
                return
            if self._kv.cas(name, data, item.token, self._cache_ttl):
                return

    def _encoded(self, stored: Stored, confirmed: float) -> bytes:
        return _encode(_Entry(stored.handle, confirmed, stored.record))

    def _bury(self, name: str) -> None:
        if self._kv.set(name, self._tombstone(), 2 * self._cache_ttl):
            return
        self._distrusted = self._clock()
        if not self._pending:
            _log.warning("the session cache does not answer; logouts reach other instances in %d s", self._cache_ttl)
        if len(self._pending) < _MAX_PENDING:
            self._pending[name] = self._clock() + self._cache_ttl

    def _bury_pending(self) -> None:
        """Hand over the tombstones that wait, as soon as the cache answers again."""
        if not self._pending:
            return
        for name, end in list(self._pending.items()):
            # Its entries may be from just before `end`, but none is trusted longer than that.
            if end < self._clock() or self._kv.set(name, self._tombstone(), 2 * self._cache_ttl):
                self._pending.pop(name, None)
            else:
                return

    def _tombstone(self) -> bytes:
        return _encode(_Entry(Version(0, b""), self._clock()))


def _encode(entry: _Entry) -> bytes:
    record = b"" if entry.record is None else encode(entry.record)
    return codec.dumps([entry.version.number, entry.version.nonce, entry.confirmed, entry.lease, record], "session")


def _entry(item: Item | None) -> _Entry | None:
    if item is None:
        return None
    try:
        number, nonce, confirmed, lease, record = codec.loads(item.value)
        return _Entry(Version(number, nonce), confirmed, decode(record) if record else None, lease)
    except (DamagedValue, TypeError, ValueError):
        return None  # of another release, or not a session at all: Datastore knows


def _parts(token: str) -> tuple[str, int]:
    """Return id and least version of "ID.VERSION"; an empty id where it is neither that nor an id."""
    session_id, dot, version = token.partition(".")
    if not dot:
        return session_id, 0
    if not version.isascii() or not version.isdigit() or len(version) > 19:
        return "", 0
    return session_id, int(version)


def _inner(stored: Stored) -> Stored:
    return Stored(_parts(stored.token)[0], stored.record, stored.handle)


def _outer(stored: Stored) -> Stored:
    handle = stored.handle
    return Stored(f"{stored.token}.{handle.number}", stored.record, _Handle(handle))
