"""From an exception to its ticket: `record`."""

import json
import sys
import threading
from collections.abc import Mapping
from typing import Any

from gaeport import settings
from gaeport.settings import TicketSettings
from gaeport.tickets import context, logs, spool
from gaeport.tickets.fingerprint import current_error, fingerprint
from gaeport.tickets.line import fits, split, written
from gaeport.tickets.number import group_of, new_number
from gaeport.tickets.records import Record, build, stack_trace, title
from gaeport.tickets.redaction import redacted_text
from gaeport.tickets.report import fields_of, payload_of
from gaeport.tickets.storm import Missed, Storm
from gaeport.tickets.writer import Job, Writer, register

_MARK = "__gaeport_ticket__"
_MAX_RECORD = 300_000  # characters of a record as JSON

_lock = threading.Lock()
_storm: Storm | None = None


def record(error: BaseException | None = None, labels: Mapping[str, str] | None = None) -> str:
    """Make a ticket of an exception that the application handles itself.

    Args:
        error: by default the one that is being handled.
        labels: put into the record, such as another system's number for the same error.

    Returns:
        The ticket's number. An exception that has one already keeps it. In a storm of identical errors the number may
        be of a ticket that is counted and not kept; it still names its group and its time.

    Raises:
        ValueError: there is no exception.
    """
    found = error if error is not None else current_error()
    if found is None:
        raise ValueError("record() needs an exception: give it one, or call it in an except block")
    known = getattr(found, _MARK, "")
    if isinstance(known, str) and known:
        return _noted(known)
    try:
        return _record(found, labels or {})
    except Exception as failed:  # noqa: BLE001 (making the ticket of an error must not raise another)
        number = _noted(new_number("000000"))
        _shout(f"ticket {number}: {type(found).__qualname__}; no record could be made: {failed!r}")
        return number


def _record(error: BaseException, labels: Mapping[str, str]) -> str:
    options = settings.current().tickets
    print_ = fingerprint(error)
    group = group_of(print_)
    number = _noted(new_number(group))
    _mark(error, number)
    if not _present_storm(options).keeps(group, lambda: title(error, message=False)):
        _writer.count()
        return number
    made = build(error, number, print_, context.current(), options)
    if labels:
        made["labels"] = {str(name): redacted_text(str(value)) for name, value in labels.items()}
    _publish(_shrunk(made), options)
    return number


def _publish(made: Record, options: TicketSettings) -> None:
    """Write the line, which cannot fail for want of a server; then keep the ticket where the settings say."""
    if options.line != "off":
        write_line(made, options)
    sinks = tuple(name for name, wanted in (("entity", options.entity), ("api", options.api)) if wanted)
    path = None
    if sinks:
        try:
            path = spool.put(made, sinks)
        except OSError as failed:
            _shout(f"ticket {made['number']} could not be put into the data folder: {failed}")
    if options.line == "off" and path is None:
        write_line(made, options)  # nothing else is sure to keep it
    if sinks:
        _writer.submit(Job(made, sinks, path), options.wait_ms / 1_000)


def write_line(made: Record, options: TicketSettings) -> None:
    """Write a ticket to standard output (structured), or as text to standard error, as the settings say."""
    if _as_text(options):
        request = context.current()
        text = "" if request is not None and request.told else stack_trace(made)
        _shout(f"{text}ticket {made['number']}: gaeport tickets show {made['number']}")
        return
    _out(structured(payload_of(made), fields_of(made)))


def structured(payload: dict[str, Any], fields: dict[str, Any]) -> list[str]:
    """Return an entry as one line, or as several where it is too long for one."""
    line = written(payload, fields)
    return [line] if fits(line) else split(payload, fields)


def reset() -> None:
    """Forget what was seen; the settings may say something else now."""
    global _storm
    with _lock:
        _storm = None


def flush(seconds: float = 10.0) -> bool:
    """Wait until every ticket was written, or tried; returns whether that was so in time.

    Args:
        seconds: to wait, at most.
    """
    return _writer.finish(seconds)


def _present_storm(options: TicketSettings) -> Storm:
    global _storm
    with _lock:
        if _storm is None:
            _storm = Storm(options.per_minute)
        return _storm


def _noted(number: str) -> str:
    request = context.current()
    if request is not None:
        request.number = number
        request.environ["gaeport.ticket"] = number
    return number


def _mark(error: BaseException, number: str) -> None:
    try:
        setattr(error, _MARK, number)
    except (AttributeError, TypeError):
        return  # a class with __slots__; a second report of it makes a second ticket


def _shrunk(made: Record) -> Record:
    """Return a record of bounded size: variables of outer frames go first, then source lines."""
    if len(json.dumps(made)) <= _MAX_RECORD:
        return made
    every = [frame for found in made["exceptions"] for frame in found["frames"]]
    for name in ("locals", "source"):
        for foreign_only in (True, False):
            for frame in every[: -5 if name == "locals" else None]:
                if not (foreign_only and frame["application"]):
                    frame[name] = type(frame[name])()
            if len(json.dumps(made)) <= _MAX_RECORD:
                return made
    return made


def _as_text(options: TicketSettings) -> bool:
    if options.line in ("json", "off"):
        return False
    production = settings.current().environment == "production"
    return options.line == "text" or (not production and sys.stdout is not None and sys.stdout.isatty())


def _out(lines: list[str]) -> None:
    try:
        logs.write(lines)
    except (OSError, ValueError, AttributeError):  # closed, broken, or there is none
        for line in lines:
            _shout(line)


def _shout(text: str) -> None:
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return  # nobody listens


def write_to(sink: str, records: list[Record]) -> None:
    """Write records to the sink of that name, "entity" or "api", at once. Raises what its client raises."""
    if sink == "entity":
        from gaeport.tickets.store import TicketStore

        TicketStore().write(records)
    else:
        from gaeport.tickets import api

        api.send(records)


def _look(ending: bool) -> bool:
    """Tell of errors that were counted and not kept: a line and an entity for each group, once a minute."""
    storm = _storm
    if storm is None:
        return False
    missed = storm.missed(at_once=ending)
    if missed:
        _tell(missed)
    return storm.counts


def _tell(missed: list[Missed]) -> None:
    options = settings.current().tickets
    for found in missed:
        text = f"{found.title}: {found.count:,} more of group {found.group}, counted and not kept"
        if _as_text(options):
            _shout(text)
        else:
            labels = {"python_logger": "gaeport.tickets", "group": found.group}
            _out(structured({"message": text}, {"severity": "ERROR", "logging.googleapis.com/labels": labels}))
    if options.entity:
        from gaeport.tickets import counting

        counting.keep(missed)


_writer = Writer(write_to, _look)
register(_writer)
settings.on_change(reset)
