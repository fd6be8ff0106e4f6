"""Holding a piece of an application to a number of calls and a price."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gaeport import meter

_SHOWN = 30  # lines of a failure's table


@contextmanager
def assert_calls(
    expected: Mapping[str, int] | int | None = None,
    *,
    at_most: int | None = None,
    price: float | None = None,
    repeated: int | None = None,
) -> Iterator[meter.Trace]:
    """Fail unless the block makes as many calls as expected, and no dearer ones.

    Calls of this thread count, so of an application under WebTest; not those of a server in another thread or process.

    Args:
        expected: exactly these calls, such as {"Lookup": 1, "Commit": 1}, or exactly so many of any name.
        at_most: so many calls at most.
        price: so many US dollars at most, at the prices of the settings in force.
        repeated: how often one line of code may make the same call on the same kind at most.

    Yields:
        The calls so far: `total_calls`, `calls` by name, `price`, and each one in `kept`.

    Raises:
        AssertionError: naming each call, and the line of code that made it.
        TypeError: nothing is expected.
    """
    if expected is None and at_most is None and price is None and repeated is None:
        raise TypeError(
            "assert_calls() needs something to expect: a number or names of calls, at_most, price, repeated"
        )
    with meter.trace() as trace:
        yield trace
    problems = list(_problems(trace, expected, at_most, price, repeated))
    if problems:
        raise AssertionError("\n".join([*problems, *_table(trace)]))


def _problems(
    trace: meter.Trace,
    expected: Mapping[str, int] | int | None,
    at_most: int | None,
    price: float | None,
    repeated: int | None,
) -> Iterator[str]:
    if isinstance(expected, int) and trace.total_calls != expected:
        yield f"expected {expected} calls, there were {trace.total_calls}"
    if isinstance(expected, Mapping) and trace.calls != {name: count for name, count in expected.items() if count}:
        yield f"expected {_names(expected)}; there were {_names(trace.calls)}"
    if at_most is not None and trace.total_calls > at_most:
        yield f"expected at most {at_most} calls, there were {trace.total_calls}"
    if price is not None and trace.price > price * (1 + 1e-9):  # sums of floats differ in the last digit
        yield f"expected at most ${price:.9f}, the calls cost ${trace.price:.9f}"
    if repeated is not None:
        for (line, name, kind), count in _by_line(trace).items():
            if count > repeated:
                yield f"no line may make a call more than {repeated} times; {line} made {name} {kind} {count} times"


def _names(calls: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in calls.items()) or "no calls"


def _by_line(trace: meter.Trace) -> Counter[tuple[str, str, str]]:
    return Counter((_line(call), call.name, call.about.kind) for call in trace.kept)


def _table(trace: meter.Trace) -> Iterator[str]:
    rows = _by_line(trace).most_common()
    for (line, name, kind), count in rows[:_SHOWN]:
        yield f"  {count:>4} {name} {kind}  {line}"
    if len(rows) > _SHOWN:
        yield f"  and {len(rows) - _SHOWN} more"


def _line(call: meter.Call) -> str:
    if not call.places:
        return "line not known"
    code, number = call.places[0]
    return f"{code.co_filename}:{number} in {code.co_qualname}"
