"""One creation at a time for each key in this process: the others wait for it instead of asking the store."""

import os
import threading
import weakref


class Flight:
    """A creation under way.

    Attributes:
        payload: the value as bytes, once created.
        error: what the creation raised.
        unshared: whether its value is for its own caller only.
    """

    __slots__ = ("_done", "error", "payload", "unshared")

    def __init__(self) -> None:
        self._done = threading.Event()
        self.payload: bytes | None = None
        self.error: Exception | None = None
        self.unshared = False

    def land(self) -> None:
        """Wake those who wait."""
        self._done.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the creation, at most that long; tell whether it ended."""
        return self._done.wait(seconds)


class Flights:
    """The creations under way in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, Flight] = {}
        _all.add(self)

    def join(self, key: str) -> tuple[Flight, bool]:
        """Return the creation of a key, and whether the caller leads it, that is, must create and then `end` it."""
        with self._lock:
            flight = self._under_way.get(key)
            if flight is not None:
                return flight, False
            flight = self._under_way[key] = Flight()
            return flight, True

    def end(self, key: str, flight: Flight) -> None:
        """Take a creation off the list and wake those who wait for it."""
        with self._lock:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
        flight.land()

    def after_fork(self) -> None:
        """Forget what the parent's threads create: they do not run in the child."""
        self._lock = threading.Lock()
        self._under_way = {}


_all: "weakref.WeakSet[Flights]" = weakref.WeakSet()


def _after_fork() -> None:
    for flights in list(_all):
        flights.after_fork()


os.register_at_fork(after_in_child=_after_fork)
