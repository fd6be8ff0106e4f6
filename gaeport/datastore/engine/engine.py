"""The engine: one method for each call of the service."""

import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from gaeport.datastore import limits, values, wire
from gaeport.datastore.engine import aggregate, commit, dump, explain, locks, metadata, rows, search
from gaeport.datastore.engine.kept import KeptLists
from gaeport.datastore.engine.names import Names
from gaeport.datastore.engine.store import Store, stores
from gaeport.datastore.engine.transactions import Transaction, Transactions
from gaeport.datastore.keys import decode_key, encode_key
from gaeport.errors import Aborted, InvalidArgument, Unimplemented

_T = TypeVar("_T")


class Engine:
    """A Datastore inside the process; a Transport. Safe to use from many threads.

    Several engines, in one process or several, may work on one folder at once.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        synchronous: str = "normal",
        concurrency: str = "optimistic",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open or create the data.

        Args:
            folder: where `datastore.sqlite3` lies; made when missing. None keeps everything in memory.
            synchronous: "normal" survives the death of any process, "full" also a loss of power.
            concurrency: "optimistic" aborts transactions of which others have changed what they read; "pessimistic"
                lets those others wait, and aborts them. Locks hold within this engine only.
            clock: seconds by which transactions expire; tests give their own.

        Raises:
            DataLoss: the file is damaged, or not gaeport's.
            PermissionDenied: the folder cannot be written.
        """
        self._store = Store(folder, synchronous=synchronous)
        self._closing = weakref.finalize(self, self._store.close)  # also when the process ends
        self._names = Names()
        self._kept = KeptLists()
        self._pessimistic = concurrency == "pessimistic"
        self._clock = clock
        self._transactions = Transactions(self._clock)
        self._methods: dict[str, Callable[[Any], Any]] = {
            "Lookup": self._lookup,
            "Commit": self._commit,
            "RunQuery": self._run_query,
            "RunAggregationQuery": self._run_aggregation_query,
            "BeginTransaction": self._begin_transaction,
            "Rollback": self._rollback,
            "AllocateIds": self._allocate_ids,
            "ReserveIds": self._reserve_ids,
        }

    def call(self, method: str, request: Any) -> Any:
        """Answer one request.

        Args:
            method: one of `wire.METHODS`.
            request: the message `wire.request_class(method)`; it may be changed.

        Returns:
            The message `wire.response_class(method)`.

        Raises:
            DatastoreError: of the class that the status code has.
        """
        answer = self._methods.get(method)
        if answer is None:
            raise Unimplemented(f"the embedded Datastore has no method {method}")
        if not request.project_id:
            raise InvalidArgument("the request names no project")
        return answer(request)

    def close(self) -> None:
        """Close the file. Calls after this fail."""
        self._closing()

    def export(self, work: Callable[[Iterator[bytes]], _T]) -> _T:
        """Return what `work` makes of all entities, serialized, as they are at one moment.

        Args:
            work: called with an iterator in the order of keys; called again from the start if the file was busy, or if
                it took longer than the history covers.
        """

        def read(db: sqlite3.Connection) -> _T:
            return work(row[0] for row in db.execute("SELECT data FROM entities ORDER BY key"))

        try:
            return work(dump.entities(self._store))
        except Aborted:
            return self._store.snapshot(read)  # the log grows meanwhile, but the end will be reached

    def first_keys(self, limit: int) -> list[Any]:
        """Return the first keys of the whole database, as `wire.Key`s."""
        found = self._store.read(
            lambda db: db.execute("SELECT key FROM entities ORDER BY key LIMIT ?", (limit,)).fetchall()
        )
        return [decode_key(key) for (key,) in found]

    def after_fork_in_child(self) -> None:
        """Forget what belongs to the parent: its open transactions. (Connections are closed before a fork.)"""
        self._transactions = Transactions(self._clock)

    def _lookup(self, request: Any) -> Any:
        limits.check_lookup(len(request.keys))
        project, database = request.project_id, request.database_id
        wanted = {encode_key(key, project, database): key for key in request.keys}
        if len(wanted) == 1 and not request.HasField("read_options"):
            return self._lookup_one(request, *next(iter(wanted.items())))
        response = wire.LookupResponse()

        def work(db: sqlite3.Connection) -> None:
            transaction, at = self._reading(db, request.read_options, response)
            if transaction is not None:
                transaction.keys.update(wanted)
            read_time = at or rows.sequence(db)
            for encoded, key in wanted.items():
                _add_result(response, request, key, rows.row_at(db, encoded, at), read_time)
            values.set_micros(response.read_time, read_time)

        self._store.snapshot(work)
        return response

    def _lookup_one(self, request: Any, encoded: bytes, key: Any) -> Any:
        """Answer the commonest lookup, one key outside a transaction, by a single SELECT."""
        response = wire.LookupResponse()
        row, sequence = self._store.read(lambda db: rows.current_and_sequence(db, encoded))
        _add_result(response, request, key, row, sequence)
        values.set_micros(response.read_time, sequence)
        return response

    def _reading(self, db: sqlite3.Connection, options: Any, response: Any) -> tuple[Transaction | None, int | None]:
        """Return the transaction that a read belongs to, and the sequence number to read at (None: the present)."""
        which = options.WhichOneof("consistency_type")
        if which == "read_time":
            at = values.micros(options.read_time)
            rows.check_history(db, at, transaction=False)
            return None, at
        if which == "transaction":
            transaction = self._transactions.get(options.transaction)
            rows.check_history(db, transaction.sequence, transaction=not transaction.fixed)
        elif which == "new_transaction":
            transaction = self._begin(db, options.new_transaction)
            response.transaction = transaction.token
        else:
            return None, None
        return (None if transaction.read_only else transaction), transaction.sequence

    def _begin(self, db: sqlite3.Connection, options: Any) -> Transaction:
        read_only = options.WhichOneof("mode") == "read_only"
        if read_only and options.read_only.HasField("read_time"):
            at = values.micros(options.read_only.read_time)
            rows.check_history(db, at, transaction=False)
            return self._transactions.begin(at, read_only=True, fixed=True)
        return self._transactions.begin(rows.sequence(db), read_only=read_only)

    def _begin_transaction(self, request: Any) -> Any:
        transaction = self._store.snapshot(lambda db: self._begin(db, request.transaction_options))
        return wire.BeginTransactionResponse(transaction=transaction.token)

    def _rollback(self, request: Any) -> Any:
        if not request.transaction:
            raise InvalidArgument("the rollback names no transaction")
        self._transactions.end(request.transaction)
        return wire.RollbackResponse()

    def _commit(self, request: Any) -> Any:
        transaction = self._committing(request)
        if transaction is None:
            return self._apply(request, None)
        try:
            return self._apply(request, transaction)
        finally:
            self._transactions.end(transaction.token)

    def _apply(self, request: Any, transaction: Transaction | None) -> Any:
        changes = commit.prepare(request)
        if transaction is not None and transaction.read_only and changes:
            raise InvalidArgument("a read-only transaction cannot modify entities")

        def work(db: sqlite3.Connection) -> tuple[Any, commit.Writer]:
            writer = commit.Writer(db, self._names, request)
            response = writer.apply(changes, transaction)
            if self._pessimistic:
                keys = {change.key for change in changes}
                locks.check(db, self._transactions, transaction, keys, writer.sequence)
            return response, writer

        if not changes:
            response, writer = self._store.snapshot(work)
        elif self._pessimistic:
            response, writer = locks.write(self._transactions, transaction, lambda: self._store.write(work))
        else:
            response, writer = self._store.write(work)
        self._names.keep(writer.fresh_names)
        return response

    def _allocate_ids(self, request: Any) -> Any:
        return self._store.snapshot(lambda db: commit.allocate(db, request))

    def _reserve_ids(self, request: Any) -> Any:
        keys = commit.reserved(request)
        return self._store.write(lambda db: commit.reserve(db, keys))

    def _committing(self, request: Any) -> Transaction | None:
        selector = request.WhichOneof("transaction_selector")
        if request.mode == wire.NON_TRANSACTIONAL:
            if selector is not None:
                raise InvalidArgument("a non-transactional commit cannot have a transaction")
            return None
        if selector is None:
            raise InvalidArgument("a transactional commit requires a transaction")
        if selector == "single_use_transaction":
            if request.single_use_transaction.WhichOneof("mode") == "read_only" and request.mutations:
                raise InvalidArgument("a read-only transaction cannot modify entities")
            return None
        return self._transactions.get(request.transaction, close=True)

    def _run_query(self, request: Any) -> Any:
        query, parsed = _query(request)
        response = wire.RunQueryResponse(query=parsed)
        searcher = self._searcher(request, query)
        if _only_explained(request, response, searcher):
            return response
        start = time.perf_counter()

        def work(db: sqlite3.Connection) -> None:
            transaction, at = self._reading(db, request.read_options, response)
            searcher.fill_batch(db, response.batch, transaction, at)
            values.set_micros(response.batch.read_time, at or rows.sequence(db))

        self._store.snapshot(work)
        if request.HasField("explain_options"):
            count = len(response.batch.entity_results)
            documents = count if response.batch.entity_result_type == wire.FULL else 0
            scanned = count + response.batch.skipped_results
            _explain(response, searcher, count, scanned, documents, start)
        return response

    def _searcher(self, request: Any, query: Any) -> Any:
        if metadata.is_metadata(query):
            return metadata.MetadataSearcher(request, query)
        return search.Searcher(self._names, self._kept, request, query)

    def _run_aggregation_query(self, request: Any) -> Any:
        query, parsed = _aggregation_query(request)
        response = wire.RunAggregationQueryResponse(query=parsed)
        searcher = self._searcher(request, aggregate.nested_query(query))
        if _only_explained(request, response, searcher):
            return response
        start = time.perf_counter()
        with_rows = aggregate.needs_rows(query)
        scanned = 0

        def work(db: sqlite3.Connection) -> None:
            nonlocal scanned
            transaction, at = self._reading(db, request.read_options, response)
            result = response.batch.aggregation_results.add()
            most = aggregate.most(query.aggregations)
            count = None if with_rows else searcher.count(db, transaction, at, most)
            results = searcher.results(db, transaction, at, with_rows=with_rows)
            scanned = aggregate.fill(result, query.aggregations, results, count)
            values.set_micros(response.batch.read_time, at or rows.sequence(db))

        self._store.snapshot(work)
        response.batch.more_results = wire.NO_MORE_RESULTS
        if request.HasField("explain_options"):
            _explain(response, searcher, 1, scanned, 0, start)
        return response


