"""TicketMiddleware: the visitor gets a number and nothing else, tests get the exception, the server gets its answer."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

import gaeport
from gaeport import settings
from gaeport.meter import measure
from gaeport.tickets import TicketMiddleware, context, record, reporting
from gaeport.tickets.number import parse
from gaeport.tickets.page import accepted
from gaeport.tickets.store import TicketStore
from tests.tickets import failing

Start = Callable[..., Any]


def failing_app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
    failing.with_cause()
    return []


class Server:
    """A WSGI server: it refuses a second start_response once a piece is out, as PEP 3333 says."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: dict[str, str] = {}
        self.sent: list[bytes] = []

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info and any(self.sent):
            raise exc_info[1].with_traceback(exc_info[2])
        assert exc_info or not self.status
        self.status, self.headers = status, dict(headers)
        return self.sent.append

    def run(self, app: Any, **environ: Any) -> str:
        body = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/", **environ}, self.start_response)
        try:
            for piece in body:
                self.sent.append(piece)
        finally:
            if hasattr(body, "close"):
                body.close()
        return b"".join(self.sent).decode()


def test_the_visitor_sees_the_number_and_nothing_of_the_error(site: Path) -> None:
    server = Server()
    text = server.run(TicketMiddleware(failing_app))
    number = parse(text.split()[-1]).text
    assert server.status == "500 Internal Server Error"
    assert text == f"Something went wrong.\nTicket {number}\n"
    kept = TicketStore().read(number)
    assert kept is not None
    assert kept["exceptions"][0]["message"] == "no such fruit"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("application/problem+json, text/plain;q=0.5", "application/json"),
        ("text/html;q=0.5, application/json;q=0.6", "application/json"),
        ("*/*", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
        ("text/html;q=wrong", "text/plain; charset=utf-8"),
        ("image/png, ,;;,", "text/plain; charset=utf-8"),
    ],
)
def test_the_page_is_what_the_request_accepts(site: Path, accept: str, content_type: str) -> None:
    server = Server()
    text = server.run(TicketMiddleware(failing_app), HTTP_ACCEPT=accept)
    assert server.headers["Content-Type"] == content_type
    assert server.headers["Content-Length"] == str(len(text))
    assert server.headers["Cache-Control"] == "no-store"
    if "json" in content_type:
        assert set(json.loads(text)) == {"error", "ticket"}


def test_the_last_of_equal_wishes_does_not_win() -> None:
    assert accepted("text/html, application/json") == "text/html"


def test_a_head_request_gets_no_body(site: Path) -> None:
    server = Server()
    assert server.run(TicketMiddleware(failing_app), REQUEST_METHOD="HEAD") == ""
    assert int(server.headers["Content-Length"]) > 0


def test_an_applications_own_page_shows_the_number(site: Path) -> None:
    (site / "error.html").write_text("<p>Sorry: {ticket}</p>")
    settings.configure(root=site, tickets={"line": "json", "page": "error.html"})
    text = Server().run(TicketMiddleware(failing_app), HTTP_ACCEPT="text/html")
    assert parse(text.removeprefix("<p>Sorry: ").removesuffix("</p>"))


def test_a_page_that_cannot_be_read_is_the_built_in_one(site: Path) -> None:
    settings.configure(root=site, tickets={"line": "json", "page": "missing.html"})
    assert "Something went wrong" in Server().run(TicketMiddleware(failing_app), HTTP_ACCEPT="text/html")


def test_a_function_can_make_the_page(site: Path) -> None:
    def page(environ: dict[str, Any], number: str) -> tuple[str, str]:
        return "text/plain", f"{environ['PATH_INFO']} {number}"

    server = Server()
    assert parse(server.run(TicketMiddleware(failing_app, page=page), PATH_INFO="/x").removeprefix("/x "))
    assert server.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_function_that_fails_leaves_the_built_in_page(site: Path) -> None:
    def page(environ: dict[str, Any], number: str) -> tuple[str, str]:
        raise RuntimeError

    assert "Something went wrong" in Server().run(TicketMiddleware(failing_app, page=page))


