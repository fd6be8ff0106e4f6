"""A request's calls as bars on a common scale, the same call of the same line of code in one row."""

from dataclasses import dataclass

from gaeport.stats.analysis import REPEATED
from gaeport.stats.sample import Call, Line, Sample

MAX_ROWS = 200
_LEAST = 0.25  # per cent; a thinner bar could not be seen


@dataclass(frozen=True, slots=True)
class Bar:
    """One call.

    Attributes:
        left: where it begins, in per cent of the request's time.
        width: how long it took, likewise.
        label: what it was, for a tooltip.
        failed: whether it was refused.
    """

    left: float
    width: float
    label: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """Calls of one name and kind, by one line of code.

    Attributes:
        service: which service was called.
        name: the call's name.
        kind: what it was about.
        line: the line of code, or None.
        bars: the calls.
        ms: milliseconds of all.
        price: US dollars of all.
        number: entities, keys or entries of all.
        sent: bytes of all.
        received: bytes of all.
        failed: how many were refused.
        repeated: whether a batch would do.
    """

    service: str
    name: str
    kind: str
    line: Line | None
    bars: list[Bar]
    ms: float
    price: float
    number: int
    sent: int
    received: int
    failed: int
    repeated: bool


def rows(sample: Sample) -> list[Row]:
    """Return the rows of a request, in the order of their first calls, at most MAX_ROWS."""
    grouped: dict[tuple[str, str, tuple[int, ...]], list[Call]] = {}
    for call in sorted(sample.kept, key=lambda call: call.start):
        grouped.setdefault((call.name, call.kind, call.lines[:1]), []).append(call)
    whole = max(sample.seconds * 1000, max((call.start + call.ms for call in sample.kept), default=0), 0.001)
    return [_row(sample, calls, whole) for calls in list(grouped.values())[:MAX_ROWS]]


def ticks(sample: Sample) -> list[tuple[int, str]]:
    """Return the marks of the scale: per cent and label."""
    long = sample.seconds >= 10
    whole = sample.seconds if long else sample.seconds * 1000
    digits = 0 if whole >= 40 else 1 if whole >= 4 else 2
    return [(part, f"{whole * part / 100:,.{digits}f} {'s' if long else 'ms'}") for part in (0, 25, 50, 75)]


def _row(sample: Sample, calls: list[Call], whole: float) -> Row:
    first = calls[0]
    line = sample.line_of(first)
    return Row(
        service=first.service,
        name=first.name,
        kind=first.kind,
        line=line,
        bars=[_bar(call, whole) for call in calls],
        ms=sum(call.ms for call in calls),
        price=sum(call.price for call in calls),
        number=sum(call.number for call in calls),
        sent=sum(call.sent for call in calls),
        received=sum(call.received for call in calls),
        failed=sum(call.failed for call in calls),
        repeated=line is not None and len(calls) >= REPEATED,
    )


def _bar(call: Call, whole: float) -> Bar:
    width = min(100.0, max(_LEAST, call.ms / whole * 100))
    left = min(100.0 - width, max(0.0, call.start / whole * 100))
    refused = ", failed" if call.failed else ""
    return Bar(left, width, f"{call.name} after {call.start:.2f} ms, took {call.ms:.2f} ms{refused}", call.failed)
