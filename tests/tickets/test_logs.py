"""Standard logging: each line of a request carries its trace."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gaeport import settings
from gaeport.tickets import TicketMiddleware, setup_logging
from gaeport.tickets.logs import StructuredHandler, setup_for

TRACE = {"HTTP_X_CLOUD_TRACE_CONTEXT": "105445aa7843bc8bf206b12000100000/7;o=1"}


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    """The root logger's level and its handlers of ours are as before afterwards."""
    root = logging.getLogger()
    level = root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, StructuredHandler)]
    root.setLevel(level)


@pytest.fixture
def handlers() -> list[logging.Handler]:
    """The root logger's list of handlers; tests empty it of pytest's own, which come anew for each test."""
    return logging.getLogger().handlers


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_lines_of_a_request_carry_its_trace_in_any_logger(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        logging.getLogger("shop").info("first")
        start_response("200 OK", [])
        yield b"a"
        logging.getLogger("another.library").error("second")

    answer: Any = TicketMiddleware(app)({"PATH_INFO": "/x", **TRACE}, lambda *_: None)
    list(answer)
    answer.close()
    logging.getLogger("shop").info("after")
    found = lines(capsys)
    traces = [line["logging.googleapis.com/trace"] for line in found]
    trace = "projects/gaeport-local/traces/105445aa7843bc8bf206b12000100000"
    assert traces == [trace, trace, ""]
    assert {line["logging.googleapis.com/spanId"] for line in found} == {"0000000000000007", ""}
    assert [line["severity"] for line in found] == ["INFO", "ERROR", "INFO"]
    assert found[0]["httpRequest"]["requestUrl"].endswith("/x")


def test_setting_up_twice_gives_one_handler(handlers: list[logging.Handler]) -> None:
    handlers.clear()
    assert setup_logging() is setup_logging(logging.DEBUG)
    assert len(handlers) == 1
    assert logging.getLogger().level == logging.DEBUG


def test_on_app_engine_logging_is_set_up_unless_the_application_did(
    site: Path, monkeypatch: pytest.MonkeyPatch, handlers: list[logging.Handler]
) -> None:
    handlers.clear()
    config = settings.current()
    setup_for(config)
    assert logging.getLogger().handlers == []
    monkeypatch.setenv("GAE_ENV", "standard")
    setup_for(replace(config, tickets=replace(config.tickets, logging=False)))
    assert logging.getLogger().handlers == []
    setup_for(config)
    assert [type(handler) for handler in logging.getLogger().handlers] == [StructuredHandler]
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    setup_for(config)
    assert len(logging.getLogger().handlers) == 1


def test_elsewhere_it_is_set_up_where_the_settings_say_so(site: Path, handlers: list[logging.Handler]) -> None:
    handlers.clear()
    config = settings.current()
    setup_for(replace(config, tickets=replace(config.tickets, logging=True)))
    assert len(handlers) == 1


def test_a_long_message_is_written_as_several_lines(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    logging.getLogger("shop").warning("x" * 600_000)
    found = capsys.readouterr().out.splitlines()
    assert len(found) > 2
    assert all(len(line) < 256_000 for line in found)


def test_a_handler_that_cannot_write_does_not_raise(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def write(self, text: str) -> None:
            raise OSError(32, "Broken pipe")

    handler = StructuredHandler(Broken())  # type: ignore[arg-type]
    handler.handle(logging.makeLogRecord({"msg": "x"}))
    assert "Broken pipe" in capsys.readouterr().err


def test_an_exception_is_told_once_by_its_ticket(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import flask
    from webtest import TestApp

    setup_logging()
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: 1 / 0)
    TestApp(TicketMiddleware(app)).get("/", status=500)
    found = lines(capsys)
    assert sum("Traceback" in json.dumps(line) for line in found) == 1
    assert any("Exception on / [GET] (ticket " in line["message"] for line in found)
