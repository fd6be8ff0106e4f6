"""pyDAL's query trees, translated to what Datastore serves; what it cannot serve is left for the scratch database.

A translation never leaves out a row that belongs to the answer. Where it is `exact`, it lets no other through either.
"""

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydal.objects import Expression, Field, Query

from gaeport.dal.columns import Column, TableColumns, columns_of
from gaeport.dal.conditions import (
    EVERYTHING,
    KEY,
    NOTHING,
    NULL,
    Comparison,
    Condition,
    Nothing,
    both,
    either,
    long_list,
    not_null,
    serveable,
)
from gaeport.datastore import wire
from gaeport.datastore.field_types import TEXTS
from gaeport.errors import FieldValueError

_OPPOSITE = {"eq": "ne", "ne": "eq", "lt": "gte", "gte": "lt", "gt": "lte", "lte": "gt"}
_OPERATORS = {
    "eq": wire.EQUAL,
    "ne": wire.NOT_EQUAL,
    "lt": wire.LESS_THAN,
    "lte": wire.LESS_THAN_OR_EQUAL,
    "gt": wire.GREATER_THAN,
    "gte": wire.GREATER_THAN_OR_EQUAL,
}
_WILDCARDS = re.compile(r"[%_]")
_LAST_BEFORE_SURROGATES, _FIRST_AFTER_SURROGATES, _LAST = 0xD7FF, 0xE000, 0x10FFFF
MAX_NOT_IN = 10


@dataclass(slots=True)
class Translation:
    """What Datastore serves of a query on one table.

    Attributes:
        condition: the filter.
        ids: the ids that a row must have one of, where the query names them: a lookup then serves it.
        reasons: what is left to do in memory; empty where the translation is exact.
    """

    condition: Condition = EVERYTHING
    ids: list[int] | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether every row that the filter lets through belongs to the answer."""
        return not self.reasons

    @property
    def split(self) -> bool:
        """Whether several queries serve it, so that their results come in no order."""
        return long_list(self.condition) is not None

    @property
    def empty(self) -> bool:
        """Whether no row belongs to the answer."""
        return isinstance(self.condition, Nothing) or self.ids == []


def operator_of(query: Any) -> str:
    """Return the name of a query's operator, such as "eq", "_and", "belongs"; "" for SQL given as text."""
    return getattr(getattr(query, "op", None), "__name__", "")


def conjuncts(query: Any) -> list[Any]:
    """Return the parts of a query that are all required."""
    if isinstance(query, bool):
        return [query]
    if not isinstance(query, Query | Expression):
        return []
    if operator_of(query) == "_and":
        return conjuncts(query.first) + conjuncts(query.second)
    return [query]


def translate(parts: Sequence[Any], table: Any, make_key: Callable[[str, int], Any]) -> Translation:
    """Translate the conditions that a row of one table must fulfil.

    Args:
        parts: queries, all required, that speak of this table; what speaks of others too is left for memory.
        table: the table, under its alias.
        make_key: the Datastore key for a kind and an id.
    """
    worker = _Translator(table, make_key)
    found: list[Condition] = []
    ids: list[int] | None = None
    for part in parts:
        named = worker.named_ids(part)
        if named is None:
            found.append(worker.visit(part, negate=False))
        else:
            ids = named if ids is None else [number for number in ids if number in set(named)]
    condition = both(found)
    if ids is not None:
        if condition != EVERYTHING and not worker.reasons:
            worker.reasons.append("other conditions beside the id")
        return Translation(NOTHING if isinstance(condition, Nothing) else EVERYTHING, ids, worker.reasons)
    condition, left_out = serveable(condition)
    return Translation(condition, None, worker.reasons + left_out)


