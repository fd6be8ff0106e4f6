"""Directories' modification times that wait to be written, when the store refuses or is no longer this volume's."""

from pathlib import Path
from typing import Any

import pytest

from gaeport import settings
from gaeport.errors import PermissionDenied
from gaeport.fs.datastore import times
from gaeport.fs.datastore.times import DirectoryTimes
from gaeport.fs.datastore.volume import make_volume
from tests.fs.volumes import put


class Refuses:
    """A client whose store refuses everything, counting the questions."""

    def __init__(self) -> None:
        self.calls = 0

    def key(self, *path: Any) -> Any:
        return path

    def lookup(self, keys: Any) -> Any:
        self.calls += 1
        raise PermissionDenied("no")


def test_what_is_refused_waits_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Timer:
        def __init__(self, pause: float, call: Any) -> None:
            pauses.append(pause)

        def start(self) -> None:
            pass

        def cancel(self) -> None:
            pass

        def is_alive(self) -> bool:
            return False

    monkeypatch.setattr(times.threading, "Timer", Timer)
    client: Any = Refuses()
    waiting = DirectoryTimes(lambda: client)
    waiting.touch("d")
    for _ in range(8):
        with pytest.raises(PermissionDenied):
            waiting.flush()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_dropped_volume_asks_nothing_more() -> None:
    client: Any = Refuses()
    waiting = DirectoryTimes(lambda: client)
    waiting.touch("d")
    timer = waiting._timer
    waiting.stop()
    waiting.touch("e")
    waiting.stop()
    waiting.flush()
    assert timer is not None
    timer.join(5)
    assert client.calls == 0


def test_a_time_that_was_set_while_an_earlier_change_was_on_its_way_counts(application: Path) -> None:
    volume = make_volume(settings.MountSettings(path="uploads", name="uploads"), str(application / "uploads"))
    volume.mkdir(("d",))
    put(volume, "d/a", b"x")
    committing = volume.times._mutations

    def set_meanwhile(waiting: dict[str, int]) -> Any:
        mutations = committing(waiting)
        if mutations:
            volume.times._mutations = committing  # type: ignore[method-assign]
            volume.utime(("d",), 7, 7)
        return mutations

    volume.times._mutations = set_meanwhile  # type: ignore[method-assign]
    volume.flush_times()
    volume.flush_times()
    assert volume.stat(("d",)).mtime_ns == 7
