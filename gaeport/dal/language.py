"""pyDAL's dialect, parser and representer for the adapter: SQLite's, with what Datastore does differently.

The SQL runs on the scratch database, in memory, on entities that were read before.
"""

from base64 import b64decode
from decimal import Decimal
from typing import Any

from pydal._compat import to_native
from pydal.dialects import dialects
from pydal.dialects.sqlite import SQLiteDialect
from pydal.objects import Expression, Select
from pydal.parsers import before_parse, parsers
from pydal.parsers import for_type as parses
from pydal.parsers.base import DateTimeParser
from pydal.parsers.sqlite import SQLiteParser
from pydal.representers import for_type as represents
from pydal.representers import representers
from pydal.representers.sqlite import SQLiteRepresenter

from gaeport.dal.columns import list_from_scratch, list_to_scratch
from gaeport.datastore.field_types import datetime_of, parse_type, time_of
from gaeport.errors import FieldValueError


class DatastoreDialect(SQLiteDialect):  # type: ignore[misc]  # shipped without types
    """SQLite's dialect, in which LIKE and the search in lists tell upper from lower case."""

    def contains(
        self, first: Any, second: Any, case_sensitive: bool = True, query_env: dict[str, Any] | None = None
    ) -> str:
        """Search a string, or a list for an element; in a list by case, as Datastore's index does, unless folded."""
        environment = query_env or {}
        if not case_sensitive and first.type.startswith("list:") and getattr(first, "folded", False):
            return self._folded(first, second, environment)
        if isinstance(second, Expression) or not first.type.startswith("list:"):
            sensitive = case_sensitive or first.type.startswith("list:")
            sql: str = super().contains(first, second, case_sensitive=sensitive, query_env=environment)
            return sql
        pattern = self.adapter.adapt(self._element(second))
        return f"({self.expand(first, query_env=environment)} LIKE {pattern} ESCAPE '\\')"

    def _folded(self, first: Any, second: Any, environment: dict[str, Any]) -> str:
        if isinstance(second, Expression):
            folded: str = super().contains(first, second, case_sensitive=False, query_env=environment)
            return folded
        pattern = self.adapter.adapt(self._element(str(second).lower()))
        return f"(LOWER({self.expand(first, query_env=environment)}) LIKE {pattern} ESCAPE '\\')"

    def _element(self, item: Any) -> str:
        pattern: str = "%|" + self._like_escaper_default(str(item).replace("|", "||")) + "|%"
        return pattern

    def belongs(self, first: Any, second: Any, query_env: dict[str, Any] | None = None) -> str:
        """Search in a list of values; a nested select that knows its SQL only is run first."""
        values = None if isinstance(second, Select) else self.adapter.nested_values(second)
        sql: str = super().belongs(first, second if values is None else values, query_env=query_env or {})
        return sql


class DatastoreParser(SQLiteParser):  # type: ignore[misc]  # shipped without types
    """Takes values as they come from entities, and as they come from the scratch database."""

    @before_parse("decimal")
    def decimal_kind(self, field_type: str) -> dict[str, Any]:
        """Give the decimal parser the parsed type."""
        return {"kind": parse_type(field_type)}

    @parses("decimal")
    def _decimal(self, value: Any, kind: Any) -> Any:
        if isinstance(value, float):
            return Decimal(f"{value:.{kind.scale}f}")  # as pyDAL does on SQLite
        return Decimal(value)

    @parses("time")
    def _time(self, value: Any) -> Any:
        return time_of(value, "time")

    @parses("datetime")
    def _datetime(self, value: Any) -> Any:
        try:
            return datetime_of(value, "datetime")
        except FieldValueError:
            return DateTimeParser._declared_parsers_["_datetime"].f(self, value)  # takes looser spellings

    @parses("blob")
    def _blob(self, value: Any) -> Any:
        raw = value if isinstance(value, bytes) else b64decode(value)
        try:
            return to_native(raw)  # pyDAL gives text where the bytes are text
        except UnicodeDecodeError:
            return raw

    @parses("reference")
    def _reference(self, value: Any, referee: str) -> Any:
        return self.adapter.references.make(value, referee)

    @parses("list:integer")
    def _list_integers(self, value: Any) -> Any:
        return value if isinstance(value, list) else list_from_scratch(value)

    @parses("list:string")
    def _list_strings(self, value: Any) -> Any:
        return value if isinstance(value, list) else list_from_scratch(value)

    @parses("list:reference")
    def _list_references(self, value: Any, field_type: str) -> Any:
        items = value if isinstance(value, list) else list_from_scratch(value)
        referee = field_type[len("list:reference") :].strip()
        return [self.adapter.references.make(item, referee) for item in items]


class DatastoreRepresenter(SQLiteRepresenter):  # type: ignore[misc]  # shipped without types
    """Writes literals as the scratch database holds the same values."""

    @represents("datetime", encode=True)
    def _datetime(self, value: Any) -> str:
        try:
            return datetime_of(value, "datetime").isoformat(" ")
        except FieldValueError:
            return str(value)  # part of a date in a LIKE

    @represents("time", encode=True)
    def _time(self, value: Any) -> str:
        try:
            return time_of(value, "time").isoformat()
        except FieldValueError:
            return str(value)

    def _listify_elements(self, elements: Any) -> str:
        return list_to_scratch(elements)

    @represents("list:reference")
    def _list_reference(self, value: Any) -> str:
        return list_to_scratch([int(item) for item in self._ensure_list(value)])


def register(adapter: Any) -> None:
    """Make pyDAL use these classes for an adapter class."""
    dialects.register_for(adapter)(DatastoreDialect)
    parsers.register_for(adapter)(DatastoreParser)
    representers.register_for(adapter)(DatastoreRepresenter)