class _Translator:
    """Translates for one table, and notes what it cannot."""

    def __init__(self, table: Any, make_key: Callable[[str, int], Any]) -> None:
        self.table = table
        self.columns: TableColumns = columns_of(table)
        self.make_key = make_key
        self.reasons: list[str] = []

    def inexact(self, reason: str) -> Condition:
        """Leave a part for memory."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return EVERYTHING

    def visit(self, query: Any, *, negate: bool) -> Condition:
        """Return the condition of a query or its negation (NULL fulfils neither, as in SQL)."""
        if isinstance(query, bool):
            return NOTHING if query == negate else EVERYTHING
        name = operator_of(query)
        if name in ("_and", "_or"):
            parts = [self.visit(query.first, negate=negate), self.visit(query.second, negate=negate)]
            return both(parts) if (name == "_and") != negate else either(parts)
        if name == "_not":
            return self.visit(query.first, negate=not negate)
        if name in _OPPOSITE:
            return self._comparison(query, _OPPOSITE[name] if negate else name)
        leaf = getattr(self, f"_{name}_leaf", None)
        if leaf is None:
            return self.inexact(f"{name or 'SQL as text'}()")
        found: Condition = leaf(query, negate)
        return found

    def named_ids(self, query: Any) -> list[int] | None:
        """Return the ids that a required part names, or None where it names none."""
        name = operator_of(query)
        if name not in ("eq", "belongs") or not self._is_id(query.first):
            return None
        values = [query.second] if name == "eq" else query.second
        if isinstance(values, str | Expression) or any(isinstance(value, Expression | Query) for value in values):
            return None
        return [number for number in dict.fromkeys(_number(value) for value in values) if number and number > 0]

    def _is_id(self, first: Any) -> bool:
        return self._owns(first) and first.name == self.columns.id_name

    def _owns(self, first: Any) -> bool:
        return isinstance(first, Field) and first._tablename == self.table._tablename

    def _column(self, first: Any) -> Column | None:
        """Return the column that Datastore can search, or None after noting why there is none."""
        if operator_of(first) == "lower" and self._owns(first.first):
            column = self.columns.columns.get(first.first.name)
            if column is not None and column.folded is not None:
                return column.folded
        if not self._owns(first):
            what = "a comparison between tables" if isinstance(first, Field) else "a comparison of an expression"
            self.inexact(what)
            return None
        column = self.columns.columns.get(first.name)
        if column is None:
            return None
        if not column.searchable:
            remedy = "; Field(indexed=True) would change that" if column.kind.name in TEXTS else ""
            self.inexact(f"{column.label} is not indexed ({column.kind.name}){remedy}")
            return None
        return column

    def _comparison(self, query: Any, name: str) -> Condition:
        first, second = query.first, query.second
        if isinstance(second, Expression | Query):
            return self.inexact("a comparison between fields")
        if self._is_id(first):
            return self._id_comparison(name, second)
        if not isinstance(first, Field) and operator_of(first) == "extract" and first.second == "year":
            return self._year(first.first, name, second)
        column = self._column(first)
        if column is None:
            return EVERYTHING
        if second is None and not column.kind.is_list:
            return Comparison(column.prop, wire.EQUAL, (NULL,)) if name == "eq" else not_null(column.prop)
        if column.kind.is_list:
            return self.inexact(f"a comparison of the whole list {column.label}")
        return self._compared(column, name, second)

    def _compared(self, column: Column, name: str, value: Any) -> Condition:
        stored = column.to_wire(value)
        if stored == NULL:
            return NOTHING  # as in SQL, where a comparison with NULL is never true
        found = Comparison(column.prop, _OPERATORS[name], (stored,))
        return both([found, not_null(column.prop)]) if name in ("ne", "lt", "lte") else found

    def _id_comparison(self, name: str, value: Any) -> Condition:
        if value is None:
            return NOTHING if name == "eq" else EVERYTHING
        number = _number(value)
        if number is None:
            return NOTHING
        if number < 1:  # no id is
            return EVERYTHING if name in ("ne", "gt", "gte") else NOTHING
        key = wire.Value(key_value=self.make_key(self.columns.kind, number))
        return Comparison(KEY, _OPERATORS[name], (key,))

    def _year(self, first: Any, name: str, value: Any) -> Condition:
        column = self._column(first)
        year = _number(value)
        if column is None or column.kind.name not in ("date", "datetime") or year is None or not 1 <= year < 9999:
            return self.inexact("a comparison of a year")
        start, after = datetime.datetime(year, 1, 1), datetime.datetime(year + 1, 1, 1)
        if name == "eq":
            return both([self._compared(column, "gte", start), self._compared(column, "lt", after)])
        if name == "ne":
            return either([self._compared(column, "lt", start), self._compared(column, "gte", after)])
        bound = {"lt": start, "gte": start, "lte": after, "gt": after}[name]
        return self._compared(column, {"lt": "lt", "gte": "gte", "lte": "lt", "gt": "gte"}[name], bound)

    def _belongs_leaf(self, query: Any, negate: bool) -> Condition:
        first, second = query.first, query.second
        if isinstance(second, str | Expression) or any(isinstance(value, Expression | Query) for value in second):
            return self.inexact("belongs() with an expression")
        if self._is_id(first):
            return self._belongs(KEY, self._keys(second), negate)
        column = self._column(first)
        if column is None:
            return EVERYTHING
        if column.kind.is_list:
            return self.inexact(f"a comparison of the whole list {column.label}")
        return self._belongs(column.prop, [column.to_wire(value) for value in second], negate)

    def _keys(self, values: Sequence[Any]) -> list[Any]:
        numbers = [_number(value) for value in values]
        kind = self.columns.kind
        return [wire.Value(key_value=self.make_key(kind, number)) for number in numbers if number and number > 0]

    def _belongs(self, prop: str, values: list[Any], negate: bool) -> Condition:
        given = [value for value in values if value != NULL]
        if not negate:
            if len(given) < 2:
                return Comparison(prop, wire.EQUAL, (given[0],)) if given else NOTHING
            return Comparison(prop, wire.IN, tuple(given))
        if len(given) < len(values):
            return NOTHING  # as in SQL: NOT IN a list with NULL is never true
        if not given:
            return EVERYTHING
        if len(given) > MAX_NOT_IN or prop == KEY:
            return self.inexact(f"NOT IN more than {MAX_NOT_IN} values")
        if len(given) == 1:
            return both([Comparison(prop, wire.NOT_EQUAL, (given[0],)), not_null(prop)])
        return both([Comparison(prop, wire.NOT_IN, tuple(given)), not_null(prop)])

    def _startswith_leaf(self, query: Any, negate: bool) -> Condition:
        if negate or isinstance(query.second, Expression):
            return self.inexact("NOT startswith()" if negate else "startswith() of an expression")
        return self._prefix(query.first, str(query.second))

    def _like_leaf(self, query: Any, negate: bool) -> Condition:
        pattern = query.second
        if negate or not isinstance(pattern, str) or query.optional_args.get("escape"):
            return self.inexact("like() with an expression, an escape or NOT")
        column = self._column(query.first)
        if column is None:
            return EVERYTHING
        if not column.is_text:
            return self.inexact(f"a pattern of {column.label}, which is no text")
        return self._matching(column, pattern, "like")

    def _ilike_leaf(self, query: Any, negate: bool) -> Condition:
        column = self.columns.columns.get(query.first.name) if self._owns(query.first) else None
        if column is None or column.folded is None:
            return self.inexact("ilike() on a field without folded=True")
        if negate or not isinstance(query.second, str) or query.optional_args.get("escape"):
            return self.inexact("ilike() with an expression, an escape or NOT")
        return self._matching(column.folded, query.second.lower(), "ilike")

    def _matching(self, column: Column, pattern: str, operator: str) -> Condition:
        """Return the condition that a text matches a pattern of LIKE, or what it implies."""
        found = _WILDCARDS.search(pattern)
        if found is None:
            return self._text(column, "eq", pattern)
        if pattern[found.start() :] != "%":
            self.inexact(f"{operator}({pattern!r})")
        return self._with_prefix(column, pattern[: found.start()])

    def _prefix(self, first: Any, prefix: str) -> Condition:
        column = self._column(first)
        if column is None:
            return EVERYTHING
        if not column.is_text:
            return self.inexact(f"a prefix of {column.label}, which is no text")
        return self._with_prefix(column, prefix)

    def _with_prefix(self, column: Column, prefix: str) -> Condition:
        if not prefix:
            return not_null(column.prop)
        after = _after_prefix(prefix)
        low = self._text(column, "gte", prefix)
        return low if after is None else both([low, self._text(column, "lt", after)])

    def _text(self, column: Column, name: str, value: str) -> Condition:
        try:
            return self._compared(column, name, value)
        except FieldValueError:
            return NOTHING  # longer than any indexed value

    def _contains_leaf(self, query: Any, negate: bool) -> Condition:
        first, second = query.first, query.second
        if not getattr(first, "type", "").startswith("list:"):
            label = getattr(first, "longname", "an expression")
            return self.inexact(f"contains() on the text {label}")
        if negate or isinstance(second, Expression) or str(second) == "":
            return self.inexact("contains() with an expression, an empty string or NOT")
        column = self._column(first)
        if column is None:
            return EVERYTHING
        try:
            if column.folded is not None and not query.optional_args.get("case_sensitive"):
                return Comparison(column.folded.prop, wire.EQUAL, (column.item_to_wire(str(second).lower()),))
            return Comparison(column.prop, wire.EQUAL, (column.item_to_wire(second),))
        except FieldValueError:
            return NOTHING  # no element of the list's type


def _number(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return int(value if isinstance(value, int | float | str) else value["id"])
    except (TypeError, ValueError, KeyError):
        return None


def _after_prefix(prefix: str) -> str | None:
    """Return the least text after all that begin with a prefix; None where there is none."""
    shortened = prefix.rstrip(chr(_LAST))
    if not shortened:
        return None
    last = ord(shortened[-1])
    following = _FIRST_AFTER_SURROGATES if last == _LAST_BEFORE_SURROGATES else last + 1
    return shortened[:-1] + chr(following)


def order_of(orderby: Any, table: Any) -> tuple[list[tuple[str, int]], list[str]]:
    """Translate an order to properties and directions.

    Args:
        orderby: what pyDAL takes: a field, ~field, field | field, or a list of them; False or None for none.
        table: the table, under its alias.

    Returns:
        The order, and the reasons why it has to be made in memory; with a reason the order is not complete.
    """
    found: list[tuple[str, int]] = []
    reasons: list[str] = []
    for item in order_items(orderby):
        column, direction = item, wire.ASCENDING
        if isinstance(item, Expression) and operator_of(item) == "invert":
            column, direction = item.first, wire.DESCENDING
        prop = _order_property(column, table)
        if prop is None:
            reasons.append(f"order by {column}")
        elif prop not in [name for name, _ in found]:
            found.append((prop, direction))
    keys = [name for name, _ in found]
    return (found[: keys.index(KEY) + 1] if KEY in keys else found), reasons


def order_items(orderby: Any) -> list[Any]:
    """Return the fields and expressions of an order, in order."""
    if orderby is None or orderby is False:
        return []
    if isinstance(orderby, list | tuple):
        return [part for item in orderby for part in order_items(item)]
    if isinstance(orderby, Expression) and not isinstance(orderby, Field) and operator_of(orderby) == "comma":
        return order_items(orderby.first) + order_items(orderby.second)
    return [orderby]


def _order_property(item: Any, table: Any) -> str | None:
    folded = isinstance(item, Expression) and operator_of(item) == "lower"
    field_ = item.first if folded else item
    if not isinstance(field_, Field) or field_._tablename != table._tablename:
        return None
    columns = columns_of(table)
    if field_.name == columns.id_name:
        return None if folded else KEY
    column = columns.columns.get(field_.name)
    if folded and column is not None:
        column = column.folded
    return column.prop if column is not None and column.searchable and not column.kind.is_list else None
