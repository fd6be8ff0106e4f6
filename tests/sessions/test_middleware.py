"""The middleware: cookies, when the session is saved, what the answer says."""

import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

import gaeport
from gaeport import settings
from gaeport.errors import ConfigurationError, SessionTooLarge, UnsupportedType
from gaeport.sessions import SessionMiddleware
from gaeport.sessions.session import Session
from tests.sessions.conftest import Clock, Site, everything, put

Local = Callable[..., Site]


def app_of(work: Callable[[Session], Any], headers: list[tuple[str, str]] | None = None) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        work(environ["gaeport.session"])
        start_response("200 OK", headers or [("Content-Type", "text/plain")])
        return [b"ok"]

    return app


def test_the_cookie_is_httponly_lax_and_for_this_session_only(local: Local) -> None:
    site = local()
    site.do(put(a=1))
    name, *attributes = site.response.headers["Set-Cookie"].split("; ")
    assert name == f"session={site.token}"
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax"]


def test_under_https_the_cookie_is_secure_and_bound_to_the_host(local: Local) -> None:
    site = local()
    site.do(put(a=1), **{"wsgi.url_scheme": "https"})
    text = site.response.headers["Set-Cookie"]
    assert text.startswith("__Host-session=")
    assert "; Secure" in text
    assert "Domain" not in text


def test_under_https_a_cookie_without_the_prefix_is_not_taken(local: Local) -> None:
    site = local()
    site.do(put(a=1))
    assert site.do(everything, **{"wsgi.url_scheme": "https"}) == {}


