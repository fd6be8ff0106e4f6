"""The Django engine, under Django's own session middleware."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaeport import meter, settings
from gaeport.errors import SessionTooLarge, UnsupportedType
from gaeport.sessions import sessions_of
from tests import django_settings

pytest.importorskip("django.conf")


@pytest.fixture(autouse=True)
def _django(tmp_path: Path) -> None:
    django_settings.configure()
    settings.configure(root=tmp_path, data=":memory:", sessions={})


class Browser:
    """Sends requests through Django's session middleware, keeping its cookie."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def do(self, work: Callable[[Any], Any]) -> Any:
        """Handle one request by `work(session)`; return what that returned."""
        from django.contrib.sessions.middleware import SessionMiddleware
        from django.http import HttpRequest, HttpResponse

        answer: list[Any] = []

        def view(request: Any) -> Any:
            answer.append(work(request.session))
            return HttpResponse("ok")

        request = HttpRequest()
        request.COOKIES = dict(self.cookies)
        self.response = SessionMiddleware(view)(request)
        for name, morsel in self.response.cookies.items():
            if morsel["max-age"] == 0:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
        return answer[0]


def put(**values: Any) -> Callable[[Any], None]:
    return lambda session: session.update(values)


def everything(session: Any) -> dict[str, Any]:
    return dict(session.items())


@pytest.mark.parametrize("store", ["datastore", "memcache+datastore", "memcache", "cookie"])
def test_a_session_lives_from_request_to_request(store: str, tmp_path: Path) -> None:
    url = {"url": "memory://django"} if "memcache" in store else {}
    settings.configure(root=tmp_path, data=":memory:", sessions={"store": store, **url})
    browser = Browser()
    browser.do(put(a=1, basket=["tea"]))
    browser.do(lambda session: session["basket"].append("milk"))  # in place, without `modified = True`
    assert browser.do(everything) == {"a": 1, "basket": ["tea", "milk"]}
    assert Browser().do(everything) == {}
    browser.do(lambda session: session.pop("a"))
    assert browser.do(everything) == {"basket": ["tea", "milk"]}
    browser.do(lambda session: session.flush())
    assert browser.cookies == {}
    assert browser.do(everything) == {}


def test_the_budgets_hold() -> None:
    browser = Browser()
    browser.do(put(a=1))
    for work, wanted in [
        (lambda session: None, {}),
        (everything, {"Lookup": 1}),
        (put(a=2), {"Lookup": 1, "Commit": 1}),
    ]:
        with meter.measure() as counts:
            browser.do(work)
        assert counts.calls == wanted


def test_a_login_moves_the_session_and_ends_the_old_key() -> None:
    browser, thief = Browser(), Browser()
    browser.do(put(a=1))
    thief.cookies = dict(browser.cookies)

    def login(session: Any) -> None:
        session.cycle_key()
        session["_auth_user_id"] = "7"

    browser.do(login)
    assert thief.cookies != browser.cookies
    assert thief.do(everything) == {}
    assert browser.do(everything) == {"a": 1, "_auth_user_id": "7"}
    assert [about.user for about in sessions_of("7")] == ["7"]


def test_an_unknown_key_is_never_adopted() -> None:
    browser = Browser()
    browser.cookies = {"sessionid": "A" * 43}
    browser.do(put(a=1))
    assert browser.cookies["sessionid"] != "A" * 43
    assert browser.do(everything) == {"a": 1}


def test_two_requests_at_once_both_survive() -> None:
    browser, other = Browser(), Browser()
    browser.do(put(a=1, b=1))
    other.cookies = dict(browser.cookies)

    def slow(session: Any) -> None:
        session["a"] = 2
        other.do(put(b=2))

    browser.do(slow)
    assert browser.do(everything) == {"a": 2, "b": 2}


def test_a_logout_meanwhile_is_not_undone() -> None:
    from django.contrib.sessions.exceptions import SessionInterrupted

    browser, other = Browser(), Browser()
    browser.do(put(a=1))
    other.cookies = dict(browser.cookies)

    def slow(session: Any) -> None:
        session["a"] = 2
        other.do(lambda theirs: theirs.flush())

    with pytest.raises(SessionInterrupted):
        browser.do(slow)
    assert browser.do(everything) == {}


def test_other_types_are_refused_by_name_when_they_are_set() -> None:
    def work(session: Any) -> None:
        with pytest.raises(UnsupportedType, match=r"session\['thing'\]"):
            session["thing"] = object()
        with pytest.raises(UnsupportedType, match="keys are str"):
            session[1] = 1

    Browser().do(work)


def test_a_cookie_session_over_the_limit_is_refused(tmp_path: Path) -> None:
    import random

    settings.configure(root=tmp_path, data=":memory:", sessions={"store": "cookie"})
    with pytest.raises(SessionTooLarge, match="cookie"):
        Browser().do(put(big=random.Random(1).randbytes(4000)))


def test_expired_sessions_are_cleared() -> None:
    from gaeport.sessions.django import SessionStore

    Browser().do(put(a=1))
    browser = Browser()
    browser.do(lambda session: (session.set_expiry(-1), session.update({"b": 1})))
    assert browser.do(everything) == {}
    SessionStore.clear_expired()
    from gaeport.sessions.users import configured_store

    assert len(list(configured_store().every())) == 1


def test_awaiting_works() -> None:
    from gaeport.sessions.django import SessionStore

    async def visit() -> Any:
        session = SessionStore()
        await session.aset("a", 1)
        await session.asave()
        again = SessionStore(session.session_key)
        assert await again.aexists(session.session_key)
        found = await again.aget("a")
        await again.adelete()
        assert not await again.aexists(session.session_key)
        return found

    assert asyncio.run(visit()) == 1
