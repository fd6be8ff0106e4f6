"""Several calls under way at once: their order, their errors, and who pays."""

import threading
from collections.abc import Iterator

import pytest

from gaeport import meter
from gaeport.fs.workers import AHEAD, Workers


def test_results_come_in_the_order_of_the_tasks_though_they_end_in_another() -> None:
    last = threading.Event()

    def do(number: int) -> int:
        if number == 3:
            last.set()
        assert last.wait(10)
        return number * 2

    with Workers(4) as workers:
        assert list(workers.each(do, range(4))) == [0, 2, 4, 6]


def test_tasks_are_asked_for_only_as_threads_get_free() -> None:
    asked: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            yield number

    with Workers(2) as workers:
        results = workers.each(lambda number: number, tasks())
        assert next(results) == 0
        assert len(asked) == 2 + AHEAD
        assert list(results) == list(range(1, 100))


def test_calls_in_threads_are_counted_where_the_work_was_asked_for() -> None:
    def do(number: int) -> None:
        meter.record("Lookup", 0.5, datastore__read=number)

    with meter.measure() as counted, Workers(3) as workers:
        list(workers.each(do, range(1, 5)))
    assert counted.calls == {"Lookup": 4}
    assert counted.units == {"datastore.read": 10}
    assert counted.seconds == 2.0


def test_an_error_comes_in_its_tasks_turn_and_ends_the_work() -> None:
    begun: list[int] = []

    def do(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise OSError(28, "No space left on device")
        return number

    results = []
    with pytest.raises(OSError, match="No space"), Workers(1) as workers:
        results.extend(workers.each(do, range(1000)))
    assert len(begun) <= 1 + 1 + 2 + AHEAD