def _only_explained(request: Any, response: Any, searcher: Any) -> bool:
    """Fill in the plan, and tell whether that is all that is asked for."""
    if not request.HasField("explain_options") or request.explain_options.analyze:
        return False
    explain.fill_plan(response.explain_metrics, _plan(searcher))
    response.batch.more_results = wire.NO_MORE_RESULTS
    return True


def _explain(response: Any, searcher: Any, results: int, scanned: int, documents: int, start: float) -> None:
    metrics = response.explain_metrics
    explain.fill_plan(metrics, _plan(searcher))
    seconds = time.perf_counter() - start
    explain.fill_stats(metrics, results=results, scanned=scanned, documents=documents, seconds=seconds)


def _plan(searcher: Any) -> Any:
    if not isinstance(searcher, search.Searcher):
        raise Unimplemented("metadata queries are not explained")
    return searcher.plan


def _query(request: Any) -> tuple[Any, Any]:
    """Return a RunQueryRequest's query, and again if it was written in GQL, else None."""
    if request.WhichOneof("query_type") != "gql_query":
        return request.query, None
    from gaeport.datastore import gql

    query = gql.parse_query(request.gql_query, _partition(request))
    return query, query


def _aggregation_query(request: Any) -> tuple[Any, Any]:
    """Return a RunAggregationQueryRequest's query, and again if it was written in GQL, else None."""
    if request.WhichOneof("query_type") != "gql_query":
        return request.aggregation_query, None
    from gaeport.datastore import gql

    query = gql.parse_aggregation_query(request.gql_query, _partition(request))
    return query, query


def _partition(request: Any) -> Any:
    partition = wire.PartitionId(project_id=request.project_id, database_id=request.database_id)
    partition.namespace_id = request.partition_id.namespace_id
    return partition


def _add_result(response: Any, request: Any, key: Any, row: rows.Row | None, read_time: int) -> None:
    if row is not None:
        mask = set(request.property_mask.paths) if request.HasField("property_mask") else None
        search.fill(response.found.add(), row, mask)
        return
    missing = response.missing.add()
    missing.entity.key.CopyFrom(key)
    missing.entity.key.partition_id.project_id = request.project_id
    missing.version = read_time


_at_fork: list[Store] = []


def _before_fork() -> None:
    _at_fork[:] = list(stores)
    for store in _at_fork:
        store.before_fork()


def _after_fork() -> None:
    for store in reversed(_at_fork):
        store.after_fork()
    _at_fork.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