def test_https_before_app_engines_front_end_is_seen(
    local: Local, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forwarded = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_APPENGINE_HTTPS": "on"}
    site = local()
    site.do(put(a=1), **forwarded)
    assert "Secure" not in site.response.headers["Set-Cookie"], "anybody can send it where no front end strips it"
    site.middleware._production = True
    site.do(put(a=2), **forwarded)
    assert "Secure" in site.response.headers["Set-Cookie"]


def test_several_cookies_and_quotes_are_read(local: Local) -> None:
    site = local()
    site.do(put(a=1))
    token = site.token
    other = local()
    other.middleware.store = site.middleware.store
    assert other.do(everything, HTTP_COOKIE=f'x=1; session="{token}"; session=other; y') == {"a": 1}


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: evil=1", "a; Domain=evil.example", "\x00", "\xff" * 3, '"'])
@pytest.mark.parametrize("store", ["datastore", "cookie"])
def test_no_header_can_be_put_in_through_a_cookie(local: Local, value: str, store: str) -> None:
    site = local(store=store)
    site.do(put(a=1, text=value, user_id=value), HTTP_COOKIE=f"session={value}")
    (text,) = site.response.headers.getall("Set-Cookie")
    assert "evil" not in text
    assert "\r" not in text
    assert "\n" not in text


def test_a_cookie_over_the_limit_is_refused_by_name(local: Local) -> None:
    import random

    site = local(store="cookie", keys=("k" * 32,))
    site.do(put(small=1))
    with pytest.raises(SessionTooLarge, match=r"'session' has .* 4,093.*session\['big'\] with 4,003.*datastore"):
        site.do(put(big=random.Random(1).randbytes(4_000)))
    site.do(put(big="x" * 100_000))  # compressed
    assert len(site.response.headers["Set-Cookie"]) < 4_093


@pytest.mark.parametrize("store", ["datastore", "memcache"])
def test_a_session_over_the_limit_is_refused_by_name(local: Local, store: str) -> None:
    site = local(store=store, url="memory://")
    site.do(put(small="x" * 900_000))
    with pytest.raises(SessionTooLarge, match=r"session has .* limit is 1,000,000; .*session\['big'\]"):
        site.do(put(big="x" * 1_000_000))


@pytest.mark.parametrize("value", [object(), print, {"deep": [object()]}, {1: {"x": open}}])
def test_other_types_are_refused_by_name_when_they_are_set(local: Local, value: Any) -> None:
    def work(session: Session) -> str:
        with pytest.raises(UnsupportedType) as raised:
            session["thing"] = value
        assert "thing" not in session
        return str(raised.value)

    assert "session['thing']" in local().do(work)


def test_other_keys_than_text_are_refused(local: Local) -> None:
    def work(session: Any) -> None:
        with pytest.raises(UnsupportedType, match=r"session\[1\]: keys are str"):
            session[1] = 1
        with pytest.raises(ValueError, match="480 bytes"):
            session["k" * 481] = 1
        with pytest.raises(UnsupportedType, match=r"session\.user"):
            session.user = 7
        with pytest.raises(ValueError, match="idle"):
            session.idle = 0
        session["k" * 480] = "longest"
        session["ä" * 240] = "longest, unusual"

    site = local()
    site.do(work)
    assert sorted(site.do(everything).values()) == ["longest", "longest, unusual"]


def test_what_was_put_into_a_list_is_refused_at_the_end_by_name(local: Local) -> None:
    with pytest.raises(UnsupportedType, match=r"session\['basket'\]\[0\]"):
        local().do(lambda session: session.setdefault("basket", []).append(object()))


def test_no_id_is_logged_or_shown(local: Local, caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    caplog.set_level(logging.DEBUG)
    for store in ("datastore", "memcache+datastore", "memcache", "cookie"):
        site = local(store=store, url="memory://")
        shown = [site.do(lambda session: (session.update(a=1), repr(session), str(session))[1:]) for _ in range(2)]
        token = str(site.token)
        shown.append(repr(site.middleware.store.load(token)))
        late = Session(site.middleware.store, site.options, token, clock)
        late["b"] = 1
        site.do(lambda session: session.invalidate())
        late.save()
        clock.now += 10**6
        site.do(put(a=2), HTTP_COOKIE=f"session={token}")
        assert token.partition(".")[0] not in repr(shown) + caplog.text or store == "cookie"
        assert token not in repr(shown) + caplog.text


def test_a_request_that_fails_saves_nothing(local: Local) -> None:
    def work(session: Session) -> None:
        session["a"] = 2
        raise ValueError("the application's own")

    site = local()
    site.do(put(a=1))
    with pytest.raises(ValueError, match="own"):
        site.do(work)
    assert site.do(everything) == {"a": 1}


def test_a_generator_may_change_the_session_before_and_after_its_first_piece(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        session = environ["gaeport.session"]
        session["before"] = session.get("before", 0) + 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        session["early"] = 1
        yield b"some"
        session["late"] = 1
        yield b"more"

    middleware = SessionMiddleware(app)
    browser = TestApp(middleware)
    assert browser.get("/").text == "somemore"
    browser.get("/")
    session = Session(middleware.store, middleware.options, browser.cookies["session"])
    assert dict(session) == {"before": 2, "early": 1, "late": 1}


def test_a_session_that_begins_after_the_headers_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings.configure(root=tmp_path, data=":memory:")

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"some"
        environ["gaeport.session"]["late"] = 1

    TestApp(SessionMiddleware(app)).get("/")
    assert "after the headers were sent" in caplog.text


def test_write_of_start_response_works(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["gaeport.session"]["a"] = 1
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written ")
        return [b"returned"]

    answer = TestApp(SessionMiddleware(app), lint=False).get("/")
    assert answer.text == "written returned"
    assert "Set-Cookie" in answer.headers


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        ([], "Cookie"),
        ([("Vary", "Accept")], "Accept, Cookie"),
        ([("vary", "cookie")], "cookie"),
        ([("Vary", "*")], "*"),
    ],
)
def test_vary_names_the_cookie_once(tmp_path: Path, present: list[tuple[str, str]], wanted: str) -> None:
    settings.configure(root=tmp_path, data=":memory:")
    app = app_of(lambda session: session.get("a"), [("Content-Type", "text/plain"), *present])
    assert TestApp(SessionMiddleware(app)).get("/").headers["Vary"] == wanted


def test_an_open_body_is_closed(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body([b"ok"])

    TestApp(SessionMiddleware(app)).get("/")
    assert closed == [True]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stor": "x"}, "unknown key 'stor'"),
        ({"store": "tape"}, "cookie, datastore, memcache, memcache\\+datastore, redis"),
        ({"store": "redis"}, "needs url"),
        ({"cookie": "a b"}, "cookie = 'a b'"),
        ({"cookie": "__Host-x"}, "is added"),
        ({"samesite": "lax"}, "Lax, None, Strict"),
        ({"idle": 0}, "at least 1"),
        ({"idle": "day"}, "whole number of seconds"),
        ({"keys": ["short"]}, "at least 32 characters"),
        ({"samesite": "None", "secure": False}, "HTTPS"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"SessionMiddleware\(\): .*{words}"):
        SessionMiddleware(app_of(lambda session: None), **options)


def test_a_session_goes_with_its_request_without_the_collector(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")
    sessions: list[weakref.ref[Session]] = []
    works: list[Callable[[Session], Any]] = [lambda session: None, lambda session: session.get("a"), put(a=1)]
    gc.disable()
    try:
        for work in works:
            app = SessionMiddleware(
                app_of(lambda session, work=work: (sessions.append(weakref.ref(session)), work(session)))
            )
            environ = {"wsgi.url_scheme": "http", "HTTP_COOKIE": f"session={'A' * 43}", "PATH_INFO": "/"}
            list(app(environ, lambda status, headers, exc_info=None: None))
            del environ
    finally:
        gc.enable()
    assert [session() for session in sessions] == [None, None, None]


def test_wrap_adds_sessions_where_gaeport_toml_has_them(tmp_path: Path) -> None:
    (tmp_path / "gaeport.toml").write_text('[sessions]\nstore = "datastore"\ncookie = "sid"\nidle = 60\n')
    config = settings.load(tmp_path / "gaeport.toml")
    settings.use(config)
    settings.configure(root=tmp_path, data=":memory:", sessions={"cookie": "sid"})
    browser = TestApp(gaeport.wrap(app_of(lambda session: session.update(a=1))))
    assert browser.get("/").headers["Set-Cookie"].startswith("sid=")
    assert config.sessions is not None
    assert (config.sessions.cookie, config.sessions.idle) == ("sid", 60)


def test_without_the_table_wrap_adds_none(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert "gaeport.session" not in environ
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    TestApp(gaeport.wrap(app)).get("/")
