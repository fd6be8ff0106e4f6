"""Python values as bytes, without pickle: what sessions and caches keep.

MessagePack by msgspec. Types that MessagePack lacks are extensions, so that a date comes back as a date and a tuple as
a tuple. Loading never runs code that the bytes name.
"""

import datetime
import decimal
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from gaeport.errors import DamagedValue, UnsupportedType

MAX_DEPTH = 64  # containers in each other; far below Python's recursion limit, and a value inside itself ends here

# The extension types; numbers are for ever: stored values carry them.
_DATETIME, _DATE, _TIME, _TIMEDELTA, _UUID, _DECIMAL = 1, 2, 3, 4, 5, 6
_TUPLE, _SET, _FROZENSET, _LARGE_INT, _SURROGATES, _PAIRS = 7, 8, 9, 10, 11, 12

_KEYS = frozenset({str, int, bool, float, bytes, type(None)})
_AS_IT_IS = frozenset({type(None), bool, float, str, bytes})
_LEAST, _MOST = -(2**63), 2**64 - 1  # of MessagePack's integers

TYPES = (
    "None, bool, int, float, str, bytes, list, tuple, set, frozenset, dict, datetime, date, time, timedelta, UUID, "
    "Decimal"
)


def dumps(value: object, name: str = "value") -> bytes:
    """Return a value as bytes.

    Args:
        value: made of None, bool, int, float, str, bytes, list, tuple, set, frozenset, dict, datetime, date, time,
            timedelta, UUID and Decimal. A subclass is kept as its base class (a web2py Storage as a dict, a named tuple
            as a tuple); any other Mapping as a dict. A time zone is kept when it is a ZoneInfo, otherwise its offset.
        name: what messages call the value.

    Raises:
        UnsupportedType: naming the offending type and where in the value it is.
    """
    return _packed(_checked(value, name))


def loads(data: bytes) -> Any:
    """Return the value that `dumps` encoded. Raises DamagedValue when the bytes are not such a value."""
    try:
        return _decoder()(data)
    except DamagedValue:
        raise
    # Damaged bytes meet every parser below: msgspec's, and those of dates, decimals and UUIDs.
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise DamagedValue(f"{len(data):,} bytes are not a stored value: {error}") from error


def check(value: object, name: str = "value") -> None:
    """Raise UnsupportedType, naming type and place, if `dumps` would."""
    _checked(value, name)


class _Refusal(Exception):
    """Something cannot be kept; where it is gets looked up only then."""

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__()
        self.value, self.reason = value, reason


def _checked(value: Any, name: str) -> Any:
    try:
        return _plain(value, 0)
    except _Refusal as refusal:
        place = _place(value, refusal.value, name, 0) or f"something in {name}"
        raise UnsupportedType(f"{place} {refusal.reason}", refusal.value) from None


def _plain(value: Any, depth: int) -> Any:
    """Return the value in MessagePack's types and extensions; itself where nothing needs to change."""
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is int:
        return value if _LEAST <= value <= _MOST else _ext(_LARGE_INT, str(value).encode())
    if depth >= MAX_DEPTH:
        raise _Refusal(value, f"is nested deeper than {MAX_DEPTH}, or contains itself")
    if kind is dict:
        return _mapping(value, depth)
    if kind is list:
        return _items(value, depth)
    return _extended(value, kind, depth)


def _mapping(value: Mapping[Any, Any], depth: int) -> Any:
    plain: dict[Any, Any] = {}
    for key, item in value.items():
        if type(key) is not str and (type(key) not in _KEYS or _is_large(key)):
            return _pairs([[_plain(key, depth + 1), _plain(item, depth + 1)] for key, item in value.items()])
        plain[key] = item if type(item) in _AS_IT_IS else _plain(item, depth + 1)
    return plain


def _is_large(key: Any) -> bool:
    return type(key) is int and not _LEAST <= key <= _MOST


def _pairs(pairs: list[list[Any]]) -> Any:
    """A mapping with keys that are extensions, which cannot be keys themselves."""
    return _ext(_PAIRS, _packed(pairs))


def _items(value: Iterable[Any], depth: int) -> list[Any]:
    return [item if type(item) in _AS_IT_IS else _plain(item, depth + 1) for item in value]


def _extended(value: Any, kind: type, depth: int) -> Any:
    for base, make in _MAKERS:
        if isinstance(value, base):
            return make(value, depth)
    raise _Refusal(value, f"has the type {kind.__module__}.{kind.__qualname__}, which is not kept; valid: {TYPES}")


def _place(value: Any, wanted: Any, path: str, depth: int) -> str | None:
    """Return where in a value something is, such as "value['cart'][2]"."""
    if value is wanted:
        return path if depth < MAX_DEPTH else f"{path[:60]}…"
    if depth >= MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        inner: Iterable[tuple[Any, Any]] = value.items()
        if any(key is wanted for key in value):
            return f"a key of {path}"
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = enumerate(value)
    else:
        return None
    found = (_place(item, wanted, f"{path}[{step!r:.80}]", depth + 1) for step, item in inner)
    return next((place for place in found if place), None)


