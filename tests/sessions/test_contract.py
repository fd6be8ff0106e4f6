"""What every store promises, on every backend."""

import datetime
import decimal
import random
import uuid
from typing import Any

import pytest

from gaeport import meter
from gaeport.sessions.session import Session
from gaeport.sessions.stores import Store
from gaeport.sessions.stores.base import name_of
from gaeport.settings import SessionSettings
from tests.sessions.conftest import Clock, Site, everything, put

server_side = pytest.mark.server_side

VALUES: dict[str, Any] = {
    "none": None,
    "bool": True,
    "int": 2**70,
    "float": 1.5,
    "text": "Grüße \U0001f40d",
    "bytes": b"\x00\xff",
    "list": [1, [2, {"deep": (3, 4)}]],
    "tuple": (1, "a"),
    "set": {1, 2},
    "dict": {"a": 1, 2: "b"},
    "datetime": datetime.datetime(2030, 1, 2, 3, 4, 5, 6, datetime.UTC),
    "date": datetime.date(2030, 1, 2),
    "time": datetime.time(3, 4),
    "timedelta": datetime.timedelta(1, 2, 3),
    "uuid": uuid.UUID(int=5),
    "decimal": decimal.Decimal("1.10"),
    "unusual key.ä/~": 1,
    "": "an empty key",
}


def test_every_type_comes_back_as_it_was(site: Site) -> None:
    site.do(put(**VALUES))
    found = site.do(everything)
    assert found == VALUES
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in VALUES.items()}


def test_a_web2py_storage_is_kept_as_a_dict(site: Site) -> None:
    class Storage(dict[str, Any]):
        __getattr__ = dict.get

    site.do(put(auth=Storage(user=Storage(id=7))))
    assert site.do(lambda session: session["auth"]) == {"user": {"id": 7}}


def test_changes_removals_and_changes_in_place_are_kept(site: Site) -> None:
    site.do(put(a=1, b=2, basket=[{"n": 1}]))

    def change(session: Session) -> None:
        session["a"] = 3
        del session["b"]
        session["basket"][0]["n"] += 1

    site.do(change)
    assert site.do(everything) == {"a": 3, "basket": [{"n": 2}]}


def test_visitors_do_not_see_each_others_sessions(site: Site) -> None:
    site.do(put(a=1))
    assert site.other_browser().do(everything) == {}


def test_an_empty_session_is_not_stored_and_sets_no_cookie(site: Site) -> None:
    site.do(everything)
    assert "Set-Cookie" not in site.response.headers
    site.do(lambda session: setattr(session, "permanent", True))
    assert "Set-Cookie" not in site.response.headers


def test_invalidate_ends_the_session_and_removes_the_cookie(site: Site) -> None:
    site.do(put(a=1))
    site.do(lambda session: session.invalidate())
    assert "Max-Age=0" in site.response.headers["Set-Cookie"]
    assert site.do(everything) == {}


def test_what_is_set_after_clear_begins_another_session(site: Site) -> None:
    site.do(put(a=1))
    before = site.token

    def login(session: Session) -> None:
        session.clear()
        session["user_id"] = 7

    site.do(login)
    assert site.token != before
    assert site.do(everything) == {"user_id": 7}


def test_regenerate_keeps_the_content_under_another_id(site: Site, clock: Clock) -> None:
    site.do(put(a=1))
    before = site.token
    clock.now += 1
    site.do(lambda session: session.regenerate())
    assert site.token not in (before, None)
    assert site.do(everything) == {"a": 1}


@server_side
def test_a_planted_id_is_worth_nothing_after_the_login(site: Site) -> None:
    thief = site.other_browser()
    thief.do(put(a=1))
    planted = thief.token
    assert planted is not None
    site.token = planted

    def login(session: Session) -> None:
        session.regenerate()
        session["user_id"] = 7

    site.do(login)
    assert thief.do(everything) == {}


@server_side
def test_a_login_alone_gives_another_id_too(site: Site) -> None:
    site.do(put(a=1))
    planted = site.token
    assert planted is not None
    site.do(put(user_id=7))
    assert str(site.token).partition(".")[0] != planted.partition(".")[0]
    thief = site.other_browser()
    thief.token = planted
    assert thief.do(everything) == {}
    after = str(site.token).partition(".")[0]
    site.do(put(user_id=7, b=1))
    assert str(site.token).partition(".")[0] == after
    assert site.do(everything) == {"a": 1, "b": 1, "user_id": 7}


