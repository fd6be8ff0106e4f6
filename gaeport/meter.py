"""Counts the calls that a piece of work makes, and prices them; by choice keeps each, with the code that made it."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

from gaeport import settings

# US dollars for one operation at the public prices; `[prices]` of gaeport.toml names others.
PRICES = settings.PriceSettings().by_unit

MAX_CALLS = 1_000  # calls that a trace keeps; more are counted only
MAX_FRAMES = 3  # of the application, innermost first


class About(NamedTuple):
    """What a call was about, where somebody wants to know.

    Attributes:
        kind: the kind of entity, the bucket, or whatever else the call was about.
        number: entities, keys or entries, asked for or sent.
        sent: bytes of the request.
        received: bytes of the answer.
    """

    kind: str = ""
    number: int = 0
    sent: int = 0
    received: int = 0


_UNKNOWN = About()

Place = tuple[CodeType, int]  # code and line number


class Call(NamedTuple):
    """One call.

    Attributes:
        name: such as "Lookup" or "kv.get".
        start: when it began, by time.perf_counter().
        seconds: how long the answer took.
        about: what it was about.
        units: billed operations by the names of PRICES.
        places: the lines of the application that led to it, innermost first; where there are none, gaeport's own.
        failed: whether there was no answer, or a refusal.
    """

    name: str
    start: float
    seconds: float
    about: About
    units: dict[str, int]
    places: tuple[Place, ...]
    failed: bool

    @property
    def service(self) -> str:
        """Which service was called: "datastore", "storage", "kv", "logging" or "tasks"."""
        return service_of(self.name)

    @property
    def price(self) -> float:
        """US dollars that the call costs in production, free quotas left out."""
        return price_of(self.units)


@dataclass(slots=True)
class Meter:
    """What was counted.

    Attributes:
        calls: number of calls by name, such as {"Lookup": 2, "Commit": 1}.
        units: number of billed operations by the names of PRICES.
        seconds: time spent waiting for answers.
        total_calls: the number of calls of every name.
    """

    calls: dict[str, int] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    total_calls: int = 0

    @property
    def price(self) -> float:
        """US dollars that the same calls cost in production, free quotas left out."""
        return price_of(self.units)

    def add(self, call: str, seconds: float, units: dict[str, int]) -> None:
        """Count one call."""
        self.calls[call] = self.calls.get(call, 0) + 1
        self.total_calls += 1
        self.seconds += seconds
        for unit, count in units.items():
            self.units[unit] = self.units.get(unit, 0) + count

    def include(self, other: "Meter") -> None:
        """Count what another meter has counted, in a thread perhaps."""
        for call, number in other.calls.items():
            self.calls[call] = self.calls.get(call, 0) + number
        for unit, number in other.units.items():
            self.units[unit] = self.units.get(unit, 0) + number
        self.total_calls += other.total_calls
        self.seconds += other.seconds


@dataclass(slots=True)
class Trace(Meter):
    """A meter that also keeps each call.

    Attributes:
        began: when the work began, by time.perf_counter().
        kept: the first MAX_CALLS calls, in the order of their answers.
    """

    began: float = field(default_factory=time.perf_counter)
    kept: list[Call] = field(default_factory=list)


_active: ContextVar[tuple[Meter, ...]] = ContextVar("gaeport_meters", default=())
_pinned: ContextVar[tuple[Place, ...]] = ContextVar("gaeport_places", default=())


@contextmanager
def measure() -> Iterator[Meter]:
    """Count the calls made inside the block by this thread or task; blocks may be nested."""
    meter = Meter()
    token = _active.set((*_active.get(), meter))
    try:
        yield meter
    finally:
        _active.reset(token)


@contextmanager
def trace() -> Iterator[Trace]:
    """As `measure`, and keep each call."""
    meter = Trace()
    token = _active.set((*_active.get(), meter))
    try:
        yield meter
    finally:
        _active.reset(token)


def start(meter: Meter) -> None:
    """Let a meter count until `stop`, where no block can stand around the work: a request and its answer's body."""
    _active.set((*_active.get(), meter))


def stop(meter: Meter) -> None:
    """Let a meter count no more."""
    _active.set(tuple(other for other in _active.get() if other is not meter))


def running() -> tuple[Meter, ...]:
    """Return the meters that count here."""
    return _active.get()


def wanted() -> bool:
    """Tell whether anybody counts here; else `record` would be in vain."""
    return bool(_active.get())


