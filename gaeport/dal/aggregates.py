"""Counts, sums, averages, least and greatest values that Datastore reads from its indexes, without an entity."""

from collections.abc import Sequence
from typing import Any

from pydal.objects import Expression, Field

from gaeport.dal.columns import columns_of
from gaeport.dal.conditions import both, not_null
from gaeport.dal.store import Store
from gaeport.dal.translation import Translation, operator_of
from gaeport.datastore import wire
from gaeport.datastore.field_types import decimal_from_stored


def plain_aggregates(fields: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return what each expression aggregates and which field; nothing unless all are plain aggregates of fields."""
    wanted = [_aggregate_of(field) for field in fields]
    found = [pair for pair in wanted if pair is not None]
    return found if len(found) == len(wanted) else []


def _aggregate_of(expression: Any) -> tuple[str, Any] | None:
    """Return what an expression aggregates and which field, or None where it is no plain aggregate of a field."""
    if isinstance(expression, Field) or not isinstance(expression, Expression):
        return None
    name = operator_of(expression)
    if name == "_as":
        return _aggregate_of(expression.first)
    if name == "count" and isinstance(expression.first, Field) and not expression.second:
        return "COUNT", expression.first
    if name == "aggregate" and isinstance(expression.first, Field):
        return (expression.second, expression.first) if expression.second in ("SUM", "AVG", "MIN", "MAX") else None
    return None


def aggregable(table: Any, name: str, field: Any) -> bool:
    """Return whether Datastore can aggregate a field of a table."""
    if field._tablename != table._tablename:
        return False
    columns = columns_of(table)
    if field.name == columns.id_name:
        return name == "COUNT"
    column = columns.columns[field.name]
    if not column.searchable or column.kind.is_list:
        return False
    numeric = column.kind.name in ("integer", "bigint", "double", "float", "decimal") and column.kind.scaled
    return name in ("COUNT", "MIN", "MAX") or numeric


def aggregate(store: Store, table: Any, translation: Translation, name: str, field: Any) -> Any:
    """Return one aggregate over what a translation lets through, from the indexes; None over nothing, as in SQL."""
    columns = columns_of(table)
    if field.name == columns.id_name:
        return store.aggregate(columns, translation.condition, "count").integer_value
    column = columns.columns[field.name]
    condition = both([translation.condition, not_null(column.prop)])
    if name == "COUNT":
        return store.aggregate(columns, condition, "count").integer_value
    if name in ("MIN", "MAX"):
        order = [(column.prop, wire.ASCENDING if name == "MIN" else wire.DESCENDING)]
        first = next(store.fetch(columns, Translation(condition), order=order, limit=1), None)
        return None if first is None else column.from_wire(first.entity.properties[column.prop])
    # The sum of nothing is 0 in Datastore and NULL in SQL; the average tells the two apart.
    average = store.aggregate(columns, translation.condition, "avg", column.prop)
    if average.WhichOneof("value_type") == "null_value":
        return None
    if name == "AVG":
        mean = average.double_value if average.WhichOneof("value_type") == "double_value" else average.integer_value
        return mean / 10**column.kind.scale if column.kind.name == "decimal" else mean
    total = store.aggregate(columns, translation.condition, "sum", column.prop)
    number = getattr(total, total.WhichOneof("value_type"))
    return decimal_from_stored(int(number), column.kind) if column.kind.name == "decimal" else number
