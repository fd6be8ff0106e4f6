"""The keys that sign cookies: from settings, or made once and kept in Datastore; several at a time for rotation."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gaeport import codec
from gaeport.datastore import own_client, wire
from gaeport.datastore.client import Client, backoff
from gaeport.datastore.mutations import compare_and_set
from gaeport.datastore.outcomes import CONFLICTS
from gaeport.errors import Aborted, AlreadyExists, DatastoreError

KIND, NAME = "SessionKeys", "cookie"
REFRESH = 60.0  # seconds between looks at the stored keys; a retired key counts that much longer at most
NOTICE = 2 * REFRESH  # seconds before a new key signs, so that every instance knows it by then
_PAUSE = 5.0  # seconds between looks that unknown keys cause: forged cookies must not cost a Lookup each

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key.

    Attributes:
        secret: the key itself.
        signs_from: when it may sign, in seconds since 1970.
        retires: when signatures by it stop counting, in seconds since 1970; None for never.
    """

    secret: bytes = field(repr=False)
    signs_from: float = 0.0
    retires: float | None = None

    @property
    def name(self) -> str:
        """Eight characters that say which key signed, without telling the key."""
        return hashlib.sha256(b"gaeport.sessions.key:" + self.secret).hexdigest()[:8]


class Keyring(Protocol):
    """Where keys come from."""

    def signing(self) -> Key:
        """Return the key to sign with."""
        ...

    def find(self, name: str) -> Key | None:
        """Return the key of that name, if signatures by it count."""
        ...


class FixedKeys:
    """Keys from the settings: the first one signs, all of them count."""

    def __init__(self, secrets_: Sequence[str]) -> None:
        self._keys = [Key(secret.encode()) for secret in secrets_]

    def signing(self) -> Key:
        """See `Keyring.signing`."""
        return self._keys[0]

    def find(self, name: str) -> Key | None:
        """See `Keyring.find`."""
        return next((key for key in self._keys if key.name == name), None)


class StoredKeys:
    """Keys in Datastore. The first process that needs one makes it, by an insert that only one can win."""

    def __init__(self, connect: Callable[[], Client] = own_client, clock: Callable[[], float] = time.time) -> None:
        """Prepare; nothing is read yet.

        Args:
            connect: returns the client to use.
            clock: seconds since 1970.
        """
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: list[Key] = []
        self._read_at = -REFRESH

    def signing(self) -> Key:
        """See `Keyring.signing`: the newest that may sign by now."""
        keys, now = self._current(REFRESH), self._clock()
        ready = [key for key in keys if key.signs_from <= now and _counts(key, now)]
        return ready[0] if ready else keys[0]

    def find(self, name: str) -> Key | None:
        """See `Keyring.find`. An unknown name is looked up in Datastore, at most once in five seconds."""
        for age in (REFRESH, _PAUSE):
            for key in self._current(age):
                if key.name == name:
                    return key if _counts(key, self._clock()) else None
        return None

    def rotate(self, retire_after: float, *, at_once: bool = False) -> Key:
        """Add a new key; the old ones count for a while longer.

        Args:
            retire_after: seconds that cookies signed by the old keys keep counting.
            at_once: whether the new key signs now. Otherwise it does when every instance knows it, in two minutes.

        Returns:
            The new key.

        Raises:
            DatastoreError: it could not be stored.
        """
        for attempt in range(_ATTEMPTS):
            keys, version = self._load_or_make()
            now = self._clock()
            start = now if at_once else now + NOTICE
            new = Key(secrets.token_bytes(32), start)
            old = [replace(key, retires=min(key.retires or start + retire_after, start + retire_after)) for key in keys]
            try:
                self._write([new, *(key for key in old if _counts(key, now))], version)
                self._read_at = -REFRESH
                return new
            except CONFLICTS:
                backoff(attempt)
        raise Aborted("the keys could not be stored: others changed them without pause")

    def _current(self, age: float) -> list[Key]:
        with self._lock:
            if not self._keys or time.monotonic() - self._read_at >= age:
                self._keys, _ = self._load_or_make()
                self._read_at = time.monotonic()
            return self._keys

    def _load_or_make(self) -> tuple[list[Key], int]:
        for attempt in range(_ATTEMPTS):
            client = self._connect()
            found = client.lookup([client.key(KIND, NAME)])[0]
            if found is not None:
                rows = codec.loads(found.entity.properties["keys"].blob_value)
                return [Key(*row) for row in rows], found.version
            try:
                self._write([Key(secrets.token_bytes(32))], None)
            except AlreadyExists:
                continue  # another instance was faster: its key counts
            except DatastoreError:
                if attempt == _ATTEMPTS - 1:
                    raise
                backoff(attempt)
        raise Aborted("no signing key could be stored")

    def _write(self, keys: list[Key], version: int | None) -> None:
        client = self._connect()
        entity: Any = wire.Entity(key=client.key(KIND, NAME))
        value = entity.properties["keys"]
        value.exclude_from_indexes = True
        value.blob_value = codec.dumps([[key.secret, key.signs_from, key.retires] for key in keys])
        client.commit([compare_and_set(entity, version)])


def _counts(key: Key, now: float) -> bool:
    return key.retires is None or now < key.retires
