"""How many entries an entity has in composite indexes, and how large they are ("exploding indexes").

Source: "Indexes" (index limits), "Storage size calculations" and "Limits" of Firestore in Datastore mode.
"""

from collections.abc import Iterable
from math import prod
from typing import Any

from gaeport.datastore import values
from gaeport.datastore.index_needs import KEY
from gaeport.datastore.indexes import Index
from gaeport.datastore.limits import MAX_INDEX_ENTRIES, describe
from gaeport.errors import InvalidArgument

MAX_BYTES = 2_097_152  # of one entity's entries in composite indexes
_ENTRY_OVERHEAD = 32  # bytes of each entry
_KEY_OVERHEAD, _ID_BYTES = 16, 8


def entries(index: Index, entity: Any) -> int:
    """Return the number of entries that an entity has in a composite index.

    One for each combination of its values of the index's properties; in an index on ancestors, one such set for the
    entity itself and for each of its ancestors. An entity without an indexed value for one of the properties has none.

    Args:
        index: the index.
        entity: a `wire.Entity` with its key; properties named with dots are looked up in embedded entities.
    """
    return _measure(index, entity, *_database(entity))[0]


def entry_bytes(index: Index, entity: Any) -> int:
    """Return the bytes of an entity's entries in a composite index.

    Args:
        index: the index.
        entity: a `wire.Entity` with its key.
    """
    return _measure(index, entity, *_database(entity))[1]


def check(indexes: Iterable[Index], entity: Any, project: str, database: str) -> None:
    """Refuse an entity that has too many entries in all indexes, or too large ones in the composite ones.

    Args:
        indexes: the composite indexes.
        entity: a `wire.Entity` with its key.
        project: the request's project, for keys that name none.
        database: the request's database.

    Raises:
        InvalidArgument: naming entity, count, limit and the index with the most entries.
    """
    measured = {index: _measure(index, entity, project, database) for index in indexes}
    if not measured:
        return
    size = sum(found for _, found in measured.values())
    built_in = len(values.index_values(entity, project, database))
    count = built_in + sum(found for found, _ in measured.values())
    if count <= MAX_INDEX_ENTRIES and size <= MAX_BYTES:
        return
    index, (most, _) = max(measured.items(), key=lambda item: item[1])
    properties = ", ".join(prop if way == "asc" else f"{prop} desc" for prop, way in index.properties)
    name = describe(entity.key)
    worst = f"{most:,} of them are in the index of {index.kind} on ({properties})"
    if count > MAX_INDEX_ENTRIES:
        raise InvalidArgument(
            f"too many index entries: the entity {name} needs {count:,}; the limit is {MAX_INDEX_ENTRIES:,}; {worst}"
        )
    raise InvalidArgument(
        f"too large index entries: the entity {name} needs {size:,} bytes of them in composite indexes; "
        f"the limit is {MAX_BYTES:,}; {worst}"
    )


def _database(entity: Any) -> tuple[str, str]:
    return entity.key.partition_id.project_id, entity.key.partition_id.database_id


def _measure(index: Index, entity: Any, project: str, database: str) -> tuple[int, int]:
    """Return the number of entries and their bytes."""
    key = entity.key
    if key.path[-1].kind != index.kind:
        return 0, 0
    distinct = [set(values.values_of(entity, name, project, database)) for name, _ in index.properties if name != KEY]
    sizes = [[len(value) for value in found] for found in distinct]
    combinations = prod(len(found) for found in sizes)
    if not combinations:
        return 0, 0
    # Each value of a property is in an equal share of the combinations.
    content = sum(sum(found) * (combinations // len(found)) for found in sizes)
    content += combinations * (_key_size(key, len(key.path)) + _ENTRY_OVERHEAD)
    if not index.ancestor:
        return combinations, content
    above = sum(_key_size(key, length) for length in range(1, len(key.path) + 1))
    return combinations * len(key.path), content * len(key.path) + combinations * above


def _key_size(key: Any, length: int) -> int:
    """Return the bytes of the first elements of a key ("Storage size calculations", key size)."""
    namespace = key.partition_id.namespace_id
    size = len(namespace.encode()) + 1 if namespace else 0
    for element in key.path[:length]:
        size += len(element.kind.encode()) + 1
        size += len(element.name.encode()) + 1 if element.WhichOneof("id_type") == "name" else _ID_BYTES
    return size + _KEY_OVERHEAD
