"""What production refuses because of its size or its name, refused here with the same status.

Source: "Limits" and "Entities, properties, and keys" of Firestore in Datastore mode.
"""

import re
from typing import Any

from gaeport.errors import InvalidArgument

MAX_ENTITY = 1_048_572  # bytes, serialized
MAX_PROPERTY = 1_048_487  # bytes of one unindexed value
MAX_INDEXED = 1_500  # bytes of an indexed string or blob
MAX_NAME = 1_500  # bytes of a kind, a key name or a property name
MAX_KEY = 6_144  # bytes
MAX_COMMIT = 10_485_760  # bytes of one commit
MAX_LOOKUP_KEYS = 1_000
MAX_INDEX_ENTRIES = 20_000  # of one entity
MAX_DEPTH = 20  # entities and arrays inside one another
MAX_NOT_IN = 10  # values of one NOT_IN filter
MAX_DISJUNCTIONS = 30  # a query's filter in disjunctive normal form

_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799  # years 1 to 9999
_RESERVED = re.compile(r"__.*__", re.DOTALL)
_NAMESPACE = re.compile(r"[0-9A-Za-z._-]{0,100}")
_DATABASE = re.compile(r"([a-z][a-z0-9-]{2,61}[a-z0-9])?")


def describe(key: Any) -> str:
    """Return a key's path for messages, such as ("Task", "a", "Step", 7)."""
    parts = [f"{element.kind!r}, {(element.name or element.id or None)!r}" for element in key.path]
    return f"({', '.join(parts)})"


def check_partition(project: str, database: str, namespace: str) -> None:
    """Refuse a request or key without a project, or with an impossible database or namespace."""
    if not project or "\x00" in project:
        raise InvalidArgument("the request names no project")
    if not _DATABASE.fullmatch(database):
        raise InvalidArgument(f"the database id {database!r} is not 4 to 63 of the characters a-z 0-9 -")
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidArgument(f"the namespace {namespace!r} is not at most 100 of the characters 0-9 A-Z a-z . _ -")
    if _RESERVED.fullmatch(namespace):
        raise InvalidArgument(f"the namespace {namespace!r} is reserved")


def check_kind(kind: str) -> None:
    """Refuse an empty, reserved or too long kind."""
    if not kind:
        raise InvalidArgument("a key path element has no kind")
    if _RESERVED.fullmatch(kind):
        raise InvalidArgument(f"the kind {kind!r} is reserved")
    _check_length(len(kind.encode()), MAX_NAME, f"the kind {kind[:40]!r}")


def check_name(name: str, raw: bytes) -> None:
    """Refuse a reserved or too long key name; `raw` is the name in UTF-8."""
    if name[:2] == "__" and _RESERVED.fullmatch(name):
        raise InvalidArgument(f"the key path element name {name!r} is reserved")
    if len(raw) > MAX_NAME:
        _check_length(len(raw), MAX_NAME, f"the key path element name {name[:40]!r}…")


def check_key_size(encoded: bytes, key: Any) -> None:
    """Refuse a key whose parts together are over 6 KiB."""
    if len(encoded) > MAX_KEY:
        kinds = ", ".join(element.kind for element in key.path)[:200]
        raise InvalidArgument(f"a key of the kinds {kinds} has {len(encoded)} bytes; the limit is {MAX_KEY}")


def check_property_name(prop: str, entity: Any) -> None:
    """Refuse a property name that is empty, reserved or too long."""
    if not prop:
        raise InvalidArgument(f"a property of the entity {describe(entity.key)} has an empty name")
    if prop[:2] == "__" and _RESERVED.fullmatch(prop):
        raise InvalidArgument(f"the property name {prop!r} of the entity {describe(entity.key)} is reserved")
    if len(prop) * 4 > MAX_NAME:
        what = f"the property name {prop[:40]!r}… of the entity {describe(entity.key)}"
        _check_length(len(prop.encode()), MAX_NAME, what)


def check_bytes(size: int, prop: str, entity: Any, *, excluded: bool) -> None:
    """Refuse a string or blob of too many bytes for an indexed or an unindexed property."""
    limit = MAX_PROPERTY if excluded else MAX_INDEXED
    if size > limit:
        _refuse_bytes(size, prop, entity.key, excluded=excluded)


