"""Several calls under way at once, in threads; what they cost is counted where the work was asked for."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from gaeport import meter

T = TypeVar("T")
R = TypeVar("R")

THREADS = 8
AHEAD = 2  # tasks that wait for a thread; more would only hold memory


class Workers:
    """A few threads; a context manager that waits for what is under way.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="gaeport-fs")

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=error is not None)

    def each(self, do: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Yield what `do` returns for each task, in the tasks' order; tasks are asked for as threads get free.

        Raises:
            Exception: what `do` raised, in the task's turn.
        """
        waiting: deque[Future[tuple[R, meter.Meter]]] = deque()
        for task in tasks:
            waiting.append(self._pool.submit(_counted, do, task))
            if len(waiting) >= self._threads + AHEAD:
                yield _taken(waiting.popleft())
        while waiting:
            yield _taken(waiting.popleft())


def _counted(do: Callable[[T], R], task: T) -> tuple[R, meter.Meter]:
    with meter.measure() as counted:
        return do(task), counted


def _taken(future: "Future[tuple[R, meter.Meter]]") -> R:
    result, counted = future.result()
    for running in meter.running():
        running.include(counted)
    return result
