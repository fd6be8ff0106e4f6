"""Which ranges of a file who has locked: the rules, without a store."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

WHOLE = 1 << 63  # the end of a range that reaches to the end of the file, however long that gets

Family = Literal["flock", "posix"]  # the two do not know each other, as on Linux


@dataclass(frozen=True, slots=True)
class Span:
    """A locked range of a file.

    Attributes:
        start, end: bytes; `end` is the first one after it.
        exclusive: whether nobody else may lock any of it.
    """

    start: int = 0
    end: int = WHOLE
    exclusive: bool = True

    def meets(self, other: "Span") -> bool:
        """Tell whether two owners cannot have both."""
        return self.start < other.end and other.start < self.end and (self.exclusive or other.exclusive)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one owner wants or has.

    Attributes:
        owner: the holder: an open file description, or for record locks a process.
        family: the kind of lock.
        span: what is wanted.
    """

    owner: str
    family: Family
    span: Span


@dataclass(frozen=True, slots=True)
class Holder:
    """What one owner holds of a file.

    Attributes:
        owner, family: as in Claim.
        pid: the holder's process, for those who ask who holds it.
        beat: changes with each renewal.
        seconds: the lease time that it keeps.
        spans: the ranges, disjoint and in order.
    """

    owner: str
    family: Family
    pid: int
    beat: int
    seconds: float
    spans: tuple[Span, ...]


def conflict(holders: Iterable[Holder], claim: Claim) -> Holder | None:
    """Return the first of the holders whose locks are in the way of a claim, or None."""
    for holder in holders:
        other = holder.owner != claim.owner and holder.family == claim.family
        if other and any(span.meets(claim.span) for span in holder.spans):
            return holder
    return None


def with_span(spans: Iterable[Span], added: Span) -> tuple[Span, ...]:
    """Return an owner's ranges after one more was locked, which replaces what was locked of it before."""
    merged: list[Span] = []
    for span in sorted([*without(spans, added), added], key=lambda one: one.start):
        last = merged[-1] if merged else None
        if last is not None and last.end == span.start and last.exclusive == span.exclusive:
            merged[-1] = Span(last.start, span.end, span.exclusive)
        else:
            merged.append(span)
    return tuple(merged)


def without(spans: Iterable[Span], removed: Span) -> tuple[Span, ...]:
    """Return an owner's ranges after one was unlocked, which may cut one in two."""
    left = []
    for span in spans:
        if span.start < removed.start:
            left.append(Span(span.start, min(span.end, removed.start), span.exclusive))
        if span.end > removed.end:
            left.append(Span(max(span.start, removed.end), span.end, span.exclusive))
    return tuple(left)


def encode(holders: Iterable[Holder]) -> bytes:
    """Return holders as JSON."""
    return json.dumps([asdict(holder) for holder in holders], separators=(",", ":")).encode()


def decode(data: bytes) -> dict[str, Holder]:
    """Return the holders that `encode` wrote, by owner."""
    rows = [Holder(**{**row, "spans": tuple(Span(**span) for span in row["spans"])}) for row in json.loads(data)]
    return {holder.owner: holder for holder in rows}
