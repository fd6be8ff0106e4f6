"""Transactions, and the buffer that `?buffer=request` keeps until `db.commit()`: units of work, opened and ended."""

import functools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from gaeport.dal.commits import commit
from gaeport.dal.errors import TransactionConflict
from gaeport.dal.unit import Unit
from gaeport.datastore import wire
from gaeport.datastore.client import READ_ATTEMPTS, Client, backoff, retried
from gaeport.datastore.outcomes import CONFLICTS
from gaeport.datastore.transport import Transport
from gaeport.errors import (
    Aborted,
    DatastoreError,
    DeadlineExceeded,
    Internal,
    Unavailable,
)

ATTEMPTS = 8  # of a transaction that others get in the way of, waits in between: some 5 s in all
MAX_COMMIT = 8_388_608  # bytes; leaves 2 MiB of the 10 MiB for keys and framing
_PASSING = (Unavailable, DeadlineExceeded, Internal)  # errors that a repeated read can cure
_log = logging.getLogger("gaeport.dal")

Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])


class TransactionClient(Client):
    """A client whose reads belong to the transaction of a unit, which begins with the first of them."""

    def __init__(self, transport: Transport, unit: Unit, *, project: str, database: str, namespace: str) -> None:
        super().__init__(transport, project=project, database=database, namespace=namespace)
        self._unit = unit

    def _read(self, method: str, request: Any) -> Any:
        if not self._unit.transaction:
            self._unit.transaction = self._begin()
        request.read_options.transaction = self._unit.transaction
        try:
            return retried(lambda: self.transport.call(method, request), _PASSING, READ_ATTEMPTS)
        except Aborted as error:
            raise TransactionConflict(f"another transaction got in the way: {error.message}") from error

    def _begin(self) -> bytes:
        request = wire.BeginTransactionRequest(project_id=self.project, database_id=self.database)
        request.transaction_options.read_write.SetInParent()
        begun = retried(lambda: self.transport.call("BeginTransaction", request), _PASSING, READ_ATTEMPTS)
        token: bytes = begun.transaction
        return token

    def commit(self, mutations: Any) -> list[Any]:
        """Commit the unit's transaction, or, where nothing was read, the mutations alone."""
        if not self._unit.transaction:
            return super().commit(mutations)
        request = wire.CommitRequest(project_id=self.project, database_id=self.database, mutations=mutations)
        request.mode, request.transaction = wire.TRANSACTIONAL, self._unit.transaction
        return list(self.transport.call("Commit", request).mutation_results)

    def rollback(self) -> None:
        """Give up the transaction, if one has begun, so that others need not wait for its locks."""
        if self._unit.transaction:
            request = wire.RollbackRequest(project_id=self.project, database_id=self.database)
            request.transaction = self._unit.transaction
            self._unit.transaction = b""
            try:
                self.transport.call("Rollback", request)
            except DatastoreError as error:  # it ends by itself after a minute; what made us give up matters more
                _log.debug("a transaction could not be rolled back: %s", error)


