"""GQL: from the text of a query and its bindings to the Query message that it stands for.

Source of grammar and meaning: "GQL Reference" of Firestore in Datastore mode.
"""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from gaeport.datastore import wire
from gaeport.datastore.gql_tokens import Token, refusal, tokens
from gaeport.datastore.values import set_micros
from gaeport.errors import InvalidArgument

_T = TypeVar("_T")

# Words that a name must put in backquotes (measured on Google's emulators).
RESERVED = frozenset(
    {"AGGREGATE", "ANCESTOR", "AND", "AS", "ASC", "AVG", "BY", "CONTAINS", "COUNT", "COUNT_UP_TO", "DESC", "DESCENDANT"}
    | {"DISTINCT", "FALSE", "FROM", "GROUP", "HAS", "IN", "IS", "LIMIT", "NOT", "NULL", "OFFSET", "ON", "OR", "ORDER"}
    | {"OVER", "SELECT", "SUM", "TRUE", "WHERE"}
)
_COMPARATORS = {
    "=": wire.EQUAL,
    "!=": wire.NOT_EQUAL,
    "<": wire.LESS_THAN,
    "<=": wire.LESS_THAN_OR_EQUAL,
    ">": wire.GREATER_THAN,
    ">=": wire.GREATER_THAN_OR_EQUAL,
}
_TURNED = {
    wire.LESS_THAN: wire.GREATER_THAN,
    wire.LESS_THAN_OR_EQUAL: wire.GREATER_THAN_OR_EQUAL,
    wire.GREATER_THAN: wire.LESS_THAN,
    wire.GREATER_THAN_OR_EQUAL: wire.LESS_THAN_OR_EQUAL,
}
_AGGREGATORS = ("COUNT", "COUNT_UP_TO", "SUM", "AVG")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT32, _INT64 = (1 << 31) - 1, (1 << 63) - 1


def parse_query(gql: Any, partition: Any) -> Any:
    """Return the `wire.Query` of a `wire.GqlQuery`.

    Args:
        gql: the message, with its bindings.
        partition: the request's `wire.PartitionId`; KEY literals without PROJECT or NAMESPACE belong to it.

    Raises:
        InvalidArgument: it is no GQL query, or is an aggregation, has literals that allow_literals forbids, or its
            binding sites and bindings do not match; the message shows the place.
    """
    return _Parser(gql, partition).whole(_Parser.query)


def parse_aggregation_query(gql: Any, partition: Any) -> Any:
    """Return the `wire.AggregationQuery` of a `wire.GqlQuery`; arguments and errors as `parse_query`'s."""
    return _Parser(gql, partition).whole(_Parser.aggregation_query)


