"""Sessions in memcache or Redis alone: fast, and gone when the server loses them."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator

from gaeport import codec
from gaeport.errors import DamagedValue
from gaeport.kv import KV, Item
from gaeport.sessions.record import Change, Record, decode, encode
from gaeport.sessions.stores.base import (
    About,
    SessionGone,
    Stored,
    UnsupportedByStore,
    about,
    is_id,
    name_of,
    new_id,
)

_LISTED = 90 * 86_400  # seconds that a user's list is kept after the last login; longer than any session should live


class KVStore:
    """Sessions in a key-value store. While the server does not answer, reading and saving raise KVUnavailable.

    (Were a dead server's sessions taken for ended ones, everybody would be logged out.)
    """

    def __init__(self, kv: KV, clock: Callable[[], float] = time.time) -> None:
        """Wrap a key-value store.

        Args:
            kv: the store, in a namespace that is the sessions' own.
            clock: seconds since 1970.
        """
        self._kv = kv.strict()
        self._clock = clock

    def load(self, token: str) -> Stored | None:
        """See `Store.load`. One call; none for what is not an id."""
        if not is_id(token):
            return None
        item = self._kv.gets(_key(name_of(token)))
        return None if item is None else _stored(token, item)

    def insert(self, record: Record, replacing: Stored | None = None) -> Stored:
        """See `Store.insert`. One call; two more where a user logs in."""
        if replacing is not None:
            self.delete(replacing.token)  # first: should this end between the two, nobody is logged in
        token = new_id()
        self._kv.add(_key(name_of(token)), encode(record), self._ttl(record))
        self._list(record.user, name_of(token))
        return Stored(token, record)

    def update(self, stored: Stored, change: Change) -> Stored:
        """See `Store.update`. One call, and two more for each conflict."""
        key = _key(name_of(stored.token))
        current = stored
        while True:
            record = change.applied_to(current.record)
            if current.handle is not None and self._kv.cas(key, encode(record), current.handle, self._ttl(record)):
                break
            current = self._again(stored.token)
            if change.only_touches:
                return current
        if record.user != stored.record.user:
            self._list(record.user, name_of(stored.token))
        return Stored(stored.token, record)

    def renew(self, stored: Stored, change: Change) -> Stored:
        """See `Store.renew`. The old one is taken away by compare-and-set, so that no change to it is lost."""
        key = _key(name_of(stored.token))
        current = stored
        while current.handle is None or not self._kv.cas(key, b"", current.handle, 0):
            current = self._again(stored.token)
        return self.insert(change.applied_to(current.record))

    def delete(self, token: str) -> None:
        """See `Store.delete`. One call."""
        if is_id(token):
            self._kv.delete(_key(name_of(token)))

    def of_user(self, user: str) -> Iterator[About]:
        """See `Store.of_user`. Two calls. A list that the server lost is begun anew by the next login."""
        item = self._kv.gets(_list_key(user))
        names = _names(item)
        found = self._kv.get_many(_key(name) for name in names)
        for name in names:
            data = found.get(_key(name))
            record = _record(data) if data is not None else None
            if record is not None and record.user == user:
                yield about(name, record)

    def every(self) -> Iterator[About]:
        """Raise UnsupportedByStore: these servers cannot list what they hold."""
        raise UnsupportedByStore(
            "memcache and redis cannot list all sessions, and end those that expired by themselves; "
            'store = "datastore" or "memcache+datastore" can'
        )

    def revoke(self, names: Iterable[str]) -> int:
        """See `Store.revoke`. One call each."""
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            self._kv.delete(_key(name))
        return len(wanted)

    def _again(self, token: str) -> Stored:
        found = self.load(token)
        if found is None:
            raise SessionGone("the session ended meanwhile")
        return found

    def _ttl(self, record: Record) -> float:
        return max(0.0, record.expires - self._clock())

    def _list(self, user: str | None, name: str) -> None:
        """Add a session to its user's list; those that are gone are left out on the way."""
        if user is None:
            return
        key = _list_key(user)
        while True:
            item = self._kv.gets(key)
            if item is None:
                if self._kv.add(key, codec.dumps([name]), _LISTED):
                    return
                continue
            live = self._kv.get_many(_key(known) for known in _names(item))
            names = [known for known in _names(item) if _key(known) in live and known != name]
            if self._kv.cas(key, codec.dumps([*names, name]), item.token, _LISTED):
                return


def _key(name: str) -> str:
    return f"s-{name}"


def _list_key(user: str) -> str:
    return f"u-{hashlib.sha256(user.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _names(item: Item | None) -> list[str]:
    if item is None:
        return []
    found = codec.loads(item.value)
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _stored(token: str, item: Item) -> Stored | None:
    record = _record(item.value)
    return None if record is None else Stored(token, record, item.token)


def _record(data: bytes) -> Record | None:
    try:
        return decode(data)
    except DamagedValue:
        return None  # a server that is shared may hold anything; what is no session lets nobody in