def test_the_page_replaces_an_answer_that_has_begun_but_was_not_sent(site: Path) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "1000"), ("Content-Type", "image/png")])
        raise ValueError

    server = Server()
    assert "Ticket" in server.run(TicketMiddleware(app))
    assert server.status.startswith("500")
    assert server.headers["Content-Type"].startswith("text/plain")


def test_the_page_replaces_a_body_that_fails_before_its_first_piece(site: Path) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b""
        raise ValueError

    assert "Ticket" in Server().run(TicketMiddleware(app))


def test_an_answer_that_is_on_its_way_is_cut_off_and_has_a_ticket(site: Path) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"the beginning"
        raise ValueError("in the middle")

    server = Server()
    with pytest.raises(ValueError, match="in the middle"):
        server.run(TicketMiddleware(app))
    assert server.sent == [b"the beginning"]
    assert len(list(TicketStore().numbers())) == 1


def test_the_body_is_closed_once_whatever_happens(site: Path) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            raise ValueError

        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Start) -> Body:
        start_response("200 OK", [])
        return Body()

    Server().run(TicketMiddleware(app))  # type: ignore[arg-type]
    assert closed == [True]


def test_webtest_gets_the_exception_itself_and_nothing_is_kept(site: Path) -> None:
    with pytest.raises(ValueError, match="no such fruit"):
        TestApp(TicketMiddleware(failing_app)).get("/")
    assert list(TicketStore().numbers()) == []


def test_webtest_gets_the_page_where_it_asks_for_it(site: Path) -> None:
    answer = TestApp(TicketMiddleware(failing_app)).get("/", extra_environ={"paste.throw_errors": False}, status=500)
    assert "Ticket" in answer.text


def test_what_ends_a_process_is_no_error(site: Path) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        Server().run(TicketMiddleware(app))
    assert list(TicketStore().numbers()) == []


def test_an_exception_has_one_ticket_however_often_it_is_recorded(site: Path) -> None:
    error = failing.caught(failing.simple)
    assert record(error) == record(error)
    try:
        raise error
    except KeyError:
        assert record() == record(error)
    assert len(list(TicketStore().numbers())) == 1


def test_recording_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="except block"):
        record()


def test_the_application_finds_the_number_of_what_it_recorded(site: Path) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        record(failing.caught(failing.simple))
        start_response("200 OK", [])
        return [environ["gaeport.ticket"].encode()]

    assert parse(Server().run(TicketMiddleware(app)))


def test_an_exception_that_takes_no_attributes_is_recorded(site: Path) -> None:
    class Slotted(Exception):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    assert parse(record(Slotted()))


