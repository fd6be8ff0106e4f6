"""Counts the calls that a piece of work makes, and prices them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

# US dollars for one operation (Datastore: multi-region; Cloud Storage: standard class), free quotas left out.
# Source: the pricing pages of Firestore in Datastore mode and of Cloud Storage.
PRICES = {
    "datastore.read": 0.06 / 100_000,
    "datastore.write": 0.18 / 100_000,
    "datastore.delete": 0.02 / 100_000,
    "storage.class_a": 0.005 / 1_000,
    "storage.class_b": 0.0004 / 1_000,
}


@dataclass(slots=True)
class Meter:
    """What was counted.

    Attributes:
        calls: number of calls by name, such as {"Lookup": 2, "Commit": 1}.
        units: number of billed operations by the names of PRICES.
        seconds: time spent waiting for answers.
    """

    calls: dict[str, int] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def total_calls(self) -> int:
        """The number of calls of every name."""
        return sum(self.calls.values())

    @property
    def price(self) -> float:
        """US dollars that the same calls cost in production, free quotas left out."""
        return sum(PRICES[unit] * count for unit, count in self.units.items())

    def add(self, call: str, seconds: float, units: dict[str, int]) -> None:
        """Count one call."""
        self.calls[call] = self.calls.get(call, 0) + 1
        self.seconds += seconds
        for unit, count in units.items():
            self.units[unit] = self.units.get(unit, 0) + count


_active: ContextVar[tuple[Meter, ...]] = ContextVar("gaeport_meters", default=())


@contextmanager
def measure() -> Iterator[Meter]:
    """Count the calls made inside the block by this thread or task; blocks may be nested."""
    meter = Meter()
    token = _active.set((*_active.get(), meter))
    try:
        yield meter
    finally:
        _active.reset(token)


def record(call: str, seconds: float, **units: int) -> None:
    """Add one call to every meter that runs here.

    Args:
        call: the call's name.
        seconds: how long the answer took.
        **units: billed operations, "__" standing for "." in the names of PRICES (datastore__read=1).
    """
    meters = _active.get()
    if meters:
        named = {unit.replace("__", "."): count for unit, count in units.items() if count}
        for meter in meters:
            meter.add(call, seconds, named)
