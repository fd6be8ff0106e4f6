"""Where a result stands in a query's order, as bytes that sort in that order; also what cursors hold.

A position is one part for each order, then one for the key. A descending part has all its bits turned over.
"""

from collections.abc import Sequence

from gaeport.datastore.keys import escape, unescape
from gaeport.errors import InvalidArgument

_FLIP = bytes(255 - n for n in range(256))
_MARK = b"g1"  # the first bytes of a cursor


def part(raw: bytes, *, descending: bool) -> bytes:
    """Return one part of a position."""
    escaped = escape(raw)
    return escaped.translate(_FLIP) if descending else escaped


def position(parts: Sequence[bytes], descending: Sequence[bool]) -> bytes:
    """Return the position of values and a key, each with its direction."""
    return b"".join(part(raw, descending=down) for raw, down in zip(parts, descending, strict=True))


def split(whole: bytes, descending: Sequence[bool]) -> list[bytes]:
    """Return what `position` was given.

    Raises:
        InvalidArgument: the bytes are not a position with these directions.
    """
    parts = []
    at = 0
    for down in descending:
        end = whole.find(b"\xff" if down else b"\x00", at)
        if end < 0:
            raise InvalidArgument("the cursor belongs to another query")
        raw = whole[at:end]
        parts.append(unescape(raw.translate(_FLIP) if down else raw))
        at = end + 1
    if at != len(whole):
        raise InvalidArgument("the cursor belongs to another query")
    return parts


def to_cursor(whole: bytes) -> bytes:
    """Return the cursor for a position."""
    return _MARK + whole


def from_cursor(cursor: bytes, descending: Sequence[bool]) -> bytes:
    """Return the position in a cursor.

    Raises:
        InvalidArgument: the cursor is not one, or of a query with other orders.
    """
    if not cursor.startswith(_MARK):
        raise InvalidArgument("the cursor is not one of the embedded Datastore")
    whole = cursor[len(_MARK) :]
    split(whole, descending)
    return whole
