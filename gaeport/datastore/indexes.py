"""Which composite index a query needs, and whether those that exist serve it.

The rules are those of "Indexes" (index definition and structure; built-in and composite indexes), "Optimizing indexes"
(merging) and "Query with range and inequality filters on multiple properties" of Firestore in Datastore mode, and agree
with Google's own `google.appengine.datastore.datastore_index` wherever that knows the query. It knows neither IN, OR
nor several inequalities; for those:

- IN counts as an equality, != and NOT_IN as an inequality, and each alternative of an OR needs what it would need
  alone, with every inequality of the whole filter among its orders ("Queries", OR queries).
- Properties with an inequality and no order may follow in any order where there is no order at all; after an order they
  follow it by name and in its direction (measured on the Firestore emulator).
- An equality on a property that has an inequality too needs nothing of its own.
- sum() and avg() read their property from the index, as a projection does ("Aggregation queries").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gaeport.datastore.index_needs import KEY, Direction, Need, Part, Property, needs, width

__all__ = ["Direction", "Index", "Property", "minimal", "missing", "needed", "serves"]

_ANCESTOR_COST = 2  # in properties; every ancestor has an entry of its own


@dataclass(frozen=True, slots=True)
class Index:
    """A composite index.

    Attributes:
        kind: the kind of the entities in it.
        ancestor: whether each entity is also found under each of its ancestors.
        properties: (name, "asc" or "desc"), in order.
    """

    kind: str
    ancestor: bool
    properties: tuple[Property, ...]


def needed(query: Any) -> tuple[Index, ...]:
    """Return the composite indexes that a query needs, each the best for its part of the query.

    Args:
        query: a `wire.Query` or `wire.AggregationQuery`.

    Returns:
        Nothing where the built-in indexes serve, alone or merged; more than one index only for a query with OR.
    """
    return missing((), query)


def serves(indexes: Iterable[Index], query: Any) -> bool:
    """Tell whether a query can be answered from given composite indexes and the built-in ones, merges included."""
    return not missing(indexes, query)


def missing(indexes: Iterable[Index], query: Any) -> tuple[Index, ...]:
    """Return the composite indexes to add so that a query can be answered, each the best for its part of the query.

    Args:
        indexes: those that exist.
        query: a `wire.Query` or `wire.AggregationQuery`.
    """
    known, found = list(indexes), []
    for need in needs(query):
        if not need.built_in and not _served(known, need):
            index = Index(need.kind, need.ancestor, need.properties())
            known.append(index)
            found.append(index)
    return tuple(found)


def minimal(indexes: Iterable[Index], query: Any) -> tuple[Index, ...]:
    """Return the smallest composite indexes to add so that a query can be answered by merging them with others.

    They cost less to keep than those of `missing`, and a query more to answer.

    Args:
        indexes: those that exist.
        query: a `wire.Query` or `wire.AggregationQuery`.
    """
    known, found = list(indexes), []
    for need in needs(query):
        if not need.built_in and not _served(known, need):
            index = _smallest(known, need)
            known.append(index)
            found.append(index)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Open:
    """What merged indexes of one ending leave to be found: properties held equal, and the ancestor."""

    equal: frozenset[str]
    ancestor: bool


def _served(indexes: list[Index], need: Need) -> bool:
    return any(not left.equal and not left.ancestor for left in _merges(indexes, need).values())


def _merges(indexes: list[Index], need: Need) -> dict[tuple[Property, ...], _Open]:
    """Return what each merge leaves open, by the ending that its indexes share.

    Indexes merge when they hold different properties equal and then have the same properties in the same order: their
    entries are sorted alike. An index on ancestors lists a key once for each, so that only ancestor queries use it.
    """
    found: dict[tuple[Property, ...], _Open] = {}
    for index in indexes:
        if index.kind != need.kind or (index.ancestor and not need.ancestor):
            continue
        properties = index.properties[:-1] if index.properties[-1:] == ((KEY, "asc"),) else index.properties
        split = _split(properties, need.rest)
        if split is None:
            continue
        start, end = properties[:split], properties[split:]
        held = frozenset(name for name, _ in start)
        if held <= need.equal:
            left = found.get(end, _Open(need.equal, need.ancestor))
            found[end] = _Open(left.equal - held, left.ancestor and not index.ancestor)
    return found


def _split(properties: tuple[Property, ...], rest: tuple[Part, ...]) -> int | None:
    """Return where in an index's properties its ending begins that is `rest`, or None when it does not end so."""
    position = len(properties)
    for part in reversed(rest):
        if width(part) > position:
            return None
        found = properties[position - width(part) : position]
        position -= width(part)
        # Of a set the names matter, not the directions: it may come in any order.
        if (frozenset(name for name, _ in found) if isinstance(part, frozenset) else found[0]) != part:
            return None
    return position


def _smallest(indexes: list[Index], need: Need) -> Index:
    merges = _merges(indexes, need)
    if not merges:
        return Index(need.kind, need.ancestor, need.properties())
    end, left = min(merges.items(), key=lambda item: len(item[1].equal) + _ANCESTOR_COST * item[1].ancestor)
    held: tuple[Property, ...] = tuple((name, "asc") for name in sorted(left.equal))
    return Index(need.kind, left.ancestor, held + end)