def check_value(prop: str, value: Any, entity: Any, *, excluded: bool) -> None:
    """Refuse a value that production refuses: by its size, its nesting, or outside its type's range."""
    _check_value(prop, value, entity.key, 1, excluded=excluded)


def check_entity_size(size: int, key: Any) -> None:
    """Refuse an entity that is too large; `size` is its serialized size in bytes."""
    if size > MAX_ENTITY:
        raise InvalidArgument(f"the entity {describe(key)} has {size:,} bytes; the limit is {MAX_ENTITY:,}")


def check_index_entries(count: int, key: Any) -> None:
    """Refuse an entity that needs too many index entries."""
    if count > MAX_INDEX_ENTRIES:
        raise InvalidArgument(
            f"the entity {describe(key)} needs {count:,} index entries; the limit is {MAX_INDEX_ENTRIES:,}"
        )


def check_commit_size(size: int) -> None:
    """Refuse a commit over 10 MiB; `size` is that of the request in bytes."""
    if size > MAX_COMMIT:
        raise InvalidArgument(f"the commit has {size:,} bytes; the limit is {MAX_COMMIT:,}")


def check_lookup(count: int) -> None:
    """Refuse a lookup of too many keys."""
    if count > MAX_LOOKUP_KEYS:
        raise InvalidArgument(f"the lookup has {count:,} keys; the limit is {MAX_LOOKUP_KEYS:,}")


def _check_length(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise InvalidArgument(f"{what} has {size:,} bytes; the limit is {limit:,}")


def _check_value(prop: str, value: Any, key: Any, depth: int, *, excluded: bool) -> None:
    which = value.WhichOneof("value_type")
    if which in ("integer_value", "boolean_value", "null_value", "double_value"):
        return
    if which == "string_value":
        text = value.string_value
        limit = MAX_PROPERTY if excluded else MAX_INDEXED
        if len(text) * 4 > limit:  # UTF-8 takes at most four bytes a character
            _check_bytes(len(text.encode()), prop, key, excluded=excluded)
    elif which == "blob_value":
        _check_bytes(len(value.blob_value), prop, key, excluded=excluded)
    elif which is None:
        raise _refusal(prop, key, "has no value")
    else:
        _check_compound(which, prop, value, key, depth, excluded)


def _check_bytes(size: int, prop: str, key: Any, *, excluded: bool) -> None:
    if size > (MAX_PROPERTY if excluded else MAX_INDEXED):
        _refuse_bytes(size, prop, key, excluded=excluded)


def _refuse_bytes(size: int, prop: str, key: Any, *, excluded: bool) -> None:
    indexed, limit = ("unindexed", MAX_PROPERTY) if excluded else ("indexed", MAX_INDEXED)
    raise InvalidArgument(
        f"the {indexed} property {prop!r} of the entity {describe(key)} has {size:,} bytes; the limit is {limit:,}"
    )


def _check_compound(which: str, prop: str, value: Any, key: Any, depth: int, excluded: bool) -> None:
    if depth > MAX_DEPTH:
        raise _refusal(prop, key, f"is nested more than {MAX_DEPTH} deep")
    if which == "timestamp_value":
        if not _MIN_SECONDS <= value.timestamp_value.seconds <= _MAX_SECONDS:
            raise _refusal(prop, key, "is a timestamp outside the years 1 to 9999")
    elif which == "geo_point_value":
        point = value.geo_point_value
        if not (abs(point.latitude) <= 90 and abs(point.longitude) <= 180):
            raise _refusal(prop, key, "is a point outside ±90° latitude, ±180° longitude")
    elif which == "array_value":
        for item in value.array_value.values:
            if item.WhichOneof("value_type") == "array_value":
                raise _refusal(prop, key, "is an array that holds an array")
            _check_value(prop, item, key, depth, excluded=excluded or item.exclude_from_indexes)
    elif which == "entity_value":
        for name, inner in value.entity_value.properties.items():
            if not name:
                raise _refusal(prop, key, "holds a property with an empty name")
            hidden = excluded or inner.exclude_from_indexes
            _check_value(f"{prop}.{name}", inner, key, depth + 1, excluded=hidden)


def _refusal(prop: str, key: Any, what: str) -> InvalidArgument:
    return InvalidArgument(f"the property {prop!r} of the entity {describe(key)} {what}")
