"""What a query asks for, checked and brought into one shape: alternatives of conditions, and one order."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.keys import AFTER_DESCENDANTS, encode_key, partition_bytes
from gaeport.datastore.limits import MAX_DISJUNCTIONS, MAX_NOT_IN, check_kind
from gaeport.datastore.values import AFTER_ALL, encode_value
from gaeport.errors import InvalidArgument, Unimplemented

KEY = "__key__"
_RANGES = (wire.LESS_THAN, wire.LESS_THAN_OR_EQUAL, wire.GREATER_THAN, wire.GREATER_THAN_OR_EQUAL)
_UNEQUAL = (*_RANGES, wire.NOT_EQUAL, wire.NOT_IN)


@dataclass(slots=True)
class Condition:
    """What one property's values must satisfy.

    Attributes:
        low, high: bounds of a value, the lower inclusive, the upper exclusive.
        equal: values that must all be there.
        excluded: values that do not count.
    """

    low: bytes = b""
    high: bytes = AFTER_ALL
    equal: set[bytes] = field(default_factory=set)
    excluded: set[bytes] = field(default_factory=set)

    @property
    def only_equal(self) -> bool:
        """Whether it asks for nothing but values that must be there."""
        return bool(self.equal) and not self.low and self.high == AFTER_ALL and not self.excluded

    def satisfied(self, found: list[bytes]) -> list[bytes]:
        """Return those of a property's values that satisfy the condition; none means that the entity does not.

        An equality asks only that its value is there; the entity may stand at another of its values in the order.
        """
        if not self.equal.issubset(found) or not all(self._within(value) for value in self.equal):
            return []
        return [value for value in found if self._within(value)]

    def _within(self, value: bytes) -> bool:
        return self.low <= value < self.high and value not in self.excluded

    def add(self, op: int, value: bytes) -> None:
        """Narrow by one operator; bounds are made inclusive below and exclusive above by a zero byte."""
        if op == wire.EQUAL:
            self.equal.add(value)
        elif op == wire.NOT_EQUAL:
            self.excluded.add(value)
        elif op == wire.LESS_THAN:
            self.high = min(self.high, value)
        elif op == wire.LESS_THAN_OR_EQUAL:
            self.high = min(self.high, value + b"\x00")
        elif op == wire.GREATER_THAN:
            self.low = max(self.low, value + b"\x00")
        else:
            self.low = max(self.low, value)


@dataclass(slots=True)
class Alternative:
    """Conditions that must all hold: on properties by name, and on the key."""

    properties: dict[str, Condition]
    key: Condition
    ancestor: bytes | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A sort order, by a property or by `__key__`."""

    name: str
    descending: bool


@dataclass(slots=True)
class Plan:
    """A query in the one shape that is executed.

    Attributes:
        partition: the bytes of project, database and namespace.
        kind: the kind, or None for all kinds.
        alternatives: an entity is a result if it satisfies one of them.
        orders: all orders, implied ones included; that of `__key__` is always among them.
        projection: the projected properties, without `__key__`.
        keys_only: whether only `__key__` is projected.
        distinct: the properties of `distinct_on`.
    """

    partition: bytes
    kind: str | None
    alternatives: list[Alternative]
    orders: list[Order]
    projection: list[str]
    keys_only: bool
    distinct: list[str]

    @property
    def directions(self) -> list[bool]:
        """For each part of a position, whether it descends."""
        return [order.descending for order in self.orders]

    @property
    def ordering(self) -> list[Order]:
        """The orders by properties."""
        return [order for order in self.orders if order.name != KEY]


def make_plan(query: Any, request: Any) -> Plan:
    """Check a query and return its plan.

    Args:
        query: a `wire.Query`.
        request: the request, for project, database and namespace.

    Raises:
        InvalidArgument: the query breaks a rule.
        Unimplemented: it asks for what the engine does not offer.
    """
    if query.HasField("find_nearest"):
        raise Unimplemented("the embedded Datastore does not offer vector search")
    kind = _kind(query)
    partition = _partition(request)
    builder = _Filters(request, partition)
    if query.HasField("filter"):
        alternatives = builder.alternatives(query.filter)
    else:
        everything = Condition(low=partition, high=partition + AFTER_DESCENDANTS)
        alternatives = [Alternative({}, everything)]
    projection = [item.property.name for item in query.projection]
    keys_only = projection == [KEY]
    plan = Plan(
        partition=partition,
        kind=kind,
        alternatives=alternatives,
        orders=_orders(query, builder.unequal),
        projection=[name for name in projection if name != KEY],
        keys_only=keys_only,
        distinct=[item.name for item in query.distinct_on],
    )
    _check(plan, query)
    return plan


