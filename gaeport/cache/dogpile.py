"""The key-value stores as a dogpile.cache backend: `region.configure("gaeport", arguments={"url": …})`."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gaeport.cache import serializers
from gaeport.errors import DamagedValue, MissingExtraError
from gaeport.kv import KV, connect

try:
    from dogpile.cache.api import NO_VALUE, BytesBackend, CantDeserializeException
except ImportError as error:  # it is there wherever code for it is
    raise MissingExtraError("dogpile.cache is not installed; pip install dogpile.cache") from error

_FIRST_POLL, _LAST_POLL = 0.01, 0.2  # seconds between two attempts to get a lock
_STEP = 1.5


class GaeportBackend(BytesBackend):
    """A region's values in a key-value store.

    Arguments of the region:
        url: as `gaeport.kv.connect` takes it, or a store.
        namespace: keeps these keys apart from others; by default "dogpile".
        serializer: "codec" (default) or "pickle", as `gaeport.cache.Cache` explains them.
        ttl: seconds after which the store forgets a value; more than the region's expiration_time, so that dogpile can
            serve the old value while a new one is created. By default never.
        distributed_lock: whether one process creates a value and the others wait; by default True.
        lock_timeout: seconds after which a lock is another's; more than a creation takes; by default 30.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        url = arguments.get("url", "memory://")
        kv = url if isinstance(url, KV) else connect(url)
        self._kv = kv.namespace(arguments.get("namespace", "dogpile"))
        self._ttl: float | None = arguments.get("ttl")
        self._lock_timeout: float = arguments.get("lock_timeout", 30)
        self._distributed: bool = arguments.get("distributed_lock", True)
        chosen = serializers.named(arguments.get("serializer", "codec"))
        self.serializer = chosen.dumps

        def loads(data: bytes) -> Any:
            try:
                return chosen.loads(data)
            except DamagedValue as error:  # of another program: created anew
                raise CantDeserializeException(str(error)) from error

        self.deserializer = loads

    def get_serialized(self, key: str) -> Any:
        """Return the bytes, or NO_VALUE."""
        value = self._kv.get(key)
        return NO_VALUE if value is None else value

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[Any]:
        """Return the bytes of each key, or NO_VALUE."""
        wanted = list(keys)
        found = self._kv.get_many(wanted)
        return [found.get(key, NO_VALUE) for key in wanted]

    def set_serialized(self, key: str, value: bytes) -> None:
        """Store bytes."""
        self._kv.set(key, value, self._ttl)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        """Store bytes under several keys."""
        for key, value in mapping.items():
            self._kv.set(key, value, self._ttl)

    def delete(self, key: str) -> None:
        """Remove a value; a missing one is no error."""
        self._kv.delete(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Remove values; missing ones are no error."""
        for key in keys:
            self._kv.delete(key)

    def get_mutex(self, key: str) -> Any:
        """Return the lock of a key across processes, or None where dogpile shall use its own in the process."""
        return _Mutex(self._kv, f"lock:{key}", self._lock_timeout) if self._distributed else None


class _Mutex:
    """A lock in the store that frees itself after a while. Where the store does not answer, everybody gets it."""

    def __init__(self, kv: KV, key: str, timeout: float) -> None:
        self._kv = kv
        self._key = key
        self._timeout = timeout
        self._mine = b"t" + os.urandom(12)

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock; wait for it, or tell whether it was free."""
        pause = _FIRST_POLL
        while not self._kv.add(self._key, self._mine, self._timeout):
            if not self._kv.available:
                return True
            if not wait:
                return False
            time.sleep(pause)
            pause = min(pause * _STEP, _LAST_POLL)
        return True

    def release(self) -> None:
        """Give the lock back, unless it ran out and is another's by now."""
        item = self._kv.gets(self._key)
        if item is not None and item.value == self._mine:
            self._kv.cas(self._key, self._mine, item.token, 0)

    def locked(self) -> bool:
        """Tell whether somebody has the lock."""
        return self._kv.get(self._key) is not None
