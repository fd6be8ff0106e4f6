"""`gaeport tickets`: what it prints, and what it leaves alone."""

import json
import time
from pathlib import Path

import pytest

from gaeport import cli, settings
from gaeport.tickets import record
from gaeport.tickets.number import new_number
from gaeport.tickets.store import Count, TicketStore, hour_of
from gaeport.tickets.terminal import Style, bars, plain, ticket_lines
from tests.tickets.failing import caught, simple, with_cause, with_notes


@pytest.fixture
def number(site: Path) -> str:
    """The number of one ticket."""
    settings.configure(root=site, tickets={"line": "off", "wait_ms": 10_000})
    return record(caught(with_cause))


def run(*arguments: str) -> int:
    return cli.main(["tickets", *arguments])


def test_list_shows_groups(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    record(caught(with_cause))
    record(caught(simple))
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert any(line.startswith(f"{number[:6]}  2") and "ValueError: no such fruit" in line for line in lines)
    assert lines[-1] == "3 errors of 2 groups"


def test_list_of_nothing_says_so(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert capsys.readouterr().out == "0 errors of 0 groups\n"


def test_list_as_json(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--json") == 0
    (group,) = json.loads(capsys.readouterr().out)
    assert (group["group"], group["count"], group["newest"]) == (number[:6], 1, number)


def test_list_shows_no_more_than_asked_for(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    record(caught(simple))
    assert run("list", "--limit", "1") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 errors of 2 groups, the newest 1 shown"
    assert run("list", "--since", "1h") == 0
    assert "2 errors" in capsys.readouterr().out


def test_list_of_a_group_shows_its_tickets(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--group", number[:6].lower()) == 0
    assert number in capsys.readouterr().out
    assert run("list", "--group", number[:6], "--json") == 0
    assert json.loads(capsys.readouterr().out)["tickets"] == [number]
    assert run("list", "--group", "ZZZZZZ") == 1
    assert run("list", "--group", "wrong") == 2


def test_show_prints_the_ticket(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", number.lower()) == 0
    text = capsys.readouterr().out
    for part in ("ValueError: no such fruit", "caused by", "KeyError: 'pears'", "→", "basket", "{'apples': 3}"):
        assert part in text


def test_show_as_json_is_the_record(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", number, "--json") == 0
    assert json.loads(capsys.readouterr().out) == TicketStore().read(number)


def test_show_says_what_is_known_of_a_ticket_that_was_not_kept(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", new_number(number[:6])) == 1
    said = capsys.readouterr().err
    assert "counted and not kept" in said
    assert number in said
    assert run("show", new_number("ZZZZZZ")) == 1
    assert "nor another of its group" in capsys.readouterr().err
    assert run("show", "nonsense") == 2


def test_stats_draws_what_happened_when(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stats", "--days", "2") == 0
    text = capsys.readouterr().out
    assert "1 error of 1 group in 2 days" in text
    assert "█" in text
    assert run("stats", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["counts"]) == 7
    assert sum(found["counts"]) == 1


def test_clear_removes_what_is_older_than_keep_days(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = TicketStore()
    old = {"number": new_number("AAAAAA", time.time() - 100 * 86_400), "title": "t", "time": 0.0}
    store.write([old])
    store.write_counts([Count("AAAAAA", hour_of(time.time() - 100 * 86_400), "p", 3, "t")])
    assert run("clear") == 0
    assert capsys.readouterr().out == "1 ticket removed\n"
    assert [found.text for found in TicketStore().numbers()] == [number]
    assert list(TicketStore().counts()) == []


def test_clear_of_more_asks_first(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("clear", "--all") == 2
    assert "--yes" in capsys.readouterr().err
    assert run("clear", "--group", "ZZZZZZ", "--yes") == 0
    assert len(list(TicketStore().numbers())) == 1
    assert run("clear", "--older-than", "1h", "--yes") == 0
    assert len(list(TicketStore().numbers())) == 1
    assert run("clear", "--group", number[:6], "--yes") == 0
    assert list(TicketStore().numbers()) == []


def test_collect_of_nothing(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("collect") == 0
    assert capsys.readouterr().out == "0 tickets written, 0 left\n"
    settings.configure(data=":memory:")
    assert run("collect") == 0
    assert "no data folder" in capsys.readouterr().out


def test_what_a_visitor_sent_cannot_speak_to_the_terminal(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError("\x1b[2J\x1b]0;title\x07 \x9b31m \u202e")
    made = record(error)
    assert run("show", made) == 0
    assert run("list") == 0
    assert run("stats") == 0
    said = capsys.readouterr().out
    shown = "\n".join(line for line in said.splitlines() if not line.startswith("{"))
    assert not any(letter in shown for letter in "\x1b\x07\x9b\u202e")
    assert "\\x1b[2J" in shown


def test_colours_are_for_terminals() -> None:
    assert Style(coloured=True)("x", "red") == "\033[31mx\033[0m"
    assert Style(coloured=False)("x", "red") == "x"


def test_notes_and_labels_are_printed(number: str) -> None:
    found = TicketStore().read(record(caught(with_notes), {"web2py": "shop/1"}))
    assert found is not None
    text = "\n".join(ticket_lines(found, Style(coloured=False)))
    assert "first note" in text
    assert "shop/1" in text


def test_blocks_of_a_chart() -> None:
    assert bars([0, 1, 4, 8]) == " ▁▄█"
    assert bars([0, 0]) == "  "
    assert bars([]) == ""
    assert bars([1, 10_000]) == "▁█"


def test_plain_text_keeps_what_can_be_read() -> None:
    assert plain("Grüße 你好 🙂\n\t") == "Grüße 你好 🙂\n\t"
