"""The console's page of tickets: groups, one group, one ticket; nothing that a visitor sent runs there."""

import html
import re
import time
from pathlib import Path
from typing import Any

import pytest

from gaeport import settings
from gaeport.settings import Settings
from gaeport.tickets import context, record, reporting
from gaeport.tickets.number import new_number
from gaeport.tickets.store import Count, TicketStore, hour_of
from tests.console.conftest import Visitor, hashed
from tests.tickets.failing import caught, deep, group, with_cause

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    """Settings with a console, kept in memory; tickets make no line."""
    tickets = {"line": "json", "wait_ms": 10_000, "per_minute": 1_000}
    return settings.configure(root=tmp_path, data=settings.MEMORY, console={"password_hash": hashed()}, tickets=tickets)


def made(error: BaseException) -> str:
    number = record(error)
    assert reporting.flush()
    return number


def stored(group: str, when: float, title: str = "ValueError: x") -> dict[str, Any]:
    return {"number": new_number(group, when), "title": title, "time": when}


def plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def test_there_is_nothing_for_those_who_have_not_logged_in(visitor: Visitor) -> None:
    for path in ("", "/K7QF2B", "/K7QF2B-3M2XAB-9TZQ"):
        answer = visitor.get(f"/_gaeport/tickets{path}")
        assert answer.status_int == 303
        assert "/_gaeport/login" in answer.headers["Location"]


def test_no_tickets_is_said(admin: Visitor) -> None:
    answer = admin.get("/_gaeport/tickets")
    assert answer.status_int == 200
    assert "No errors in the last week" in answer.text


def test_groups_are_listed_with_their_counts_and_a_chart(admin: Visitor) -> None:
    made(caught(with_cause))
    number = made(caught(with_cause))
    TicketStore().write_counts([Count(number[:6], hour_of(), "p", 1_000, "t")])
    answer = admin.get("/_gaeport/tickets")
    text = plain(answer.text)
    assert "1,002 errors of 1 group" in text
    assert "ValueError: no such fruit" in text
    assert '<rect class="bar"' in answer.text
    assert f"/_gaeport/tickets/{number[:6]}?hours=168" in answer.text


@pytest.mark.parametrize("hours", [24, 168, 720])
def test_a_period_leaves_out_what_was_before(admin: Visitor, hours: int) -> None:
    now = time.time()
    TicketStore().write([stored("AAAAAA", now - hours * 3_600 - 90_000, "too old"), stored("BBBBBB", now, "new")])
    answer = admin.get(f"/_gaeport/tickets?hours={hours}")
    assert "too old" not in answer.text
    assert "new" in answer.text


def test_many_groups_are_shown_page_by_page(admin: Visitor) -> None:
    now = time.time()
    TicketStore().write([stored(f"{number:06}", now - number, f"error {number:03}.") for number in range(120)])
    first = admin.get("/_gaeport/tickets")
    assert "error 000." in first.text
    assert "error 050." not in first.text
    following = re.search(r'rel="next" href="([^"#]*)', first.text)
    assert following is not None
    second = admin.get(html.unescape(following[1]))
    assert "error 050." in second.text
    assert 'rel="prev"' in second.text


def test_a_group_lists_its_tickets(admin: Visitor) -> None:
    number = made(caught(with_cause))
    answer = admin.get(f"/_gaeport/tickets/{number[:6]}")
    assert number in answer.text
    assert "no such fruit" in answer.text


def test_a_ticket_shows_its_frames_folded_but_for_the_one_that_failed(admin: Visitor) -> None:
    context.begin({"REQUEST_METHOD": "GET", "PATH_INFO": "/pay", "HTTP_HOST": "shop.example", "HTTP_COOKIE": "a=b"})
    number = made(caught(with_cause))
    context.resume(None)
    answer = admin.get(f"/_gaeport/tickets/{number}")
    text = plain(answer.text)
    for part in (
        "ValueError",
        "no such fruit",
        "Caused by",
        "KeyError",
        "basket",
        "{'apples': 3}",
        "http://shop.example/pay",
    ):
        assert part in text
    assert answer.text.count('<details class="frame" open>') == 1
    assert answer.text.count('<details class="frame">') >= 2
    assert 'class="here"' in answer.text


