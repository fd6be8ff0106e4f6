"""What a query asks of an index: which properties it holds equal, and in which order it reads the others.

An OR is several queries at once, one for each alternative; IN is an equality, != and NOT_IN are inequalities.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from gaeport.datastore import wire
from gaeport.datastore.limits import MAX_DISJUNCTIONS

KEY = "__key__"
Direction = Literal["asc", "desc"]
Property = tuple[str, Direction]
# A property whose place and direction are fixed, or properties that may come in any order and direction.
Part = Property | frozenset[str]

_EQUALITIES = (wire.EQUAL, wire.IN)


@dataclass(frozen=True, slots=True)
class Need:
    """What an index must offer for one alternative of a query.

    Attributes:
        kind: the query's kind.
        ancestor: whether the query is limited to the descendants of a key.
        equal: properties with an equality filter; they come first in an index, in any order and direction.
        rest: what must follow them.
    """

    kind: str
    ancestor: bool
    equal: frozenset[str]
    rest: tuple[Part, ...]

    @property
    def built_in(self) -> bool:
        """Whether the indexes that every property has suffice, alone or merged."""
        if not self.rest:
            return True
        if self.ancestor or self.rest[0] == (KEY, "desc"):
            return False
        return len(self.equal) + sum(width(part) for part in self.rest) <= 1

    def properties(self) -> tuple[Property, ...]:
        """Return the properties of the index that serves the alternative alone and best."""
        found: list[Property] = [(name, "asc") for name in sorted(self.equal)]
        for part in self.rest:
            found += [(name, "asc") for name in sorted(part)] if isinstance(part, frozenset) else [part]
        return tuple(found)


def width(part: Part) -> int:
    """Return how many properties a part stands for."""
    return len(part) if isinstance(part, frozenset) else 1


def needs(query: Any) -> list[Need]:
    """Return what each alternative of a query asks of an index, the built-in ones included.

    Args:
        query: a `wire.Query` or `wire.AggregationQuery`. Names matter, values do not. None comes back for one without
            a kind, which the index of keys serves, and for one with more alternatives than the service takes.
    """
    aggregated: list[str] = []
    if query.DESCRIPTOR.name == "AggregationQuery":
        aggregated = _aggregated(query)
        query = query.nested_query
    kind = query.kind[0].name if query.kind else ""
    if not kind or (kind.startswith("__") and kind.endswith("__")):
        return []  # metadata kinds are not stored as entities
    alternatives: list[list[Any]] = _alternatives(query.filter) if query.HasField("filter") else [[]]
    ordered = (leaf for leaves in alternatives for leaf in leaves if leaf.op not in (*_EQUALITIES, wire.HAS_ANCESTOR))
    unequal = frozenset(leaf.property.name for leaf in ordered)
    found = (_need(kind, leaves, unequal, query, aggregated) for leaves in alternatives)
    return list(dict.fromkeys(found))


def _aggregated(query: Any) -> list[str]:
    operators = (getattr(item, item.WhichOneof("operator") or "count") for item in query.aggregations)
    return [item.property.name for item in operators if "property" in item.DESCRIPTOR.fields_by_name]


def _alternatives(node: Any) -> list[list[Any]]:
    """Return the property filters of each alternative; none at all when there are too many."""
    if node.WhichOneof("filter_type") != "composite_filter":
        return [[node.property_filter]]
    parts = [_alternatives(part) for part in node.composite_filter.filters]
    if node.composite_filter.op == wire.OR:
        return [alternative for part in parts for alternative in part]
    size = 1
    for part in parts:
        size *= len(part)
    if size > MAX_DISJUNCTIONS:
        return []
    return [[leaf for alternative in chosen for leaf in alternative] for chosen in product(*parts)]


def _need(kind: str, leaves: list[Any], unequal: frozenset[str], query: Any, aggregated: list[str]) -> Need:
    ancestor = any(leaf.op == wire.HAS_ANCESTOR for leaf in leaves)
    # An inequality reads the property's values in order, which finds the equal ones too.
    equal = frozenset(leaf.property.name for leaf in leaves if leaf.op in _EQUALITIES) - unequal
    orders = _orders(query, equal)
    named = equal | unequal | {name for name, _ in orders}
    distinct = frozenset(item.name for item in query.distinct_on) - named - {KEY}
    read = frozenset([*(item.property.name for item in query.projection), *aggregated]) - named - distinct - {KEY}
    orders = [] if KEY in equal else _up_to_key(orders)
    if not distinct and not read:
        equal, unequal, orders = _without_native(equal, unequal, orders)
    rest = [*orders, *_inequalities(unequal, orders, query), distinct, read]
    found: list[Part] = [part for part in rest if part]
    while found and found[-1] in (frozenset({KEY}), (KEY, "asc")):
        found.pop()  # every index ends with the key anyway
    return Need(kind, ancestor, equal, tuple(found))


def _orders(query: Any, equal: frozenset[str]) -> list[Property]:
    """Return the orders that matter: each property once, none that an equality holds to one value."""
    found: dict[str, Direction] = {}
    for item in query.order:
        if item.property.name not in equal:
            found.setdefault(item.property.name, "desc" if item.direction == wire.DESCENDING else "asc")
    return list(found.items())


def _up_to_key(orders: list[Property]) -> list[Property]:
    names = [name for name, _ in orders]
    return orders[: names.index(KEY) + 1] if KEY in names else orders


def _without_native(
    equal: frozenset[str], unequal: frozenset[str], orders: list[Property]
) -> tuple[frozenset[str], frozenset[str], list[Property]]:
    """Take away what every index offers: its entries are in the order of their keys where all else is equal."""
    if orders and orders[-1] == (KEY, "asc"):
        orders = orders[:-1]
    descending = bool(orders) and orders[-1][0] == KEY
    if not descending and not unequal - {KEY}:
        equal, unequal = equal - {KEY}, unequal - {KEY}
    return equal, unequal, orders


def _inequalities(unequal: frozenset[str], orders: list[Property], query: Any) -> list[Part]:
    """Return the parts for inequalities on properties that no order names.

    Without any order they may come as the index has them, except that the properties of distinct_on come first; after
    an order they follow by name, in its direction.
    """
    left = unequal - {name for name, _ in orders}
    others = left - {KEY}
    key = [left & {KEY}]
    if orders:
        direction = orders[-1][1]
        return [*((name, direction) for name in sorted(others)), *key]
    distinct = frozenset(item.name for item in query.distinct_on)
    return [others & distinct, others - distinct, *key]
