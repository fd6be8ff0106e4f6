"""A table as Datastore keeps it: its kind, its properties, and their values in three forms.

A value is given by the application, kept as a `wire.Value`, and, where SQLite has to work on it, put into the scratch
database in the form in which pyDAL keeps it in SQLite.
"""

import copy
import datetime
import json
import types
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gaeport.dal.keyed import key_name
from gaeport.datastore import wire
from gaeport.datastore.field_types import (
    NEVER_INDEXED,
    TEXTS,
    FieldType,
    check_length,
    decimal_from_stored,
    decimal_to_stored,
    folded_name,
    integer_of,
    moment_of,
    parse_type,
)
from gaeport.errors import FieldError, FieldValueError, NotOnDatastore

MAX_REAL_DIGITS = 15  # digits that a double keeps exactly; longer decimals are text in the scratch database
ITEM_MARK = "\x1f"  # between the two forms of a list in the scratch database
INDEX = "index "  # before the name of a unique index, where a field's name could stand too
# Types for which pyDAL does not take "" for NULL.
_KEEP_EMPTY = ("string", "text", "json", "jsonb", "password", "upload")
_INTEGERS = frozenset({"integer", "bigint", "reference", "big-reference", "id", "big-id"})
_MOMENTS = frozenset({"date", "time", "datetime"})
# What pyDAL calls for a value; rows and lazy strings can be called too, but are values themselves.
_CALLABLE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_EPOCH = datetime.datetime(1970, 1, 1)