def _kind(query: Any) -> str | None:
    if len(query.kind) > 1:
        raise InvalidArgument("a query has more than one kind")
    kind = query.kind[0].name if query.kind else ""
    if not kind:
        return None
    if not kind.startswith("__Stat_"):  # production's daily statistics: there are none here
        check_kind(kind)
    return str(kind)


def _partition(request: Any) -> bytes:
    asked = request.partition_id
    if (asked.project_id or request.project_id) != request.project_id or asked.database_id != request.database_id:
        raise InvalidArgument("the query's partition belongs to another project or database than the request")
    return partition_bytes(request.project_id, request.database_id, asked.namespace_id)


class _Filters:
    """Turns a filter into its disjunctive normal form."""

    def __init__(self, request: Any, partition: bytes) -> None:
        self._request = request
        self._partition = partition
        self.unequal: set[str] = set()  # properties that the filter orders by
        self._operators: list[int] = []
        self._has_or = False

    def alternatives(self, root: Any) -> list[Alternative]:
        """Return the alternatives of a whole filter, having checked what production refuses."""
        conjunctions = self._disjunctive(root)
        if len(conjunctions) > MAX_DISJUNCTIONS:
            raise InvalidArgument(f"the filter has {len(conjunctions)} disjunctions; the limit is {MAX_DISJUNCTIONS}")
        operators = self._operators
        if operators.count(wire.NOT_EQUAL) + operators.count(wire.NOT_IN) > 1:
            raise InvalidArgument("only a single NOT_EQUAL or NOT_IN is allowed in a query")
        if wire.NOT_IN in operators and (wire.IN in operators or self._has_or):
            raise InvalidArgument("NOT_IN cannot be used in one query with IN or OR")
        self._check_ancestors(root)
        return [self._alternative(conjunction) for conjunction in conjunctions]

    def _check_ancestors(self, node: Any) -> set[bytes]:
        """Return the ancestors of a filter, at most one, having refused an OR whose parts differ in theirs."""
        which = node.WhichOneof("filter_type")
        if which == "composite_filter":
            parts = [self._check_ancestors(part) for part in node.composite_filter.filters]
            found = set().union(*parts)
            alike = node.composite_filter.op == wire.AND or all(part == found for part in parts)
            if len(found) > 1 or not alike:
                raise InvalidArgument("all disjunctions must have a common and unique ancestor constraint")
            return found
        leaf = node.property_filter
        if leaf.op != wire.HAS_ANCESTOR or leaf.value.WhichOneof("value_type") != "key_value":
            return set()
        return {encode_key(leaf.value.key_value, self._request.project_id, self._request.database_id)}

    def _disjunctive(self, node: Any) -> list[list[Any]]:
        which = node.WhichOneof("filter_type")
        if which == "composite_filter":
            parts = [self._disjunctive(part) for part in node.composite_filter.filters]
            if not parts:
                raise InvalidArgument("a composite filter has no filters")
            if node.composite_filter.op == wire.OR:
                self._has_or = True
                return [conjunction for part in parts for conjunction in part]
            if node.composite_filter.op != wire.AND:
                raise InvalidArgument("a composite filter has no operator")
            if _size(parts) > MAX_DISJUNCTIONS:
                raise InvalidArgument(f"the filter has over {MAX_DISJUNCTIONS} disjunctions")
            return [[leaf for conjunction in chosen for leaf in conjunction] for chosen in product(*parts)]
        if which != "property_filter":
            raise InvalidArgument("a filter has no type")
        return self._leaves(node.property_filter)

    def _leaves(self, leaf: Any) -> list[list[Any]]:
        name, op = leaf.property.name, leaf.op
        if not name:
            raise InvalidArgument("a filter names no property")
        self._operators.append(op)
        if op in _UNEQUAL or (name == KEY and op != wire.HAS_ANCESTOR):
            self.unequal.add(name)  # equalities of keys in an OR order by the key as well
        if op not in (wire.IN, wire.NOT_IN):
            return [[(name, op, leaf.value)]]
        items = list(leaf.value.array_value.values)
        most = MAX_DISJUNCTIONS if op == wire.IN else MAX_NOT_IN
        if not 1 <= len(items) <= most:
            raise InvalidArgument(f"the filter on {name!r} by IN or NOT_IN needs 1 to {most} values, not {len(items)}")
        if op == wire.IN:
            return [[(name, wire.EQUAL, item)] for item in items]
        return [[(name, wire.NOT_EQUAL, item) for item in items]]

    def _alternative(self, conjunction: list[Any]) -> Alternative:
        found = Alternative({}, Condition(low=self._partition, high=self._partition + AFTER_DESCENDANTS))
        for name, op, value in conjunction:
            if op == wire.HAS_ANCESTOR or name == KEY:
                self._add_key(found, name, op, value)
            elif op in (*_RANGES, wire.EQUAL, wire.NOT_EQUAL):
                encoded = encode_value(value, self._request.project_id, self._request.database_id)
                found.properties.setdefault(name, Condition()).add(op, encoded)
            else:
                raise InvalidArgument(f"the filter on {name!r} has an unknown operator ({op})")
        return found

    def _add_key(self, found: Alternative, name: str, op: int, value: Any) -> None:
        condition = found.key
        if name != KEY:
            raise InvalidArgument(f"HAS_ANCESTOR applies to {KEY}, not to {name!r}")
        if value.WhichOneof("value_type") != "key_value":
            raise InvalidArgument(f"a filter on {KEY} needs a key")
        encoded = encode_key(value.key_value, self._request.project_id, self._request.database_id)
        if not encoded.startswith(self._partition):
            raise InvalidArgument("a key in a filter has another namespace than the query")
        if op == wire.HAS_ANCESTOR:
            found.ancestor = encoded
            condition.low = max(condition.low, encoded)
            condition.high = min(condition.high, encoded + AFTER_DESCENDANTS)
        elif op == wire.EQUAL:
            condition.low = max(condition.low, encoded)
            condition.high = min(condition.high, encoded + b"\x00")
        else:
            condition.add(op, encoded)


