"""A cache whose time the test turns: entries age by the wall clock that this replaces."""

import pytest

from gaeport.cache import Cache, entry
from gaeport.kv import KV
from gaeport.kv.memory import MemoryBackend


class Clock:
    """Seconds, the same for the store and for the age of entries."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("gaeport.cache.entry.time.time", clock)
    return clock


@pytest.fixture
def kv(clock: Clock) -> KV:
    return KV(MemoryBackend(clock=clock))


@pytest.fixture
def cache(kv: KV) -> Cache:
    return Cache(kv)


@pytest.fixture(autouse=True)
def _never_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """No early recomputation, except in tests of it."""
    monkeypatch.setattr(entry._random, "random", lambda: 0.0)
