"""Conditions as Datastore's indexes can serve them: a small tree, and its translation to a query's filter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.limits import MAX_DISJUNCTIONS

KEY = "__key__"
NULL = wire.Value(null_value=0)
_LOWER_BOUNDS = (wire.EQUAL, wire.IN, wire.GREATER_THAN, wire.GREATER_THAN_OR_EQUAL)


@dataclass(frozen=True, slots=True)
class Everything:
    """No condition."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A condition that no row fulfils."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A property compared with a value, or with several for IN and NOT_IN."""

    prop: str
    op: int
    values: tuple[Any, ...]

    @property
    def value(self) -> Any:
        """The value, or the array of them."""
        if self.op not in (wire.IN, wire.NOT_IN):
            return self.values[0]
        return wire.Value(array_value=wire.ArrayValue(values=self.values))

    @property
    def alternatives(self) -> int:
        """How many disjunctions it counts for."""
        return len(self.values) if self.op == wire.IN else 2 if self.op == wire.NOT_EQUAL else 1


@dataclass(frozen=True, slots=True)
class Both:
    """All of several conditions."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of several conditions."""

    parts: tuple["Condition", ...]


Condition = Everything | Nothing | Comparison | Both | Either
EVERYTHING, NOTHING = Everything(), Nothing()


def both(parts: Sequence[Condition]) -> Condition:
    """Return the condition that all parts make together."""
    flat: list[Condition] = []
    for part in parts:
        if isinstance(part, Nothing):
            return NOTHING
        flat += part.parts if isinstance(part, Both) else [] if isinstance(part, Everything) else [part]
    flat = _without_needless_bounds(flat)
    return EVERYTHING if not flat else flat[0] if len(flat) == 1 else Both(tuple(flat))


def either(parts: Sequence[Condition]) -> Condition:
    """Return the condition that one of the parts makes."""
    flat: list[Condition] = []
    for part in parts:
        if isinstance(part, Everything):
            return EVERYTHING
        flat += part.parts if isinstance(part, Either) else [] if isinstance(part, Nothing) else [part]
    return NOTHING if not flat else flat[0] if len(flat) == 1 else Either(tuple(flat))


def not_null(prop: str) -> Comparison:
    """Return the condition that a property is not NULL, which comes before every other value."""
    return Comparison(prop, wire.GREATER_THAN, (NULL,))


def _without_needless_bounds(parts: list[Condition]) -> list[Condition]:
    bounded = {
        part.prop
        for part in parts
        if isinstance(part, Comparison) and part.op in _LOWER_BOUNDS and part.values[0] != NULL
    }
    kept: list[Condition] = []
    for part in parts:
        needless = isinstance(part, Comparison) and part == not_null(part.prop) and part.prop in bounded
        if not needless and part not in kept:
            kept.append(part)
    return kept


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """Yield the comparisons of a condition."""
    if isinstance(condition, Comparison):
        yield condition
    elif isinstance(condition, Both | Either):
        for part in condition.parts:
            yield from comparisons(part)


def alternatives(condition: Condition) -> int:
    """Return how many disjunctions a condition has in disjunctive normal form."""
    if isinstance(condition, Comparison):
        return condition.alternatives
    if isinstance(condition, Either):
        return sum(alternatives(part) for part in condition.parts)
    if isinstance(condition, Both):
        product = 1
        for part in condition.parts:
            product *= alternatives(part)
        return product
    return 1


def serveable(condition: Condition) -> tuple[Condition, list[str]]:
    """Return what one query can serve of a condition, and the reasons why the rest is left out.

    Datastore takes at most 30 disjunctions, and != and NOT_IN only once and NOT_IN beside no other alternatives.
    """
    reasons: list[str] = []
    parts: list[Condition] = list(condition.parts) if isinstance(condition, Both) else [condition]
    for odd in [part for part in parts if _unequal(part)][1:]:
        parts.remove(odd)
        reasons.append("a second != or NOT IN")
    excluded = [part for part in parts if isinstance(part, Comparison) and part.op == wire.NOT_IN]
    if excluded and alternatives(both(parts)) > 1:
        parts.remove(excluded[0])
        reasons.append("NOT IN beside other alternatives")
    long = long_list(both(parts))
    if long is not None and alternatives(both([part for part in parts if part is not long])) == 1:
        return both(parts), reasons  # split over several queries
    while parts and alternatives(both(parts)) > MAX_DISJUNCTIONS:
        parts.remove(max(parts, key=alternatives))
        reasons.append(f"more than {MAX_DISJUNCTIONS} alternatives")
    inner = [part for part in parts if isinstance(part, Either) and _unequal(part)]
    for part in inner:
        if sum(1 for found in comparisons(part) if found.op in (wire.NOT_EQUAL, wire.NOT_IN)) > 1 or any(
            found.op == wire.NOT_IN for found in comparisons(part)
        ):
            parts.remove(part)
            reasons.append("!= or NOT IN among alternatives")
    return both(parts), reasons


def long_list(condition: Condition) -> Comparison | None:
    """Return the required IN with more values than one query takes, if there is one."""
    for part in condition.parts if isinstance(condition, Both) else (condition,):
        if isinstance(part, Comparison) and part.op == wire.IN and len(part.values) > MAX_DISJUNCTIONS:
            return part
    return None


def split(condition: Condition) -> Iterator[Condition]:
    """Yield conditions that one query each can serve and that together make the condition; a row may fulfil several."""
    long = long_list(condition)
    if long is None:
        yield condition
        return
    others = [part for part in condition.parts if part is not long] if isinstance(condition, Both) else []
    for start in range(0, len(long.values), MAX_DISJUNCTIONS):
        chunk = Comparison(long.prop, wire.IN, long.values[start : start + MAX_DISJUNCTIONS])
        yield both([*others, chunk])


def _unequal(condition: Condition) -> bool:
    return any(found.op in (wire.NOT_EQUAL, wire.NOT_IN) for found in comparisons(condition))


def to_filter(condition: Condition) -> Any:
    """Return the `wire.Filter` of a condition that is neither Everything nor Nothing."""
    made = wire.Filter()
    if isinstance(condition, Comparison):
        leaf = made.property_filter
        leaf.property.name, leaf.op = condition.prop, condition.op
        leaf.value.CopyFrom(condition.value)
        leaf.value.ClearField("exclude_from_indexes")
        return made
    if not isinstance(condition, Both | Either):
        raise AssertionError(f"{condition} has no filter")
    made.composite_filter.op = wire.AND if isinstance(condition, Both) else wire.OR
    for part in condition.parts:
        made.composite_filter.filters.append(to_filter(part))
    return made
