"""The thin client: the calls that gaeport's own entities need, on raw messages, with no library in between.

A `get` through Google Cloud NDB costs about 1.3 ms of CPU; this one costs what the messages cost.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.transport import Transport
from gaeport.errors import Aborted, DatastoreError, DeadlineExceeded, Internal, Unavailable

MAX_LOOKUP_KEYS = 1000  # "Limits" page: keys in one Lookup
READ_ATTEMPTS = 5
BATCH = 300  # entities; what one RunQuery returns at most in production

# Reads are safe to repeat. ABORTED: the Datastore emulator answers it even to plain queries.
_REPEATABLE = (Aborted, Unavailable, DeadlineExceeded, Internal)

# Not the shared generator: seeded by an application, or copied by a fork, it would let all try again in step.
_jitter = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Found:
    """An entity as it was read.

    Attributes:
        entity: the message; it belongs to whoever asked.
        version: grows with each change; the base of a compare-and-set.
        cursor: where a query stood after this entity; empty for lookups.
    """

    entity: Any
    version: int
    cursor: bytes = b""


class Client:
    """Reads and writes entities of one project, database and namespace."""

    def __init__(self, transport: Transport, *, project: str, database: str = "", namespace: str = "") -> None:
        self.transport = transport
        self.project = project
        self.database = database
        self.namespace = namespace

    def key(self, *path: str | int) -> Any:
        """Return the key for a path of kind, id or name, kind, id or name …

        Args:
            *path: an even number of items; an int is an id, a str a name.
        """
        key = wire.Key()
        partition = key.partition_id
        partition.project_id, partition.database_id = self.project, self.database
        partition.namespace_id = self.namespace
        for kind, name in zip(path[::2], path[1::2], strict=True):
            if isinstance(name, int):
                key.path.add(kind=kind, id=name)
            else:
                key.path.add(kind=kind, name=name)
        return key

    def lookup(self, keys: Sequence[Any], *, mask: Iterable[str] = ()) -> list[Found | None]:
        """Read entities by key, in one call unless the server defers some.

        Args:
            keys: any number; more than 1,000 are split over several calls.
            mask: property names to read; none reads whole entities. A server may send more than was asked for.

        Returns:
            For each key, in order, the entity or None. The answer is not a snapshot: entities of one call may be from
            different moments.

        Raises:
            DatastoreError: after 5 attempts, for errors that a repeat can cure.
        """
        if len(keys) > MAX_LOOKUP_KEYS:
            head, tail = keys[:MAX_LOOKUP_KEYS], keys[MAX_LOOKUP_KEYS:]
            return self.lookup(head, mask=mask) + self.lookup(tail, mask=mask)
        found: list[Found] = []
        pending = list(keys)
        while pending:
            response = self._read("Lookup", self._lookup_request(pending, mask))
            found += [Found(result.entity, result.version) for result in response.found]
            pending = list(response.deferred)
        return _in_order(keys, found)

    def _lookup_request(self, keys: Iterable[Any], mask: Iterable[str]) -> Any:
        request = wire.LookupRequest(project_id=self.project, database_id=self.database, keys=keys)
        request.property_mask.paths.extend(mask)
        if not request.property_mask.paths:
            request.ClearField("property_mask")
        return request

    def commit(self, mutations: Sequence[Any]) -> list[Any]:
        """Apply mutations all or nothing, in one call, without a transaction being open before.

        A mutation carries what must not have changed: `insert` of a key that must be free, `base_version` with
        strategy FAIL. Nothing is repeated here: after UNAVAILABLE or DEADLINE_EXCEEDED the caller looks up what
        happened, since the Commit may have been applied.

        Returns:
            The MutationResult of each mutation.

        Raises:
            AlreadyExists, NotFound, FailedPrecondition, Aborted: nothing was written; which of them a violated
                condition gives depends on the server.
            Unavailable, DeadlineExceeded: the mutations may have been applied.
            InvalidArgument: a limit is broken.
        """
        request = wire.CommitRequest(project_id=self.project, database_id=self.database, mutations=mutations)
        request.mode = wire.TRANSACTIONAL
        request.single_use_transaction.read_write.SetInParent()
        return list(self.transport.call("Commit", request).mutation_results)

    def query(self, query: Any, *, mask: Iterable[str] = ()) -> Iterator[Found]:
        """Run a query in the client's namespace and yield all its results, batch by batch.

        Args:
            query: a `wire.Query`; `limit` bounds the whole.
            mask: property names to read; none reads whole entities. A server may send more than was asked for.

        Raises:
            DatastoreError: as `lookup`.
        """
        query = _copied(query)
        while True:
            request = wire.RunQueryRequest(project_id=self.project, database_id=self.database, query=query)
            request.partition_id.project_id, request.partition_id.database_id = self.project, self.database
            request.partition_id.namespace_id = self.namespace
            if mask:
                request.property_mask.paths.extend(mask)
            batch = self._read("RunQuery", request).batch
            for result in batch.entity_results:
                yield Found(result.entity, result.version, result.cursor)
            if batch.more_results != wire.NOT_FINISHED:
                return
            _advance(query, batch)

    def allocate_ids(self, keys: Sequence[Any]) -> list[Any]:
        """Complete keys whose last element has no id; returns the complete keys in order."""
        request = wire.AllocateIdsRequest(project_id=self.project, database_id=self.database, keys=keys)
        return list(self.transport.call("AllocateIds", request).keys)

    def reserve_ids(self, keys: Sequence[Any]) -> None:
        """Keep ids that were chosen elsewhere from being allocated; the keys are complete."""
        request = wire.ReserveIdsRequest(project_id=self.project, database_id=self.database, keys=keys)
        self.transport.call("ReserveIds", request)

    def aggregate(self, query: Any, aggregation: Any) -> Any:
        """Run one aggregation over a query's results in the client's namespace; no entity is sent.

        Args:
            query: a `wire.Query`.
            aggregation: a `wire.AggregationQuery.Aggregation`: count, sum or avg.

        Returns:
            The `wire.Value` of the result.

        Raises:
            DatastoreError: as `lookup`.
        """
        request = wire.RunAggregationQueryRequest(project_id=self.project, database_id=self.database)
        request.partition_id.project_id, request.partition_id.database_id = self.project, self.database
        request.partition_id.namespace_id = self.namespace
        request.aggregation_query.nested_query.CopyFrom(query)
        added = request.aggregation_query.aggregations.add()
        added.CopyFrom(aggregation)
        added.alias = "result"
        results = self._read("RunAggregationQuery", request).batch.aggregation_results
        return results[0].aggregate_properties["result"]

    def _read(self, method: str, request: Any) -> Any:
        return retried(lambda: self.transport.call(method, _copied(request)), _REPEATABLE, READ_ATTEMPTS)


def retried(call: Callable[[], Any], errors: tuple[type[DatastoreError], ...], attempts: int) -> Any:
    """Call until it succeeds, waiting between attempts with full jitter, 20 ms to 1.6 s.

    Args:
        call: what to try.
        errors: those that a repeat can cure; others pass at once.
        attempts: how often to try in all; the last error passes.
    """
    for attempt in range(attempts):
        try:
            return call()
        except errors:
            if attempt == attempts - 1:
                raise
            backoff(attempt)
    raise AssertionError("attempts must be at least 1")


def backoff(attempt: int) -> None:
    """Sleep before the next attempt: a random time up to 20 ms doubled each attempt, 1.6 s at most."""
    time.sleep(_jitter.uniform(0.001, min(1.6, 0.02 * 2**attempt)))


def _in_order(keys: Sequence[Any], found: Sequence[Found]) -> list[Found | None]:
    """Return for each key what was found under it."""
    wanted = [key.SerializeToString() for key in keys]
    by_key = {result.entity.key.SerializeToString(): result for result in found}
    if not by_key.keys() <= set(wanted):  # the server filled in the partition; comparing paths takes six times as long
        wanted = [key_bytes(key) for key in keys]
        by_key = {key_bytes(result.entity.key): result for result in found}
    return [by_key.get(key) for key in wanted]


def key_bytes(key: Any) -> bytes:
    """Return a key's path as bytes that are equal for equal keys (servers may fill in the partition)."""
    parts = [f"{element.kind}\0{element.name or element.id}\0{'n' if element.name else 'i'}" for element in key.path]
    return "\1".join(parts).encode("utf-8", "surrogatepass")


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _advance(query: Any, batch: Any) -> None:
    query.start_cursor = batch.end_cursor
    query.offset = max(0, query.offset - batch.skipped_results)
    if query.HasField("limit"):
        query.limit.value -= len(batch.entity_results)
