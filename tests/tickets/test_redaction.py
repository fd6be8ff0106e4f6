"""No planted secret reaches any sink; what is not secret stays readable."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gaeport import settings
from gaeport.tickets import TicketMiddleware, commands, reporting, spool
from gaeport.tickets.api import entries
from gaeport.tickets.logs import StructuredHandler
from gaeport.tickets.redaction import is_secret_name, redacted_query, redacted_text
from gaeport.tickets.store import TicketStore
from tests.tickets.secrets_corpus import Case, cases

CASES = cases()


def view(folder: Path, case: Case, number: int) -> Any:
    """Return a WSGI application that fails as the case says, from a module on disk."""
    variables = "".join(f"    {name} = CASE.variables[{name!r}]\n" for name in case.variables)
    path = folder / f"view{number}.py"
    path.write_text(
        f"def app(environ, start_response):\n    {case.source}\n{variables}    fail()\n\n"
        "def fail():\n    error = ValueError(CASE.message)\n    error.add_note(CASE.note)\n    raise error\n"
    )
    namespace: dict[str, Any] = {"CASE": case}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    return namespace["app"]


def answered(app: Any, environ: dict[str, Any]) -> str:
    """Send a request; return the body of the answer."""
    base = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "SERVER_NAME": "h",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }
    body = TicketMiddleware(app)({**base, **environ}, lambda status, headers, exc_info=None: None)
    return b"".join(body).decode()


def test_the_corpus_has_200_cases() -> None:
    assert len(CASES) >= 200


def test_no_secret_of_the_corpus_reaches_any_sink(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings.configure(root=site, tickets={"line": "json", "per_minute": 10_000, "wait_ms": 0})
    pages = [answered(view(site, case, number), case.environ) for number, case in enumerate(CASES)]
    assert reporting.flush(60)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CASES)
    store = TicketStore()
    by_number = {line["ticket"]["number"]: text for text in lines if (line := json.loads(text))}
    for case, page in zip(CASES, pages, strict=True):
        number = page.split()[-1]
        record = store.read(number)
        assert record is not None
        commands.show(number, as_json=False)
        sinks = {
            "page": page,
            "line": by_number[number],
            "entity": json.dumps(record, ensure_ascii=False),
            "title": store.titles([number])[number],
            "api": json.dumps(entries(record), ensure_ascii=False),
            "terminal": capsys.readouterr().out,
        }
        for sink, text in sinks.items():
            for secret in case.secrets:
                assert secret not in text, f"{sink} of {case}"


def test_no_secret_of_the_corpus_reaches_the_data_folder(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.configure(root=site, tickets={"line": "json", "per_minute": 10_000, "wait_ms": 0})
    monkeypatch.setattr(reporting._writer, "submit", lambda job, wait: None)
    for number, case in enumerate(CASES):
        answered(view(site, case, number), case.environ)
    spooled = list(spool.waiting())
    assert len(spooled) == len(CASES)
    text = "".join(item.path.read_text() for item in spooled)
    assert [secret for case in CASES for secret in case.secrets if secret in text] == []


def test_log_lines_show_no_secret_of_the_url(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("shop")
    logger.addHandler(StructuredHandler())

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        logger.warning("hello")
        start_response("200 OK", [])
        return []

    answered(app, {"QUERY_STRING": "token=ZqSecretWord&page=2"})
    line = capsys.readouterr().out
    assert "ZqSecretWord" not in line
    assert "token=[redacted]&page=2" in line


@pytest.mark.parametrize(
    "text",
    [
        "invalid literal for int() with base 10: 'zz'",
        "/srv/shop/views/a_long_module_name/with_parts.py, line 12",
        "order 1234567890 of 2026-11-22 12:34:56 costs 99.95",
        "the key error: tokens left: none",
        "https://example.org/a/b?page=2&sort=name",
        "user@example.org",
        "a == b, c != d, x <= y, lambda: 0",
        "TypeError: unsupported operand type(s) for +: 'int' and 'NoneType'",
        "4111 1111 1111 1112",
        "projects/shop/locations/europe-west1/queues/default",
        "K7QF2B-3M2XAB-9TZQ",
        "shop/127.0.0.1.2026-11-23.00-41-24.b0f817a4-e69e-42bb-9a95-b37f94441099",
    ],
)
def test_what_is_not_secret_stays_as_it_is(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize("name", ["name", "page", "keyboard", "monkey", "key", "author", "passenger"])
def test_names_that_are_not_secret(name: str) -> None:
    assert not is_secret_name(name)


def test_a_key_is_secret_in_a_query_string_but_not_as_a_variable() -> None:
    assert is_secret_name("key", strict=True)
    assert redacted_query("key=abc&state=xyz&code=123&page=2") == (
        "key=[redacted]&state=[redacted]&code=[redacted]&page=2"
    )


@pytest.mark.parametrize(
    "part", ["a", "1 ", "password", "a=", "://", "a:b@", "-----BEGIN ", "eyJ", "x-", "'", "password='", "?&=", "h://a:"]
)
def test_a_hostile_text_is_no_more_work_than_its_length(part: str) -> None:
    assert redacted_text(part * (40_000 // len(part)))
