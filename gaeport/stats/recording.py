"""Records a share of the requests call by call, and warns of those that make too many calls."""

import logging
import os
import random
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from gaeport import meter, settings
from gaeport.stats.places import line_of
from gaeport.stats.routes import path_of, route_of

PRODUCTION_SHARE = 0.01  # of requests

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
    """End a request: write its sample if it is one, and warn if it made too many calls."""
    seconds = time.perf_counter() - recording.began
    meter.stop(recording.meter)
    plan, counted = _plan(), recording.meter
    if plan.limit and counted.total_calls > plan.limit:
        _warn(recording, plan)
    if isinstance(counted, meter.Trace):
        # Loaded by the first sample: of a hundred cold starts in production, one needs it in its first request.
        from gaeport.stats import building, sinks

        try:
            sample = building.sample_of(recording, counted, seconds, failed=failed, root=plan.root, share=plan.share)
            sinks.write(sample)
        except (OSError, ValueError) as error:  # a full disk, a closed standard output: no reason to fail a request
            _log.debug("a sample could not be written: %s", error)


def _forget_former() -> None:
    """Drop the meter of a request whose server never closed its answer, in this very thread."""
    for former in meter.running():
        if isinstance(former, _Counting | _Recorded):
            meter.stop(former)


def _warn(recording: Recording, plan: _Plan) -> None:
    counted, environ = recording.meter, recording.environ
    place = counted.culprit if isinstance(counted, _Counting) else None
    if isinstance(counted, meter.Trace) and len(counted.kept) > plan.limit:
        found = counted.kept[plan.limit].places
        place = found[0] if found else None
    where = ""
    if place is not None:
        file, number, function = line_of(place, plan.root)
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

    def renew(self) -> None:
        """Begin anew: other settings are in force."""
        self._minute = -1


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
settings.on_change(_allowance.renew)
os.register_at_fork(after_in_child=_random.seed)
