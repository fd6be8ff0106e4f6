"""How keys and values look inside a store: the same on every backend, within memcached's limits."""

import hashlib
import re
import zlib

from gaeport.errors import ValueTooLarge

MAX_KEY = 250  # bytes; memcached's protocol
MAX_VALUE = 1_000_000  # bytes; the bundled memcache's, the smallest of the backends'

_PLAIN, _COMPRESSED = b"\x00", b"\x01"
_COUNTER = re.compile(rb"0|[1-9][0-9]{0,18}")
# memcached increments whatever strtoull can read: blanks, a sign, digits. Only counters may begin like that.
_ESCAPED_FIRST = frozenset(b"\x00\x01\t\n\v\f\r +-0123456789")
_PRINTABLE = re.compile(r"[!-~]*")


def stored_key(namespace: str, key: str) -> str:
    """Return the key inside the store: "namespace:key", or a hash where that is too long or not printable ASCII.

    Different keys never meet: a namespace has no colon, and keys that begin like a hash are hashed themselves.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key must be str, not {type(key).__name__}: {key!r}")
    plain = f"{namespace}:{key}"
    if len(plain) <= MAX_KEY and not key.startswith("#") and _PRINTABLE.fullmatch(key):
        return plain
    return f"{namespace}:#{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def stored_value(key: str, value: bytes) -> bytes:
    """Return the value inside the store.

    A value is stored as it is, a counter too; one that begins like a number or like a mark gets one byte before it; one
    over the limit is compressed.

    Raises:
        ValueTooLarge: over the limit even so.
        TypeError: not bytes.
    """
    if not isinstance(value, bytes):
        raise TypeError(f"the value of {key!r} must be bytes, not {type(value).__name__}")
    stored = value
    if value and value[0] in _ESCAPED_FIRST and not is_counter(value):
        stored = _PLAIN + value
    if len(stored) > MAX_VALUE:
        stored = _COMPRESSED + zlib.compress(value, 1)  # level 1: the wait counts here, not the size
    if len(stored) > MAX_VALUE:
        raise ValueTooLarge(key, len(value), MAX_VALUE)
    return stored


def value_of(stored: bytes) -> bytes:
    """Return the value that `stored_value` encoded."""
    mark = stored[:1]
    if mark == _PLAIN:
        return stored[1:]
    if mark == _COMPRESSED:
        return zlib.decompress(stored[1:])
    if mark.isdigit():
        return stored.rstrip(b" ")  # memcached pads a counter that lost a digit
    return stored


def is_counter(value: bytes) -> bool:
    """Tell whether a value is a counter: decimal digits without leading zeros, at most 2**63 - 1."""
    return _COUNTER.fullmatch(value) is not None and int(value) < 2**63
