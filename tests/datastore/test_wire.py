"""The table of messages says what google.cloud.datastore_v1 says."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud.datastore_v1.types import aggregation_result, datastore, entity, query, query_profile

from gaeport.datastore import wire

PREFIX = "google.datastore.v1."


def googles_messages() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in (aggregation_result, datastore, entity, query, query_profile):
        for name in module.__all__:
            descriptor = getattr(getattr(module, name), "_meta", None)
            if descriptor is not None and hasattr(getattr(module, name), "pb"):
                for made in _with_nested(getattr(module, name).pb().DESCRIPTOR):
                    found[made.full_name.removeprefix(PREFIX)] = made
    return found


def _with_nested(descriptor: Any) -> Iterator[Any]:
    yield descriptor
    for inner in descriptor.nested_types:
        yield from _with_nested(inner)


def fields(descriptor: Any) -> dict[int, tuple[object, ...]]:
    """Return name, type, label, message type and oneof of each field; enums are plain numbers on the wire."""
    found = {}
    for field in descriptor.fields:
        oneof = field.containing_oneof.name if field.containing_oneof else None
        message = field.message_type.full_name if field.message_type else None
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        found[field.number] = (field.name, field.type, repeated, message, oneof)
    return found


@pytest.mark.parametrize(("name", "google"), sorted(googles_messages().items()), ids=lambda item: str(item)[:40])
def test_a_message_has_googles_fields(name: str, google: Any) -> None:
    ours = wire._pool.FindMessageTypeByName(PREFIX + name)
    assert fields(ours) == fields(google)


def test_no_message_is_missing() -> None:
    assert {f"{method}Request" for method in wire.METHODS} <= set(googles_messages())


def test_the_constants_have_googles_numbers() -> None:
    operators = query.PropertyFilter.Operator
    for name in ("LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "EQUAL", "IN"):
        assert getattr(wire, name) == operators[name]
    for name in ("NOT_EQUAL", "HAS_ANCESTOR", "NOT_IN"):
        assert getattr(wire, name) == operators[name]
    for name in ("NOT_FINISHED", "NO_MORE_RESULTS", "MORE_RESULTS_AFTER_LIMIT", "MORE_RESULTS_AFTER_CURSOR"):
        assert getattr(wire, name) == query.QueryResultBatch.MoreResultsType[name]
    assert tuple(query.EntityResult.ResultType[name] for name in ("FULL", "PROJECTION", "KEY_ONLY")) == (
        wire.FULL,
        wire.PROJECTION,
        wire.KEY_ONLY,
    )
    assert (wire.AND, wire.OR) == (query.CompositeFilter.Operator.AND, query.CompositeFilter.Operator.OR)
    assert (wire.ASCENDING, wire.DESCENDING) == (
        query.PropertyOrder.Direction.ASCENDING,
        query.PropertyOrder.Direction.DESCENDING,
    )
    strategies = datastore.Mutation.ConflictResolutionStrategy
    assert (wire.SERVER_VALUE, wire.FAIL) == (strategies.SERVER_VALUE, strategies.FAIL)
    modes = datastore.CommitRequest.Mode
    assert (wire.TRANSACTIONAL, wire.NON_TRANSACTIONAL) == (modes.TRANSACTIONAL, modes.NON_TRANSACTIONAL)
