"""Locks that count among all instances: who holds which range of a file is kept in one `Lease` entity for the file.

A holder renews its record while it lives; a contender that has seen one unchanged for the lease time, on its own
clock, takes it away. Every commit of a file that is locked here carries the version of its lease, so that a holder
that lost it cannot write. Files that nobody locks cost nothing.
"""

import errno
import itertools
import os
import random
import secrets
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gaeport.datastore.mutations import compare_and_set, delete
from gaeport.datastore.outcomes import CONFLICTS, REPEATABLE
from gaeport.errors import DatastoreError, file_error
from gaeport.fs.datastore.entries import record
from gaeport.fs.datastore.storage import Connect
from gaeport.fs.locks import Claim, Holder, Span, conflict, decode, encode, with_span, without

SECONDS = 15.0  # after which the locks of a holder that does not renew them are free
RENEWALS = 3  # in that time
REMEMBERED = 1000  # files whose locks others hold: since when they are unchanged must be known at the next try
LONGEST_PAUSE = 0.5  # seconds between two looks at a lock that somebody else holds
_jitter = random.SystemRandom()
_numbers = itertools.count(1)


class _Process:
    """What tells this process's owners from others'; new after a fork."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(8)


_process = _Process()


def new_owner() -> str:
    """Return a name for an open file description of this process."""
    return f"{_process.token}.{next(_numbers)}"


def process_owner() -> str:
    """Return the name of this process as an owner of record locks."""
    return f"{_process.token}.0"


class Lease:
    """The locks of one file, as this process knows them.

    Attributes:
        mine: the owners of this process that hold some of it.
        lost: those of them whose locks were taken away.
    """

    def __init__(self, connect: Connect, ino: int) -> None:
        self._connect = connect
        self._ino = ino
        self._lock = threading.RLock()
        self._version: int | None = None
        self._holders: dict[str, Holder] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        self.mine: dict[str, Holder] = {}
        self.lost: set[str] = set()

    @property
    def contended(self) -> bool:
        """Whether others had some of it when it was last read."""
        return bool(self._holders)

    # Getting and giving back

    def conflict_here(self, claim: Claim) -> Holder | None:
        """Return the holder in this process that a claim conflicts with, or None."""
        with self._lock:
            return conflict(self.mine.values(), claim)

    def blocker(self, claim: Claim) -> Holder | None:
        """Return whoever a claim conflicts with, this process or another, or None."""
        with self._lock:
            self._look()
            return conflict(self._holders.values(), claim)

    def acquire(self, claim: Claim) -> bool | None:
        """Try once. Returns whether the claim is held now; None when somebody changed the lease meanwhile."""
        with self._lock:
            self._look()
            former = self._holders.get(claim.owner)
            if conflict(self._holders.values(), claim) is not None:
                return False
            spans = with_span(former.spans if former else (), claim.span)
            holder = Holder(claim.owner, claim.family, os.getpid(), (former.beat if former else 0) + 1, SECONDS, spans)
            if not self._write({**self._holders, claim.owner: holder}):
                return None
            self.mine[claim.owner] = holder
            self.lost.discard(claim.owner)
            return True

    def release(self, owner: str, span: Span | None = None) -> bool | None:
        """Try once to give back a range, or all. Returns whether it is done; None to try again after a look."""
        with self._lock:
            held = self.mine.get(owner)
            if held is None or owner in self.lost or self._version is None:
                self._forget(owner)
                return True
            spans = without(held.spans, span) if span is not None else ()
            left = {name: holder for name, holder in self._holders.items() if name != owner}
            if spans:
                left[owner] = replace(held, spans=spans, beat=held.beat + 1)
            if not self._write(left):
                self._look()
                return None
            if spans:
                self.mine[owner] = left[owner]
            else:
                self._forget(owner)
            return True

    def _forget(self, owner: str) -> None:
        self.mine.pop(owner, None)
        self.lost.discard(owner)

    # Keeping it

    def publish(self, mutations: list[Any]) -> list[Any]:
        """Commit mutations of the file under its locks, which renews them.

        Raises:
            OSError: EIO, a lock was lost; nothing was written.
            DatastoreError: as the client's commit; whether a lock was lost shows at the next try.
        """
        with self._lock:
            self._check()
            renewed = self._renewed()
            try:
                results = self._connect().commit([*mutations, self._mutation(renewed)])
            except REPEATABLE as error:
                self._look()
                if isinstance(error, CONFLICTS):
                    self._check()
                raise
            self._took(renewed, results[-1].version)
            return results

    def renew(self) -> None:
        """Tell the others that the holders here live. Raises DatastoreError when the store does not answer."""
        with self._lock:
            if self.mine.keys() - self.lost and not self._write(self._renewed()):
                self._look()

    def _check(self) -> None:
        if self.lost:
            raise file_error(errno.EIO, None, "its lock was lost: this process did not renew it in time")

    def _renewed(self) -> dict[str, Holder]:
        living = self.mine.keys() - self.lost
        return {
            name: replace(holder, beat=holder.beat + 1) if name in living else holder
            for name, holder in self._holders.items()
        }

    # The entity

    def _look(self) -> None:
        """Read the lease; leave out those who did not renew in time, and notice what was taken from us."""
        asked = time.monotonic()
        found = self._connect().lookup([self._key()])[0]
        self._version = found.version if found is not None else None
        holders = decode(found.entity.properties["holders"].blob_value) if found is not None else {}
        seen = {}
        for name, holder in holders.items():
            beat, since = self._seen.get(name, (-1, 0.0))
            seen[name] = (holder.beat, since) if beat == holder.beat else (holder.beat, time.monotonic())
        self._seen = seen
        self._holders = {
            name: holder
            for name, holder in holders.items()
            if name in self.mine or asked - seen[name][1] < holder.seconds
        }
        self.lost |= self.mine.keys() - self._holders.keys()
        self.mine.update({name: self._holders[name] for name in self.mine.keys() & self._holders.keys()})

    def _write(self, holders: dict[str, Holder]) -> bool:
        """Put holders in the place of those last seen; False when they were changed, or it is not known."""
        try:
            results = self._connect().commit([self._mutation(holders)])
        except REPEATABLE:
            return False
        self._took(holders, results[0].version if holders else None)
        return True

    def _took(self, holders: dict[str, Holder], version: int | None) -> None:
        self._holders, self._version = holders, version
        self.mine.update({name: holders[name] for name in self.mine.keys() & holders.keys()})

    def _mutation(self, holders: dict[str, Holder]) -> Any:
        if not holders and self._version is not None:
            return delete(self._key(), self._version)
        entity = record(self._key(), holders=encode(holders.values()))
        return compare_and_set(entity, self._version)

    def _key(self) -> Any:
        return self._connect().key("Lease", self._ino)


class Leases:
    """The locks of one volume's files that this process holds."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._leases: dict[int, Lease] = {}
        self._waiting: dict[int, int] = {}
        _everything.add(self)

    def held(self, ino: int) -> Lease | None:
        """Return the locks of a file that this process holds some of, else None."""
        lease = self._leases.get(ino)
        return lease if lease is not None and lease.mine else None

    def acquire(self, ino: int, claim: Claim, *, wait: bool) -> None:
        """Lock a range of a file.

        Args:
            ino: the file's inode number.
            claim: what is wanted, and by whom; it replaces what that owner has of the same range.
            wait: whether to wait for who has it.

        Raises:
            BlockingIOError: somebody has it, and `wait` is False.
        """
        with self._using(ino) as lease:
            attempt = 0
            while True:
                got = lease.acquire(claim) if lease.conflict_here(claim) is None else False
                if got:
                    _keeper.start()
                    return
                if got is False and not wait:
                    raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
                self._pause(attempt)
                attempt += 1

    def release(self, ino: int, owner: str, span: Span | None = None) -> bool:
        """Give back a range, or everything, that an owner has of a file.

        Returns:
            Whether the lock was held to the end; False when it was lost before.
        """
        lease = self.held(ino)
        if lease is None or owner not in lease.mine:
            return True
        kept = owner not in lease.lost
        for attempt in range(RENEWALS * 4):
            if lease.release(owner, span):
                break
            self._pause(attempt)
        else:  # the store does not answer: the lease runs out by itself
            lease.mine.pop(owner, None)
        with self._changed:
            self._tidy(ino)
            self._changed.notify_all()
        return kept

    def blocker(self, ino: int, claim: Claim) -> Holder | None:
        """Return who holds what a claim would need, or None."""
        with self._using(ino) as lease:
            return lease.blocker(claim)

    def release_all(self) -> None:
        """Give back everything (at the end of the process)."""
        for ino, lease in list(self._leases.items()):
            for owner in list(lease.mine):
                self.release(ino, owner)

    def any_held(self) -> bool:
        """Whether this process holds anything."""
        return any(lease.mine for lease in list(self._leases.values()))

    def renew(self) -> bool:
        """Renew what is held. Returns whether anything is.

        Raises:
            DatastoreError: the store does not answer.
        """
        held = [lease for lease in list(self._leases.values()) if lease.mine.keys() - lease.lost]
        for lease in held:
            lease.renew()
        return bool(held)

    def forget(self) -> None:
        """Hold nothing (in a forked child: what is locked stays the parent's)."""
        self._changed = threading.Condition()
        self._leases.clear()
        self._waiting.clear()

    @contextmanager
    def _using(self, ino: int) -> Iterator[Lease]:
        with self._changed:
            self._waiting[ino] = self._waiting.get(ino, 0) + 1
            lease = self._leases.setdefault(ino, Lease(self._connect, ino))
        try:
            yield lease
        finally:
            with self._changed:
                self._waiting[ino] = self._waiting.get(ino, 1) - 1
                self._tidy(ino)

    def _tidy(self, ino: int) -> None:
        if self._waiting.get(ino, 0) <= 0:
            self._waiting.pop(ino, None)
            lease = self._leases.get(ino)
            if lease is not None and not lease.mine and (not lease.contended or len(self._leases) > REMEMBERED):
                del self._leases[ino]

    def _pause(self, attempt: int) -> None:
        longest = min(LONGEST_PAUSE, 0.01 * 2 ** min(attempt, 10))
        with self._changed:
            self._changed.wait(_jitter.uniform(longest / 2, longest))


class _Keeper:
    """The thread that renews what this process holds; it runs while there is anything."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """See to it that the thread runs."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gaeport-leases", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = SECONDS / RENEWALS
        while True:
            time.sleep(pause)
            held, failed = self._renew()
            pause = SECONDS / RENEWALS / (4 if failed else 1)
            with self._lock:
                if not held and not any(leases.any_held() for leases in list(_everything)):
                    self._thread = None
                    return

    def _renew(self) -> tuple[bool, bool]:
        held = failed = False
        for leases in list(_everything):
            try:
                held = leases.renew() or held
            except DatastoreError:
                held = failed = True
        return held, failed


_everything: "weakref.WeakSet[Leases]" = weakref.WeakSet()
_keeper = _Keeper()


def release_all() -> None:
    """Give back every lock of this process (at its end)."""
    for leases in list(_everything):
        leases.release_all()


def _forget_in_child() -> None:
    global _keeper
    _process.token = secrets.token_hex(8)
    _keeper = _Keeper()
    for leases in list(_everything):
        leases.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
