"""Measuring by turns: what is compared runs A B A B …, so that a busy machine slows both alike."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two things measured by turns.

    Attributes:
        base: nanoseconds of the first, median over the rounds.
        other: nanoseconds of the second, median over the rounds.
        ratio: other / base, median of each round's own.
        difference: other - base in nanoseconds, median of each round's own.
    """

    base: float
    other: float
    ratio: float
    difference: float


def compare(
    base: Work, other: Work, *, rounds: int, calls: int, clock: Callable[[Work, int], float] | None = None
) -> Comparison:
    """Time two functions by turns, which of them is first changing every round.

    Args:
        base: what the other is compared with.
        other: the other.
        rounds: how often each is timed.
        calls: calls in one timing.
        clock: `nanoseconds`, which is the default, or `cpu_nanoseconds`.
    """
    clock = clock or nanoseconds
    timings: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            timings[which].append(clock((base, other)[which], calls))
    return summary(*timings)


def least(base: Sequence[float], other: Sequence[float]) -> Comparison:
    """Return what two series come to when each is at its best: for microseconds, where a disturbance only adds."""
    a, b = min(base), min(other)
    return Comparison(a, b, b / a, b - a)


def summary(base: Sequence[float], other: Sequence[float]) -> Comparison:
    """Return the medians of two series of which each pair was measured one after the other."""
    pairs = list(zip(base, other, strict=True))
    return Comparison(
        statistics.median(base),
        statistics.median(other),
        statistics.median(b / a for a, b in pairs),
        statistics.median(b - a for a, b in pairs),
    )


def nanoseconds(work: Work, calls: int) -> float:
    """Return the time of one call, averaged over `calls` of them."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        work()
    return (time.perf_counter_ns() - start) / calls


def cpu_nanoseconds(work: Work, calls: int) -> float:
    """Return the processor time of one call, averaged over `calls` of them; for work that waits for nothing."""
    start = time.thread_time_ns()
    for _ in range(calls):
        work()
    return (time.thread_time_ns() - start) / calls


def python(code: str, *arguments: str, folder: str | os.PathLike[str] | None = None, **variables: str) -> str:
    """Run a program in a new interpreter and return what it prints.

    Args:
        code: the program.
        *arguments: its command line.
        folder: its working directory.
        **variables: added to the environment.
    """
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout


def compare_programs(base: Work, other: Work, *, rounds: int) -> Comparison:
    """Time two functions that start processes, by turns, after one turn that only warms the caches of the disk."""
    base()
    other()
    return compare(base, other, rounds=rounds, calls=1)
