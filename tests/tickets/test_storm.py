"""10,000 identical errors a minute cost no more memory, tickets and lines than a handful."""

import json
from pathlib import Path

import pytest

from gaeport import settings
from gaeport.tickets import reporting
from gaeport.tickets.groups import groups
from gaeport.tickets.store import TicketStore
from gaeport.tickets.storm import Storm
from tests.tickets import failing
from tests.tickets.conftest import Clock
from tests.tickets.failing import caught


def test_only_so_many_of_a_group_are_kept_a_minute(clock: Clock) -> None:
    storm = Storm(5, clock)
    assert [storm.keeps("A", lambda: "t") for _ in range(8)] == [True] * 5 + [False] * 3
    clock.now += 60
    assert storm.keeps("A", lambda: "t")


def test_a_storm_that_goes_on_keeps_one_a_minute_until_it_pauses(clock: Clock) -> None:
    storm = Storm(5, clock)
    kept = []
    for _ in range(4):
        kept.append(sum(storm.keeps("A", lambda: "t") for _ in range(100)))
        clock.now += 60
    assert kept == [5, 1, 1, 1]
    clock.now += 120
    assert sum(storm.keeps("A", lambda: "t") for _ in range(100)) == 5


def test_what_is_not_kept_is_counted_and_told_after_a_minute(clock: Clock) -> None:
    storm = Storm(1, clock)
    for _ in range(10):
        storm.keeps("A", lambda: "the title")
    assert storm.missed() == []
    clock.now += 60
    (found,) = storm.missed()
    assert (found.group, found.title, found.count) == ("A", "the title", 9)
    assert storm.missed() == []


def test_a_storm_of_different_errors_is_bounded_too(clock: Clock) -> None:
    storm = Storm(5, clock)
    kept = sum(storm.keeps(f"{number:06}", lambda: "t") for number in range(10_000))
    assert kept == 100
    found = storm.missed(at_once=True)
    assert len(found) <= 1_001
    assert sum(one.count for one in found) == 9_900


def test_the_memory_of_groups_is_bounded(clock: Clock) -> None:
    storm = Storm(5, clock)
    for number in range(20_000):
        storm.keeps(f"{number:06}", lambda: "t")
    assert len(storm._groups) <= 1_000


def test_a_storm_of_requests_keeps_a_few_tickets_and_counts_the_rest(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.configure(root=site, tickets={"line": "json", "per_minute": 3, "wait_ms": 0})
    numbers = {reporting.record(caught(failing.simple)) for _ in range(500)}
    assert len(numbers) > 450  # each visitor has a number of his own, but for chance
    assert reporting.flush()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 4
    assert "497 more" in lines[-1]["message"]
    (group,) = groups(TicketStore())
    assert (len(group.tickets), group.counted, group.total) == (3, 497, 500)
    assert sum(group.by_hour.values()) == 500


def test_counts_of_one_hour_are_one_entity_a_process(site: Path) -> None:
    settings.configure(root=site, tickets={"line": "off", "per_minute": 1, "wait_ms": 0})
    for _ in range(3):
        for _ in range(5):
            reporting.record(caught(failing.simple))
        assert reporting.flush()
    found = list(TicketStore().counts())
    assert sum(count.count for count in found) == 14
    assert len(found) <= 2  # two where the hour ended meanwhile
