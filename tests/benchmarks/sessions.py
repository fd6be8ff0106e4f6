"""Sessions on one Redis server: gaeport's beside Flask-Session's and Beaker's."""

import shutil
from collections.abc import Callable, Iterable
from typing import Any

from tests.benchmarks.options import Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import Work, least, nanoseconds
from tests.servers import Server

_ROUNDS, _CALLS = 60, 10
#: What a request does with its session; the content is that of a small shop.
_CONTENT = {"user_id": 7, "name": "Ada", "basket": [{"id": 3, "count": 1}, {"id": 8, "count": 2}], "csrf": "x" * 40}
_KINDS = ("unread", "read", "read + write")


def measure(options: Options) -> Section:
    """Time requests by turns."""
    section = Section(
        f"A request with a session on Redis, {_ROUNDS} rounds of {_CALLS} by turns, the best of each",
        ("request", "the other, µs", "gaeport, µs", "ratio"),
    )
    if shutil.which("redis-server") is None:
        section.notes.append("not measured: redis-server is not installed")
        return section
    server = Server("redis-server")
    try:
        with application("memory"):
            _compare(section, "Flask-Session", _flask_session(server), _flask(server))
            _compare(section, "Beaker", _beaker(server), _plain(server))
    finally:
        server.remove()
    section.notes.append(
        "gaeport merges changes of requests at the same time key by key and never undoes a logout; the others write "
        "the whole session over what is there. All check the idle time; Flask-Session writes at every request."
    )
    return section


def _compare(section: Section, name: str, other: Callable[[str], Work], ours: Callable[[str], Work]) -> None:
    for kind in _KINDS:
        works = (other(kind), ours(kind))
        timings: tuple[list[float], list[float]] = ([], [])
        for number in range(_ROUNDS):
            for which in (0, 1) if number % 2 else (1, 0):
                timings[which].append(nanoseconds(works[which], _CALLS))
        found = least(*timings)
        cells = (f"{found.base / 1000:.0f}", f"{found.other / 1000:.0f}", f"{found.ratio:.2f}")
        section.add(f"{name}: {kind}", *cells, budget="≤ 1.0", kept=found.ratio <= 1.0)


def _flask_application() -> Any:
    import flask

    app = flask.Flask("shop")
    app.config["SECRET_KEY"] = "x" * 32

    @app.get("/unread")
    def unread() -> str:
        return "ok"

    @app.get("/read")
    def read() -> str:
        return str(flask.session["user_id"])

    @app.get("/write")
    def write() -> str:
        flask.session["count"] = flask.session.get("count", 0) + 1
        return "ok"

    @app.get("/begin")
    def begin() -> str:
        flask.session.update(_CONTENT)
        return "ok"

    return app


def _flask_session(server: Server) -> Callable[[str], Work]:
    import flask_session
    import redis

    app = _flask_application()
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis(port=server.port))
    flask_session.Session(app)
    return _requests(app)


def _flask(server: Server) -> Callable[[str], Work]:
    from gaeport.sessions.flask import SessionInterface

    app = _flask_application()
    app.session_interface = SessionInterface("redis", url=server.url)
    return _requests(app)


def _plain_application(key: str) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        session, path = environ[key], environ["PATH_INFO"]
        if path == "/read":
            session["user_id"]
        elif path == "/write":
            session["count"] = session.get("count", 0) + 1
        elif path == "/begin":
            session.update(_CONTENT)
        if key == "beaker.session" and path in ("/write", "/begin"):
            session.save()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    return app


def _beaker(server: Server) -> Callable[[str], Work]:
    from beaker.middleware import SessionMiddleware

    settings = {"session.type": "ext:redis", "session.url": server.url, "session.timeout": 86_400}
    return _requests(SessionMiddleware(_plain_application("beaker.session"), settings))


def _plain(server: Server) -> Callable[[str], Work]:
    from gaeport.sessions import SessionMiddleware

    return _requests(SessionMiddleware(_plain_application("gaeport.session"), "redis", url=server.url))


def _requests(app: Callable[..., Iterable[bytes]]) -> Callable[[str], Work]:
    """Return what makes the work of one kind of request, by a browser whose session has begun."""
    _, cookie = _send(app, _environ("/begin", ""))
    paths = dict(zip(_KINDS, ("/unread", "/read", "/write"), strict=True))

    def work(kind: str) -> Work:
        environ = _environ(paths[kind], cookie)

        def request() -> None:
            _send(app, dict(environ))

        request()
        return request

    return work


def _environ(path: str, cookie: str) -> dict[str, Any]:
    from wsgiref.util import setup_testing_defaults

    environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_COOKIE": cookie}
    setup_testing_defaults(environ)
    return environ


def _send(app: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> tuple[str, str]:
    answer: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        answer[:] = [status, {name.lower(): value for name, value in headers}]

    body = app(environ, start_response)
    b"".join(body)
    if hasattr(body, "close"):
        body.close()
    status, headers = answer
    if not status.startswith("200"):
        raise RuntimeError(f"{environ['PATH_INFO']}: {status}")
    return status, headers.get("set-cookie", "").partition(";")[0]
