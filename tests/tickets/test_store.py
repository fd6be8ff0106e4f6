"""Tickets as entities, on each backend: one write each, lists by keys alone."""

from pathlib import Path
from typing import Any

import pytest

from gaeport import settings
from gaeport.datastore import own_client, wire
from gaeport.errors import DataLoss
from gaeport.meter import measure
from gaeport.tickets import groups
from gaeport.tickets.number import new_number
from gaeport.tickets.store import Count, TicketStore, hour_of

NOW = 1_795_392_000


@pytest.fixture(params=["memory", "disk", "firestore_emulator", "datastore_emulator"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TicketStore:
    """An empty store."""
    if request.param.endswith("emulator"):
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", request.getfixturevalue(request.param))
    data = ":memory:" if request.param == "memory" else ".gaeport"
    settings.configure(root=tmp_path, data=data, namespace=f"t{abs(hash(tmp_path)) % 10**9}")
    return TicketStore()


def made(group: str, when: int = NOW, title: str = "ValueError: x") -> dict[str, Any]:
    return {"number": new_number(group, when), "title": title, "time": float(when), "exceptions": [], "text": "ä\n"}


def test_a_ticket_is_read_as_it_was_written(store: TicketStore) -> None:
    record = made("AAAAAA")
    store.write([record])
    assert store.read(record["number"]) == record
    assert store.read(new_number("AAAAAA", 0)) is None


def test_a_ticket_is_one_write_and_nothing_is_indexed(store: TicketStore) -> None:
    with measure() as meter:
        store.write([made("AAAAAA")])
    assert meter.calls == {"Commit": 1}
    query = wire.Query()
    query.kind.add(name="Ticket")
    (found,) = own_client().query(query)
    assert all(value.exclude_from_indexes for value in found.entity.properties.values())
    assert found.entity.properties["expires"].timestamp_value.seconds == NOW + 90 * 86_400


def test_writing_a_ticket_again_changes_nothing(store: TicketStore) -> None:
    record = made("AAAAAA")
    store.write([record])
    store.write([record, made("BBBBBB")])
    assert len(list(store.numbers())) == 2


def test_numbers_are_listed_by_group(store: TicketStore) -> None:
    store.write([made("AAAAAA", NOW), made("AAAAAA", NOW + 5), made("AAAAAB"), made("BBBBBB")])
    assert [number.time for number in store.numbers("AAAAAA")] == [NOW, NOW + 5]
    assert [number.group for number in store.numbers()] == ["AAAAAA", "AAAAAA", "AAAAAB", "BBBBBB"]


def test_groups_count_what_was_kept_and_what_was_not(store: TicketStore) -> None:
    old, new = made("AAAAAA", NOW, "old"), made("AAAAAA", NOW + 7_200, "new")
    store.write([old, new, made("BBBBBB", NOW + 60, "other")])
    store.write_counts(
        [
            Count("AAAAAA", hour_of(NOW), "p1", 100, "t"),
            Count("AAAAAA", hour_of(NOW), "p2", 11, "t"),
            Count("CCCCCC", hour_of(NOW), "p1", 7, "counted only"),
        ]
    )
    found = {group.name: group for group in groups.groups(store)}
    assert next(iter(found)) == "AAAAAA"  # seen last
    first = found["AAAAAA"]
    assert (first.title, first.total, first.counted) == ("new", 113, 111)
    assert [ticket.text for ticket in first.tickets] == [new["number"], old["number"]]
    assert first.by_hour == {hour_of(NOW): 112, hour_of(NOW + 7_200): 1}
    assert (found["CCCCCC"].title, found["CCCCCC"].total) == ("counted only", 7)
    assert groups.group(store, "BBBBBB") == found["BBBBBB"]
    assert groups.group(store, "ZZZZZZ") is None


def test_groups_since_a_moment_leave_out_what_was_before(store: TicketStore) -> None:
    store.write([made("AAAAAA", NOW), made("BBBBBB", NOW + 100)])
    assert [group.name for group in groups.groups(store, since=NOW + 50)] == ["BBBBBB"]


def test_counts_replace_what_the_same_process_counted_before(store: TicketStore) -> None:
    for count in (5, 8):
        store.write_counts([Count("AAAAAA", NOW, "p", count, "t")])
    assert [count.count for count in store.counts()] == [8]


def test_removing_tickets_and_counts(store: TicketStore) -> None:
    record, count = made("AAAAAA"), Count("AAAAAA", NOW, "p", 1, "t")
    store.write([record, made("BBBBBB")])
    store.write_counts([count])
    assert store.remove([record["number"]], [count]) == 2
    assert [number.group for number in store.numbers()] == ["BBBBBB"]
    assert list(store.counts()) == []


def test_a_large_batch_is_several_commits(store: TicketStore) -> None:
    records = [made("AAAAAA", NOW + number) for number in range(250)]
    with measure() as meter:
        store.write(records)
    assert meter.calls == {"Commit": 3}
    assert len(list(store.numbers())) == 250


def test_a_ticket_of_a_later_release_is_refused(store: TicketStore) -> None:
    client = own_client()
    entity = wire.Entity(key=client.key("Ticket", new_number("AAAAAA", NOW)))
    entity.properties["format"].integer_value = 99
    client.commit([wire.Mutation(upsert=entity)])
    (number,) = store.numbers()
    with pytest.raises(DataLoss, match="newer gaeport"):
        store.read(number.text)


@pytest.mark.long
def test_ten_thousand_tickets_are_listed_by_few_calls(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")
    store = TicketStore()
    for group in range(100):
        store.write([made(f"{group:06}", NOW + number) for number in range(100)])
    with measure() as meter:
        found = groups.groups(store)
    assert len(found) == 100
    assert meter.calls["Lookup"] == 1
    assert meter.calls["RunQuery"] <= 36


def test_intervals_of_a_chart() -> None:
    hours = {NOW // 3_600 * 3_600: 3, NOW // 3_600 * 3_600 + 3_600: 4}
    start = hour_of(NOW) - 3_600
    assert groups.histogram(hours, start=start, bars=3, width=3_600) == [0, 3, 4]
    assert groups.histogram(hours, start=start + 3_600, bars=1, width=3_600) == [3]
    assert groups.histogram(hours, start=start, bars=1, width=86_400) == [7]


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s ago"), (300, "5 min ago"), (7_300, "2 h ago"), (86_400 * 3, "3 d ago")]
)
def test_how_long_ago_in_words(seconds: int, words: str) -> None:
    assert groups.ago(NOW - seconds, NOW) == words
