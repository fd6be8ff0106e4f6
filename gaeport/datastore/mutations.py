"""The mutations of a Commit, one entity each."""

from typing import Any

from gaeport.datastore import wire


def insert(entity: Any) -> Any:
    """Return the mutation that creates an entity whose key must be free."""
    mutation = wire.Mutation()
    mutation.insert.CopyFrom(entity)  # a third of the time that the constructor takes to do the same
    return mutation


def update(entity: Any, version: int | None = None) -> Any:
    """Return the mutation that changes an existing entity, by compare-and-set when a version is given."""
    mutation = wire.Mutation()
    mutation.update.CopyFrom(entity)
    if version is not None:
        mutation.base_version, mutation.conflict_resolution_strategy = version, wire.FAIL
    return mutation


def compare_and_set(entity: Any, version: int | None) -> Any:
    """Return the mutation that writes an entity over the version that was found; None where the key was free."""
    return insert(entity) if version is None else update(entity, version)


def upsert(entity: Any) -> Any:
    """Return the mutation that writes an entity whatever was there."""
    return wire.Mutation(upsert=entity)


def delete(key: Any, version: int | None = None) -> Any:
    """Return the mutation that removes an entity, by compare-and-set when a version is given."""
    mutation = wire.Mutation(delete=key)
    if version is not None:
        mutation.base_version, mutation.conflict_resolution_strategy = version, wire.FAIL
    return mutation
