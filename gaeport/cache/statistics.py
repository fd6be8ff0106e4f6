"""What a cache did, counted in this process."""

import os
import threading
from dataclasses import dataclass

_lock = threading.Lock()  # one for all: it is held for less than a microsecond


@dataclass(slots=True)
class Statistics:
    """Counts since the process started.

    Attributes:
        hits: answered from the cache, fresh.
        stale: answered from the cache, expired, because another caller was creating the value or creating it failed.
        misses: not in the cache, or expired with nobody creating.
        creations: values created.
        failures: creations that raised.
        unavailable: answered without the store, which did not answer.
        seconds: spent creating.
    """

    hits: int = 0
    stale: int = 0
    misses: int = 0
    creations: int = 0
    failures: int = 0
    unavailable: int = 0
    seconds: float = 0.0

    def add(self, **counts: float) -> None:
        """Add to the counts named."""
        with _lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    @property
    def hit_ratio(self) -> float:
        """The share of answers that came from the cache, 0 to 1; 0 where nothing was asked."""
        answers = self.hits + self.stale + self.misses
        return (self.hits + self.stale) / answers if answers else 0.0


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # in the child nobody would release the parent's


os.register_at_fork(after_in_child=_after_fork)