def _size(parts: list[list[list[Any]]]) -> int:
    size = 1
    for part in parts:
        size *= len(part)
    return size


def _orders(query: Any, unequal: set[str]) -> list[Order]:
    """Return all orders: those given, then inequalities, distinct and projected properties by name, then the key,
    which comes before the projected ones where it has an inequality. An implied order has the direction of the last
    given one (measured on the Firestore emulator)."""
    given = [(item.property.name, item.direction == wire.DESCENDING) for item in query.order]
    names = [name for name, _ in given]
    if len(set(names)) < len(names):
        raise InvalidArgument("a query is ordered by one property twice")
    down = given[-1][1] if given else False
    implied = sorted(unequal - {KEY})
    if KEY in unequal:
        implied.append(KEY)
    implied += sorted(item.name for item in query.distinct_on)
    implied += sorted(item.property.name for item in query.projection if item.property.name != KEY)
    implied.append(KEY)
    orders = dict(given)
    for name in implied:
        orders.setdefault(name, down)
    if "" in orders:
        raise InvalidArgument("an order or projection names no property")
    return [Order(name, descending) for name, descending in orders.items()]


def _check(plan: Plan, query: Any) -> None:
    filtered = {name for alternative in plan.alternatives for name in alternative.properties}
    if plan.kind is None and (filtered or plan.orders != [Order(KEY, False)]):
        raise InvalidArgument(f"a query without a kind can filter by {KEY} only, and order by it ascending only")
    if query.offset < 0 or (query.HasField("limit") and query.limit.value < 0):
        raise InvalidArgument("offset and limit cannot be negative")
    if len(plan.projection) != len(set(plan.projection)):
        raise InvalidArgument("a property is projected twice")
    for name in plan.projection:
        if any(alternative.properties.get(name, Condition()).equal for alternative in plan.alternatives):
            raise InvalidArgument(f"cannot use projection on {name!r}, which has an equality filter")
    first = {order.name for order in plan.orders[: len(set(plan.distinct))]}
    if first != set(plan.distinct) and plan.distinct:
        raise InvalidArgument("the properties of distinct_on must come first in the orders")
