"""Local variables as text, within limits of time, depth and size, and without secrets.

An object's own `__repr__` may run for ever, fetch from a database or fail. It runs in a thread of its own, which is
left alone when its time is over; what was done by then is kept.
"""

import contextvars
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gaeport.tickets.redaction import REDACTED, Secrets, is_secret_name, redacted_text

_MAX_LENGTH = 400  # characters of one value
_READ_AHEAD = 4_000  # characters looked at for secrets before the value is cut to length
_MAX_ITEMS = 20  # of a list or a dictionary
_MAX_DEPTH = 4
_MAX_STUCK = 3  # threads that an endless __repr__ may hold
_LATE = "<not shown: no time left>"
_DEEP = "…"
_PLAIN = (int, float, complex, bool, type(None))
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
# Their repr asks the database.
_QUERIES = frozenset(("QuerySet", "RawQuerySet", "Rows", "LazyObject"))

_stuck = threading.BoundedSemaphore(_MAX_STUCK)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is shown.

    Attributes:
        seconds: time for all values of one ticket.
        variables: values of one frame.
        secret_names: names whose values are secret, besides the known ones.
    """

    seconds: float = 0.25
    variables: int = 40
    secret_names: tuple[str, ...] = ()


def describe(frames: list[Mapping[str, Any]], limits: Limits, secrets: Secrets) -> list[dict[str, str]]:
    """Return the variables of several frames as text.

    Args:
        frames: the variables of each frame, the most interesting frame first.
        limits: how much time and space they get.
        secrets: gets the values that stand under a secret's name.

    Returns:
        For each frame, by name; values that there was no time for say so.
    """
    found: list[dict[str, str]] = [{} for _ in frames]
    names = [_names(frame, limits.variables) for frame in frames]

    def work() -> None:
        end = time.monotonic() + limits.seconds
        for variables, values, into in zip(names, frames, found, strict=True):
            for name in variables:
                into[name] = _LATE if time.monotonic() > end else _value(name, values[name], limits, secrets)

    _run_within(work, limits.seconds)
    return [
        {_text(name): shown.get(name, _LATE) for name in variables}
        for variables, shown in zip(names, found, strict=True)
    ]


def _names(frame: Mapping[str, Any], most: int) -> list[str]:
    return [str(name) for name in islice((name for name in frame if not name.startswith("__")), most)]


def _run_within(work: Callable[[], None], seconds: float) -> None:
    """Run something in a thread and come back when it is done, or its time over."""
    if not _stuck.acquire(blocking=False):
        return  # too many threads are stuck already; the values say that there was no time

    def run() -> None:
        try:
            context.run(work)
        finally:
            _stuck.release()

    context = contextvars.copy_context()
    thread = threading.Thread(target=run, name="gaeport-ticket-values", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter is ending
        _stuck.release()
        return
    thread.join(seconds)


def _value(name: str, value: object, limits: Limits, secrets: Secrets) -> str:
    if is_secret_name(name, limits.secret_names) and not callable(value):
        secrets.add(value)
        return REDACTED
    return _cut(redacted_text(shown(value, limits.secret_names, secrets)))


def shown(value: object, secret_names: Iterable[str] = (), secrets: Secrets | None = None) -> str:
    """Return a value's repr: containers to a limited depth, at most 4,000 characters, secrets by name replaced.

    Args:
        value: anything; what its `__repr__` raises is told in place of the value.
        secret_names: names of the application's own that are secret as keys of a dictionary.
        secrets: gets the values under such keys.
    """
    pieces: list[str] = []
    room = _READ_AHEAD
    walk = _Walk(tuple(secret_names), secrets or Secrets())
    for piece in walk.pieces(value, _MAX_DEPTH):
        pieces.append(piece[:room])
        room -= len(piece)
        if room <= 0:
            pieces.append("…")
            break
    return "".join(pieces)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Writes a value and what it holds, piece by piece."""

    secret_names: tuple[str, ...]
    secrets: Secrets

    def pieces(self, value: object, depth: int) -> Iterator[str]:
        kind = type(value)
        if kind in (str, bytes, bytearray):
            yield _short_repr(value)
        elif kind in _PLAIN:
            yield _own_repr(value)
        elif kind in _BRACKETS:
            yield from self._sequence(value, depth)
        elif isinstance(value, dict):
            yield from self._mapping(value, depth)
        elif _is_query(kind):
            yield f"<{kind.__module__}.{kind.__qualname__}, not asked for its content>"
        else:
            yield _own_repr(value)

    def _sequence(self, value: Any, depth: int) -> Iterator[str]:
        opening, closing = _BRACKETS[type(value)]
        if not value:
            yield repr(value)
            return
        if depth == 0:
            yield opening + _DEEP + closing
            return
        yield opening
        for number, item in enumerate(islice(value, _MAX_ITEMS)):
            if number:
                yield ", "
            yield from self.pieces(item, depth - 1)
        yield _rest(len(value))
        yield "," + closing if type(value) is tuple and len(value) == 1 else closing

    def _mapping(self, value: dict[Any, Any], depth: int) -> Iterator[str]:
        kind = type(value)
        opening, closing = ("{", "}") if kind is dict else (f"{kind.__qualname__}({{", "})")
        if depth == 0 and value:
            yield opening + _DEEP + closing
            return
        yield opening
        for number, (key, item) in enumerate(islice(dict.items(value), _MAX_ITEMS)):
            if number:
                yield ", "
            yield from self.pieces(key, depth - 1)
            yield ": "
            if isinstance(key, str) and is_secret_name(key, self.secret_names, strict=key != "key"):
                self.secrets.add(item)
                yield f"'{REDACTED}'"
            else:
                yield from self.pieces(item, depth - 1)
        yield _rest(dict.__len__(value))
        yield closing


def _short_repr(value: Any) -> str:
    if len(value) <= _READ_AHEAD:
        return repr(value)
    return f"{value[:_READ_AHEAD]!r}… ({len(value):,} in all)"


def _own_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 (a __repr__ may raise anything, and the ticket goes on)
        return f"<{type(value).__qualname__}, whose repr raised {type(error).__qualname__}>"


def _rest(length: int) -> str:
    return f", … ({length:,} in all)" if length > _MAX_ITEMS else ""


def _is_query(kind: type) -> bool:
    return any(base.__name__ in _QUERIES for base in kind.__mro__)


def _cut(text: str) -> str:
    text = _text(text)
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def _text(text: str) -> str:
    """Return a text that can be encoded: lone surrogates are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
