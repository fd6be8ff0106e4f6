"""Makes a sample of a request and the calls that were counted."""

import os
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gaeport import meter, settings
from gaeport.stats.places import line_of
from gaeport.stats.routes import path_of, route_of
from gaeport.stats.sample import Call, Line, Sample

if TYPE_CHECKING:
    from gaeport.stats.recording import Recording

_MAX_LINES = 300  # different lines of code that a sample keeps


def sample_of(
    recording: "Recording", counted: meter.Trace, seconds: float, *, failed: bool, root: str, share: float
) -> Sample:
    """Return the sample of a request that has ended.

    Args:
        recording: the request.
        counted: its calls.
        seconds: how long it took.
        failed: whether the application raised an exception.
        root: the application's folder, with a separator at its end.
        share: the share of requests that is recorded.
    """
    environ, lines = recording.environ, _Lines(root)
    prices = settings.current().prices.by_unit
    kept = [_call(call, recording.began, lines, prices) for call in counted.kept]
    return Sample(
        id=secrets.token_hex(8),
        at=round(time.time() - seconds, 3),
        method=str(environ.get("REQUEST_METHOD", ""))[:20],
        route=recording.route or route_of(environ),
        path=path_of(environ),
        status=500 if failed and not recording.status else _number(recording.status),
        seconds=round(seconds, 6),
        calls=counted.total_calls,
        waited=round(counted.seconds, 6),
        price=_rounded(counted.price),
        kept=kept,
        lines=lines.known,
        instance=_instance(),
        version=_version(),
        trace=_trace(environ),
        share=share,
    )


def _call(call: meter.Call, began: float, lines: "_Lines", prices: dict[str, float]) -> Call:
    name, start, seconds, (kind, number, sent, received), units, places, failed = call
    price = 0.0
    for unit, count in units.items():
        price += prices[unit] * count
    milliseconds = (round((start - began) * 1000, 3), round(seconds * 1000, 3))
    return Call(name, kind, *milliseconds, number, sent, received, _rounded(price), lines.indexes(places), failed)


class _Lines:
    """The lines of code of one sample, each once."""

    def __init__(self, root: str) -> None:
        self.known: list[Line] = []
        self._root = root
        self._indexes: dict[tuple[int, int], int] = {}

    def indexes(self, places: Sequence[meter.Place]) -> tuple[int, ...]:
        found = []
        for place in places:
            key = (id(place[0]), place[1])  # to hash code itself takes as long as all the rest
            index = self._indexes.get(key)
            if index is None:
                if len(self.known) == _MAX_LINES:
                    continue
                index = self._indexes[key] = len(self.known)
                self.known.append(line_of(place, self._root))
            found.append(index)
        return tuple(found)


def _rounded(price: float) -> float:
    return round(price, 12)


def _number(status: str) -> int:
    return int(status[:3]) if status[:3].isdecimal() else 0


def _instance() -> str:
    return os.environ.get("GAE_INSTANCE") or f"process {os.getpid()}"


def _version() -> str:
    service, version = os.environ.get("GAE_SERVICE", ""), os.environ.get("GAE_VERSION", "")
    return f"{service} {version}".strip()


def _trace(environ: dict[str, Any]) -> str:
    """Return the trace's id, or ""; only what can be one, since anybody can send these headers."""
    parts = str(environ.get("HTTP_TRACEPARENT", "")).split("-")
    found = parts[1] if len(parts) >= 4 else str(environ.get("HTTP_X_CLOUD_TRACE_CONTEXT", "")).partition("/")[0]
    return found if len(found) == 32 and found.isascii() and found.isalnum() else ""
