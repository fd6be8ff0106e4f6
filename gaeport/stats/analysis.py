"""What samples say together: totals a route, the slowest, the dearest, and calls repeated by one line of code."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gaeport.stats.sample import Call, Line, Sample

REPEATED = 4  # the same call by the same line, so often in one request, is one that a batch would replace
_ROUTES = 1_000  # that are told apart; requests for random paths must not make a table of thousands of rows
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class RouteTotals:
    """All samples of a route.

    Attributes:
        route: what they are grouped by.
        requests: how many samples.
        errors: how many of them ended with a status of 500 or more.
        mean: seconds a request.
        slow: seconds that 95 % of the requests were below.
        calls: calls a request.
        price: US dollars a request.
        total: seconds of all.
    """

    route: str
    requests: int
    errors: int
    mean: float
    slow: float
    calls: float
    price: float
    total: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """The same call, made again and again by one line of code.

    Attributes:
        line: the line.
        name: the call's name.
        kind: what it was about.
        times: how often, in the request that did it most.
        requests: in how many requests.
        seconds: that the calls took, on average of these requests.
        price: US dollars, likewise.
        route: of the request that did it most.
        sample: that request's id.
    """

    line: Line
    name: str
    kind: str
    times: int
    requests: int
    seconds: float
    price: float
    route: str
    sample: str


def routes(samples: Iterable[Sample]) -> list[RouteTotals]:
    """Return the totals of each route, the one that took most time in all first."""
    grouped: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        known = sample.route in grouped or len(grouped) < _ROUTES
        grouped[sample.route if known else OTHERS].append(sample)
    totals = [_totals(route, found) for route, found in grouped.items()]
    return sorted(totals, key=lambda row: (-row.total, row.route))


def slowest(samples: Iterable[Sample], count: int) -> list[Sample]:
    """Return the requests that took longest."""
    return sorted(samples, key=lambda sample: -sample.seconds)[:count]


def dearest(samples: Iterable[Sample], count: int) -> list[Sample]:
    """Return the requests that cost most; those that cost nothing are left out."""
    return sorted((sample for sample in samples if sample.price), key=lambda sample: -sample.price)[:count]


def patterns(samples: Sequence[Sample]) -> list[Pattern]:
    """Return the calls that lines of code repeat, those that take most time in all first."""
    found: dict[tuple[Line, str, str], list[tuple[Sample, list[Call]]]] = defaultdict(list)
    for sample in samples:
        if sample.calls >= REPEATED:
            for key, calls in repeated(sample).items():
                found[key].append((sample, calls))
    rows = [_pattern(key, cases) for key, cases in found.items()]
    return sorted(rows, key=lambda row: -row.seconds * row.requests)


def repeated(sample: Sample) -> dict[tuple[Line, str, str], list[Call]]:
    """Return the calls of one request that a line of code repeated: by line, call and kind."""
    grouped: dict[tuple[int, str, str], list[Call]] = defaultdict(list)
    for call in sample.kept:
        if call.lines:
            grouped[call.lines[0], call.name, call.kind].append(call)
    return {
        (sample.lines[line], name, kind): calls
        for (line, name, kind), calls in grouped.items()
        if len(calls) >= REPEATED and line < len(sample.lines)
    }


def _totals(route: str, samples: list[Sample]) -> RouteTotals:
    times = sorted(sample.seconds for sample in samples)
    count = len(samples)
    total = sum(times)
    return RouteTotals(
        route=route,
        requests=count,
        errors=sum(sample.status >= 500 for sample in samples),
        mean=total / count,
        slow=times[min(count - 1, int(count * 0.95))],
        calls=sum(sample.calls for sample in samples) / count,
        price=sum(sample.price for sample in samples) / count,
        total=total,
    )


def _pattern(key: tuple[Line, str, str], cases: list[tuple[Sample, list[Call]]]) -> Pattern:
    line, name, kind = key
    worst, calls = max(cases, key=lambda case: len(case[1]))
    return Pattern(
        line=line,
        name=name,
        kind=kind,
        times=len(calls),
        requests=len(cases),
        seconds=sum(call.ms for _, found in cases for call in found) / 1000 / len(cases),
        price=sum(call.price for _, found in cases for call in found) / len(cases),
        route=worst.route,
        sample=worst.id,
    )
