"""Sessions as entities: what is stored and indexed, and calls whose answer is lost."""

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaeport import formats, settings
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.errors import Aborted, DataLoss, PermissionDenied, Unavailable
from gaeport.kv import KV
from gaeport.kv.memory import MemoryBackend
from gaeport.sessions.record import Change, Record
from gaeport.sessions.stores import SessionGone, Store, entities
from gaeport.sessions.stores.cached import CachedStore
from gaeport.sessions.stores.datastore import DatastoreStore
from gaeport.sessions.stores.kv import KVStore

RECORD = Record(created=1e9, touched=1e9, idle=60, lifetime=600, permanent=True, user="7", values={"a": b"\x01"})


class Flaky:
    """An engine whose Commits fail as they are told to: before or after they were applied."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.failures: list[tuple[str, Exception]] = []
        self.commits = 0

    def call(self, method: str, request: Any) -> Any:
        """Answer, or fail."""
        if method != "Commit":
            return self.engine.call(method, request)
        self.commits += 1
        when, error = self.failures.pop(0) if self.failures else ("never", None)
        if when == "before" and error is not None:
            raise error
        answer = self.engine.call(method, request)
        if error is not None:
            raise error
        return answer


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    engine = Engine(None)
    yield Flaky(engine)
    engine.close()


@pytest.fixture
def store(flaky: Flaky) -> DatastoreStore:
    return DatastoreStore(lambda: Client(flaky, project="test", namespace="gaeport"))


def entity_of(flaky: Flaky, token: str) -> Any:
    client = Client(flaky, project="test", namespace="gaeport")
    found = client.lookup([client.key("Session", hashlib.sha256(token.encode()).hexdigest())])[0]
    assert found is not None
    return found.entity


def test_the_entity_is_named_by_the_hash_and_only_the_user_is_indexed(store: DatastoreStore, flaky: Flaky) -> None:
    token = store.insert(RECORD).token
    entity = entity_of(flaky, token)
    indexed = {name for name, value in entity.properties.items() if not value.exclude_from_indexes}
    assert indexed == {"user"}
    assert entity.properties["expires"].WhichOneof("value_type") == "timestamp_value", "for the TTL policy"
    assert entity.properties["expires"].timestamp_value.seconds == 1_000_000_600
    assert token not in str(entity)


@pytest.mark.parametrize("kind", ["datastore", "memcache+datastore", "memcache"])
def test_a_stolen_dump_of_everything_stored_holds_no_id(store: DatastoreStore, flaky: Flaky, kind: str) -> None:
    cache = MemoryBackend()
    made: dict[str, Store] = {
        "datastore": store,
        "memcache+datastore": CachedStore(store, KV(cache)),
        "memcache": KVStore(KV(cache)),
    }
    sessions = made[kind]
    record = replace(RECORD, created=time.time(), touched=time.time())
    tokens = [sessions.insert(record).token]
    sessions.load(tokens[0])
    changed = sessions.load(tokens[0])
    assert changed is not None
    tokens.append(
        sessions.renew(sessions.update(changed, Change(time.time(), {"b": b"\x02"})), Change(time.time())).token
    )
    client = Client(flaky, project="test", namespace="gaeport")
    query = wire.Query()
    query.kind.add(name="Session")
    dump = b"".join(found.entity.SerializeToString() for found in client.query(query))
    dump += b"".join(key.encode() + entry.value for key, entry in cache._entries.items())
    assert len(dump) > 100
    for token in tokens:
        plain = token.partition(".")[0]
        for form in (
            plain.encode(),
            base64.urlsafe_b64decode(plain + "="),
            base64.urlsafe_b64decode(plain + "=").hex().encode(),
        ):
            assert form not in dump
    for name in re.findall(rb"[0-9a-f]{64}", dump):
        assert sessions.load(name.decode()) is None
        assert sessions.load(base64.urlsafe_b64encode(bytes.fromhex(name.decode())).decode().rstrip("=")) is None


def test_a_record_comes_back_as_it_was(store: DatastoreStore) -> None:
    found = store.load(store.insert(RECORD).token)
    assert found is not None
    assert found.record == RECORD


@given(st.text(max_size=200))
def test_every_key_has_a_property_name_of_its_own(key: str) -> None:
    name = entities.property_name(key)
    assert entities._key_name(name) == key
    assert name.isascii()
    assert not name.startswith("__")


LOST = [
    [("before", Unavailable("lost"))],
    [("after", Unavailable("lost"))],
    [("before", Aborted("contention")), ("after", Unavailable("lost"))],
]


@pytest.mark.parametrize("failures", LOST)
def test_an_insert_whose_answer_is_lost_is_made_once(
    store: DatastoreStore, flaky: Flaky, failures: list[tuple[str, Exception]]
) -> None:
    flaky.failures = list(failures)
    token = store.insert(RECORD).token
    assert [about.name for about in store.every()] == [hashlib.sha256(token.encode()).hexdigest()]


@pytest.mark.parametrize("failures", LOST)
def test_an_update_whose_answer_is_lost_is_not_made_twice(
    store: DatastoreStore, flaky: Flaky, failures: list[tuple[str, Exception]]
) -> None:
    stored = store.insert(RECORD)
    flaky.failures, flaky.commits = list(failures), 0
    written = store.update(stored, Change(1e9 + 1, {"b": b"\x02"}))
    assert written.record.values == {"a": b"\x01", "b": b"\x02"}
    assert flaky.commits == len(failures) + (failures[-1][0] == "before")
    assert store.update(written, Change(1e9 + 2, {"c": b"\x03"})).record.values.keys() == {"a", "b", "c"}


@pytest.mark.parametrize("failures", LOST)
def test_a_move_whose_answer_is_lost_happens_once(
    store: DatastoreStore, flaky: Flaky, failures: list[tuple[str, Exception]]
) -> None:
    stored = store.insert(RECORD)
    flaky.failures = list(failures)
    moved = store.renew(stored, Change(1e9 + 1))
    assert moved.token != stored.token
    assert store.load(stored.token) is None
    found = store.load(moved.token)
    assert found is not None
    assert found.record.values == RECORD.values


@pytest.mark.parametrize("failures", LOST)
def test_an_end_whose_answer_is_lost_is_an_end(
    store: DatastoreStore, flaky: Flaky, failures: list[tuple[str, Exception]]
) -> None:
    token = store.insert(RECORD).token
    flaky.failures = list(failures)
    store.delete(token)
    assert store.load(token) is None


def test_a_refusal_is_not_repeated(store: DatastoreStore, flaky: Flaky) -> None:
    stored = store.insert(RECORD)
    flaky.commits = 0
    flaky.failures = [("before", PermissionDenied("no"))]
    with pytest.raises(PermissionDenied):
        store.update(stored, Change(1e9 + 1, {"b": b"\x02"}))
    assert flaky.commits == 1


def test_what_is_gone_is_neither_changed_nor_moved(store: DatastoreStore) -> None:
    stored = store.insert(RECORD)
    store.delete(stored.token)
    for act in (store.update, store.renew):
        with pytest.raises(SessionGone):
            act(stored, Change(1e9 + 1, {"b": b"\x02"}))
    assert list(store.every()) == []


def test_a_mere_touch_gives_way_to_another_writer(store: DatastoreStore, flaky: Flaky) -> None:
    stored = store.insert(RECORD)
    store.update(stored, Change(1e9 + 5, {"b": b"\x02"}))
    flaky.commits = 0
    assert store.update(stored, Change(1e9 + 6)).record.values.keys() == {"a", "b"}
    assert flaky.commits == 1


def test_an_entity_of_a_newer_release_is_refused_with_a_remedy(
    store: DatastoreStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "NEWEST", 9)
    settings.configure(data=":memory:", format=9)
    token = store.insert(RECORD).token
    monkeypatch.undo()
    with pytest.raises(DataLoss, match="install a newer gaeport"):
        store.load(token)
