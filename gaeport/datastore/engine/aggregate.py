"""Counts, sums and averages over a query's results."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.engine.search import Result
from gaeport.datastore.values import decode_value
from gaeport.errors import InvalidArgument

MAX_AGGREGATIONS = 5
_MAX, _MIN = (1 << 63) - 1, -(1 << 63)


def nested_query(query: Any) -> Any:
    """Return the query to run for an AggregationQuery.

    sum() and avg() read their property from the index as a projection does: its order, its rows (one for each value of
    an array), its want of entities that lack the property ("Aggregation queries"; measured on the Firestore emulator).

    Raises:
        InvalidArgument: a property is not there to be aggregated.
    """
    names = _properties(query.aggregations)
    nested = query.nested_query
    if not names:
        return nested
    if "__key__" in names:
        raise InvalidArgument("aggregations are not supported for the property __key__")
    projected = [item.property.name for item in nested.projection]
    missing = [name for name in names if name not in projected]
    if projected and missing:
        raise InvalidArgument(f"the aggregated property {missing[0]!r} is not in the query's projection")
    if not nested.kind:
        return nested
    found = wire.Query()
    found.CopyFrom(nested)
    equal = set(_equal(nested.filter))  # a projection cannot show those
    for name in missing:
        if name not in equal:
            found.projection.add().property.name = name
    return found


def _properties(aggregations: Iterable[Any]) -> list[str]:
    found = (item.WhichOneof("operator") for item in aggregations)
    names = (
        getattr(item, which).property.name
        for item, which in zip(aggregations, found, strict=True)
        if which in ("sum", "avg")
    )
    return list(dict.fromkeys(names))


def _equal(node: Any) -> Iterator[str]:
    if node.WhichOneof("filter_type") == "composite_filter":
        for part in node.composite_filter.filters:
            yield from _equal(part)
    elif node.property_filter.op in (wire.EQUAL, wire.IN):
        yield node.property_filter.property.name


def needs_rows(query: Any) -> bool:
    """Whether an AggregationQuery needs the entities themselves, not only their number."""
    return bool(_properties(query.aggregations))


def fill(answer: Any, aggregations: Iterable[Any], results: Iterable[Result], count: int | None = None) -> int:
    """Fill an AggregationResult; return how many results were read.

    Args:
        answer: the message to fill.
        aggregations: what to compute, at most 5.
        results: those of the query that `nested_query` gave.
        count: how many they are, at most `most(aggregations)`, where that is known; then none is read.

    Raises:
        InvalidArgument: there are none or too many aggregations, or two of one name.
    """
    wanted = list(aggregations)
    if not 1 <= len(wanted) <= MAX_AGGREGATIONS:
        raise InvalidArgument(f"an aggregation query has 1 to {MAX_AGGREGATIONS} aggregations, not {len(wanted)}")
    numbers: dict[str, list[int | float]] = {name: [] for name in _properties(wanted)}
    if count is None:
        count = 0
        for result in islice(results, most(wanted)):
            count += 1
            if numbers:
                _collect(numbers, result)
    unnamed = 0
    for item in wanted:
        unnamed += not item.alias
        alias = item.alias or f"property_{unnamed}"
        if alias in answer.aggregate_properties:
            raise InvalidArgument(f"two aggregations have the alias {alias!r}")
        _set(answer.aggregate_properties[alias], item, count, numbers)
    return count


def most(aggregations: Iterable[Any]) -> int | None:
    """Return how many results matter; None when all do.

    Raises:
        InvalidArgument: a count goes up to a negative number.
    """
    wanted = list(aggregations)
    if not wanted or not all(
        item.WhichOneof("operator") == "count" and item.count.HasField("up_to") for item in wanted
    ):
        return None
    limits: list[int] = [item.count.up_to.value for item in wanted]
    if min(limits) < 0:
        raise InvalidArgument(f"count up to {min(limits)}: the limit cannot be negative")
    return max(limits)


def _collect(numbers: dict[str, list[int | float]], result: Result) -> None:
    shown = result.hit.shown or {}
    entity = None
    for name, found in numbers.items():
        if name in shown:
            value = decode_value(shown[name])
        else:
            entity = entity or wire.Entity.FromString(result.row.data)
            if name not in entity.properties:
                continue
            value = entity.properties[name]
        which = value.WhichOneof("value_type")
        if which in ("integer_value", "double_value"):
            found.append(getattr(value, which))


def _set(value: Any, item: Any, count: int, numbers: dict[str, list[int | float]]) -> None:
    which = item.WhichOneof("operator")
    if which == "count":
        limited = item.count.HasField("up_to")
        value.integer_value = min(count, item.count.up_to.value) if limited else count
        return
    if which is None:
        raise InvalidArgument("an aggregation has no operator")
    found = numbers[getattr(item, which).property.name]
    if which == "avg":
        if found:
            value.double_value = sum(found) / len(found)
        else:
            value.null_value = 0
        return
    total = sum(found)
    if isinstance(total, int) and _MIN <= total <= _MAX:
        value.integer_value = total
    else:
        value.double_value = float(total)
