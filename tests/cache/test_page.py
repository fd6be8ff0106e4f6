"""Whole pages: WSGI applications, Flask views, Bottle handlers."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

import bottle
import flask
import pytest
from webtest import TestApp

from gaeport.cache import Cache
from gaeport.errors import ConfigurationError
from tests.cache.conftest import Clock

StartResponse = Callable[..., Any]


class Site:
    """A WSGI application that counts its calls and answers what the test sets."""

    def __init__(self) -> None:
        self.calls = 0
        self.status = "200 OK"
        self.headers: list[tuple[str, str]] = []
        self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        self.calls += 1
        language = environ.get("HTTP_ACCEPT_LANGUAGE", "en")
        start_response(self.status, [("Content-Type", "text/plain"), *self.headers])
        return Body(self, [f"{environ['PATH_INFO']} {language} ".encode(), b"%d" % self.calls])


class Body(list[bytes]):
    def __init__(self, site: Site, parts: list[bytes]) -> None:
        super().__init__(parts)
        self.site = site

    def close(self) -> None:
        self.site.closed += 1


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def browser(cache: Cache, site: Site) -> TestApp:
    return TestApp(cache.page(60)(site))


def test_a_page_is_made_once_for_each_address(browser: TestApp, site: Site, clock: Clock) -> None:
    assert browser.get("/a").text == browser.get("/a").text == "/a en 1"
    assert browser.get("/b").text == "/b en 2"
    assert browser.get("/a?x=1").text == "/a en 3"
    assert browser.get("/a", extra_environ={"HTTP_HOST": "other.example"}).text == "/a en 4"
    assert site.closed == 4
    clock.now += 60
    assert browser.get("/a").text == "/a en 5"


def test_a_browser_that_has_the_page_gets_304(browser: TestApp, site: Site) -> None:
    site.headers = [("Cache-Control", "max-age=5"), ("X-Own", "1")]
    tag = browser.get("/a").headers["ETag"]
    for condition in (tag, f'"other", W/{tag}', "*"):
        answer = browser.get("/a", headers={"If-None-Match": condition}, status=304)
        assert answer.body == b""
        assert answer.headers["ETag"] == tag
        assert answer.headers["Cache-Control"] == "max-age=5"
        assert "X-Own" not in answer.headers
    assert browser.get("/a", headers={"If-None-Match": '"other"'}).text == "/a en 1"
    assert site.calls == 1


def test_the_applications_own_etag_is_kept(browser: TestApp, site: Site) -> None:
    site.headers = [("ETag", 'W/"mine"')]
    assert browser.get("/a").headers["ETag"] == 'W/"mine"'
    browser.get("/a", headers={"If-None-Match": '"mine"'}, status=304)


def test_head_shares_the_page_of_get(browser: TestApp, site: Site) -> None:
    answer = browser.head("/a")
    assert (answer.body, answer.status_int) == (b"", 200)
    assert browser.get("/a").text == "/a en 1"
    assert browser.head("/a").headers["ETag"] == browser.get("/a").headers["ETag"]
    assert site.calls == 1


def test_pages_that_vary_are_kept_apart(browser: TestApp, site: Site) -> None:
    site.headers = [("Vary", "Accept-Language")]
    for _ in range(2):
        assert browser.get("/a", headers={"Accept-Language": "de"}).text == "/a de 1"
        assert browser.get("/a", headers={"Accept-Language": "fr"}).text == "/a fr 2"
        assert browser.get("/a").text == "/a en 3"
    assert site.calls == 3


def test_pages_that_begin_to_vary_by_more_are_kept_apart_too(browser: TestApp, site: Site, clock: Clock) -> None:
    site.headers = [("Vary", "Accept-Language")]
    browser.get("/a", headers={"Accept-Language": "de"})
    site.headers = [("Vary", "Accept-Language, X-Plan")]
    assert browser.get("/a", headers={"Accept-Language": "fr", "X-Plan": "1"}).text == "/a fr 2"
    assert browser.get("/a", headers={"Accept-Language": "fr", "X-Plan": "2"}).text == "/a fr 3"
    assert browser.get("/a", headers={"Accept-Language": "fr", "X-Plan": "1"}).text == "/a fr 2"


def test_headers_named_in_the_decorator_count_and_are_told(cache: Cache, site: Site) -> None:
    browser = TestApp(cache.page(60, vary=("Accept-Language",))(site))
    answers = [browser.get("/a", headers={"Accept-Language": name}) for name in ("de", "fr", "de")]
    assert [answer.text for answer in answers] == ["/a de 1", "/a fr 2", "/a de 1"]
    assert answers[0].headers["Vary"] == "Accept-Language"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Set-Cookie", "id=secret"),
        ("Cache-Control", "private"),
        ("Cache-Control", "max-age=3, No-Store"),
        ("Cache-Control", "no-cache"),
        ("Vary", "*"),
    ],
)
def test_a_page_for_one_visitor_is_not_shared(browser: TestApp, site: Site, name: str, value: str) -> None:
    site.headers = [(name, value)]
    assert [browser.get("/a").text for _ in range(3)] == ["/a en 1", "/a en 2", "/a en 3"]
    assert browser.get("/a").headers[name] == value
    assert "ETag" not in browser.get("/a").headers


@pytest.mark.parametrize("status", ["500 Internal Server Error", "302 Found", "403 Forbidden"])
def test_errors_and_passing_answers_are_not_cached(browser: TestApp, site: Site, status: str) -> None:
    site.status = status
    browser.get("/a", status="*")
    assert browser.get("/a", status="*").text == "/a en 2"


def test_other_methods_ranges_and_authorized_requests_pass_by(browser: TestApp, site: Site) -> None:
    browser.get("/a")
    assert browser.post("/a").text == "/a en 2"
    assert browser.get("/a", headers={"Range": "bytes=0-1"}).text == "/a en 3"
    assert browser.get("/a", headers={"Authorization": "Basic eDp5"}).text == "/a en 4"
    assert browser.get("/a").text == "/a en 1"


def test_a_page_made_with_a_changed_session_is_for_its_visitor(cache: Cache) -> None:
    class Session:
        accessed = modified = True

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        environ.setdefault("gaeport.session", Session())
        calls.append(1)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % len(calls)]

    calls: list[int] = []
    session = Session()
    browser = TestApp(cache.page(60)(app), extra_environ={"gaeport.session": session})
    assert [browser.get("/").text for _ in range(2)] == ["1", "2"]


def flask_app(cache: Cache) -> Any:
    app = flask.Flask(__name__)
    app.secret_key = "k"
    calls: list[str] = []

    @app.get("/hello/<name>")
    @cache.page(60)
    def hello(name: str) -> tuple[str, int, dict[str, str]]:
        calls.append(name)
        return f"hello {name} {len(calls)}", 200, {"X-Own": "1"}

    @app.get("/mine")
    @cache.page(60)
    def mine() -> str:
        return f"{flask.session.get('name')} {len(calls)}"

    @app.get("/login/<name>")
    @cache.page(60)
    def login(name: str) -> str:
        flask.session["name"] = name
        return f"in as {name}"

    return app


def test_a_flask_view(cache: Cache) -> None:
    browser = TestApp(flask_app(cache))
    first, second = browser.get("/hello/ann"), browser.get("/hello/ann")
    assert first.text == second.text == "hello ann 1"
    assert second.headers["X-Own"] == "1"
    assert second.headers["Content-Type"] == "text/html; charset=utf-8"
    assert second.headers["Content-Length"] == "11"
    assert browser.get("/hello/bob").text == "hello bob 2"
    browser.get("/hello/ann", headers={"If-None-Match": first.headers["ETag"]}, status=304)
    head = browser.head("/hello/ann")
    assert (head.body, head.headers["Content-Length"]) == (b"", "11")


def test_a_flask_view_that_reads_the_session_is_kept_apart_by_cookie(cache: Cache) -> None:
    app = flask_app(cache)
    ann, bob, nobody = TestApp(app), TestApp(app), TestApp(app)
    assert ann.get("/login/ann").text == "in as ann"
    assert ann.get("/login/ann").headers.get("Set-Cookie")
    bob.get("/login/bob")
    for _ in range(2):
        assert [visitor.get("/mine").text for visitor in (ann, bob, nobody)] == ["ann 0", "bob 0", "None 0"]


def test_a_bottle_handler(cache: Cache) -> None:
    app = bottle.Bottle()
    calls: list[str] = []

    @app.get("/text/<name>")
    @cache.page(60)
    def text(name: str) -> str:
        calls.append(name)
        bottle.response.set_header("X-Own", "1")
        bottle.response.content_type = "text/plain; charset=latin-1"
        return f"hé {name} {len(calls)}"

    @app.get("/json")
    @cache.page(60)
    def json() -> dict[str, int]:
        calls.append("json")
        return {"calls": len(calls)}

    @app.get("/raise")
    @cache.page(60)
    def raised() -> None:
        calls.append("raise")
        raise bottle.HTTPResponse([b"gone ", str(len(calls))], 410, X_Own="2")

    @app.get("/cookie")
    @cache.page(60)
    def cookie() -> str:
        calls.append("cookie")
        bottle.response.set_cookie("id", "1")
        return str(len(calls))

    browser = TestApp(app)
    for _ in range(2):
        answer = browser.get("/text/ann")
        assert answer.body.decode("latin-1") == "hé ann 1"
        assert answer.headers["X-Own"] == "1"
        assert answer.headers["Content-Type"] == "text/plain; charset=latin-1"
        assert browser.get("/json").json == {"calls": 2}
        assert browser.get("/raise", status=410).text == "gone 3"
    browser.get("/text/ann", headers={"If-None-Match": browser.get("/text/ann").headers["ETag"]}, status=304)
    assert [browser.get("/cookie").text for _ in range(2)] == ["4", "5"]
    assert "id=1" in browser.get("/cookie").headers["Set-Cookie"]


def test_anything_else_is_refused_with_what_is_valid(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bottle", None)  # it keeps its last request
    with pytest.raises(ConfigurationError, match="Flask views and Bottle handlers"):
        cache.page(60)(lambda: "page")()
