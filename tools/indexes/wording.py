"""Queries and indexes in words: GQL for the ones, a line for the others."""

from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.indexes import Index

_OPERATORS = {
    wire.EQUAL: "=",
    wire.NOT_EQUAL: "!=",
    wire.LESS_THAN: "<",
    wire.LESS_THAN_OR_EQUAL: "<=",
    wire.GREATER_THAN: ">",
    wire.GREATER_THAN_OR_EQUAL: ">=",
    wire.IN: "IN",
    wire.NOT_IN: "NOT IN",
    wire.HAS_ANCESTOR: "HAS ANCESTOR",
}


def query_text(query: Any) -> str:
    """Return a query as GQL, with ? for each value, such as "SELECT * FROM Note WHERE tags = ? ORDER BY created DESC".

    Args:
        query: a `wire.Query` or `wire.AggregationQuery`.
    """
    if query.DESCRIPTOR.name == "AggregationQuery":
        names = ", ".join(_aggregation(item) for item in query.aggregations)
        return f"SELECT {names}{_rest(query.nested_query)}"
    read = ", ".join(item.property.name for item in query.projection) or "*"
    distinct = ", ".join(item.name for item in query.distinct_on)
    return f"SELECT {f'DISTINCT ON ({distinct}) ' if distinct else ''}{read}{_rest(query)}"


def index_text(index: Index) -> str:
    """Return an index as a line, such as "Note (tags, created desc)"."""
    names = ", ".join(name if way == "asc" else f"{name} desc" for name, way in index.properties)
    return f"{index.kind} ({names}){' with ancestors' if index.ancestor else ''}"


def _rest(query: Any) -> str:
    text = f" FROM {query.kind[0].name}" if query.kind else ""
    if query.HasField("filter"):
        text += f" WHERE {_condition(query.filter, top=True)}"
    if query.order:
        text += f" ORDER BY {', '.join(_order(item) for item in query.order)}"
    return text


def _condition(node: Any, *, top: bool = False) -> str:
    if node.WhichOneof("filter_type") == "composite_filter":
        word = " OR " if node.composite_filter.op == wire.OR else " AND "
        text = word.join(_condition(part) for part in node.composite_filter.filters)
        return text if top or len(node.composite_filter.filters) < 2 else f"({text})"
    leaf = node.property_filter
    return f"{leaf.property.name} {_OPERATORS[leaf.op]} ?"


def _order(item: Any) -> str:
    return f"{item.property.name} DESC" if item.direction == wire.DESCENDING else str(item.property.name)


def _aggregation(item: Any) -> str:
    name = item.WhichOneof("operator")
    if name == "count":
        return "COUNT(*)"
    return f"{name.upper()}({getattr(item, name).property.name})"
