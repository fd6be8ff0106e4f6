"""Entries, clearings and leases of one cache in a key-value store."""

import os
from collections.abc import Callable

from gaeport.cache import clearing, entry
from gaeport.cache.clearing import Clearings
from gaeport.cache.entry import Entry
from gaeport.kv import KV

_CLEARINGS = "clearings"
_ENTRY, _LEASE = "entry:", "lease:"


class Store:
    """A strict view on the key-value store: every method raises KVUnavailable when it does not answer."""

    def __init__(self, kv: KV) -> None:
        self._kv = kv.strict()

    def read(self, key: str) -> tuple[Clearings, Entry | None]:
        """Return what was cleared and the entry, in one round trip."""
        clearings, found, _ = self._read(key)
        return clearings, found

    def read_while_leased(self, key: str) -> tuple[Clearings, Entry | None, bool]:
        """Return what was cleared, the entry, and whether somebody is creating it, in one round trip."""
        return self._read(key, _LEASE + key)

    def write(self, key: str, made: Entry) -> None:
        """Store an entry."""
        self._kv.set(_ENTRY + key, made.dumps(), made.ttl)

    def add(self, key: str, made: Entry) -> bool:
        """Store an entry where none is that still counts."""
        while True:
            item = self._kv.gets(_ENTRY + key)
            if item is None:
                if self._kv.add(_ENTRY + key, made.dumps(), made.ttl):
                    return True
                continue
            if entry.loads(item.value, key, self.clearings()) is not None:
                return False
            if self._kv.cas(_ENTRY + key, made.dumps(), item.token, made.ttl):
                return True

    def update(self, key: str, change: Callable[[Clearings, Entry | None], Entry]) -> Entry:
        """Replace an entry by what `change` makes of it; called again when somebody else was quicker."""
        while True:
            item, clearings = self._kv.gets(_ENTRY + key), self.clearings()
            new = change(clearings, entry.loads(item.value if item else None, key, clearings))
            if item is None:
                stored = self._kv.add(_ENTRY + key, new.dumps(), new.ttl)
            else:
                stored = self._kv.cas(_ENTRY + key, new.dumps(), item.token, new.ttl)
            if stored:
                return new

    def delete(self, key: str) -> bool:
        """Remove an entry; tell whether one was there that still counted."""
        _, found = self.read(key)
        return self._kv.delete(_ENTRY + key) and found is not None

    def lease(self, key: str, seconds: float) -> bytes | None:
        """Return the right to create an entry, or None while somebody else has it."""
        mine = b"t" + os.urandom(12)
        return mine if self._kv.add(_LEASE + key, mine, seconds) else None

    def release(self, key: str, mine: bytes, after: float = 0) -> None:
        """Give the right back, unless it ran out and is another's by now.

        Args:
            key: of the entry.
            mine: what `lease` gave.
            after: seconds for which nobody shall have it (after a failure).
        """
        item = self._kv.gets(_LEASE + key)
        if item is not None and item.value == mine:
            self._kv.cas(_LEASE + key, mine, item.token, after)

    def clearings(self) -> Clearings:
        """Return what was cleared; begin a new epoch where the store does not know."""
        found = clearing.loads(self._kv.get(_CLEARINGS))
        return found if found is not None else self._begin()

    def clear(self, rule: str | None) -> None:
        """Clear everything, or the keys that begin with a match of a regular expression."""
        while True:
            item = self._kv.gets(_CLEARINGS)
            before = clearing.loads(item.value) if item else None
            after = before.with_rule(rule) if before is not None and rule is not None else Clearings()
            if item is None:
                stored = self._kv.add(_CLEARINGS, after.dumps())
            else:
                stored = self._kv.cas(_CLEARINGS, after.dumps(), item.token)
            if stored:
                return

    def _read(self, key: str, *more: str) -> tuple[Clearings, Entry | None, bool]:
        found = self._kv.get_many([_CLEARINGS, _ENTRY + key, *more])
        clearings = clearing.loads(found.get(_CLEARINGS)) or self._begin()
        made = entry.loads(found.get(_ENTRY + key), key, clearings)
        return clearings, made, any(name in found for name in more)

    def _begin(self) -> Clearings:
        while True:
            new = Clearings()
            if self._kv.add(_CLEARINGS, new.dumps()):
                return new
            item = self._kv.gets(_CLEARINGS)
            known = clearing.loads(item.value if item else None)
            if known is not None:
                return known
            if item is not None:  # not ours to read, of a newer release or damaged: replaced, which clears everything
                self._kv.cas(_CLEARINGS, new.dumps(), item.token)
