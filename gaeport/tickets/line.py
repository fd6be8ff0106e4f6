"""Log records as the structured lines that Cloud Logging reads from standard output.

The form is exactly google-cloud-logging's (its StructuredLogHandler), which a test holds on a corpus, but nothing of it
is imported: that takes half a second of a cold start. An entry may have 256 KB; what is longer becomes several lines,
from which `joined` makes the whole again.

Source: "Structured logging", Cloud Logging documentation.
"""

import json
import logging
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from gaeport.tickets import context

MAX_LINE = 240_000  # bytes; an entry's limit is 256 KB, and Cloud Logging adds fields of its own
SPLIT = "gaeport_split"

_RESERVED = frozenset(
    {
        "severity",
        "httpRequest",
        "time",
        "timestamp",
        "timestampSeconds",
        "timestampNanos",
        *(
            f"logging.googleapis.com/{name}"
            for name in (
                "insertId",
                "labels",
                "operation",
                "sourceLocation",
                "spanId",
                "trace",
                "trace_sampled",
            )
        ),
    }
)


class Formatter(logging.Formatter):
    """Formats a log record as one structured line; `lines` gives several where one would be too long.

    What google-cloud-logging takes from a record counts here too: the attributes json_fields, labels, trace, span_id,
    trace_sampled, http_request and source_location, which `extra` sets; a message that is a mapping or JSON.
    """

    def __init__(self, project: str | None = None, labels: Mapping[str, str] | None = None) -> None:
        """Prepare.

        Args:
            project: the Google Cloud project, which a trace's full name needs.
            labels: put on every line.
        """
        super().__init__()
        self._project = project
        self._default_labels = dict(labels or {})

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, however long; it has no line end."""
        return written(self._payload(record), self._fields(record))

    def lines(self, record: logging.LogRecord) -> list[str]:
        """Return the line, or several where it would have more than 240,000 bytes."""
        payload, fields = self._payload(record), self._fields(record)
        line = written(payload, fields)
        return [line] if fits(line) else split(payload, fields)

    def _payload(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what stands before the standard fields: the message, or the fields of a message that is JSON."""
        message = self._message(record)
        if isinstance(message, Mapping):
            return {key: value for key, value in message.items() if key not in _RESERVED}
        return {"message": message} if message else {}

    def _message(self, record: logging.LogRecord) -> Any:
        given = getattr(record, "json_fields", None)
        extra = dict(given) if isinstance(given, Mapping) else {}
        if isinstance(record.msg, Mapping):
            return {**record.msg, **extra}
        text = self._text(record)
        message: Any = text
        if text[:1] == "{":
            try:
                found = json.loads(text)
            except ValueError:
                found = None
            message = found if isinstance(found, Mapping) else text
        if extra:
            return extra if message == "None" else {**extra, "message": message}
        return None if message == "None" else message

    def _text(self, record: logging.LogRecord) -> str:
        """Return the message with its traceback, unless a ticket has told it already."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        number = getattr(error, "__gaeport_ticket__", "")
        if not number:
            return super().format(record)
        return f"{record.getMessage()} (ticket {number})"

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        request = context.current()
        trace = request.trace if request is not None else None
        if trace is None or not trace.id:
            inferred: str | None = None
        else:
            inferred = trace.name(self._project) if self._project else trace.id
        own = {"python_logger": record.name} if record.name else {}
        span = trace.span if trace is not None else None
        return {
            "severity": record.levelname,
            "logging.googleapis.com/labels": {**own, **self._default_labels, **getattr(record, "labels", {})},
            "logging.googleapis.com/trace": getattr(record, "trace", inferred) or "",
            "logging.googleapis.com/spanId": getattr(record, "span_id", span) or "",
            "logging.googleapis.com/trace_sampled": bool(
                getattr(record, "trace_sampled", trace.sampled if trace is not None else False)
            ),
            "logging.googleapis.com/sourceLocation": _location(record),
            "httpRequest": getattr(record, "http_request", request.http_request() if request is not None else None)
            or {},
        }


def fits(line: str) -> bool:
    """Tell whether a line is under the limit."""
    return len(line) <= MAX_LINE // 4 or len(line.encode("utf-8", "surrogatepass")) <= MAX_LINE


def split(payload: Mapping[str, Any], fields: Mapping[str, Any]) -> list[str]:
    """Return several lines for a payload that is too long for one.

    The first keeps the message, the stack trace and the other fields as far as they fit, so that it is found and
    reported as usual; all together carry the whole payload as text, in order.

    Args:
        payload: the entry's content.
        fields: severity, trace and so on; every line has them, but only the first its severity if it is an error.
    """
    whole = _dumped(dict(payload))
    pieces = _pieces(whole, MAX_LINE // 2)
    uid = secrets.token_hex(8)
    lines = []
    for index, piece in enumerate(pieces):
        part = {SPLIT: {"uid": uid, "index": index, "totalSplits": len(pieces), "text": piece}}
        if index == 0:
            lines.append(written({**_beginning(payload), **part}, fields))
        else:
            quiet = {**fields, "severity": "DEBUG"} if "severity" in fields else dict(fields)
            message = f"part {index + 1} of {len(pieces)} of {_short(payload.get('message'), 200)}"
            lines.append(written({"message": message, **part}, quiet))
    return lines


def joined(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the payloads of structured lines, those of several lines put together again.

    Args:
        lines: in any order; lines that are not structured ones are left out, as are payloads that lack a part.
    """
    found: list[dict[str, Any]] = []
    parts: dict[str, dict[int, str]] = {}
    totals: dict[str, int] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        part = entry.get(SPLIT) if isinstance(entry, dict) else None
        if part is None:
            found += [entry] if isinstance(entry, dict) else []
            continue
        parts.setdefault(part["uid"], {})[part["index"]] = part["text"]
        totals[part["uid"]] = part["totalSplits"]
    whole = [uid for uid, pieces in parts.items() if len(pieces) == totals[uid]]
    return found + [json.loads("".join(parts[uid][index] for index in range(totals[uid]))) for uid in whole]


