"""What gaeport adds to a request: wrap() to one that uses nothing, statistics to one that calls Datastore."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.benchmarks.options import Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import Comparison, Work, cpu_nanoseconds, least

_ROUNDS, _CALLS = 60, 5
_ADDED = 300_000  # nanoseconds that wrap() may add
_SHARE = 1.02  # of a request's time that statistics may take
_LOOKUPS = 20
_DISTANCE = 3_000_000  # nanoseconds that a Lookup takes from App Engine, to a Datastore in its region
_FRAMES = 12  # between the application's line and the call


def measure(options: Options) -> Section:
    """Compare processor time by turns: nothing here waits."""
    section = Section(
        f"A request's processor time, {_ROUNDS} rounds of {_CALLS} by turns, the best of each",
        ("request", "without, µs", "with, µs", "difference, µs", "ratio"),
    )
    with application("disk"):
        _wrapped(section)
        _recorded(section)
    section.notes.append(
        "Everything on: sessions, tickets, the console, a limit of calls, each request recorded in the data folder. "
        "In production a call takes milliseconds; the embedded engine answers in microseconds."
    )
    return section


def _wrapped(section: Section) -> None:
    from gaeport import meter, settings, wsgi
    from gaeport.console import passwords

    config = settings.current()
    everything = replace(
        config,
        sessions=settings.SessionSettings(),
        stats=settings.StatsSettings(sample=1.0, per_minute=10**9),
        console=settings.ConsoleSettings(password_hash=passwords.make_hash("a password for nobody")),
    )
    wrapped = wsgi.wrap(_nothing, everything)
    found = _compare(_request(_nothing), _request(wrapped))
    kept = found.difference <= _ADDED
    _add(section, "wrap() with everything on, a request that uses nothing", found, "≤ 300 µs more", kept)
    with meter.measure() as calls:
        _request(wrapped)()
    section.add("its calls", "0", str(calls.total_calls), "", "", budget="0", kept=calls.total_calls == 0)


def _recorded(section: Section) -> None:
    """Measure what statistics add by themselves, beside whole requests: as a difference it would drown in noise."""
    from gaeport import wsgi
    from gaeport.stats.recording import PRODUCTION_SHARE

    page, lookups = _request(wsgi.wrap("gaeport.welcome:app")), _request(wsgi.wrap(_lookups))
    for name, work, calls in (("the guest book's page", page, 1), (f"{_LOOKUPS} Lookups", lookups, _LOOKUPS)):
        with _plan(0.0):
            base, counted = _by_turns(work, _statistics(calls))
        with _plan(1.0):
            _, kept = _by_turns(work, _statistics(calls))
        production = counted + PRODUCTION_SHARE * (kept - counted)
        distant = base + calls * _DISTANCE
        _share(section, f"{name}, 3 ms a call, 1 request in 100 recorded, as in production", distant, production, True)
        _share(section, f"{name}, 3 ms a call, every request recorded", distant, kept, True)
        _share(section, f"{name}, embedded, every request recorded", base, kept, False)


def _share(section: Section, name: str, base: float, added: float, has_budget: bool) -> None:
    found = Comparison(base, base + added, (base + added) / base, added)
    kept = found.ratio <= _SHARE if has_budget else None
    _add(section, name, found, "≤ 1.02" if has_budget else "", kept)


def _statistics(calls: int) -> Work:
    """Return all that statistics do in a request of so many Lookups, and nothing else."""
    from wsgiref.util import setup_testing_defaults

    from gaeport.datastore import client, transport, wire
    from gaeport.stats import recording

    key = client().key("Note", 1)
    request, response = wire.LookupRequest(keys=[key]), wire.LookupResponse()
    response.missing.add().entity.key.CopyFrom(key)
    environ: dict[str, Any] = {"PATH_INFO": "/"}
    setup_testing_defaults(environ)

    def deep(frames: int) -> None:
        if frames:
            deep(frames - 1)
        else:
            transport.record("Lookup", 0.0, request, response)

    def work() -> None:
        begun = recording.begin(environ)
        for _ in range(calls):
            deep(_FRAMES)
        if begun is not None:
            begun.answered("200 OK")
            recording.end(begun, failed=False)

    return work


@contextmanager
def _plan(share: float) -> Iterator[None]:
    """Have a share of the requests recorded."""
    from gaeport.stats import recording

    before = recording._plan
    plan = replace(before(), share=share, per_minute=10**9, limit=100)
    recording._plan = lambda: plan
    try:
        yield
    finally:
        recording._plan = before


def _by_turns(base: Work, other: Work) -> tuple[float, float]:
    """Return nanoseconds of processor time of two works, each at its best."""
    found = _compare(base, other)
    return found.base, found.other


def _compare(base: Work, other: Work) -> Comparison:
    for work in (base, other):
        cpu_nanoseconds(work, _CALLS)
    timings: tuple[list[float], list[float]] = ([], [])
    for number in range(_ROUNDS):
        for which in (0, 1) if number % 2 else (1, 0):
            timings[which].append(cpu_nanoseconds((base, other)[which], _CALLS))
    return least(*timings)


def _add(section: Section, name: str, found: Comparison, budget: str, kept: bool | None) -> None:
    cells = (f"{found.base / 1000:.0f}", f"{found.other / 1000:.0f}", f"{found.difference / 1000:.0f}")
    section.add(name, *cells, f"{found.ratio:.3f}", budget=budget, kept=kept)


def _nothing(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _lookups(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    from gaeport.datastore import client

    here = client()
    for number in range(1, _LOOKUPS + 1):
        here.lookup([here.key("Note", number)])
    return _nothing(environ, start_response)


def _request(app: Callable[..., Iterable[bytes]]) -> Work:
    from wsgiref.util import setup_testing_defaults

    environ: dict[str, Any] = {"PATH_INFO": "/"}
    setup_testing_defaults(environ)

    def request() -> None:
        body = app(dict(environ), lambda *_: None)
        b"".join(body)
        close = getattr(body, "close", None)
        if close is not None:
            close()

    return request