@pytest.mark.parametrize("fail", [group, deep])
def test_groups_of_exceptions_and_recursions_are_shown(admin: Visitor, fail: Any) -> None:
    text = plain(admin.get(f"/_gaeport/tickets/{made(caught(fail))}").text)
    assert "Member of the group" in text if fail is group else "frames left out" in text


def test_an_exception_that_was_never_raised_is_shown(admin: Visitor) -> None:
    assert "never raised" in admin.get(f"/_gaeport/tickets/{made(ValueError('x'))}").text


def test_scripts_in_a_ticket_are_text(admin: Visitor) -> None:
    class Evil(Exception):
        pass

    Evil.__qualname__ = f"Evil{SCRIPT}"
    hostile = {
        "REQUEST_METHOD": SCRIPT, "PATH_INFO": f"/{SCRIPT}", "QUERY_STRING": SCRIPT, "HTTP_HOST": SCRIPT,
        "HTTP_USER_AGENT": SCRIPT, f"HTTP_X_{SCRIPT}": SCRIPT, "REMOTE_ADDR": SCRIPT, "SERVER_PROTOCOL": SCRIPT,
        "gaeport.user": SCRIPT, "bottle.request.forms": {SCRIPT: SCRIPT},
        "HTTP_X_CLOUD_TRACE_CONTEXT": f"abc{SCRIPT}",
    }  # fmt: skip
    context.begin(hostile)

    def fail() -> None:
        hostile_value = {SCRIPT: [SCRIPT]}
        error = Evil(SCRIPT, len(hostile_value))
        error.add_note(SCRIPT)
        raise error

    error = caught(fail)
    number = record(error, {SCRIPT: SCRIPT})
    assert reporting.flush()
    context.resume(None)
    for path in (
        "",
        f"/{number[:6]}",
        f"/{number}",
        f"?number={SCRIPT}",
        f"/{SCRIPT}",
        f"?hours={SCRIPT}&from={SCRIPT}",
    ):
        answer = admin.get(f"/_gaeport/tickets{path}")
        assert "<script" not in answer.text.lower(), path
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "&lt;script&gt;" in admin.get(f"/_gaeport/tickets/{number}").text


def test_a_number_can_be_typed(admin: Visitor) -> None:
    number = made(caught(with_cause))
    assert admin.get(f"/_gaeport/tickets?number={number.lower()}").headers["Location"].endswith(f"/tickets/{number}")
    assert admin.get(f"/_gaeport/tickets?number={number[:6]}").headers["Location"].endswith(f"/tickets/{number[:6]}")
    assert admin.get("/_gaeport/tickets?number=nonsense").status_int == 404


@pytest.mark.parametrize("path", ["ZZZZZZ", "ZZZZZZ-000000-0000", "nonsense", "..%2F..%2Fx"])
def test_what_is_not_there_is_not_found(admin: Visitor, path: str) -> None:
    assert admin.get(f"/_gaeport/tickets/{path}").status_int == 404


def test_a_group_is_removed_by_its_form_alone(admin: Visitor) -> None:
    number = made(caught(with_cause))
    TicketStore().write_counts([Count(number[:6], hour_of(), "p", 5, "t")])
    path = f"/_gaeport/tickets/{number[:6]}"
    token = admin.token(admin.get(path))
    assert admin.post(path, {}).status_int == 403
    assert admin.post(path, {"csrf": token + "x"}).status_int == 403
    assert admin.post(path, {"csrf": token}, headers={"Origin": "https://evil.example"}).status_int == 403
    assert len(list(TicketStore().numbers())) == 1
    assert admin.post(path, {"csrf": token}).status_int == 303
    assert list(TicketStore().numbers()) == []
    assert list(TicketStore().counts()) == []


@pytest.mark.parametrize("path", ["", "/{number}"])
def test_forms_are_taken_by_groups_only(admin: Visitor, path: str) -> None:
    number = made(caught(with_cause))
    token = admin.token(admin.get("/_gaeport/tickets"))
    assert admin.post(f"/_gaeport/tickets{path.format(number=number)}", {"csrf": token}).status_int == 404
