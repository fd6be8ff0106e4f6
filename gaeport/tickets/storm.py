"""Keeps a storm of errors cheap: of one group only some a minute are kept as tickets, the others are counted."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW = 60.0  # seconds
_MAX_GROUPS = 1_000  # that are remembered; the one unseen for the longest time is forgotten first
_ALL_FACTOR = 20  # tickets of all groups together, in limits of one group (each error different is a storm, too)


@dataclass(slots=True)
class _Window:
    """One group's present minute."""

    start: float
    limit: int
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Missed:
    """Errors that were counted and not kept.

    Attributes:
        group: the group's name.
        title: the error in a line.
        count: how many.
    """

    group: str
    title: str
    count: int


class Storm:
    """Decides which errors are kept."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing seen.

        Args:
            per_minute: tickets of one group that are kept in the first minute of a storm; one in each minute that
                follows without a pause. Of all groups together 20 times as many.
            clock: seconds.
        """
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: OrderedDict[str, _Window] = OrderedDict()
        self._all = _Window(clock(), per_minute * _ALL_FACTOR)
        self._missed: dict[str, Missed] = {}
        self._since = clock()

    def keeps(self, group: str, title: Callable[[], str]) -> bool:
        """Tell whether an error is kept as a ticket; count it if not.

        Args:
            group: the group's name.
            title: gives the error in a line; asked for once a minute.
        """
        with self._lock:
            now = self._clock()
            window = self._window(group, now)
            if now - self._all.start >= _WINDOW:
                self._all = _Window(now, self._all.limit)
            if window.kept < window.limit and self._all.kept < self._all.limit:
                window.kept += 1
                self._all.kept += 1
                return True
            self._miss(group, title, now)
            return False

    def missed(self, *, at_once: bool = False) -> list[Missed]:
        """Return what was counted, and begin to count anew; nothing before a minute has passed, unless at once."""
        with self._lock:
            now = self._clock()
            if not self._missed or (now - self._since < _WINDOW and not at_once):
                return []
            found = list(self._missed.values())
            self._missed = {}
            return found

    @property
    def counts(self) -> bool:
        """Whether something was counted that nobody has fetched."""
        return bool(self._missed)

    def _window(self, group: str, now: float) -> _Window:
        window = self._groups.get(group)
        if window is None or now - window.start >= _WINDOW:
            goes_on = window is not None and window.kept == window.limit and now - window.start < 2 * _WINDOW
            window = self._groups[group] = _Window(now, 1 if goes_on else self._per_minute)
            if len(self._groups) > _MAX_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return window

    def _miss(self, group: str, title: Callable[[], str], now: float) -> None:
        if not self._missed:
            self._since = now
        before = self._missed.get(group)
        if before is None and len(self._missed) >= _MAX_GROUPS:
            group = "000000"  # of groups that are too many to tell apart
            before = self._missed.get(group)
        if before is None:
            self._missed[group] = Missed(group, title() if group != "000000" else "errors of many groups", 1)
        else:
            self._missed[group] = Missed(group, before.title, before.count + 1)
