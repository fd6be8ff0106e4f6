"""The work of `gaeport tickets …`: list, show, stats, collect, clear."""

import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from gaeport import settings as _settings
from gaeport.commands import FAILED, OK, agreed, say
from gaeport.errors import GaeportError
from gaeport.tickets import groups as _groups
from gaeport.tickets import spool, terminal
from gaeport.tickets.groups import DAY, Group, histogram, summed
from gaeport.tickets.number import Number, parse, parse_group
from gaeport.tickets.reporting import write_to
from gaeport.tickets.spool import Spooled
from gaeport.tickets.store import HOUR, TicketStore, hour_of

_BATCH = 50  # spooled tickets that are written together


def show_groups(*, since: float | None, limit: int, as_json: bool) -> int:
    """List groups, the one seen last first. Returns the exit code.

    Args:
        since: seconds; only what happened in that time.
        limit: groups, at most.
        as_json: JSON instead of a table.
    """
    found = _groups.groups(TicketStore(), since=_start(since))
    if as_json:
        _say_json([_groups.as_json(group) for group in found[:limit]])
        return OK
    width = shutil.get_terminal_size((100, 24)).columns
    for line in terminal.group_lines(found[:limit], terminal.style(), width):
        say(line)
    say(_summary(found, limit))
    return OK


def show_group(name: str, *, limit: int, as_json: bool) -> int:
    """List the tickets of a group, newest first. Returns the exit code."""
    found = _groups.group(TicketStore(), parse_group(name))
    if found is None:
        _say_error(f"there are no tickets of the group {name}")
        return FAILED
    if as_json:
        _say_json({**_groups.as_json(found), "tickets": [ticket.text for ticket in found.tickets[:limit]]})
        return OK
    paint = terminal.style()
    say(f"{paint(found.name, 'cyan')}  {paint(terminal.plain(found.title), 'bold')}")
    for ticket in found.tickets[:limit]:
        say(f"  {ticket.text}  {terminal.moment(ticket.time)}")
    more = f", {found.counted:,} more were counted and not kept" if found.counted else ""
    say(f"{_many(len(found.tickets), 'ticket')}{more}")
    return OK


def show(text: str, *, as_json: bool) -> int:
    """Print one ticket. Returns the exit code: 1 where there is none of this number."""
    number = parse(text)
    record = TicketStore().read(number.text) or _spooled(number)
    if record is None:
        _say_error(_unknown(number))
        return FAILED
    if as_json:
        _say_json(record)
        return OK
    for line in terminal.ticket_lines(record, terminal.style()):
        say(line)
    return OK


def stats(*, days: int, as_json: bool) -> int:
    """Print how many errors happened, a bar an hour or a day, and the groups with most. Returns the exit code."""
    width, count = (HOUR, days * 24) if days <= 3 else (DAY, days)
    start = hour_of() + HOUR - width * count
    found = _groups.groups(TicketStore(), since=start)
    counts = histogram(summed(found), start=start, bars=count, width=width)
    most = sorted(found, key=lambda group: -group.total)[:10]
    if as_json:
        _say_json({"start": start, "width": width, "counts": counts, "groups": [_groups.as_json(g) for g in most]})
        return OK
    happened = f"{_many(sum(counts), 'error')} of {_many(len(found), 'group')}"
    say(f"{happened} in {_many(days, 'day')}, one bar {_interval(width)}:")
    say(f"│{terminal.bars(counts)}│ at most {max(counts, default=0):,}")
    say(f"{terminal.moment(start)[:16]} to {terminal.moment(time.time())}")
    for line in terminal.group_lines(most, terminal.style(), shutil.get_terminal_size((100, 24)).columns):
        say(line)
    return OK