class _Parser:
    """Recursive descent, one method for each rule of the grammar."""

    def __init__(self, gql: Any, partition: Any) -> None:
        self._text = gql.query_string
        self._gql = gql
        self._partition = partition
        self._tokens = tokens(self._text)
        self._at = 0
        self._used: set[int] = set()  # positional bindings

    def whole(self, rule: "Callable[[_Parser], _T]") -> _T:
        found = rule(self)
        if self._next.type != "end":
            raise self._refusal("the query should end here")
        unused = [n for n in range(1, len(self._gql.positional_bindings) + 1) if n not in self._used]
        if unused:
            raise InvalidArgument(f"GQL query: the positional binding {unused[0]} has no binding site @{unused[0]}")
        return found

    # Words

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _taken(self, *words: str) -> bool:
        """Take these words if they come next, in this order."""
        coming = self._tokens[self._at : self._at + len(words)]
        if len(coming) < len(words) or not all(item.is_word(word) for item, word in zip(coming, words, strict=True)):
            return False
        self._at += len(words)
        return True

    def _expect(self, *words: str) -> None:
        if not self._taken(*words):
            raise self._refusal(f"expected {' '.join(words)}")

    def _refusal(self, what: str, token: Token | None = None) -> InvalidArgument:
        return refusal(self._text, (token or self._next).at, what)

    def _listed(self, rule: Callable[[], _T]) -> list[_T]:
        found = [rule()]
        while self._taken(","):
            found.append(rule())
        return found

    def _name(self, what: str) -> str:
        token = self._next
        if token.type == "name" and token.text.upper() in RESERVED:
            raise self._refusal(f"expected {what}; a name that is a keyword is written in backquotes, `{token.text}`")
        if token.type not in ("name", "quoted") or not token.text:
            raise self._refusal(f"expected {what}")
        return self._take().text

    def _property(self) -> str:
        parts = [self._name("a property's name")]
        while self._taken("."):
            parts.append(self._name("a property's name"))
        return ".".join(parts)

    # Queries

    def query(self) -> Any:
        self._expect("SELECT")
        query = wire.Query()
        if self._is_aggregation():
            raise self._refusal("an aggregation belongs in RunAggregationQuery")
        self._selected(query)
        self._from_and_where(query)
        if self._taken("ORDER", "BY"):
            for name, direction in self._listed(self._order):
                query.order.add(direction=direction).property.name = name
        if self._taken("LIMIT"):
            self._limit(query)
        if self._taken("OFFSET"):
            self._offset(query)
        return query

    def aggregation_query(self) -> Any:
        found = wire.AggregationQuery()
        if self._taken("AGGREGATE"):
            self._listed(lambda: self._aggregation(found.aggregations.add()))
            self._expect("OVER", "(")
            found.nested_query.CopyFrom(self.query())
            self._expect(")")
            return found
        self._expect("SELECT")
        self._listed(lambda: self._aggregation(found.aggregations.add()))
        found.nested_query.SetInParent()
        self._from_and_where(found.nested_query)
        return found

    def _is_aggregation(self) -> bool:
        return self._next.is_word(*_AGGREGATORS) and self._tokens[self._at + 1].is_word("(")

    def _aggregation(self, found: Any) -> None:
        if not self._is_aggregation():
            raise self._refusal(f"expected an aggregation: {', '.join(_AGGREGATORS)}")
        operator = self._take().text.upper()
        self._expect("(")
        if operator == "COUNT":
            self._expect("*")
            found.count.SetInParent()
        elif operator == "COUNT_UP_TO":
            found.count.up_to.value = self._integer()
        else:
            getattr(found, operator.lower()).property.name = self._property()
        self._expect(")")
        if self._taken("AS"):
            found.alias = self._name("an alias")

    def _selected(self, query: Any) -> None:
        if self._taken("DISTINCT"):
            if self._taken("ON", "("):
                distinct = self._listed(self._property)
                self._expect(")")
                projected = [] if self._taken("*") else self._listed(self._property)
            else:
                distinct = projected = self._listed(self._property)
            for name in distinct:
                query.distinct_on.add(name=name)
        else:
            projected = [] if self._taken("*") else self._listed(self._property)
        for name in projected:
            query.projection.add().property.name = name

    def _from_and_where(self, query: Any) -> None:
        if self._taken("FROM"):
            query.kind.add(name=self._name("a kind"))
        if self._taken("WHERE"):
            query.filter.CopyFrom(self._compound("OR"))

    def _order(self) -> tuple[str, int]:
        name = self._property()
        if self._taken("DESC"):
            return name, wire.DESCENDING
        self._taken("ASC")
        return name, wire.ASCENDING

    def _limit(self, query: Any) -> None:
        token = self._next
        if self._taken("FIRST", "("):
            found = [self._position()]
            self._expect(",")
            found.append(self._position())
            self._expect(")")
            if {type(item) for item in found} != {int, bytes}:
                raise self._refusal("FIRST needs a number and a cursor", token)
        else:
            found = [self._position()]
        for item in found:
            if isinstance(item, bytes):
                query.end_cursor = item
            else:
                query.limit.value = item

    def _offset(self, query: Any) -> None:
        found = self._position()
        if isinstance(found, int):
            query.offset = found
            return
        query.start_cursor = found
        if self._taken("+"):
            token = self._next
            more = self._position()
            if not isinstance(more, int):
                raise self._refusal("only one cursor can be the offset", token)
            query.offset = more

    def _position(self) -> Any:
        """Return a number of results (an int), or a cursor (bytes)."""
        token = self._next
        if token.type == "binding":
            bound = self._bound()
            if bound.WhichOneof("parameter_type") == "cursor":
                return bound.cursor
            if bound.value.WhichOneof("value_type") != "integer_value":
                raise self._refusal("expected a binding to an integer or a cursor", token)
            number = bound.value.integer_value
        else:
            number = self._integer()
        if not 0 <= number <= _INT32:
            raise self._refusal(f"{number} is outside 0 to {_INT32}", token)
        return number

    # Conditions

    def _compound(self, word: str) -> Any:
        """AND binds closer than OR."""
        rule: Callable[[], Any] = partial(self._compound, "AND") if word == "OR" else self._condition
        parts = [rule()]
        while self._taken(word):
            parts.append(rule())
        if len(parts) == 1:
            return parts[0]
        found = wire.Filter()
        found.composite_filter.op = wire.OR if word == "OR" else wire.AND
        found.composite_filter.filters.extend(parts)
        return found

    def _condition(self) -> Any:
        if self._taken("("):
            found = self._compound("OR")
            self._expect(")")
            return found
        found = wire.Filter()
        leaf = found.property_filter
        if self._begins_value():
            leaf.value.CopyFrom(self._value())
            leaf.op = self._backward()
            leaf.property.name = self._property()
            return found
        leaf.property.name = self._property()
        if self._taken("IS"):
            self._expect("NULL")
            leaf.op, leaf.value.null_value = wire.EQUAL, 0
            return found
        leaf.op = self._forward()
        leaf.value.CopyFrom(self._value())
        return found

    def _begins_value(self) -> bool:
        token = self._next
        if token.is_word("KEY", "ARRAY", "BLOB", "DATETIME"):
            return self._tokens[self._at + 1].is_word("(")
        return token.type in ("binding", "string", "integer", "double") or token.is_word("TRUE", "FALSE", "NULL")

    def _either(self) -> int | None:
        sign = self._next.text
        return _COMPARATORS[self._take().text] if self._next.type == "sign" and sign in _COMPARATORS else None

    def _forward(self) -> int:
        op = self._either()
        if op is not None:
            return op
        if self._taken("CONTAINS"):
            return wire.EQUAL
        if self._taken("HAS", "ANCESTOR"):
            return wire.HAS_ANCESTOR
        if self._taken("NOT", "IN"):
            return wire.NOT_IN
        if self._taken("IN"):
            return wire.IN
        raise self._refusal("expected a comparison: = != < <= > >= CONTAINS, HAS ANCESTOR, IN, NOT IN or IS NULL")

    def _backward(self) -> int:
        op = self._either()
        if op is not None:
            return _TURNED.get(op, op)
        if self._taken("IN"):
            return wire.EQUAL
        if self._taken("HAS", "DESCENDANT"):
            return wire.HAS_ANCESTOR
        raise self._refusal("expected a comparison: = != < <= > >= IN or HAS DESCENDANT")

    # Values

    def _value(self) -> Any:
        token = self._next
        if token.type == "binding":
            bound = self._bound()
            if bound.WhichOneof("parameter_type") != "value":
                raise self._refusal("expected a binding to a value, not to a cursor", token)
            return bound.value
        self._check_literal()
        value = wire.Value()
        if token.type == "string":
            value.string_value = self._take().text
        elif token.type == "integer":
            value.integer_value = self._integer()
        elif token.type == "double":
            value.double_value = float(self._take().text)
        elif token.is_word("TRUE", "FALSE"):
            value.boolean_value = self._take().is_word("TRUE")
        elif self._taken("NULL"):
            value.null_value = 0
        else:
            self._synthetic(value)
        return value

    def _synthetic(self, value: Any) -> None:
        if self._taken("KEY", "("):
            self._key(value.key_value)
        elif self._taken("ARRAY", "("):
            value.array_value.values.extend(self._listed(self._value))
        elif self._taken("BLOB", "("):
            value.blob_value = self._decoded(self._string())
        elif self._taken("DATETIME", "("):
            set_micros(value.timestamp_value, self._micros(self._string()))
        else:
            raise self._refusal("expected a value: a literal or a binding site")
        self._expect(")")

    def _key(self, key: Any) -> None:
        key.partition_id.CopyFrom(self._partition)
        for word, name in (("PROJECT", "project_id"), ("NAMESPACE", "namespace_id")):
            if self._taken(word, "("):
                setattr(key.partition_id, name, self._string().text)
                self._expect(")")
                self._expect(",")
        while True:
            element = key.path.add(kind=self._name("a kind"))
            self._expect(",")
            if self._next.type == "string":
                element.name = self._take().text
            else:
                element.id = self._integer()
            if not self._taken(","):
                return

    def _string(self) -> Token:
        if self._next.type != "string":
            raise self._refusal("expected a string in quotes")
        return self._take()

    def _integer(self) -> int:
        token = self._next
        self._check_literal()
        if token.type != "integer":
            raise self._refusal("expected an integer")
        number = int(self._take().text)
        if not -_INT64 - 1 <= number <= _INT64:
            raise self._refusal("the integer has more than 64 bits", token)
        return number

    def _decoded(self, token: Token) -> bytes:
        try:
            if "=" not in token.text:
                return base64.b64decode(token.text + "=" * (-len(token.text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            pass
        raise self._refusal("BLOB needs base64url without padding", token)

    def _micros(self, token: Token) -> int:
        try:
            moment = datetime.fromisoformat(token.text)
            return (moment - _EPOCH) // timedelta(microseconds=1)
        except (ValueError, TypeError) as error:
            raise self._refusal(
                "DATETIME needs a date and time with its zone, as 2013-09-29T09:30:20.00002-08:00", token
            ) from error

    def _check_literal(self) -> None:
        if not self._gql.allow_literals:
            raise self._refusal("literals are not allowed here; bind the value, or set allow_literals")

    def _bound(self) -> Any:
        token = self._take()
        if token.text.isdecimal():
            number = int(token.text)
            if not 1 <= number <= len(self._gql.positional_bindings):
                raise self._refusal(f"@{number} has no positional binding", token)
            self._used.add(number)
            return self._gql.positional_bindings[number - 1]
        if token.text not in self._gql.named_bindings:
            raise self._refusal(f"@{token.text} has no named binding", token)
        return self._gql.named_bindings[token.text]
