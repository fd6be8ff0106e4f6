"""Keys as bytes that sort as Datastore sorts keys, so that SQLite's own order is the query's order.

A stored key is its partition (project, database, namespace) followed by its path. Strings end with a zero byte (zero
and one are escaped), ids are eight bytes, and an id sorts before a name. What a key begins with is its ancestor.
"""

from functools import lru_cache
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.limits import MAX_KEY, check_key_size, check_kind, check_name, check_partition, describe
from gaeport.errors import InvalidArgument

AFTER_DESCENDANTS = b"\xff"  # no UTF-8 text and no escape begins with it
_ID, _NAME = b"\x02", b"\x03"
_SIGN = 1 << 63


def escape(raw: bytes) -> bytes:
    """Return bytes that end in the only zero byte they hold and compare as `raw` does, shorter before longer."""
    if b"\x00" in raw or b"\x01" in raw:
        raw = raw.replace(b"\x01", b"\x01\x02").replace(b"\x00", b"\x01\x01")
    return raw + b"\x00"


def unescape(escaped: bytes) -> bytes:
    """Return what `escape` was given; `escaped` comes without its final zero byte."""
    return escaped.replace(b"\x01\x01", b"\x00").replace(b"\x01\x02", b"\x01")


@lru_cache(maxsize=1024)
def partition_bytes(project: str, database: str, namespace: str) -> bytes:
    """Return the bytes that all keys of one namespace begin with.

    Raises:
        InvalidArgument: the database or namespace has an impossible name.
    """
    check_partition(project, database, namespace)
    return b"".join(escape(part.encode()) for part in (project, database, namespace))


@lru_cache(maxsize=4096)
def _kind_bytes(kind: str) -> bytes:
    check_kind(kind)
    return escape(kind.encode())


def encode_key(key: Any, project: str, database: str) -> bytes:
    """Return the bytes of a complete key.

    Args:
        key: a `wire.Key`; a partition that it leaves out is taken from the request.
        project: the request's project.
        database: the request's database.

    Raises:
        InvalidArgument: the key is incomplete, breaks a limit, or belongs to another database.
    """
    parent, last = encode_parent(key, project, database)
    if not last.id and not last.name:
        raise InvalidArgument(f"the key {describe(key)} is incomplete: its last element has neither id nor name")
    encoded = parent + _element_bytes(last)
    if len(encoded) > MAX_KEY:
        check_key_size(encoded, key)
    return encoded


def kind_prefix(key: Any, database: str) -> bytes:
    """Return what the names of all indexes of a key's kind begin with: its partition, which names its project, and its
    kind."""
    partition = key.partition_id
    path = key.path
    kind = _kind_bytes(path[len(path) - 1].kind)
    return partition_bytes(partition.project_id, database, partition.namespace_id) + kind


def encode_parent(key: Any, project: str, database: str) -> tuple[bytes, Any]:
    """Return the bytes of a key's partition and all but its last path element, and that element.

    Raises:
        InvalidArgument: the path is empty or incomplete before its end, or the key belongs to another database.
    """
    partition = key.partition_id
    if (partition.project_id or project) != project or partition.database_id != database:
        raise InvalidArgument(
            f"the key {describe(key)} belongs to project {partition.project_id!r}, database "
            f"{partition.database_id!r}; the request to project {project!r}, database {database!r}"
        )
    encoded = partition_bytes(project, database, partition.namespace_id)
    path = key.path
    count = len(path)
    if count == 0:
        raise InvalidArgument("a key has an empty path")
    for index in range(count - 1):
        encoded += _element_bytes(path[index])
    return encoded, path[count - 1]


def _element_bytes(element: Any) -> bytes:
    kind = _kind_bytes(element.kind)
    name = element.name
    if name:
        raw = name.encode("utf-8", "surrogatepass")
        check_name(name, raw)
        return kind + _NAME + escape(raw)
    number = element.id
    if not number:
        raise InvalidArgument(f"a key path element of kind {element.kind!r} has neither id nor name")
    return kind + _ID + (number + _SIGN).to_bytes(8, "big")  # type: ignore[no-any-return]  # wire is untyped


def decode_key(encoded: bytes) -> Any:
    """Return the `wire.Key` of bytes that `encode_key` made."""
    key = wire.Key()
    partition = key.partition_id
    raw, at = _text(encoded, 0)
    partition.project_id = raw
    partition.database_id, at = _text(encoded, at)
    partition.namespace_id, at = _text(encoded, at)
    while at < len(encoded):
        kind, at = _text(encoded, at)
        tag, at = encoded[at : at + 1], at + 1
        if tag == _ID:
            key.path.add(kind=kind, id=int.from_bytes(encoded[at : at + 8], "big") - _SIGN)
            at += 8
        else:
            name, at = _text(encoded, at)
            key.path.add(kind=kind, name=name)
    return key


def _text(encoded: bytes, start: int) -> tuple[str, int]:
    end = encoded.index(b"\x00", start)
    return unescape(encoded[start:end]).decode("utf-8", "surrogatepass"), end + 1
