"""What a ticket records of an exception: its chain, the frames with their source lines and variables, the request.

The record is plain JSON data: dictionaries, lists, strings and numbers, all secrets replaced (see `redaction`), at most
about 200 KB. Its form is told by "format"; a field that is empty may be missing.
"""

import linecache
import time
from platform import python_version
from types import ModuleType, TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote_plus

from gaeport import __version__, settings
from gaeport.settings import TicketSettings
from gaeport.tickets import context
from gaeport.tickets.context import Request
from gaeport.tickets.fingerprint import frames, is_application, links, place, type_name
from gaeport.tickets.redaction import Secrets, is_secret_name, redacted_pairs, redacted_text
from gaeport.tickets.values import Limits, describe

Record = dict[str, Any]

_MAX_FIRST, _MAX_LAST = 10, 30  # frames of one exception that are kept, outermost and innermost
_MAX_DESCRIBED = 40  # frames of the whole ticket whose variables are shown
_MAX_MESSAGE = 4_000  # characters
_MAX_NOTES = 20
_LINES_AROUND = 4  # source lines before and after the one that failed
_MAX_LINE = 200  # characters of a source line
_TEXTS = ("message", "notes", "source", "locals")
_WSGI = ("environ", "start_response")  # the request is recorded as such
_WRAPPERS = frozenset(
    f"gaeport.{name}" for name in ("tickets.middleware", "sessions.middleware", "stats.middleware", "wsgi")
)


def build(
    error: BaseException, number: str, fingerprint: str, request: Request | None, options: TicketSettings
) -> Record:
    """Return the record of an exception.

    Args:
        error: with its traceback.
        number: the ticket's number.
        fingerprint: what identical errors have in common.
        request: the request that it ended, if any.
        options: the `[tickets]` table.
    """
    config = settings.current()
    secrets = Secrets()
    exceptions = _exceptions(error, options, secrets)
    record: Record = {
        "format": config.format,
        "number": number,
        "fingerprint": fingerprint,
        "time": round(time.time(), 3),
        "title": redacted_text(title(error)),
        "exceptions": exceptions,
        "project": config.project,
        "service": context.service(),
        "version": context.version(),
        "instance": context.instance(),
        "python": python_version(),
        "gaeport": __version__,
    }
    if request is not None:
        _note_secrets(request, options, secrets)
        record["request"] = _request(request, options)
        record["user"] = redacted_text(request.user())
    for name in ("title", "request", "user"):
        if name in record:
            record[name] = secrets.taken_from(record[name])
    for found in exceptions:
        for part in (found, *found["frames"]):  # but for the names of files and functions, which a ticket needs
            part.update((name, secrets.taken_from(part[name])) for name in _TEXTS if name in part)
    if request is not None:
        record["trace"] = request.trace.name(config.project)
        record["span"] = request.trace.span
        record["sampled"] = request.trace.sampled
    return record


def title(error: BaseException, *, message: bool = True) -> str:
    """Return an error in a line: its type, its message (which may hold secrets) and where the application raised it."""
    where = _innermost(error)
    text = type_name(error)
    if message:
        text = " ".join(f"{text}: {_message(error)}".removesuffix(": ").split())
    return f"{text[:300]}{f' ({where})' if where else ''}"


def stack_trace(record: Record) -> str:
    """Return the traceback as Python prints it, which is also what Error Reporting reads, from a record."""
    exceptions = record["exceptions"]
    last: list[str] = []
    before: list[str] = []
    for found in exceptions:
        text = _traceback_text(found)
        if found["how"] == "cause":
            before.insert(0, f"{text}\nThe above exception was the direct cause of the following exception:\n")
        elif found["how"] == "context":
            before.insert(0, f"{text}\nDuring handling of the above exception, another exception occurred:\n")
        else:
            last.append(text if found["how"] == "" else f"Member of the group:\n{text}")
    return "\n".join([*before, *last])


def _traceback_text(found: dict[str, Any]) -> str:
    lines = ["Traceback (most recent call last):"] if found["frames"] else []
    for frame in found["frames"]:
        if frame.get("left_out"):
            lines.append(f"  [{frame['left_out']} frames left out]")
        name = frame["function"].rpartition(".")[2]
        lines.append(f'  File "{frame["path"]}", line {frame["line"]}, in {name}')
        source = dict(frame["source"]).get(frame["line"], "").strip()
        if source:
            lines.append(f"    {source}")
    lines.append(f"{found['type']}: {found['message']}".removesuffix(": "))
    return "\n".join([*lines, *found["notes"]]) + "\n"


def _exceptions(error: BaseException, options: TicketSettings, secrets: Secrets) -> list[dict[str, Any]]:
    described = [(how, found, _kept(found)) for how, found in links(error)]
    values = iter(_values([[entry for entry, _ in kept] for _, _, kept in described], options, secrets))
    made = []
    for how, found, kept in described:
        shown = []
        for entry, left_out in kept:
            more = {"left_out": left_out} if left_out else {}
            shown.append({**_frame(entry), "locals": next(values), **more})
        made.append(_exception(how, found, shown))
    return made


def _exception(how: str, error: BaseException, shown: list[dict[str, Any]]) -> dict[str, Any]:
    notes = getattr(error, "__notes__", ())
    kept = [note for note in notes if isinstance(note, str)][:_MAX_NOTES] if isinstance(notes, list) else []
    return {
        "how": how,
        "type": type_name(error),
        "message": redacted_text(_message(error)),
        "notes": [redacted_text(note[:_MAX_MESSAGE]) for note in kept],
        "frames": shown,
    }


