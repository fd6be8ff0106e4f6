"""wrap(): a request's writes are committed before its answer ends."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from webtest import TestApp

import gaeport
from gaeport import fs, settings, wsgi
from gaeport.errors import ApplicationError, MissingExtraError

Start = Callable[..., Any]


class FileSystem:
    """Stands for gaeport.fs: notes when requests begin and end, and fails to commit when told so."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.error: OSError | None = None

    def mount_all(self, config: settings.Settings) -> None:
        self.events.append("mount")

    def begin_request(self) -> str:
        self.events.append("begin")
        return "token"

    def end_request(self, token: str, failed: bool) -> None:
        assert token == "token"
        self.events.append(("end", failed))
        if self.error:
            raise self.error


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, project: Path) -> FileSystem:
    stand_in = FileSystem()
    monkeypatch.setattr(wsgi, "fs", stand_in)
    settings.configure(root=project, tickets={"enabled": False})
    return stand_in


class Body:
    """An answer's iterable that notes when pieces are taken and when it is closed."""

    def __init__(self, events: list[Any], pieces: list[bytes], error: Exception | None = None) -> None:
        self.events, self.pieces, self.error = events, pieces, error

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.error:
            raise self.error

    def close(self) -> None:
        self.events.append("close")


def answering(body: Any) -> Callable[[dict[str, Any], Start], Any]:
    def app(environ: dict[str, Any], start_response: Start) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    return app


class Server:
    """A WSGI server: what it sent, and in which order with the file system's events."""

    def __init__(self, events: list[Any]) -> None:
        self.events = events
        self.status = ""

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info and any(event[0] == "sent" for event in self.events):
            raise exc_info[1]
        self.status = status
        return lambda data: self.events.append(("sent", data))

    def run(self, app: Any, path: str = "/") -> bytes:
        body = app({"REQUEST_METHOD": "GET", "PATH_INFO": path}, self.start_response)
        sent = b""
        try:
            for piece in body:
                if piece:
                    self.events.append(("sent", piece))
                    sent += piece
        finally:
            if hasattr(body, "close"):
                body.close()
        return sent


def test_a_short_answer_is_sent_after_the_commit(files: FileSystem) -> None:
    app = wsgi.wrap(answering(Body(files.events, [b"all"])))
    assert Server(files.events).run(app) == b"all"
    assert files.events == ["mount", "begin", "close", ("end", False), ("sent", b"all")]


def test_the_last_piece_of_a_long_answer_is_sent_after_the_commit(files: FileSystem) -> None:
    app = wsgi.wrap(answering(Body(files.events, [b"a", b"", b"b", b"c"])))
    assert Server(files.events).run(app) == b"abc"
    assert files.events[2:] == [("sent", b"a"), ("sent", b"b"), "close", ("end", False), ("sent", b"c")]


def test_a_commit_that_fails_turns_a_short_answer_into_a_500(
    files: FileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    files.error = OSError(28, "No space left on device")
    server = Server(files.events)
    sent = server.run(wsgi.wrap(answering([b"saved!"])))
    assert server.status == "500 Internal Server Error"
    assert b"saved!" not in sent
    assert b"could not save" in sent
    assert "No space left on device" in caplog.text


def test_a_commit_that_fails_under_way_cuts_the_answer_off(files: FileSystem) -> None:
    files.error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        Server(files.events).run(wsgi.wrap(answering([b"a", b"b", b"c"])))
    assert ("sent", b"c") not in files.events


def test_an_exception_ends_the_request_as_failed(files: FileSystem) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Server(files.events).run(wsgi.wrap(app))
    assert files.events == ["mount", "begin", ("end", True)]


def test_an_exception_that_becomes_a_ticket_ends_the_request_as_failed(files: FileSystem, project: Path) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        raise ValueError("mine")

    settings.configure(root=project)
    server = Server(files.events)
    assert b"Ticket" in server.run(wsgi.wrap(app))
    assert server.status.startswith("500")
    assert files.events[:3] == ["mount", "begin", ("end", True)]


def test_an_exception_in_the_body_ends_the_request_as_failed_once(files: FileSystem) -> None:
    body = Body(files.events, [b"a", b"b"], ValueError("mine"))
    with pytest.raises(ValueError, match="mine"):
        Server(files.events).run(wsgi.wrap(answering(body)))
    assert files.events[2:] == [("sent", b"a"), "close", ("end", True)]


def test_the_applications_own_exception_wins_over_a_failed_commit(files: FileSystem) -> None:
    files.error = OSError(28, "No space left on device")
    body = Body(files.events, [], ValueError("mine"))
    with pytest.raises(ValueError, match="mine"):
        Server(files.events).run(wsgi.wrap(answering(body)))


def test_a_client_that_goes_away_ends_the_request(files: FileSystem) -> None:
    app = wsgi.wrap(answering(Body(files.events, [b"a", b"b", b"c"])))
    body: Any = app({"PATH_INFO": "/"}, Server(files.events).start_response)
    next(iter(body))
    body.close()
    body.close()
    assert files.events[2:] == ["close", ("end", False)]


def test_the_write_callable_keeps_the_last_piece_back(files: FileSystem) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"b")
        return []

    assert Server(files.events).run(wsgi.wrap(app)) == b"b"
    assert files.events[2:] == [("sent", b"a"), ("end", False), ("sent", b"b")]


