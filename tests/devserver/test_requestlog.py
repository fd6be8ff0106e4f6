"""The line that each request gets."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from webtest import TestApp

from gaeport import meter
from gaeport.devserver.console import colour
from gaeport.devserver.headers import StripPlatformHeaders
from gaeport.devserver.requestlog import RequestLog


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return re.sub(r"\d+ ms", "N ms", out.rstrip())


def streaming(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("201 Created", [("Content-Type", "text/plain")])
    meter.record("Lookup", 0.001, datastore__read=2)
    yield b"a"
    meter.record("Commit", 0.001, datastore__write=1)
    yield b"b"


def test_calls_made_while_the_body_is_sent_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert TestApp(RequestLog(streaming)).get("/a?b=c").text == "ab"
    assert line_of(capsys) == "GET /a?b=c 201 N ms 2 calls $0.0000030"


def test_one_call_is_written_in_the_singular(capsys: pytest.CaptureFixture[str]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        meter.record("Lookup", 0.001, datastore__read=1)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    TestApp(RequestLog(app)).get("/")
    assert line_of(capsys) == "GET / 200 N ms 1 call $0.0000006"


def test_an_exception_is_a_500(capsys: pytest.CaptureFixture[str]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        TestApp(RequestLog(app)).get("/")
    assert line_of(capsys) == "GET / 500 N ms 0 calls $0.0000000"


def test_a_path_cannot_write_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    TestApp(RequestLog(streaming)).get("/%1b[2J%0aGET%20/%C3%A9")
    assert line_of(capsys) == "GET /%1B%5B2J%0AGET%20/%C3%A9 201 N ms 2 calls $0.0000030"


def test_requests_do_not_count_each_others_calls(capsys: pytest.CaptureFixture[str]) -> None:
    app = RequestLog(streaming)
    bodies: list[Any] = [app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None) for _ in range(2)]
    for body in bodies:
        assert list(body) == [b"a", b"b"]
    for body in bodies:
        body.close()
    assert capsys.readouterr().out.count(" 2 calls ") == 2


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colour("200", "green") == "200"
    assert colour("200", "green", Terminal()) == "\033[32m200\033[0m"  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour("200", "green", Terminal()) == "200"  # type: ignore[arg-type]


def test_what_only_app_engine_may_say_is_stripped() -> None:
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    headers = {"X-Appengine-Cron": "true", "X_AppEngine_QueueName": "q", "X-Other": "kept"}
    TestApp(StripPlatformHeaders(app)).get("/", headers=headers)
    assert seen["HTTP_X_OTHER"] == "kept"
    assert not [name for name in seen if "APPENGINE" in name]
