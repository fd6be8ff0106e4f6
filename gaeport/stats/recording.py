"""Records a share of the requests call by call, and warns of those that make too many calls."""

import logging
import os
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from gaeport import meter, settings
from gaeport.stats import sinks
from gaeport.stats.routes import path_of, route_of
from gaeport.stats.sample import Call, Line, Sample

PRODUCTION_SHARE = 0.01  # of requests
_MAX_LINES = 300  # different lines of code that a sample keeps

_log = logging.getLogger("gaeport.stats")
_random = random.Random()  # an application that seeds the shared generator must not choose the samples


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the settings in force ask for.

    Attributes:
        share: of requests that are recorded.
        per_minute: requests that are recorded, at most.
        limit: calls of a request without a warning; 0 for any number.
        root: the application's folder, with a separator at its end.
    """

    share: float
    per_minute: int
    limit: int
    root: str


@dataclass(slots=True)
class _Counting(meter.Meter):
    """A meter that remembers which line made one call too many."""

    limit: int = 0
    culprit: meter.Place | None = None

    def add(self, call: str, seconds: float, units: dict[str, int]) -> None:
        """Count one call."""
        meter.Meter.add(self, call, seconds, units)
        if self.total_calls == self.limit + 1:
            found = meter.places()
            self.culprit = found[0] if found else None


@dataclass(slots=True)
class _Recorded(meter.Trace):
    """The calls of a sample."""


@dataclass(slots=True)
class Recording:
    """A request that is being answered.

    Attributes:
        environ: the request.
        meter: counts its calls.
        began: by time.perf_counter().
        status: the answer's status line; the application's exceptions leave it empty.
        route: what the request is grouped by; "" until it is answered.
    """

    environ: dict[str, Any]
    meter: meter.Meter
    began: float = field(default_factory=time.perf_counter)
    status: str = ""
    route: str = ""

    def answered(self, status: str) -> None:
        """Note that the application began its answer; what it found out of the route is forgotten after that."""
        self.status = status
        if isinstance(self.meter, _Recorded):
            self.route = route_of(self.environ)


def begin(environ: dict[str, Any]) -> Recording | None:
    """Begin to count a request's calls; None where the settings want nothing of it."""
    plan = _plan()
    sampled = plan.share > 0 and (plan.share >= 1 or _random.random() < plan.share) and _allowance.take(plan.per_minute)
    if not sampled and not plan.limit:
        return None
    counted: meter.Meter = _Recorded() if sampled else _Counting(limit=plan.limit)
    _forget_former()
    meter.start(counted)
    return Recording(environ, counted)


def end(recording: Recording, *, failed: bool) -> None:
    """End a request: write its sample if it is one, and warn if it made too many calls. Never raises OSError."""
    seconds = time.perf_counter() - recording.began
    meter.stop(recording.meter)
    plan, counted = _plan(), recording.meter
    if plan.limit and counted.total_calls > plan.limit:
        _warn(recording, plan)
    if isinstance(counted, meter.Trace):
        sample = _sample(recording, counted, plan, seconds, failed)
        try:
            sinks.write(sample)
        except OSError as error:  # a full disk, a closed standard output: no reason to fail a request
            _log.debug("a sample could not be written: %s", error)


def _forget_former() -> None:
    """Drop the meter of a request whose server never closed its answer, in this very thread."""
    for former in meter.running():
        if isinstance(former, _Counting | _Recorded):
            meter.stop(former)


def _sample(recording: Recording, counted: meter.Trace, plan: _Plan, seconds: float, failed: bool) -> Sample:
    environ, lines = recording.environ, _Lines(plan.root)
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
        share=plan.share,
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
                self.known.append(_line(place, self._root))
            found.append(index)
        return tuple(found)


def _line(place: meter.Place, root: str) -> Line:
    code, number = place
    return code.co_filename.removeprefix(root), number, code.co_qualname


def _warn(recording: Recording, plan: _Plan) -> None:
    counted, environ = recording.meter, recording.environ
    place = counted.culprit if isinstance(counted, _Counting) else None
    if isinstance(counted, meter.Trace) and len(counted.kept) > plan.limit:
        found = counted.kept[plan.limit].places
        place = found[0] if found else None
    where = ""
    if place is not None:
        file, number, function = _line(place, plan.root)
        where = f"; the one over the limit came from {file}:{number}, in {function}"
    names = ", ".join(f"{count} {name}" for name, count in sorted(counted.calls.items(), key=lambda item: -item[1])[:4])
    _log.warning(
        "%s %s made %d calls (%s); [limits] calls_per_request is %d%s",
        environ.get("REQUEST_METHOD", ""),
        path_of(environ).encode("unicode_escape").decode(),
        counted.total_calls,
        names,
        plan.limit,
        where,
    )


class _Allowance:
    """How many samples this minute still has. Threads may race for the last one, which does no harm."""

    def __init__(self) -> None:
        self._minute = 0
        self._left = 0

    def take(self, per_minute: int) -> bool:
        """Take one, if there is one left."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._left = minute, per_minute
        self._left -= 1
        return self._left >= 0


_allowance = _Allowance()


@cache
def _plan() -> _Plan:
    config = settings.current()
    share = config.stats.sample
    if share is None:
        share = PRODUCTION_SHARE if config.environment == "production" else 1.0
    root = os.path.join(os.path.abspath(config.root), "")
    return _Plan(share, config.stats.per_minute, config.limits.calls_per_request, root)


settings.on_change(_plan.cache_clear)
os.register_at_fork(after_in_child=_random.seed)


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
