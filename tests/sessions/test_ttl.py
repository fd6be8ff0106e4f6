"""The TTL policy of sessions, and its command."""

import shlex
from pathlib import Path

import pytest

from gaeport import settings
from gaeport.sessions import ttl
from gaeport.sessions.record import Record
from gaeport.sessions.stores import entities
from gaeport.sessions.stores.datastore import DatastoreStore

DOCS = Path(__file__).parent.parent.parent / "docs" / "sessions.md"


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        ({}, ["Session"]),
        ({"store": "memcache+datastore"}, ["Session"]),
        ({"store": "redis", "url": "redis://h"}, []),
        ({"store": "cookie"}, []),
        (None, []),
    ],
)
def test_sessions_in_datastore_want_a_policy(table: dict[str, str] | None, kinds: list[str], tmp_path: Path) -> None:
    config = settings.configure(root=tmp_path, data=":memory:", **({} if table is None else {"sessions": table}))
    assert [policy.kind for policy in ttl.policies(config)] == kinds


def test_the_policy_is_on_the_property_that_sessions_have(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")
    store = DatastoreStore()
    store.insert(Record(1e9, 1e9, 60))
    client = store._connect()
    (found,) = client.query(_of(ttl.SESSIONS.kind))
    value = found.entity.properties[ttl.SESSIONS.property]
    assert value.WhichOneof("value_type") == "timestamp_value"
    assert value.timestamp_value.seconds == 1_000_000_060
    assert ttl.SESSIONS.kind == entities.KIND


def test_the_command_is_the_documented_one_and_names_project_and_database() -> None:
    assert (
        f"\n{ttl.SESSIONS.command()}\n".replace("'--database=(default)'", '--database="(default)"') in DOCS.read_text()
    )
    words = shlex.split(ttl.SESSIONS.command(project="shop", database="second"))
    assert words[-2:] == ["--database=second", "--project=shop"]


def _of(kind: str) -> object:
    from gaeport.datastore import wire

    query = wire.Query()
    query.kind.add(name=kind)
    return query
