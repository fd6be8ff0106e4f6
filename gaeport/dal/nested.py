"""Selects inside of selects: in FROM, in `belongs()`, and common table expressions. All are evaluated in memory."""

from collections.abc import Iterator
from typing import Any

from pydal.objects import Expression, Field, Query, Select

_SPEAKING = ("join", "left", "groupby", "having", "orderby", "distinct")  # attributes that may speak of tables
_RECURSIVE = "_gaeport_recursive"


def nested_in(*items: Any) -> list[Any]:
    """Return the nested selects that queries, fields and attributes speak of, and those inside of them, once each."""
    found: dict[int, Any] = {}
    for item in items:
        _gather(item, found)
    return list(found.values())


def _gather(item: Any, found: dict[int, Any]) -> None:
    for select in _spoken_of(item):
        # An alias is a copy of the select that shares its condition.
        if id(select._query) in found:
            continue
        found[id(select._query)] = select
        for part in (select._query, *select._qfields, *recursive_parts(select)):
            _gather(part, found)
        _gather([select._attributes.get(name) for name in _SPEAKING], found)


def _spoken_of(item: Any) -> Iterator[Any]:
    if isinstance(item, Select):
        yield item
    elif isinstance(item, Field):
        if isinstance(item.table, Select):
            yield item.table
    elif isinstance(item, Expression | Query):
        for part in (item.first, item.second, *(item.optional_args or {}).values()):
            yield from _spoken_of(part)
    elif isinstance(item, list | tuple | set):
        for part in item:
            yield from _spoken_of(part)


def recursive_parts(select: Any) -> list[Any]:
    """Return the selects that a recursive table expression is united with.

    pyDAL replaces them by their SQL when it is made for the first time; so they are kept beside.
    """
    kept: list[Any] = select.__dict__.setdefault(_RECURSIVE, [])
    for _, part in select._cte_recursive or []:
        if isinstance(part, Select) and not any(part is other for other in kept):
            kept.append(part)
    return kept


def correlated(select: Any, outer: Any, inner: Any) -> bool:
    """Return whether a nested select speaks of tables of the query around it.

    Args:
        select: the nested select.
        outer: the names of the tables of the query around it.
        inner: the names of its own.
    """
    return bool(select._correlated and set(outer) & set(inner))