def test_what_goes_wrong_with_a_ticket_still_gives_a_number(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(reporting, "build", broken)
    text = Server().run(TicketMiddleware(failing_app))
    assert parse(text.split()[-1]).text in capsys.readouterr().err


def test_standard_output_that_is_closed_is_no_obstacle(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert "Ticket" in Server().run(TicketMiddleware(failing_app))


def test_scripts_in_what_the_visitor_sent_do_not_reach_the_page(site: Path) -> None:
    script = "<script>alert(1)</script>"

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        raise ValueError(environ["PATH_INFO"])

    text = Server().run(
        TicketMiddleware(app), PATH_INFO=f"/{script}", QUERY_STRING=script, HTTP_HOST=script, HTTP_ACCEPT="text/html"
    )
    assert "script" not in text


@pytest.mark.parametrize("name", ["HTTP_X_APPENGINE_USER_EMAIL", "HTTP_X_APPENGINE_USER_NICKNAME", "HTTP_REMOTE_USER"])
def test_a_spoofed_user_is_a_header_and_no_user(site: Path, name: str) -> None:
    text = Server().run(TicketMiddleware(failing_app), **{name: "root@example.org"})
    kept = TicketStore().read(text.split()[-1])
    assert kept is not None
    assert kept["user"] == ""


def test_a_spoofed_trace_cannot_put_fields_into_the_line(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Server().run(TicketMiddleware(failing_app), HTTP_X_CLOUD_TRACE_CONTEXT='abc"},"severity":"INFO/1;o=1\n{}')
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["severity"] == "ERROR"
    assert found["logging.googleapis.com/trace"] == "projects/gaeport-local/traces/abc"


def test_the_request_is_forgotten_when_its_answer_ends(site: Path) -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        seen.append(context.current())
        yield b"a"
        seen.append(context.current())

    Server().run(TicketMiddleware(app), PATH_INFO="/x")
    assert [request.environ["PATH_INFO"] for request in seen] == ["/x", "/x"]
    assert context.current() is None


def test_a_request_that_goes_well_makes_no_call(site: Path) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"well"]

    with measure() as meter:
        assert Server().run(TicketMiddleware(app)) == "well"
    assert meter.total_calls == 0


def test_wrap_makes_tickets_unless_the_settings_say_no(site: Path) -> None:
    assert "Ticket" in Server().run(gaeport.wrap(failing_app))
    settings.configure(root=site, tickets={"enabled": False})
    with pytest.raises(ValueError, match="no such fruit"):
        Server().run(gaeport.wrap(failing_app))


def test_the_structured_line_is_what_error_reporting_reads(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Server().run(
        TicketMiddleware(failing_app), HTTP_USER_AGENT="curl/8", HTTP_REFERER="http://h/", REMOTE_ADDR="192.0.2.7",
        HTTP_HOST="shop.example", HTTP_X_CLOUD_TRACE_CONTEXT="105445aa7843bc8bf206b12000100000/1;o=1",
    )  # fmt: skip
    line = json.loads(capsys.readouterr().out)
    assert line["@type"].endswith("v1beta1.ReportedErrorEvent")
    assert line["stack_trace"].startswith("Traceback (most recent call last):\n")
    assert line["stack_trace"].endswith("ValueError: no such fruit\n")
    assert line["serviceContext"] == {"service": "default", "version": "local"}
    assert line["context"]["httpRequest"] == {
        "method": "GET", "url": "http://shop.example/", "userAgent": "curl/8", "referrer": "http://h/",
        "responseStatusCode": 500, "remoteIp": "192.0.2.7",
    }  # fmt: skip
    assert line["context"]["reportLocation"]["functionName"] == "with_cause"
    assert line["logging.googleapis.com/trace"].endswith("/traces/105445aa7843bc8bf206b12000100000")
    assert line["logging.googleapis.com/trace_sampled"] is True


def test_as_text_the_traceback_goes_to_standard_error(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings.configure(root=site, tickets={"line": "text"})
    text = Server().run(TicketMiddleware(failing_app))
    said = capsys.readouterr()
    assert said.out == ""
    assert "ValueError: no such fruit" in said.err
    assert f"gaeport tickets show {text.split()[-1]}" in said.err


def test_a_huge_record_is_cut_to_a_bounded_size(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(depth: int) -> None:
        filler = {f"name{number}": "x y" * 200 for number in range(40)}
        locals().update(filler)
        a = b = c = d = e = f = g = h = ["x y " * 100] * 3
        if depth == 0:
            raise ValueError(len([a, b, c, d, e, f, g, h]))
        try:
            fail(depth - 1)
        except ValueError as error:
            raise KeyError(depth) from error

    record(failing.caught(lambda: fail(30)))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) < 256_000 for line in lines)
    assert sum(map(len, lines)) < 1_500_000


def test_a_start_up_imports_what_makes_tickets_only_with_the_first_error() -> None:
    code = "import sys, gaeport.wsgi, gaeport.tickets.middleware; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith(("gaeport.tickets", "google", "grpc", "flask"))}
    parts = ("", ".context", ".frameworks", ".middleware", ".trace")
    assert loaded == {f"gaeport.tickets{part}" for part in parts}
