"""A commit whose answer was lost may have been applied: before anything is sent again, what is stored is looked at."""

from collections.abc import Sequence
from typing import Any

from gaeport.dal.unit import key_of
from gaeport.datastore import wire
from gaeport.datastore.client import Client, backoff, retried
from gaeport.datastore.outcomes import REFUSED
from gaeport.errors import Aborted, DeadlineExceeded, Unavailable

ATTEMPTS = 6
_LOST = (Unavailable, DeadlineExceeded)


def commit(client: Client, mutations: Sequence[Any]) -> list[Any]:
    """Apply mutations all or nothing, and return their results.

    Repeated where another transaction got in the way, and where the answer was lost and nothing was applied. What one
    commit applied is told by its first mutation, which speaks for all.

    Raises:
        AlreadyExists, FailedPrecondition, NotFound: what a mutation takes for granted is not so; nothing was written.
        Unavailable, DeadlineExceeded: it cannot be told whether the mutations were applied.
    """
    lost: Exception | None = None
    for attempt in range(ATTEMPTS):
        try:
            return list(retried(lambda: client.commit(mutations), (Aborted,), ATTEMPTS))
        except _LOST as error:
            lost = error
        except REFUSED:
            if lost is None or _applied(client, mutations) is False:
                raise
        applied = _applied(client, mutations)
        if applied:
            return [wire.MutationResult() for _ in mutations]
        if applied is None or attempt == ATTEMPTS - 1:
            raise lost
        backoff(attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _applied(client: Client, mutations: Sequence[Any]) -> bool | None:
    """Return whether a commit was applied, by what is stored; None where that does not tell."""
    if any(not (key.path[-1].id or key.path[-1].name) for key in map(key_of, mutations)):
        return None  # Datastore was to choose an id
    mutation = mutations[0]
    operation = mutation.WhichOneof("operation")
    found = client.lookup([key_of(mutation)])[0]
    if operation == "insert":
        if found is None:
            return False
        return True if _same(found.entity, mutation.insert) else None
    if operation == "delete":
        return found is None
    if operation == "update" and mutation.base_version:
        # A newer version may be this one, or another's with the same content.
        return False if found is not None and found.version == mutation.base_version else None
    return False  # harmless when it is made twice


def _same(one: Any, other: Any) -> bool:
    names = one.properties.keys()
    return names == other.properties.keys() and all(one.properties[name] == other.properties[name] for name in names)
