"""Tickets as text for a terminal."""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from gaeport.tickets.groups import Group, ago
from gaeport.tickets.records import Record

_CODES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "cyan": "36"}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_HOW = {
    "cause": "caused by",
    "context": "while handling",
    "member": "member of the group",
}


class Style:
    """Colours, where the output is a terminal that wants them."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, text: str, name: str) -> str:
        """Return a text in a style: bold, dim, red, yellow, cyan."""
        return f"\033[{_CODES[name]}m{text}\033[0m" if self._coloured and text else text


def style() -> Style:
    """Return the style for standard output."""
    return Style(coloured=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))


def plain(text: object) -> str:
    """Return a text without what a terminal obeys: control characters are written as escapes.

    What visitors send ends up in tickets, and must not move the cursor, or worse.
    """
    return "".join(
        letter if letter in "\n\t" or (letter.isprintable()) else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def group_lines(groups: list[Group], paint: Style, width: int, now: float | None = None) -> Iterator[str]:
    """Yield a table of groups, the newest first.

    Args:
        groups: what to list.
        paint: the colours.
        width: columns of the terminal.
        now: seconds since 1970.
    """
    counted = max((len(f"{group.total:,}") for group in groups), default=1)
    for group in groups:
        when = ago(group.last, now)
        room = max(20, width - 6 - counted - 12 - 6)
        title = plain(group.title).replace("\n", " ")
        title = title if len(title) <= room else f"{title[: room - 1]}…"
        yield f"{paint(group.name, 'cyan')}  {group.total:>{counted},}  {when:>10}  {title}"


def ticket_lines(record: Record, paint: Style) -> Iterator[str]:
    """Yield a whole ticket."""
    yield f"{paint(plain(record['number']), 'cyan')}  {paint(plain(record['title']), 'bold')}"
    yield from _facts(record, paint)
    for found in record["exceptions"]:
        yield ""
        yield from _exception(found, paint)
    headers = (record.get("request") or {}).get("headers", {})
    if headers:
        yield ""
        yield paint("headers of the request", "dim")
        width = max(map(len, headers))
        yield from (f"  {paint(f'{plain(name):{width}}', 'dim')}  {plain(value)}" for name, value in headers.items())


def bars(counts: list[int]) -> str:
    """Return counts as a line of blocks."""
    most = max(counts, default=0)
    if not most:
        return " " * len(counts)
    return "".join(_BLOCKS[-(-count * (len(_BLOCKS) - 1) // most)] for count in counts)


def moment(seconds: float) -> str:
    """Return a time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _facts(record: Record, paint: Style) -> Iterator[str]:
    sent = record.get("request")
    facts = {
        "time": moment(record["time"]),
        "request": f"{sent['method']} {sent['url']}" if sent else "",
        "form": ", ".join(sent["form"]) if sent else "",
        "user": record.get("user"),
        "version": f"{record['service']} {record['version']} {record['instance']}".strip(),
        "trace": record.get("trace"),
        **record.get("labels", {}),
    }
    yield from (_fact(name, value, paint) for name, value in facts.items() if value)


def _fact(name: str, value: object, paint: Style) -> str:
    return f"{paint(f'{plain(name):10}', 'dim')} {plain(value)}"


def _exception(found: dict[str, Any], paint: Style) -> Iterator[str]:
    if found["how"]:
        yield paint(f"── {_HOW.get(found['how'], found['how'])} ──", "dim")
    message = plain(found["message"])
    yield paint(plain(found["type"]), "red") + (f": {message}" if message else "")
    for note in found["notes"]:
        yield f"  {plain(note)}"
    for frame in found["frames"]:
        yield from _frame(frame, paint)


def _frame(frame: dict[str, Any], paint: Style) -> Iterator[str]:
    if frame.get("left_out"):
        yield paint(f"  … {frame['left_out']} frames left out", "dim")
    place = f"{plain(frame['file'])}:{frame['line']}, in {plain(frame['function'])}"
    if not frame["application"]:
        yield paint(f"  {place}", "dim")
        return
    yield f"  {paint(place, 'bold')}"
    for number, text in frame["source"]:
        here = number == frame["line"]
        line = f"    {'→' if here else ' '} {number:>4}  {plain(text)}"
        yield paint(line, "yellow") if here else line
    for name, value in frame["locals"].items():
        yield f"        {paint(plain(name), 'cyan')} = {plain(value)}"
