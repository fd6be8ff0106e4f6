"""The page of tickets: groups, tickets/GROUP for one of them, tickets/NUMBER for one ticket."""

import time
from http import HTTPStatus

from gaeport.console import charts
from gaeport.console.rendering import page
from gaeport.console.web import Refused, Request, Response, not_found, redirect
from gaeport.tickets import spool
from gaeport.tickets.groups import DAY, Group, ago, group, groups, histogram, summed
from gaeport.tickets.number import NotATicket, parse, parse_group
from gaeport.tickets.store import HOUR, TicketStore

#: Hours to look back: in words, and the width of a bar in seconds.
PERIODS = {24: ("the last day", HOUR), 168: ("the last week", 6 * HOUR), 720: ("the last 30 days", DAY)}
_PERIOD = 168
_ROWS = 50  # groups or tickets on one page
_LABELS = {HOUR: "%d %b, %H:00", 6 * HOUR: "%d %b, %H:00", DAY: "%d %b"}
_WORDS = {"cause": "Caused by", "context": "While handling", "member": "Member of the group"}


def answer(request: Request) -> Response:
    """Return the groups, one group, or one ticket; remove a group's tickets."""
    name = request.rest
    if not name:
        if request.method == "POST":
            raise not_found()
        return _search(request) if request.argument("number").strip() else _all(request)
    try:
        return _group(request, parse_group(name)) if len(name) == 6 else _one(request, parse(name).text)
    except NotATicket as wrong:
        raise not_found(f"{wrong}.") from None


def _search(request: Request) -> Response:
    """Go to the ticket, or the group, whose number was typed."""
    text = request.argument("number").strip()
    try:
        return redirect(request.url(f"tickets/{parse_group(text) if len(text) == 6 else parse(text).text}"))
    except NotATicket as wrong:
        raise Refused(HTTPStatus.NOT_FOUND, "No such ticket", f"{wrong}.") from None


def _all(request: Request) -> Response:
    hours = _hours(request)
    found = groups(TicketStore(), since=_start(hours))
    start = request.number("from", 0, 0, 1_000_000)
    return page(
        request,
        "tickets.html",
        title="Tickets",
        hours=hours,
        periods={value: words for value, (words, _) in PERIODS.items()},
        groups=found[start : start + _ROWS],
        count=len(found),
        total=sum(one.total for one in found),
        bars=_bars(found, hours),
        waiting=spool.count(),
        ago=ago,
        earlier=_page(request, "tickets", hours, start - _ROWS) if start > 0 else "",
        later=_page(request, "tickets", hours, start + _ROWS) if start + _ROWS < len(found) else "",
    )


def _group(request: Request, name: str) -> Response:
    store = TicketStore()
    found = group(store, name)
    if found is None:
        raise not_found(f"There are no tickets of the group {name}.")
    if request.method == "POST":
        counts = [count for count in store.counts() if count.group == name]
        store.remove([ticket.text for ticket in found.tickets], counts)
        return redirect(request.url("tickets"))
    hours = _hours(request)
    start = request.number("from", 0, 0, 1_000_000)
    here = f"tickets/{name}"
    return page(
        request,
        "tickets_group.html",
        title=found.title or f"Group {name}",
        group=found,
        hours=hours,
        periods={value: words for value, (words, _) in PERIODS.items()},
        bars=_bars([found], hours),
        tickets=found.tickets[start : start + _ROWS],
        earlier=_page(request, here, hours, start - _ROWS) if start > 0 else "",
        later=_page(request, here, hours, start + _ROWS) if start + _ROWS < len(found.tickets) else "",
    )


def _one(request: Request, number: str) -> Response:
    if request.method == "POST":
        raise not_found()
    record = TicketStore().read(number)
    if record is None:
        raise not_found(
            f"There is no ticket {number}. It was counted and not kept, because there were many of its group, "
            "or it was removed since, or it waits in the data folder of the machine that made it."
        )
    sent = record.get("request")
    facts = {
        "User": record.get("user", ""),
        "Version": f"{record['service']} {record['version']}",
        "Instance": record["instance"],
        "Trace": record.get("trace", ""),
        "Form": ", ".join(sent["form"]) if sent else "",
        "Python": record["python"],
        **record.get("labels", {}),
    }
    return page(
        request,
        "ticket.html",
        title=record["title"],
        record=record,
        group=number[:6],
        facts={name: value for name, value in facts.items() if value},
        sent=sent,
        headers=sent["headers"] if sent else {},
        words=_WORDS,
    )


def _hours(request: Request) -> int:
    hours = request.number("hours", _PERIOD, 1, max(PERIODS))
    return hours if hours in PERIODS else _PERIOD


def _start(hours: int) -> int:
    """Return when a chart begins, so that its last bar ends with the present hour or day."""
    width = PERIODS[hours][1]
    return (int(time.time()) // width + 1) * width - hours * HOUR


def _bars(found: list[Group], hours: int) -> list[charts.Bar]:
    width, start = PERIODS[hours][1], _start(hours)
    counts = histogram(summed(found), start=start, bars=hours * HOUR // width, width=width)
    form = _LABELS[width]
    return charts.bars(
        [(time.strftime(form, time.gmtime(start + place * width)), count) for place, count in enumerate(counts)]
    )


def _page(request: Request, path: str, hours: int, start: int) -> str:
    return request.url(path, hours=hours, **{"from": max(0, start)}) + "#list"