@server_side
def test_an_unknown_id_is_never_adopted(site: Site) -> None:
    site.token = wanted = "A" * 43
    site.do(put(a=1))
    assert wanted not in site.response.headers["Set-Cookie"]
    thief = site.other_browser()
    thief.token = wanted
    assert thief.do(everything) == {}


@server_side
def test_a_replayed_cookie_is_worth_nothing_after_the_logout(site: Site) -> None:
    site.do(put(a=1))
    token = site.token
    site.do(lambda session: session.invalidate())
    assert token is not None
    site.token = token
    assert site.do(everything) == {}


def test_truncated_and_changed_tokens_are_refused(site: Site, store: Store) -> None:
    site.do(put(a=1))
    token = site.token
    assert token is not None
    assert store.load(token) is not None
    first = token.partition(".")[0] if token.count(".") < 2 else token
    changed = [token[:40], token[1:], first[:-1], first[:-1] + ("B" if first[-1] == "A" else "A"), first + "x"]
    for other in [*changed, "", ".", "\r\nX: y", "ü" * 43, "9" * 100_000, f"{first}.x", f"{first}.-1"]:
        assert store.load(other) is None, other[:50]


@server_side
def test_tokens_that_are_no_ids_cost_no_call(site: Site, store: Store) -> None:
    with meter.measure() as counts:
        for token in ("", "short", "A" * 42, "A" * 44, "ä" * 43, "A" * 42 + "\n"):
            assert store.load(token) is None
    assert counts.calls == {}


def test_a_session_ends_when_it_is_not_used(site: Site, options: SessionSettings, clock: Clock) -> None:
    site.do(put(a=1))
    clock.now += options.idle - 1
    assert site.do(everything) == {"a": 1}  # and that use counts
    clock.now += options.idle - 1
    assert site.do(everything) == {"a": 1}
    clock.now += options.idle + 1
    assert site.do(everything) == {}


def test_a_session_ends_after_its_lifetime_however_much_it_is_used(site: Site, clock: Clock) -> None:
    def begin(session: Session) -> None:
        session["a"] = 1
        session.idle, session.lifetime = 100, 250

    site.do(begin)
    for _ in range(4):
        clock.now += 60
        assert site.do(everything) == {"a": 1}
    clock.now += 11
    assert site.do(everything) == {}


def test_a_permanent_session_outlives_the_idle_time_and_the_browser(
    site: Site, options: SessionSettings, clock: Clock
) -> None:
    def begin(session: Session) -> None:
        session["a"] = 1
        session.permanent = True

    site.do(begin)
    assert f"Max-Age={options.lifetime}" in site.response.headers["Set-Cookie"]
    clock.now += options.idle * 5
    assert site.do(everything) == {"a": 1}
    clock.now += options.lifetime
    assert site.do(everything) == {}


def test_an_expired_session_is_not_continued(site: Site, options: SessionSettings, clock: Clock) -> None:
    site.do(put(a=1))
    before = site.token
    clock.now += options.idle + 1
    site.do(put(b=2))
    assert site.token != before
    assert site.do(everything) == {"b": 2}


@server_side
def test_two_requests_that_change_different_keys_at_once_both_survive(
    site: Site, store: Store, options: SessionSettings, clock: Clock
) -> None:
    site.do(put(a=1, b=1, gone=1))
    one, other = (Session(store, options, site.token, clock) for _ in range(2))
    one["a"], other["b"] = 2, 2
    del other["gone"]
    one.save()
    other.save()
    one["c"] = 3
    one.save()
    assert dict(Session(store, options, site.token, clock)) == {"a": 2, "b": 2, "c": 3}


@server_side
def test_a_late_write_does_not_undo_a_logout(site: Site, store: Store, options: SessionSettings, clock: Clock) -> None:
    site.do(put(a=1))
    late = Session(store, options, site.token, clock)
    late["b"] = 2
    site.do(lambda session: session.invalidate())
    assert late.save() is None
    assert late.save() is None
    assert dict(Session(store, options, site.token, clock)) == {}


