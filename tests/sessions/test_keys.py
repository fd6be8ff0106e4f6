"""Signing keys, and cookies signed by them."""

import threading
from pathlib import Path

import pytest

from gaeport import meter, settings
from gaeport.sessions import keys
from gaeport.sessions.keys import FixedKeys, StoredKeys
from gaeport.sessions.record import Record
from gaeport.sessions.stores.cookie import CookieStore
from tests.sessions.conftest import Clock

RECORD = Record(created=1, touched=1, idle=60, values={"a": b"\x01"})


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")


def test_of_many_that_need_a_first_key_one_makes_it() -> None:
    found: list[str] = []
    start = threading.Barrier(16)

    def ask() -> None:
        ring = StoredKeys()
        start.wait()
        found.append(ring.signing().name)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1


def test_keys_are_read_once_a_minute() -> None:
    ring = StoredKeys()
    token = CookieStore(ring).insert(RECORD).token
    with meter.measure() as counts:
        for _ in range(10):
            assert CookieStore(ring).load(token) is not None
    assert counts.calls == {}


def test_forged_cookies_do_not_cost_a_lookup_each() -> None:
    ring = StoredKeys()
    token = CookieStore(ring).insert(RECORD).token
    version, _, *rest = token.split(".")
    with meter.measure() as counts:
        for number in range(100):
            assert CookieStore(ring).load(".".join([version, f"{number:08x}", *rest])) is None
    assert counts.total_calls <= 1


def test_after_a_rotation_old_cookies_count_until_their_key_retires(clock: Clock) -> None:
    ring = StoredKeys(clock=clock)
    store = CookieStore(ring)
    token = store.insert(RECORD).token
    new = ring.rotate(retire_after=3600)
    assert ring.signing().name != new.name, "other instances do not know it yet"
    assert store.load(token) is not None
    clock.now += keys.NOTICE + 1
    assert ring.signing().name == new.name
    assert store.load(token) is not None
    clock.now += 3600
    assert store.load(token) is None
    assert store.load(store.insert(RECORD).token) is not None


def test_a_key_retired_at_once_counts_no_more() -> None:
    ring = StoredKeys()
    store = CookieStore(ring)
    token = store.insert(RECORD).token
    ring.rotate(0, at_once=True)
    assert store.load(token) is None
    assert CookieStore(StoredKeys()).load(token) is None
    assert store.load(store.insert(RECORD).token) is not None


def test_an_instance_learns_of_a_new_key_when_it_meets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = StoredKeys(), StoredKeys()
    here.signing()
    monkeypatch.setattr(keys, "_PAUSE", 0.0)
    there.rotate(60, at_once=True)
    assert CookieStore(here).load(CookieStore(there).insert(RECORD).token) is not None


def test_two_rotations_at_once_both_count() -> None:
    StoredKeys().signing()
    threads = [threading.Thread(target=StoredKeys().rotate, args=(60,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, _ = StoredKeys()._load_or_make()
    assert len({key.name for key in found}) == 5


def test_keys_of_the_settings_sign_first_and_all_count() -> None:
    old, new = "o" * 32, "n" * 32
    token = CookieStore(FixedKeys([old])).insert(RECORD).token
    both = CookieStore(FixedKeys([new, old]))
    assert both.load(token) is not None
    assert CookieStore(FixedKeys([new])).load(token) is None
    assert CookieStore(FixedKeys([new])).load(both.insert(RECORD).token) is not None


def test_every_changed_character_of_a_cookie_is_noticed() -> None:
    store = CookieStore(FixedKeys(["k" * 32]))
    token = store.insert(RECORD).token
    for place, character in enumerate(token):
        other = "A" if character != "A" else "B"
        assert store.load(token[:place] + other + token[place + 1 :]) is None, place


def test_keys_may_come_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAEPORT_SESSION_KEYS", f"{'a' * 32}, {'b' * 32}")
    assert settings.session_settings({"store": "cookie"}).keys == ("a" * 32, "b" * 32)
