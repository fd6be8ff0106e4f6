"""Settings in memory, a clock, and an end to what the writer's thread has left to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport import settings
from gaeport.tickets import context, counting, reporting


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock for storms."""
    return Clock()


@pytest.fixture(autouse=True)
def _tidy() -> Iterator[None]:
    yield
    assert reporting.flush()
    context.resume(None)
    counting.forget()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an application with data on disk; its tickets' lines are structured."""
    monkeypatch.chdir(tmp_path)
    settings.configure(root=tmp_path, tickets={"line": "json", "wait_ms": 10_000})
    return tmp_path