@server_side
def test_a_change_made_during_a_regenerate_moves_with_it(
    site: Site, store: Store, options: SessionSettings, clock: Clock
) -> None:
    site.do(put(a=1))
    moving = Session(store, options, site.token, clock)
    moving.regenerate()
    site.do(put(b=2))
    outcome = moving.save()
    assert outcome is not None
    assert dict(Session(store, options, outcome.token, clock)) == {"a": 1, "b": 2}
    assert dict(Session(store, options, site.token, clock)) == {}


@server_side
def test_a_users_sessions_are_listed_and_ended(site: Site, store: Store, clock: Clock) -> None:
    user = f"user-{random.randrange(10**12)}"
    sites = [site, site.other_browser(), site.other_browser()]
    for number, visitor in enumerate(sites):
        visitor.do(put(user_id=user if number else "another"))
    found = list(store.of_user(user))
    tokens = [str(visitor.token).partition(".")[0] for visitor in sites]
    assert {about.name for about in found} == {name_of(token) for token in tokens[1:]}
    assert {about.user for about in found} == {user}
    assert store.revoke([about.name for about in found]) == 2
    assert [visitor.do(everything) for visitor in sites] == [{"user_id": "another"}, {}, {}]
    assert list(store.of_user(user)) == []


@server_side
def test_a_dump_of_the_store_has_no_id_in_it(site: Site, store: Store) -> None:
    user = f"user-{random.randrange(10**12)}"
    site.do(put(user_id=user))
    token = str(site.token).partition(".")[0]
    (about,) = store.of_user(user)
    assert token not in repr(about)
    assert store.load(about.name) is None
    assert store.load(about.name[:43]) is None


def test_flash_messages_wait_for_the_next_page(site: Site) -> None:
    def leave(session: Session) -> None:
        session.flash("saved")
        session.flash("careful", "warning")

    site.do(leave)
    assert site.do(lambda session: session.flashes("warning")) == [("warning", "careful")]
    assert site.do(lambda session: session.flashes()) == [("message", "saved")]
    assert site.do(lambda session: session.flashes()) == []


BUDGETS = {
    "datastore": ({"Lookup": 1}, {"Lookup": 1, "Commit": 1}),
    "memcache": ({"kv.gets": 1}, {"kv.gets": 1, "kv.cas": 1}),
    "redis": ({"kv.gets": 1}, {"kv.gets": 1, "kv.cas": 1}),
    "memcache+datastore": ({"kv.gets": 1}, {"kv.gets": 1, "Commit": 1, "kv.cas": 1}),
    "cookie": ({}, {}),
}


def test_the_budgets_of_calls_hold(site: Site, store_name: str, clock: Clock) -> None:
    site.do(put(n=1, tags={"a", "b", "c"}))
    read, written = BUDGETS[store_name]
    with meter.measure() as unread:
        site.do(lambda session: None)
    assert unread.calls == {}
    assert "Vary" not in site.response.headers
    with meter.measure() as counts:
        site.do(everything)
    assert counts.calls == read
    assert site.response.headers["Vary"] == "Cookie"
    assert "Set-Cookie" not in site.response.headers
    with meter.measure() as counts:
        site.do(put(n=1))
    assert counts.calls == read, "an unchanged value is not written"
    with meter.measure() as counts:
        site.do(put(n=2))
    assert counts.calls == written


def test_the_use_is_noted_at_most_once_in_a_tenth_of_the_idle_time(
    site: Site, store_name: str, options: SessionSettings, clock: Clock
) -> None:
    site.do(put(n=1))
    read, _ = BUDGETS[store_name]
    clock.now += options.idle / 10 - 1
    if store_name != "memcache+datastore":  # whose cached entry is too old by now
        with meter.measure() as counts:
            site.do(everything)
        assert counts.calls == read
    clock.now += 2
    with meter.measure() as counts:
        site.do(everything)
    assert store_name == "cookie" or counts.calls.get("Commit", 0) + counts.calls.get("kv.cas", 0) >= 1
    with meter.measure() as counts:
        site.do(everything)
    assert counts.calls == read