def test_an_empty_answer_keeps_its_form(files: FileSystem) -> None:
    server = Server(files.events)
    assert wsgi.wrap(answering([]))({"PATH_INFO": "/"}, server.start_response) == []
    assert wsgi.wrap(answering([b""]))({"PATH_INFO": "/"}, server.start_response) == [b""]


@pytest.mark.parametrize(("status", "expected"), [("404 Not Found", "200 OK"), ("204 No Content", "204 No Content")])
def test_a_warm_up_is_answered_200_where_the_application_has_no_answer(
    files: FileSystem, status: str, expected: str
) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response(status, [])
        return []

    server = Server(files.events)
    server.run(wsgi.wrap(app), "/_ah/warmup")
    assert server.status == expected


def test_app_engines_headers_reach_the_application(files: FileSystem) -> None:
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    wrapped = wsgi.wrap(app)
    wrapped({"PATH_INFO": "/", "HTTP_X_APPENGINE_CRON": "true"}, Server(files.events).start_response)
    assert seen["HTTP_X_APPENGINE_CRON"] == "true"


def test_wrapping_twice_is_wrapping_once(files: FileSystem) -> None:
    app = wsgi.wrap(answering([b""]))
    assert wsgi.wrap(app) is app


def test_an_asgi_application_is_refused_by_name(files: FileSystem) -> None:
    async def starlette(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ApplicationError, match=r"starlette is an ASGI application; .* a2wsgi"):
        wsgi.wrap(starlette)  # type: ignore[arg-type]


def test_settings_given_to_wrap_are_put_in_force(files: FileSystem, tmp_path: Path) -> None:
    given = settings.Settings(root=tmp_path, namespace="shop")
    wsgi.wrap(answering([]), given)
    assert settings.current() is given


def test_the_wrapped_applications_attributes_are_within_reach(files: FileSystem) -> None:
    app = answering([])
    app.config = {"TESTING": True}  # type: ignore[attr-defined]
    assert wsgi.wrap(app).config == {"TESTING": True}


@pytest.fixture
def unmounted() -> Iterator[None]:
    yield
    fs.unmount("uploads")
    fs.uninstall()


def test_an_application_that_writes_files_finds_them_in_the_next_request(project: Path, unmounted: None) -> None:
    (project / "uploads").mkdir()
    settings.configure(root=project, data=":memory:", mounts=[{"path": "uploads"}])

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        file = open("uploads/count.txt", "a+")  # noqa: SIM115 - left open, as real applications do
        file.write("x")
        file.seek(0)
        return [file.read().encode()]

    client = TestApp(gaeport.wrap(app))
    assert client.get("/").text == "x"
    assert client.get("/").text == "xx"
    assert Path("uploads/count.txt").read_text() == "xx"


def test_mains_application_is_the_one_that_gaeport_toml_beside_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Path(__file__).parent.parent
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text((checkout / "main.py").read_text())
    (folder / "shop_of_main.py").write_text(
        "def app(environ, start):\n    start('200 OK', [('Content-Type', 'text/plain')])\n    return [b'shop']\n"
    )
    (folder / "gaeport.toml").write_text('app = "shop_of_main:app"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAEPORT_DATA", ":memory:")
    monkeypatch.setattr(settings, "_current", None)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "main", raising=False)
    import main

    monkeypatch.delitem(sys.modules, "main")
    monkeypatch.delitem(sys.modules, "shop_of_main")
    assert TestApp(main.app).get("/").text == "shop"
    assert settings.current().root == folder


def test_the_bundled_memcache_gets_each_request_in_its_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrap_wsgi_app(app: Any) -> Any:
        return lambda environ, start_response: [b"in context: ", *app(environ, start_response)]

    api = ModuleType("google.appengine.api")
    api.wrap_wsgi_app = wrap_wsgi_app  # type: ignore[attr-defined]  # a stand-in for the package, which has it
    for name, module in (("google.appengine", ModuleType("google.appengine")), ("google.appengine.api", api)):
        monkeypatch.setitem(sys.modules, name, module)
    found = settings.configure(root=tmp_path, data=":memory:", cache={"url": "appengine://"})
    assert TestApp(gaeport.wrap(hello, found)).get("/").text == "in context: hello"


def test_the_bundled_memcache_without_its_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.appengine.api", None)
    found = settings.configure(root=tmp_path, data=":memory:", cache={"url": "appengine://"})
    with pytest.raises(MissingExtraError, match=r"gaeport\[appengine\]"):
        gaeport.wrap(hello, found)


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