def _message(error: BaseException) -> str:
    """Return an exception's text; a SyntaxError's with the line that it is about."""
    try:
        if isinstance(error, SyntaxError):
            text = (
                f'{error.msg} (File "{error.filename}", line {error.lineno})\n    {(error.text or "").strip()}'.rstrip()
            )
        else:
            text = str(error)
    except Exception as failed:  # noqa: BLE001 (a __str__ may raise anything, and the ticket goes on)
        text = f"<its text could not be had: {type(failed).__qualname__}>"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}… ({len(text):,} characters)"


def _kept(error: BaseException) -> list[tuple[TracebackType, int]]:
    """Return the frames to show, each with the number of frames left out before it."""
    every = [entry for entry in frames(error.__traceback__) if not _is_wrapper(entry)]
    if len(every) <= _MAX_FIRST + _MAX_LAST:
        return [(entry, 0) for entry in every]
    left_out = len(every) - _MAX_FIRST - _MAX_LAST
    first, last = every[:_MAX_FIRST], every[-_MAX_LAST:]
    return [*((entry, 0) for entry in first), (last[0], left_out), *((entry, 0) for entry in last[1:])]


def _is_wrapper(entry: TracebackType) -> bool:
    """Tell whether a frame is gaeport's own between the server and the application: nobody wants to read it."""
    return entry.tb_frame.f_globals.get("__name__", "") in _WRAPPERS


def _values(chain: list[list[TracebackType]], options: TicketSettings, secrets: Secrets) -> list[dict[str, str]]:
    """Return the variables of the frames of a chain of exceptions, one after the other.

    When time is short, or the frames are many, the application's own come first, and of each exception the innermost.
    """
    places = []  # of each frame: what it is sorted by, and the frame
    for link, entries in enumerate(chain):
        for number, entry in enumerate(entries):
            foreign = not is_application(entry.tb_frame.f_code.co_filename)
            places.append(((foreign, len(entries) - number, link), entry))
    shown: list[dict[str, str]] = [{} for _ in places]
    if not options.locals:
        return shown
    order = sorted(range(len(places)), key=lambda number: places[number][0])[:_MAX_DESCRIBED]
    limits = Limits(secret_names=options.redact)
    found = describe([_variables(places[number][1]) for number in order], limits, secrets)
    for number, variables in zip(order, found, strict=True):
        shown[number] = variables
    return shown


def _variables(entry: TracebackType) -> dict[str, Any]:
    """Return a frame's variables; of a module's own code only what it has set, not what it imported."""
    frame = entry.tb_frame
    if frame.f_code.co_name != "<module>":
        return {name: value for name, value in frame.f_locals.items() if name not in _WSGI}
    return {
        name: value
        for name, value in frame.f_locals.items()
        if not callable(value) and not isinstance(value, ModuleType)
    }


def _frame(entry: TracebackType) -> dict[str, Any]:
    code = entry.tb_frame.f_code
    return {
        "path": code.co_filename,
        "file": place(code.co_filename),
        "line": entry.tb_lineno,
        "function": code.co_qualname,
        "application": is_application(code.co_filename),
        "source": _source(entry),
    }


def _source(entry: TracebackType) -> list[list[Any]]:
    """Return the lines around a frame's present one as [number, text]."""
    name = entry.tb_frame.f_code.co_filename
    linecache.lazycache(name, entry.tb_frame.f_globals)
    number = entry.tb_lineno or 0
    lines = []
    for line in range(max(1, number - _LINES_AROUND), number + _LINES_AROUND + 1):
        text = linecache.getline(name, line)
        if text:
            lines.append([line, redacted_text(text.rstrip()[:_MAX_LINE])])
    return lines


def _innermost(error: BaseException) -> str:
    """Return "file, in function" of the application's innermost frame, or of the innermost one."""
    found = list(frames(error.__traceback__))
    own = [entry for entry in found if is_application(entry.tb_frame.f_code.co_filename)]
    if not found:
        return ""
    code = (own or found)[-1].tb_frame.f_code
    return f"{place(code.co_filename)}, in {code.co_name}"


def _note_secrets(request: Request, options: TicketSettings, secrets: Secrets) -> None:
    """Note the request's secrets: one that is in a header is often part of a message, too."""
    headers = request.headers()
    for name, value in headers.items():
        if name == "Cookie":
            secrets.add_cookies(value)
        elif is_secret_name(name, options.redact, strict=True):
            secrets.add(value)
            secrets.add(value.encode("latin-1", "replace").decode("utf-8", "replace"))  # what PEP 3333 made of it
    query = str(request.environ.get("QUERY_STRING", "")).split("&", 200)[:200]
    for name, value in parse_qsl("&".join(query)[:8_000]):
        if is_secret_name(name, options.redact, strict=True):
            secrets.add(value)
            secrets.add(quote_plus(value))


def _request(request: Request, options: TicketSettings) -> dict[str, Any]:
    environ = request.environ
    return {
        "method": str(environ.get("REQUEST_METHOD", ""))[:50],
        "url": request.url,
        "protocol": str(environ.get("SERVER_PROTOCOL", ""))[:50],
        "remote": str(environ.get("REMOTE_ADDR", ""))[:100],
        "headers": redacted_pairs(request.headers().items(), options.redact),
        "form": [redacted_text(name) for name in request.form_names()],
    }
