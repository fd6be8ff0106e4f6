"""Property values as bytes that sort as Datastore sorts values of mixed types.

The order of types is null, fixed-point numbers (integers, and dates as microseconds), booleans, byte sequences (bytes
and strings alike), floating-point numbers, geographical points, keys. Two values that Datastore's indexes hold to be
equal have equal bytes: 3 and 1970-01-01 00:00:00.000003, "a" and b"a".
Source: "Entity property reference", value type ordering; measured on the Firestore emulator.
"""

import struct
from collections.abc import Iterator
from typing import Any

from gaeport.datastore import limits, wire
from gaeport.datastore.keys import decode_key, encode_key
from gaeport.errors import InvalidArgument

AFTER_ALL = b"\xff"  # greater than every encoded value
FROM_INDEX = 18  # the `meaning` of a value that a projection read from an index

_NULL, _FIXED, _BOOLEAN, _BYTES, _FLOAT, _POINT, _KEY = (
    bytes((n,)) for n in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70)
)
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_NAN = b"\xff" * 8  # above +infinity


def encode_value(value: Any, project: str, database: str) -> bytes:
    """Return the bytes of one indexable value.

    Args:
        value: a `wire.Value` that is neither an array nor an entity.
        project: the request's project, for keys.
        database: the request's database, for keys.

    Raises:
        InvalidArgument: the value has no type, or one that indexes do not hold.
    """
    which = value.WhichOneof("value_type")
    if which == "string_value":
        return _BYTES + value.string_value.encode("utf-8", "surrogatepass")  # type: ignore[no-any-return]  # wire is untyped
    if which == "integer_value":
        return _FIXED + (value.integer_value + _SIGN).to_bytes(8, "big")  # type: ignore[no-any-return]  # wire is untyped
    if which == "boolean_value":
        return _BOOLEAN + (b"\x01" if value.boolean_value else b"\x00")
    if which == "timestamp_value":
        return _FIXED + (micros(value.timestamp_value) + _SIGN).to_bytes(8, "big")
    if which == "key_value":
        return _KEY + encode_key(value.key_value, project, database)
    if which == "blob_value":
        return _BYTES + value.blob_value  # type: ignore[no-any-return]  # wire is untyped
    if which == "double_value":
        return _FLOAT + _double(value.double_value)
    if which == "null_value":
        return _NULL
    if which == "geo_point_value":
        return _POINT + _double(value.geo_point_value.latitude) + _double(value.geo_point_value.longitude)
    raise InvalidArgument(f"a value of type {which} cannot be compared")


def decode_value(encoded: bytes) -> Any:
    """Return the `wire.Value` that a projection shows for bytes of `encode_value`: dates as integers, bytes as strings
    where they are text."""
    value = wire.Value(meaning=FROM_INDEX)
    tag, rest = encoded[:1], encoded[1:]
    if tag == _NULL:
        value.null_value = 0
    elif tag == _FIXED:
        value.integer_value = int.from_bytes(rest, "big") - _SIGN
    elif tag == _BOOLEAN:
        value.boolean_value = rest == b"\x01"
    elif tag == _BYTES:
        try:
            value.string_value = rest.decode()
        except UnicodeDecodeError:
            value.blob_value = rest
    elif tag == _FLOAT:
        value.double_value = _undouble(rest)
    elif tag == _POINT:
        value.geo_point_value.latitude, value.geo_point_value.longitude = _undouble(rest[:8]), _undouble(rest[8:])
    else:
        value.key_value.CopyFrom(decode_key(rest))
    return value


def micros(timestamp: Any) -> int:
    """Return microseconds since 1970 of a Timestamp message."""
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000  # type: ignore[no-any-return]  # wire is untyped


def set_micros(timestamp: Any, value: int) -> None:
    """Set a Timestamp message to microseconds since 1970."""
    timestamp.seconds, rest = divmod(value, 1_000_000)
    timestamp.nanos = rest * 1000


def checked_index_values(entity: Any, project: str, database: str) -> set[tuple[str, bytes]]:
    """Return as `index_values`, having refused names and values that production refuses: one pass for both.

    Raises:
        InvalidArgument: naming entity, property, size and limit.
    """
    found: set[tuple[str, bytes]] = set()
    properties = entity.properties
    for name in properties:
        value = properties[name]
        limits.check_property_name(name, entity)
        which = value.WhichOneof("value_type")
        excluded = value.exclude_from_indexes
        if which == "string_value":
            # Nearly all properties are strings: no further calls for them.
            raw = value.string_value.encode("utf-8", "surrogatepass")
            limits.check_bytes(len(raw), name, entity, excluded=excluded)
            if not excluded:
                found.add((name, _BYTES + raw))
            continue
        limits.check_value(name, value, entity, excluded=excluded)
        if not excluded:
            found.update(_entries(name, value, project, database))
    return found


def index_values(entity: Any, project: str, database: str) -> set[tuple[str, bytes]]:
    """Return (property name, value) of every entry that an entity has in the built-in indexes."""
    found: set[tuple[str, bytes]] = set()
    properties = entity.properties
    for name in properties:  # items() of a map is three times as slow
        value = properties[name]
        if value.exclude_from_indexes:
            continue
        if value.WhichOneof("value_type") in ("array_value", "entity_value"):
            found.update(_entries(name, value, project, database))
        else:
            found.add((name, encode_value(value, project, database)))
    return found


def values_of(entity: Any, name: str, project: str, database: str) -> list[bytes]:
    """Return the distinct index values of one property, in no particular order; `name` may be dotted."""
    value = entity.properties[name] if name in entity.properties else None  # noqa: SIM401  # a map's get adds nothing
    if value is not None and value.WhichOneof("value_type") not in ("entity_value", "array_value"):
        return [] if value.exclude_from_indexes else [encode_value(value, project, database)]
    return [encoded for prop, encoded in index_values(entity, project, database) if prop == name]


def _entries(name: str, value: Any, project: str, database: str) -> Iterator[tuple[str, bytes]]:
    which = value.WhichOneof("value_type")
    if which == "array_value":
        for item in value.array_value.values:
            if not item.exclude_from_indexes:
                yield from _entries(name, item, project, database)
    elif which == "entity_value":
        for inner, part in value.entity_value.properties.items():
            if not part.exclude_from_indexes:
                yield from _entries(f"{name}.{inner}", part, project, database)
    else:
        yield name, encode_value(value, project, database)


def _double(number: float) -> bytes:
    if number != number:
        return _NAN
    bits: int = struct.unpack(">Q", struct.pack(">d", number))[0]
    return (bits ^ _ALL if bits & _SIGN else bits | _SIGN).to_bytes(8, "big")


def _undouble(encoded: bytes) -> float:
    if encoded == _NAN:
        return float("nan")
    bits = int.from_bytes(encoded, "big")
    bits = bits & ~_SIGN if bits & _SIGN else bits ^ _ALL
    number: float = struct.unpack(">d", struct.pack(">Q", bits))[0]
    return number