def _ext(code: int, data: bytes) -> Any:
    from msgspec.msgpack import Ext

    return Ext(code, data)


def _datetime(value: datetime.datetime, depth: int) -> Any:
    zone = getattr(value.tzinfo, "key", None) or ""
    return _ext(_DATETIME, f"{value.isoformat()}|{value.fold or ''}|{zone}".rstrip("|").encode())


def _time(value: datetime.time, depth: int) -> Any:
    zone = getattr(value.tzinfo, "key", None) or ""
    return _ext(_TIME, f"{value.isoformat()}|{value.fold or ''}|{zone}".rstrip("|").encode())


def _timedelta(value: datetime.timedelta, depth: int) -> Any:
    return _ext(_TIMEDELTA, b"%d|%d|%d" % (value.days, value.seconds, value.microseconds))


#: In this order: a datetime is a date, too, and a bool an int.
_MAKERS: tuple[tuple[type, Callable[[Any, int], Any]], ...] = (
    (tuple, lambda value, depth: _ext(_TUPLE, _packed(_items(value, depth)))),
    (datetime.datetime, _datetime),
    (datetime.date, lambda value, depth: _ext(_DATE, value.isoformat().encode())),
    (datetime.time, _time),
    (datetime.timedelta, _timedelta),
    (uuid.UUID, lambda value, depth: _ext(_UUID, value.bytes)),
    (decimal.Decimal, lambda value, depth: _ext(_DECIMAL, str(value).encode())),
    (set, lambda value, depth: _ext(_SET, _packed(_items(value, depth)))),
    (frozenset, lambda value, depth: _ext(_FROZENSET, _packed(_items(value, depth)))),
    (str, lambda value, depth: str.__str__(value)),
    (int, lambda value, depth: _plain(int(value), depth)),
    (float, lambda value, depth: float(value)),
    (bytes, lambda value, depth: bytes(value)),
    (list, _items),
    (Mapping, _mapping),
)


def _packed(plain: object) -> bytes:
    try:
        return _encoder()(plain)
    except UnicodeEncodeError:
        return _encoder()(_without_surrogates(plain))


def _without_surrogates(value: Any) -> Any:
    """Return the value with each str that UTF-8 cannot hold (half a surrogate pair) as an extension."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return _ext(_SURROGATES, value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    elif isinstance(value, dict):
        return _pairs([[key, item] for key, item in value.items()])
    return value


def _stamp(data: bytes) -> tuple[str, int, str]:
    text, fold, zone = [*data.decode().split("|"), "", ""][:3]
    return text, int(fold or 0), zone


def _zone(name: str) -> datetime.tzinfo | None:
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name) if name else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return None  # this machine does not know it; the offset is in the text


def _load_datetime(data: bytes) -> datetime.datetime:
    text, fold, name = _stamp(data)
    value = datetime.datetime.fromisoformat(text).replace(fold=fold)
    zone = _zone(name)
    return value if zone is None else value.replace(tzinfo=zone)


def _load_time(data: bytes) -> datetime.time:
    text, fold, name = _stamp(data)
    value = datetime.time.fromisoformat(text).replace(fold=fold)
    zone = _zone(name)
    return value if zone is None else value.replace(tzinfo=zone)


def _load_timedelta(data: bytes) -> datetime.timedelta:
    days, seconds, microseconds = map(int, data.split(b"|"))
    return datetime.timedelta(days, seconds, microseconds)


_LOADERS: dict[int, Callable[[bytes], Any]] = {
    _DATETIME: _load_datetime,
    _DATE: lambda data: datetime.date.fromisoformat(data.decode()),
    _TIME: _load_time,
    _TIMEDELTA: _load_timedelta,
    _UUID: lambda data: uuid.UUID(bytes=data),
    _DECIMAL: lambda data: decimal.Decimal(data.decode()),
    _TUPLE: lambda data: tuple(loads(data)),
    _SET: lambda data: set(loads(data)),
    _FROZENSET: lambda data: frozenset(loads(data)),
    _PAIRS: lambda data: dict(loads(data)),
    _LARGE_INT: lambda data: int(data),
    _SURROGATES: lambda data: data.decode("utf-8", "surrogatepass"),
}


def _load(code: int, data: memoryview) -> Any:
    loader = _LOADERS.get(code)
    if loader is None:
        raise DamagedValue(f"extension type {code} is unknown; a newer release may have written it")
    return loader(bytes(data))


@cache
def _encoder() -> Callable[[object], bytes]:
    import msgspec

    return msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> Callable[[bytes], Any]:
    import msgspec

    return msgspec.msgpack.Decoder(ext_hook=_load).decode
