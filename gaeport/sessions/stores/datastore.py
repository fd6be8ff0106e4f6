"""Sessions as entities: one Lookup to read, one compare-and-set Commit to write."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gaeport.datastore import own_client, wire
from gaeport.datastore.client import Client, Found, backoff, retried
from gaeport.datastore.mutations import delete, update
from gaeport.datastore.outcomes import CONFLICTS, RESENDABLE, UNCERTAIN
from gaeport.errors import Aborted
from gaeport.sessions.record import Change, Record
from gaeport.sessions.stores import entities
from gaeport.sessions.stores.base import About, SessionGone, Stored, about, is_id, name_of, new_id
from gaeport.sessions.stores.entities import Version

PATIENCE = 30.0  # seconds of conflicts before a request gives up
BATCH = 500  # deletes in a Commit


class DatastoreStore:
    """Sessions in Datastore, in the namespace of gaeport's own entities."""

    def __init__(self, connect: Callable[[], Client] = own_client) -> None:
        """Prepare; nothing is called yet.

        Args:
            connect: returns the client to use.
        """
        self._connect = connect

    def load(self, token: str) -> Stored | None:
        """See `Store.load`. One Lookup; none for what is not an id."""
        if not is_id(token):
            return None
        found = self._read(name_of(token))
        return None if found is None else Stored(token, entities.decode(found), entities.version_of(found))

    def insert(self, record: Record, replacing: Stored | None = None) -> Stored:
        """See `Store.insert`. One Commit."""
        client = self._connect()
        token = new_id()
        key = entities.entity_key(client, name_of(token))
        version = Version(0, secrets.token_bytes(8))
        mutations = [wire.Mutation(insert=entities.encode(key, record, version.nonce))]
        if replacing is not None:
            mutations.append(wire.Mutation(delete=entities.entity_key(client, name_of(replacing.token))))
        for _ in _attempts():
            try:
                number = client.commit(mutations)[0].version
                return Stored(token, record, Version(number, version.nonce))
            except (*CONFLICTS, *UNCERTAIN):
                found = self._read(name_of(token))
            if found is not None:  # the Commit was applied after all: nobody else knows this id
                return Stored(token, record, entities.version_of(found))
        raise Aborted("the session could not be stored: others were in the way without pause")

    def update(self, stored: Stored, change: Change) -> Stored:
        """See `Store.update`. One Commit, and a Lookup and a Commit more for each conflict."""
        client = self._connect()
        key = entities.entity_key(client, name_of(stored.token))
        current = stored
        for _ in _attempts():
            record, nonce = change.applied_to(current.record), secrets.token_bytes(8)
            mutation = update(entities.encode(key, record, nonce), current.handle.number)
            try:
                number = client.commit([mutation])[0].version
                return Stored(stored.token, record, Version(number, nonce))
            except (*CONFLICTS, *UNCERTAIN):
                current = self._again(stored.token)
            if current.handle.nonce == nonce or change.only_touches:
                return current  # applied after all, or written by somebody else, which touches it too
        raise Aborted("the session could not be stored: others changed it without pause")

    def renew(self, stored: Stored, change: Change) -> Stored:
        """See `Store.renew`. One Commit moves the session; what others changed meanwhile goes with it."""
        client = self._connect()
        token, nonce = new_id(), secrets.token_bytes(8)
        key = entities.entity_key(client, name_of(token))
        current = stored
        for _ in _attempts():
            record = change.applied_to(current.record)
            removal = delete(entities.entity_key(client, name_of(stored.token)), current.handle.number)
            created = wire.Mutation(insert=entities.encode(key, record, nonce))
            try:
                number = client.commit([created, removal])[0].version
                return Stored(token, record, Version(number, nonce))
            except CONFLICTS:
                pass
            except UNCERTAIN:
                found = self._read(name_of(token))
                if found is not None:
                    return Stored(token, record, entities.version_of(found))
            current = self._again(stored.token)
        raise Aborted("the session could not be moved: others changed it without pause")

    def delete(self, token: str) -> None:
        """See `Store.delete`. One Commit."""
        if is_id(token):
            self.revoke([name_of(token)])

    def of_user(self, user: str) -> Iterator[About]:
        """See `Store.of_user`. One query a 300 sessions."""
        query = _query()
        condition = query.filter.property_filter
        condition.property.name, condition.op = "user", wire.EQUAL
        condition.value.string_value = user
        return self._found(query)

    def every(self) -> Iterator[About]:
        """See `Store.every`. One query a 300 sessions."""
        return self._found(_query())

    def revoke(self, names: Iterable[str]) -> int:
        """See `Store.revoke`. One Commit for each 500."""
        client = self._connect()
        wanted = list(dict.fromkeys(names))
        for start in range(0, len(wanted), BATCH):
            keys = [entities.entity_key(client, name) for name in wanted[start : start + BATCH]]
            _delete(client, keys)
        return len(wanted)

    def _found(self, query: Any) -> Iterator[About]:
        for found in self._connect().query(query, mask=entities.ABOUT):
            yield about(found.entity.key.path[-1].name, entities.decode(found))

    def _read(self, name: str) -> Found | None:
        client = self._connect()
        return client.lookup([entities.entity_key(client, name)])[0]

    def _again(self, token: str) -> Stored:
        found = self.load(token)
        if found is None:
            raise SessionGone("the session ended meanwhile")
        return found


def _delete(client: Client, keys: list[Any]) -> None:
    mutations = [wire.Mutation(delete=key) for key in keys]
    # Deleting again does no harm, so what is uncertain is repeated, too.
    retried(lambda: client.commit(mutations), RESENDABLE, 6)


def _query() -> Any:
    query = wire.Query()
    query.kind.add(name=entities.KIND)
    return query


def _attempts() -> Iterator[int]:
    """Yield 0, 1, 2 … with a jittered wait between, until PATIENCE is over."""
    end = time.monotonic() + PATIENCE
    count = 0
    while time.monotonic() < end:
        yield count
        backoff(min(count, 4))
        count += 1
