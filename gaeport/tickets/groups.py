"""Tickets by group: what happened, how often, when. For `gaeport tickets` and the console."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gaeport.tickets.number import Number
from gaeport.tickets.store import HOUR, Count, TicketStore, hour_of

DAY = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Group:
    """Errors that are the same.

    Attributes:
        name: the six characters that its tickets' numbers begin with.
        title: its newest error in a line.
        tickets: the tickets that are kept, newest first.
        counted: how many more happened, and were not kept.
        first: seconds since 1970.
        last: seconds since 1970.
        by_hour: how many happened, by the hour's beginning.
    """

    name: str
    title: str
    tickets: tuple[Number, ...]
    counted: int
    first: int
    last: int
    by_hour: dict[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many happened."""
        return len(self.tickets) + self.counted


def groups(store: TicketStore, *, since: float = 0.0) -> list[Group]:
    """Return all groups, the one seen last first.

    One query for keys and one for counts, each a 300, and one Lookup a 1,000 groups.

    Args:
        store: where the tickets are.
        since: seconds since 1970; what happened before is left out.
    """
    numbers: dict[str, list[Number]] = {}
    for number in store.numbers():
        if number.time >= since:
            numbers.setdefault(number.group, []).append(number)
    counts: dict[str, list[Count]] = {}
    for count in store.counts():
        if count.hour + HOUR > since:
            counts.setdefault(count.group, []).append(count)
    newest = {name: max(found, key=_time).text for name, found in numbers.items()}
    titles = store.titles(list(newest.values()))
    made = [
        _group(name, titles.get(newest.get(name, ""), ""), numbers.get(name, []), counts.get(name, []))
        for name in {*numbers, *counts}
    ]
    return sorted(made, key=lambda group: (-group.last, group.name))


def group(store: TicketStore, name: str) -> Group | None:
    """Return one group, or None."""
    numbers = list(store.numbers(name))
    counts = [count for count in store.counts() if count.group == name]
    if not numbers and not counts:
        return None
    newest = max(numbers, key=_time).text if numbers else ""
    return _group(name, store.titles([newest]).get(newest, "") if newest else "", numbers, counts)


def histogram(by_hour: dict[int, int], *, start: int, bars: int, width: int) -> list[int]:
    """Return how many happened in each of so many intervals.

    Args:
        by_hour: counts by the hour's beginning, as `Group.by_hour`.
        start: the first interval's beginning, seconds since 1970.
        bars: the number of intervals.
        width: seconds of an interval.
    """
    found = [0] * bars
    for hour, count in by_hour.items():
        place = (hour - start) // width
        if 0 <= place < bars:
            found[place] += count
    return found


def summed(found: Iterable[Group]) -> dict[int, int]:
    """Return how many errors of several groups happened, by the hour's beginning."""
    total: Counter[int] = Counter()
    for one in found:
        total.update(one.by_hour)
    return dict(total)


def as_json(one: Group) -> dict[str, Any]:
    """Return a group as JSON data."""
    return {
        "group": one.name,
        "title": one.title,
        "count": one.total,
        "kept": len(one.tickets),
        "first": one.first,
        "last": one.last,
        "by_hour": {str(hour): one.by_hour[hour] for hour in sorted(one.by_hour)},
        "newest": one.tickets[0].text if one.tickets else None,
    }


def ago(seconds: int, now: float | None = None) -> str:
    """Return how long ago a moment was, in a word or two: "5 min ago"."""
    passed = max(0, int((time.time() if now is None else now) - seconds))
    for unit, size in (("d", DAY), ("h", HOUR), ("min", 60)):
        if passed >= size:
            return f"{passed // size} {unit} ago"
    return f"{passed} s ago"


def _group(name: str, title: str, numbers: list[Number], counts: list[Count]) -> Group:
    hours: Counter[int] = Counter(hour_of(number.time) for number in numbers)
    for count in counts:
        hours[count.hour] += count.count
    times = [number.time for number in numbers] + [count.hour for count in counts]
    return Group(
        name,
        title or (counts[-1].title if counts else ""),
        tuple(sorted(numbers, key=_time, reverse=True)),
        sum(count.count for count in counts),
        min(times),
        max(times),
        dict(hours),
    )


def _time(number: Number) -> tuple[int, str]:
    return number.time, number.text