class Units:
    """The unit of each thread, and the ways in which it begins and ends.

    Attributes:
        buffered: whether writes outside transactions wait for `commit()`.
    """

    def __init__(
        self, plain: Callable[[], Client], transactional: Callable[[Unit], TransactionClient], *, buffered: bool
    ) -> None:
        self._plain, self._transactional = plain, transactional
        self._local = threading.local()
        self.buffered = buffered

    @property
    def unit(self) -> Unit | None:
        """The unit that writes go into; None where each is committed at once."""
        found: Unit | None = getattr(self._local, "unit", None)
        if found is None and self.buffered:
            found = self._local.unit = Unit()
        return found

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open in this thread."""
        unit = self.unit
        return unit is not None and unit.depth > 0

    def forget(self) -> None:
        """Drop this thread's unit."""
        self._local.__dict__.pop("unit", None)

    def note_write(self) -> None:
        """Remember that something was committed at once, which no rollback can undo."""
        self._local.written = getattr(self._local, "written", 0) + 1

    # Transactions.

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block wrote when it ends, all or nothing; drop it when an exception leaves the block.

        A block inside another joins it: the outer one commits. What a buffer held before is committed with it.

        Raises:
            TransactionConflict: others wrote what the block read; nothing was written.
            IntegrityError: a rule of a table is broken; nothing was written.
        """
        unit = self.unit
        if unit is None:
            unit = self._local.unit = Unit()
        restore = unit.saved()
        if not unit.depth:
            unit.restart = restore
        unit.depth += 1
        try:
            yield
            if unit.depth == 1:
                self._commit_transaction(unit)
        except BaseException:
            restore()
            raise
        finally:
            unit.depth -= 1
            if unit.depth == 0:
                self._transactional(unit).rollback()  # does nothing after a commit
                if not self.buffered:
                    self.forget()

    def _commit_transaction(self, unit: Unit) -> None:
        mutations = unit.mutations()
        if not mutations:
            return
        try:
            self._transactional(unit).commit(mutations)
        except CONFLICTS as error:
            raise TransactionConflict(f"others wrote what the transaction read or wrote: {error.message}") from error
        unit.transaction = b""
        unit.clear()

    def run(self, function: Callable[[], Result], attempts: int = ATTEMPTS) -> Result:
        """Call a function in a transaction, again where others got in the way, and return what it returns.

        Args:
            function: may run several times; only the last run's writes stay.
            attempts: how often to try in all. Inside another transaction it is called once: the outer one repeats.

        Raises:
            TransactionConflict: others were in the way each time.
        """
        if self.in_transaction:
            attempts = 1
        for attempt in range(attempts):
            try:
                with self.transaction():
                    return function()
            except TransactionConflict:
                if attempt == attempts - 1:
                    raise
                backoff(attempt)
        raise AssertionError("attempts must be at least 1")

    def wrapped(self, function: Function) -> Function:
        """Return a function that runs in a transaction each time it is called; see `run`."""

        @functools.wraps(function)
        def in_transaction(*args: Any, **kwargs: Any) -> Any:
            return self.run(lambda: function(*args, **kwargs))

        return in_transaction  # type: ignore[return-value]  # functools.wraps keeps the signature

    # The buffer.

    def commit(self) -> None:
        """Write what the buffer holds; inside a transaction nothing, its block's end commits.

        Where others changed rows meanwhile, the buffered operations are made again on the rows as they are now,
        provided that they come to what the application was told.

        Raises:
            TransactionConflict: they come to something else, or a row read FOR UPDATE has changed. Nothing was
                written, and the buffer is empty.
            IntegrityError: a rule of a table is broken. As above.
        """
        self._local.written = 0
        unit = self.unit
        if unit is None or unit.depth or unit.is_empty:
            return
        try:
            self._flush(unit)
        finally:
            unit.clear()

    def _flush(self, unit: Unit) -> None:
        for attempt in range(ATTEMPTS):
            written = 0
            try:
                for part in _parts(unit.mutations()):
                    commit(self._plain(), part)
                    written += 1
                return
            except CONFLICTS as error:
                if written or unit.guards or attempt == ATTEMPTS - 1:
                    raise TransactionConflict(f"others wrote the same rows: {error.message}") from error
            backoff(attempt)
            _again(unit)

    def rollback(self) -> None:
        """Drop what the buffer holds, or what the open transaction wrote so far.

        What was committed at once stays; that is logged as a warning.
        """
        unit = self.unit
        if unit is not None and unit.depth and unit.restart is not None:
            unit.restart()
        elif unit is not None:
            unit.clear()
        written, self._local.written = getattr(self._local, "written", 0), 0
        if written:
            _log.warning(
                "db.rollback() leaves %d commits as they are: without ?buffer=request in the connection string, and "
                "outside db.transaction(), each write is committed when it is made",
                written,
            )


def _again(unit: Unit) -> None:
    """Make the operations of a unit again, on the rows as they are now."""
    log = list(unit.log)
    unit.clear()
    for operation in log:
        if operation.again() != operation.outcome:
            raise TransactionConflict("others changed the rows that a buffered write selects")
    unit.log = log


def _parts(mutations: list[Any]) -> Iterator[list[Any]]:
    """Yield mutations in commits that fit; one commit, if all do."""
    part: list[Any] = []
    size = 0
    for mutation in mutations:
        weight = mutation.ByteSize()
        if part and size + weight > MAX_COMMIT:
            yield part
            part, size = [], 0
        part.append(mutation)
        size += weight
    yield part