def record(
    call: str, seconds: float, *, about: About | Callable[[], About] = _UNKNOWN, failed: bool = False, **units: int
) -> None:
    """Add one call, which has just been answered, to every meter that runs here.

    Args:
        call: the call's name.
        seconds: how long the answer took.
        about: what the call was about, or what says it: called only where somebody keeps calls.
        failed: whether there was no answer, or a refusal.
        **units: billed operations, "__" standing for "." in the names of PRICES (datastore__read=1).
    """
    meters = _active.get()
    if not meters:
        return
    named = {_names[unit]: count for unit, count in units.items() if count}
    entry: Call | None = None
    for meter in meters:
        meter.add(call, seconds, named)
        if isinstance(meter, Trace) and len(meter.kept) < MAX_CALLS:
            if entry is None:
                began = time.perf_counter() - seconds
                known = about if type(about) is About else about()  # type: ignore[operator]
                entry = Call(call, began, seconds, known, named, places(), failed)
            meter.kept.append(entry)


class _Names(dict[str, str]):
    """The names of PRICES by those of keyword arguments."""

    def __missing__(self, unit: str) -> str:
        name = self[unit] = unit.replace("__", ".")
        return name


_names = _Names()


def price_of(units: dict[str, int]) -> float:
    """Return US dollars for billed operations, at the prices of the settings in force."""
    config = settings.in_force()
    prices = PRICES if config is None else config.prices.by_unit
    return sum(prices[unit] * count for unit, count in units.items())


def service_of(call: str) -> str:
    """Return the service that a call of a name goes to."""
    if call.startswith("kv."):
        return "kv"
    if call.endswith(("Blob", "Object", "Objects")):
        return "storage"
    if call.endswith(("LogEntries", "LogEntry")):
        return "logging"
    return "tasks" if call.endswith(("Task", "Tasks")) else "datastore"


def pin() -> None:
    """Take the lines that run now for those of the calls that follow in this context, from another thread perhaps."""
    if any(isinstance(meter, Trace) for meter in _active.get()):
        _pinned.set(places())


def places() -> tuple[Place, ...]:
    """Return the application's frames that are running, innermost first, MAX_FRAMES at most.

    Where there are none, the innermost frame of gaeport above its stores and files, else of a package that the
    application is made of, else of gaeport's files. What called the application that `gaeport.wrap` made, a server or
    a test, is not looked at.
    """
    pinned = _pinned.get()
    if pinned:
        return pinned
    frame: FrameType | None = sys._getframe(1)
    found: list[Place] = []
    others: dict[int, Place] = {}
    while frame is not None:
        code = frame.f_code
        rank = _RANKS.get(code.co_filename)
        if rank is None:
            rank = _RANKS[code.co_filename] = _rank(code.co_filename)
        if rank == _APPLICATION:
            found.append((code, frame.f_lineno))
            if len(found) == MAX_FRAMES:
                break
        elif rank == _END:
            break
        elif rank < _OTHER and rank not in others:
            others[rank] = (code, frame.f_lineno)
        frame = frame.f_back
    return tuple(found) or ((others[min(others)],) if others else ())


_APPLICATION, _OWN, _PACKAGE, _FILES, _OTHER, _END = range(6)
_RANKS: dict[str, int] = {}  # by file name; one each for the files of a process, so bounded

_GAEPORT = str(Path(__file__).parent / "x")[:-1]
_LIBRARY = os.path.dirname(os.__file__)  # sysconfig would say the same, and load for milliseconds
# Where each call comes through, so that naming it says nothing.
_CLIENTS = tuple(f"-packages{os.sep}{name}{os.sep}" for name in ("google", "grpc", "pydal", "redis", "pymemcache"))
_STORES = ("meter.py", "codec.py", "datastore", "blobs", "kv", "stats", "devserver", "testing")


def is_application(file: str) -> bool:
    """Tell whether code in a file is the application's, not gaeport's, the standard library's or a package's."""
    return _rank(file) == _APPLICATION


def _rank(file: str) -> int:
    if file.startswith(_GAEPORT):
        part = file[len(_GAEPORT) :].replace("\\", "/").partition("/")[0]
        if part == "welcome":  # the example is an application
            return _APPLICATION
        if part == "wsgi.py":
            return _END
        if part == "fs":
            return _FILES
        return _OTHER if part in _STORES else _OWN
    if "site-packages" in file or "dist-packages" in file:
        return _OTHER if any(client in file for client in _CLIENTS) else _PACKAGE
    return _OTHER if file.startswith(("<frozen", _LIBRARY)) else _APPLICATION
