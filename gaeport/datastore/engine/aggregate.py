"""Counts, sums and averages over a query's results."""

from collections.abc import Iterable
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.engine.search import Result
from gaeport.errors import InvalidArgument

MAX_AGGREGATIONS = 5
_MAX, _MIN = (1 << 63) - 1, -(1 << 63)


def fill(answer: Any, aggregations: Iterable[Any], results: Iterable[Result]) -> None:
    """Fill an AggregationResult.

    Args:
        answer: the message to fill.
        aggregations: what to compute, at most 5.
        results: the nested query's results.

    Raises:
        InvalidArgument: there are none or too many aggregations, or two of one name.
    """
    wanted = list(aggregations)
    if not 1 <= len(wanted) <= MAX_AGGREGATIONS:
        raise InvalidArgument(f"an aggregation query has 1 to {MAX_AGGREGATIONS} aggregations, not {len(wanted)}")
    count = 0
    numbers: dict[str, list[int | float]] = {
        getattr(item, item.WhichOneof("operator")).property.name: []
        for item in wanted
        if item.WhichOneof("operator") in ("sum", "avg")
    }
    for result in results:
        count += 1
        if numbers:
            _collect(numbers, wire.Entity.FromString(result.row.data))
    unnamed = 0
    for item in wanted:
        unnamed += not item.alias
        alias = item.alias or f"property_{unnamed}"
        if alias in answer.aggregate_properties:
            raise InvalidArgument(f"two aggregations have the alias {alias!r}")
        _set(answer.aggregate_properties[alias], item, count, numbers)


def _collect(numbers: dict[str, list[int | float]], entity: Any) -> None:
    for name, found in numbers.items():
        if name in entity.properties:
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
