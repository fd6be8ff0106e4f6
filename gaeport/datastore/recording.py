"""Keeps which queries a program asks, for `gaeport indexes`: their shapes and the code behind them, never values.

On where $GAEPORT_RECORD_QUERIES names a folder: each process appends to a file of its own there, a JSON object a line,
so that the recordings of several processes, runs and machines are merged by putting their files together.
"""

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any, TextIO

from gaeport import meter
from gaeport.datastore import gql, wire

VARIABLE = "GAEPORT_RECORD_QUERIES"
SUFFIX = ".jsonl"
_MAX_SHAPES = 50  # of one kind's entities: shapes are kept for the number of their index entries

_lock = threading.Lock()
_file: TextIO | None = None
_owner = 0  # the process that opened the file; a child opens its own
_queries: set[tuple[bytes, str, str]] = set()
_shapes: dict[str, set[tuple[tuple[str, int], ...]]] = {}


def note(method: str, request: Any) -> None:
    """Record a request: of a query its shape, of a commit how many values the entities' properties have.

    Args:
        method: one of `wire.METHODS`.
        request: the message.
    """
    if method in ("RunQuery", "RunAggregationQuery"):
        _note_query(_query(method, request))
    elif method == "Commit":
        for mutation in request.mutations:
            operation = mutation.WhichOneof("operation")
            if operation not in (None, "delete"):
                _note_entity(getattr(mutation, operation))


def _query(method: str, request: Any) -> Any:
    """Return the `wire.Query` or `wire.AggregationQuery` that is asked, that of GQL too, without values."""
    request = wire.request_class(method).FromString(request.SerializeToString())
    if request.WhichOneof("query_type") == "gql_query":
        parse = gql.parse_query if method == "RunQuery" else gql.parse_aggregation_query
        found = parse(request.gql_query, request.partition_id)
    else:
        found = request.query if method == "RunQuery" else request.aggregation_query
    plain = found if method == "RunQuery" else found.nested_query
    for name in ("start_cursor", "end_cursor", "offset", "limit"):
        plain.ClearField(name)
    if plain.HasField("filter"):
        _strip(plain.filter)
    return found


def _strip(node: Any) -> None:
    if node.WhichOneof("filter_type") == "composite_filter":
        for part in node.composite_filter.filters:
            _strip(part)
    else:
        node.property_filter.ClearField("value")


def _note_query(query: Any) -> None:
    packed = query.SerializeToString(deterministic=True)
    places = [f"{code.co_filename}:{line}" for code, line in meter.places()]
    place = places[0] if places else ""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    with _lock:
        out = _open()
        if (packed, place, test) in _queries:
            return
        _queries.add((packed, place, test))
        kind = query.DESCRIPTOR.name
        _write(out, {"query": base64.b64encode(packed).decode(), "type": kind, "place": place, "test": test})


def _note_entity(entity: Any) -> None:
    kind = entity.key.path[-1].kind
    shape = sorted(_counts(entity.properties, ""))
    depth = len(entity.key.path)
    with _lock:
        out = _open()
        known = _shapes.setdefault(kind, set())
        key = (*shape, ("", depth))
        if key in known or len(known) >= _MAX_SHAPES:
            return
        known.add(key)
        _write(out, {"kind": kind, "depth": depth, "values": dict(shape)})


def _counts(properties: Any, before: str) -> list[tuple[str, int]]:
    """Return how many different indexed values each property has."""
    found = []
    for name, value in properties.items():
        if value.exclude_from_indexes:
            continue
        if value.WhichOneof("value_type") == "entity_value":
            found += _counts(value.entity_value.properties, f"{before}{name}.")
        elif value.WhichOneof("value_type") == "array_value":
            values = {item.SerializeToString(deterministic=True) for item in value.array_value.values}
            found.append((before + name, len(values)))
        else:
            found.append((before + name, 1))
    return found


def _open() -> TextIO:
    global _file, _owner
    if _file is None or _owner != os.getpid():
        folder = Path(os.environ[VARIABLE])
        folder.mkdir(parents=True, exist_ok=True)
        _queries.clear()
        _shapes.clear()
        _file = (folder / f"{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}").open("a", encoding="utf-8")
        _owner = os.getpid()
    return _file


def _write(out: TextIO, record: dict[str, Any]) -> None:
    out.write(json.dumps(record, ensure_ascii=False) + "\n")
    out.flush()


def _forget_in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)