def _beginning(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload's small fields, and its long texts cut, so that they fit into half a line."""
    room = MAX_LINE // 5
    kept: dict[str, Any] = {}
    for name, value in payload.items():
        text = _dumped(value)
        size = len(text.encode("utf-8", "surrogatepass"))
        if size <= room // 4:
            kept[name] = value
            room -= size
        elif isinstance(value, str):
            kept[name] = _short(value, room // 16)
            room -= room // 4
    return kept


def _pieces(text: str, size: int) -> list[str]:
    """Return a text in pieces that have at most `size` bytes once they are written as JSON strings."""
    pieces = []
    start = 0
    while start < len(text):
        length = size
        while len(_dumped(text[start : start + length]).encode("utf-8", "surrogatepass")) > size:
            length = length * 3 // 4
        pieces.append(text[start : start + length])
        start += length
    return pieces


def _short(text: object, length: int) -> str:
    plain = str(text or "")
    return plain if len(plain) <= length else f"{plain[:length]}…"


def _location(record: logging.LogRecord) -> Any:
    if hasattr(record, "source_location"):
        return record.source_location or {}
    named = {"line": record.lineno, "file": record.pathname, "function": record.funcName}
    return {name: value for name, value in named.items() if value is not None}


def written(payload: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """Return a line in google-cloud-logging's spelling: its commas and blanks, too.

    Args:
        payload: the entry's content.
        fields: the fields that Cloud Logging knows.
    """
    text = _dumped(dict(payload))
    if not fields:
        return text
    lead = f"{text[1:-1]}," if len(text) > 2 else ""
    return "{" + lead + ", ".join(f'"{name}": {_dumped(value)}' for name, value in fields.items()) + " }"


def _dumped(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # an object that is not JSON, or a cycle: told as text, since a log must not fail
        text = json.dumps(_plain(value, 8), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates
        return json.dumps(json.loads(text), ensure_ascii=True)
    return text


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if depth and isinstance(value, Mapping):
        return {str(key): _plain(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth - 1) for item in value]
    return repr(value)