def collect() -> int:
    """Write the spooled tickets where they belong, in batches. Returns the exit code: 1 where some stay.

    A batch's files go when it is written; killed in between and run again, it writes the same tickets once more, which
    changes nothing.
    """
    if spool.folder() is None:
        say("nothing is spooled here: there is no data folder")
        return OK
    moved = 0
    problems: dict[str, str] = {}
    for batch in _batches(spool.waiting()):
        moved += _collect(batch, problems)
    say(f"{_many(moved, 'ticket')} written, {spool.count():,} left")
    for sink, problem in problems.items():
        _say_error(f"{sink}: {problem}")
    return FAILED if problems else OK


def clear(*, older_than: float | None, group: str | None, everything: bool, yes: bool) -> int:
    """Remove tickets: those older than `keep_days`, or others by choice. Returns the exit code."""
    store = TicketStore()
    limit = _settings.current().tickets.keep_days * DAY if older_than is None else older_than
    name = parse_group(group) if group else None
    end = time.time() if everything or (name and older_than is None) else time.time() - limit
    if not agreed(_what(everything, name, older_than), ask=bool(everything or name or older_than), yes=yes):
        return FAILED
    numbers = [number.text for number in store.numbers(name) if number.time <= end]
    counts = [count for count in store.counts() if name in (None, count.group) and count.hour <= end]
    store.remove(numbers, counts)
    say(f"{_many(len(numbers), 'ticket')} removed")
    return OK


def _collect(batch: list[Spooled], problems: dict[str, str]) -> int:
    """Write a batch of spooled tickets to each sink that they still need; returns how many are done."""
    failed: set[str] = set()
    for sink in sorted({sink for item in batch for sink in item.sinks}):
        try:
            write_to(sink, [item.record for item in batch if sink in item.sinks])
        except Exception as error:  # noqa: BLE001 (whatever a client library raises: it is told, and the files stay)
            failed.add(sink)
            problems[sink] = str(error)
    done = 0
    for item in batch:
        left = [sink for sink in item.sinks if sink in failed]
        spool.done(item.path, item.record, left)
        done += not left
    return done


def _batches(found: Iterable[Spooled]) -> Iterator[list[Spooled]]:
    waiting = iter(found)
    while batch := list(islice(waiting, _BATCH)):
        yield batch


def _spooled(number: Number) -> Any:
    return next((item.record for item in spool.waiting() if item.record["number"] == number.text), None)


def _unknown(number: Number) -> str:
    """Say what is known of a number whose ticket is not kept."""
    try:
        found = _groups.group(TicketStore(), number.group)
    except GaeportError:
        found = None
    when = terminal.moment(number.time)
    if found is None:
        return f"there is no ticket {number.text} (of {when}), nor another of its group"
    near = min(found.tickets, key=lambda ticket: abs(ticket.time - number.time), default=None)
    hint = f"; the nearest that is kept: {near.text}" if near else ""
    return f"{number.text} (of {when}) was counted and not kept, or removed: {terminal.plain(found.title)}{hint}"


def _start(since: float | None) -> float:
    return 0.0 if since is None else time.time() - since


def _summary(found: list[Group], limit: int) -> str:
    shown = f", the newest {limit:,} shown" if len(found) > limit else ""
    text = f"{_many(sum(group.total for group in found), 'error')} of {_many(len(found), 'group')}{shown}"
    waiting = spool.count()
    return f"{text}; {_many(waiting, 'ticket')} in the data folder: gaeport tickets collect" if waiting else text


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _interval(width: int) -> str:
    return "an hour" if width == HOUR else "a day"


def _what(everything: bool, group: str | None, older_than: float | None) -> str:
    which = f"tickets of the group {group}" if group else "every ticket" if everything else "tickets"
    if older_than is not None:
        return f"remove {which} older than {older_than:,.0f} s"
    return f"remove {which}" if everything or group else "remove tickets older than keep_days"


def _say_error(text: str) -> None:
    sys.stderr.write(f"gaeport: {text}\n")


def _say_json(value: object) -> None:
    say(json.dumps(value, indent=2, ensure_ascii=False))