class Column:
    """One field of a table.

    Attributes:
        name: the field's name.
        prop: the property's name in Datastore.
        label: table and field, for messages.
        kind: the parsed type.
        unique: whether no two rows may have the same value.
        notnull: whether NULL is refused.
        folded: the column of the copies in lower case, for `Field(folded=True)`; None for others.
    """

    def __init__(self, field: Any, table: Any) -> None:
        custom = field.type if hasattr(field.type, "encoder") else None
        self.name = field.name
        self.prop = (field._raw_rname or field.name).strip('"')
        self.label = f"{table._tablename}.{field.name}"
        indexed = getattr(field, "indexed", None)
        self.kind: FieldType = parse_type(custom.type if custom else field.type, length=field.length, indexed=indexed)
        key = _keyed_referent(self.kind.referenced, table)
        if key is not None:  # such a reference holds a value of the key, whatever type that has
            self.kind = parse_type(key.type, length=key.length, indexed=indexed)
        self.encoder = custom.encoder if custom else None
        self.unique = bool(field.unique)
        self.notnull = bool(field.notnull)
        self.folded: Column | None = self._folded() if getattr(field, "folded", False) else None

    def _folded(self) -> "Column":
        if self.kind.name not in TEXTS or not self.kind.indexed:
            raise FieldError(f"{self.label}: folded=True is for indexed text, not for {self.kind.name}")
        copied = copy.copy(self)
        copied.prop, copied.notnull, copied.unique, copied.folded = folded_name(self.prop), False, False, None
        return copied

    def fold(self, entity: Any) -> None:
        """Give an entity the copy in lower case of this column's value."""
        if self.folded is None:
            return
        if self.prop not in entity.properties:
            entity.properties.pop(self.folded.prop, None)
            return
        stored = wire.Value()
        stored.CopyFrom(entity.properties[self.prop])
        for value in stored.array_value.values if self.kind.is_list else [stored]:
            if value.WhichOneof("value_type") == "string_value":
                value.string_value = value.string_value.lower()
                check_length(value.string_value.encode(), self.label)
        entity.properties[self.folded.prop].CopyFrom(stored)

    def to_wire(self, value: Any) -> Any:
        """Return the `wire.Value` for an application's value.

        Raises:
            FieldValueError: the value does not fit the field.
        """
        if isinstance(value, _CALLABLE):
            value = value()
        if self.encoder is not None:
            value = self.encoder(value)
        name = self.kind.name
        if value is None or (isinstance(value, str) and value == "" and name not in _KEEP_EMPTY):
            stored = wire.Value(null_value=0)
        elif self.kind.is_list:
            return self._list_to_wire(value)
        else:
            stored = self.item_to_wire(value)
        if not self.kind.indexed:
            stored.exclude_from_indexes = True
        return stored

    def put(self, entity: Any, stored: Any) -> None:
        """Give an entity a stored value. A list that is NULL has no property: NDB cannot read NULL as a list."""
        if self.kind.is_list and is_null(stored):
            if self.prop in entity.properties:
                del entity.properties[self.prop]
        else:
            entity.properties[self.prop].CopyFrom(stored)

    def _list_to_wire(self, value: Any) -> Any:
        items = value if isinstance(value, list | tuple | set) else [value] if value else []
        stored = wire.Value()
        array = stored.array_value
        array.SetInParent()
        for item in items:
            if item is not None and (item != "" or self.kind.name == "list:string"):
                added = array.values.add()
                added.CopyFrom(self.item_to_wire(item))
                if not self.kind.indexed:
                    added.exclude_from_indexes = True
        return stored

    def item_to_wire(self, value: Any) -> Any:
        """Return the `wire.Value` of one value that is not None: for list types, of one element."""
        name = self.kind.name.removeprefix("list:")
        if name in _INTEGERS:
            return wire.Value(integer_value=integer_of(_id_of(value), self.label))
        if name in ("string", "text", "password", "upload"):
            return self._text_to_wire(value)
        if name == "boolean":
            return wire.Value(boolean_value=bool(value) and str(value)[:1].upper() not in "0F")
        if name in ("double", "float"):
            return wire.Value(double_value=self._double(value))
        if name in _MOMENTS:
            return _timestamp(moment_of(value, self.kind, self.label))
        if name == "decimal":
            stored = decimal_to_stored(value, self.kind, self.label)
            return wire.Value(string_value=stored) if isinstance(stored, str) else wire.Value(integer_value=stored)
        if name == "blob":
            return wire.Value(blob_value=value.encode() if isinstance(value, str) else bytes(value))
        return wire.Value(blob_value=_json_text(value).encode())

    def _text_to_wire(self, value: Any) -> Any:
        text = value.decode() if isinstance(value, bytes) else str(value)
        if self.kind.indexed and len(text) * 4 > 1500:
            check_length(text.encode(), self.label)
        return wire.Value(string_value=text)

    def _double(self, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise FieldValueError(self.label, f"{value!r} is not a number") from None

    def from_wire(self, value: Any) -> Any:
        """Return the value that pyDAL's parser takes: a plain Python value; JSON still as text."""
        found = _plain(value)
        if found is None:
            return None
        name = self.kind.name
        if isinstance(found, datetime.datetime):
            return found.date() if name == "date" else found.time() if name == "time" else found
        if name == "decimal" and isinstance(found, int | str):
            return decimal_from_stored(found, self.kind)
        if name in ("double", "float"):
            return float(found)
        if name in ("json", "jsonb") and isinstance(found, bytes):
            return found.decode()
        if self.kind.is_list and not isinstance(found, list):
            return [found]
        return found

    def to_scratch(self, value: Any) -> Any:
        """Return what `from_wire` gave in the form in which it stands in the scratch database."""
        return to_scratch(value, self.kind)

    @property
    def scratch_type(self) -> str:
        """The column's type in the scratch database."""
        name = self.kind.name
        if name in _INTEGERS:
            return "INTEGER"
        if name in ("double", "float"):
            return "REAL"
        if name == "decimal":
            return "REAL" if self.kind.precision <= MAX_REAL_DIGITS else "TEXT COLLATE decimal"
        return "TEXT"

    @property
    def searchable(self) -> bool:
        """Whether Datastore can compare and order by it."""
        return self.kind.indexed and self.kind.name not in NEVER_INDEXED

    @property
    def is_text(self) -> bool:
        """Whether prefixes of its values make sense."""
        return self.kind.name in TEXTS and not self.kind.is_list


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """Columns whose values are unique together.

    Attributes:
        name: the index's, with a mark that no field's name has.
        label: table and fields, for messages.
        columns: the columns.
    """

    name: str
    label: str
    columns: tuple[Column, ...]


class TableColumns:
    """The columns of one table.

    Attributes:
        kind: the Datastore kind.
        id_name: the name of the id field.
        columns: all others, by field name.
        unique: those whose values are unique.
        indexes: those whose values are unique together, by the index's name.
        folding: those that have a copy in lower case.
        primary: those that make the key, in tables with a `primarykey`; such tables have no id field.
    """

    def __init__(self, table: Any) -> None:
        named: list[str] = getattr(table, "_primarykey", None) or []
        self.kind: str = (table._raw_rname or table._dalname).strip('"')
        self.id_name: str = "" if named else table._id.name
        self.columns = {field.name: Column(field, table) for field in table if field.name != self.id_name}
        self.unique = [column for column in self.columns.values() if column.unique]
        self.indexes: dict[str, UniqueIndex] = {}
        self.folding = [column for column in self.columns.values() if column.folded is not None]
        self.primary = [self.columns[name] for name in named]

    @property
    def claims(self) -> list[Column | UniqueIndex]:
        """What has a marker for each value in use."""
        return [*self.unique, *self.indexes.values()]

    def claim(self, name: str) -> Column | UniqueIndex:
        """Return what a marker of that name is for."""
        return self.indexes[name.removeprefix(INDEX)] if name.startswith(INDEX) else self.columns[name]

    def add_unique_index(self, name: str, fields: Iterable[str]) -> None:
        """Let the values of fields be unique together from here on."""
        columns = tuple(self.columns[field] for field in fields)
        label = ", ".join(column.label for column in columns)
        self.indexes[name] = UniqueIndex(f"{INDEX}{name}", label, columns)

    def row_id(self, key: Any) -> int | str:
        """Return what tells a row from others: the id of its entity's key; in tables with a `primarykey`, the name."""
        if not self.primary:
            return id_of_key(key)
        name: str = key.path[0].name
        return name

    def fold(self, entity: Any) -> None:
        """Give an entity the copies in lower case that its columns ask for."""
        for column in self.folding:
            column.fold(entity)

    def key_name(self, entity: Any) -> str:
        """Return the key name for an entity of a table with a `primarykey`."""
        return key_name(self.primary, [entity.properties[column.prop] for column in self.primary])


def columns_of(table: Any) -> TableColumns:
    """Return a table's columns, made once."""
    found: TableColumns | None = table.__dict__.get("_gaeport_columns")
    if found is None or len(found.columns) + (not found.primary) != len(table._fields):
        found = TableColumns(table)
        table.__dict__["_gaeport_columns"] = found
    return found


def _keyed_referent(referenced: str, table: Any) -> Any | None:
    """Return the key field that a reference to a table with a `primarykey` points to; None for other references."""
    name, _, field = referenced.partition(".")
    db = getattr(table, "_db", None)
    target = table if name == table._tablename else db[name] if db is not None and name in db.tables else None
    named = getattr(target, "_primarykey", None)
    if target is None or not named:
        if field and (target is None or field != target._id.name):
            raise NotOnDatastore(f"a reference to {referenced}, which is no key, is not offered")
        return None
    return target[field or named[0]]


def is_null(stored: Any) -> bool:
    """Return whether a `wire.Value` is NULL."""
    return bool(stored.WhichOneof("value_type") == "null_value")


def id_of_key(key: Any) -> int:
    """Return the id of an entity's key.

    Raises:
        NotOnDatastore: the entity has a name, which pyDAL has no place for.
    """
    last = key.path[len(key.path) - 1]
    if not last.id:
        raise NotOnDatastore(
            f"the entity {last.kind!r}, {last.name!r} has a key name; pyDAL's rows have numeric ids only"
        )
    number: int = last.id
    return number


def to_scratch(value: Any, kind: FieldType) -> Any:
    """Return a plain value in the form in which it stands in the scratch database."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value) if kind.precision <= MAX_REAL_DIGITS else str(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return list_to_scratch(value) if isinstance(value, list) else value


def list_to_scratch(items: Iterable[Any]) -> str:
    """Return a list as text: as JSON, which gives it back exactly, and as pyDAL writes it, for `contains`."""
    kept = list(items)
    exact = json.dumps(kept).replace("|", "\\u007c")  # no bar in the part that is not searched
    bars = "|".join(str(item).replace("|", "||") for item in kept)
    return f"{exact}{ITEM_MARK}|{bars}|"


def list_from_scratch(text: str) -> list[Any]:
    """Return the list that `list_to_scratch` was given."""
    found: list[Any] = json.loads(text.partition(ITEM_MARK)[0])
    return found


def _id_of(value: Any) -> Any:
    if isinstance(value, int | str | float):
        return value
    return value["id"] if hasattr(value, "update_record") or hasattr(value, "as_dict") else value


def _json_text(value: Any) -> str:
    from pydal.helpers.serializers import serializers

    text: str = serializers.json(value)
    return text


def _timestamp(moment: datetime.datetime) -> Any:
    since = moment - _EPOCH
    value = wire.Value()
    value.timestamp_value.seconds = since.days * 86_400 + since.seconds
    value.timestamp_value.nanos = since.microseconds * 1000
    return value


def _plain(value: Any) -> Any:
    which = value.WhichOneof("value_type")
    if which == "null_value" or which is None:
        return None
    if which == "timestamp_value":
        stamp = value.timestamp_value
        return _EPOCH + datetime.timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
    if which == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if which == "key_value":
        return id_of_key(value.key_value)
    return getattr(value, which)
