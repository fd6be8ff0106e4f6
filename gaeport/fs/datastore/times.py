"""Directories' modification times: exact within the process, written to the store a little later, never dropped.

Each create or removal in a directory changes its time; writing one entity each time would make it the bottleneck of
the directory. So changes are collected and flushed before a response ends and within a second.
"""

import threading
import time
from contextlib import suppress
from typing import Any

from gaeport.datastore.client import backoff
from gaeport.datastore.mutations import insert, update
from gaeport.datastore.outcomes import REPEATABLE
from gaeport.errors import DatastoreError
from gaeport.fs.datastore.entries import guard_key, record, time_key
from gaeport.fs.datastore.storage import Connect

FLUSH_AFTER = 1.0  # seconds
LONGEST_PAUSE = 60.0  # seconds between tries while the store refuses
_ATTEMPTS = 8


class DirectoryTimes:
    """The times that wait to be written."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lock = threading.RLock()
        self._pending: dict[str, int] = {}
        self._here: dict[str, int] = {}  # of what only this process knows: files that are created, not committed yet
        self._timer: threading.Timer | None = None
        self._failures = 0
        self._stopped = False

    def touch(self, directory: str) -> None:
        """Note that a directory changed now."""
        with self._lock:
            self._pending[directory] = max(time.time_ns(), self._pending.get(directory, 0) + 1000)
            self._here.pop(directory, None)
            self._start_timer()

    def touch_here(self, directory: str) -> None:
        """Note that a directory changed now as this process sees it, and no other: nothing is written."""
        with self._lock:
            self._here[directory] = time.time_ns()

    def stop(self) -> None:
        """Write nothing any more: the volume was dropped, and what reaches the store now is not its own."""
        with self._lock:
            self._stopped = True
            self._pending.clear()
            self._here.clear()
            if self._timer is not None:
                self._timer.cancel()

    def hold(self) -> list[Any]:
        """Take the lock; returns it, to be released after a fork."""
        self._lock.acquire()
        return [self._lock]

    def _start_timer(self) -> None:
        if self._stopped:
            return
        if self._timer is None or not self._timer.is_alive():  # after a fork the parent's timer is not there
            pause = min(LONGEST_PAUSE, FLUSH_AFTER * 2**self._failures)
            timer = threading.Timer(pause, self._flush_later)
            timer.daemon = True
            with suppress(
                RuntimeError
            ):  # no thread starts at the interpreter's end, where everything is flushed anyway
                timer.start()
                self._timer = timer

    def latest(self, directory: str, stored: int | None) -> int | None:
        """Return the time that stat shows: the pending one if it is newer."""
        known = (self._pending.get(directory), self._here.get(directory), stored)
        return max((moment for moment in known if moment is not None), default=None)

    def forget(self, directory: str) -> None:
        """Drop what waits for a directory that was removed, or whose time was set."""
        with self._lock:
            self._pending.pop(directory, None)
            self._here.pop(directory, None)

    def flush(self) -> None:
        """Write what waits: one Lookup and one Commit for any number of directories, more only under contention.

        Raises:
            DatastoreError: the store refused; what was not written waits for the next flush.
        """
        with self._lock:
            waiting, timer = dict(self._pending), self._timer
            self._timer = None
        if timer is not None:
            timer.cancel()
        try:
            for start in range(0, len(waiting), 200):
                self._write(dict(list(waiting.items())[start : start + 200]))
        except DatastoreError:
            with self._lock:
                self._failures = min(self._failures + 1, 16)
                self._start_timer()
            raise
        self._failures = 0

    def _flush_later(self) -> None:
        with suppress(DatastoreError):  # the timer was started again; the times wait on
            self.flush()

    def _write(self, waiting: dict[str, int]) -> None:
        for attempt in range(_ATTEMPTS):
            waiting = self._still(waiting)
            try:
                mutations = self._mutations(waiting)
                if mutations:
                    self._connect().commit(mutations)
            except REPEATABLE:
                if attempt == _ATTEMPTS - 1:
                    raise
                backoff(attempt)
            else:
                break
        with self._lock:
            for directory, moment in waiting.items():
                if self._pending.get(directory) == moment:
                    del self._pending[directory]

    def _still(self, waiting: dict[str, int]) -> dict[str, int]:
        """Return what nobody has forgotten meanwhile: a time that was set counts, and its Commit ended ours."""
        with self._lock:
            return {directory: moment for directory, moment in waiting.items() if directory in self._pending}

    def _mutations(self, waiting: dict[str, int]) -> list[Any]:
        if not waiting:
            return []
        client = self._connect()
        keys = [time_key(client, directory) for directory in waiting]
        guards = [guard_key(client, directory) for directory in waiting]
        answers = client.lookup([*keys, *guards])
        mutations = []
        for key, moment, found, guard in zip(
            keys, waiting.values(), answers[: len(keys)], answers[len(keys) :], strict=True
        ):
            if found is not None:
                stored = found.entity.properties["mtime"].integer_value
                mutations.append(update(record(key, mtime=max(moment, stored + 1000)), found.version))
            elif guard is not None:  # a removed directory gets no time
                mutations.append(insert(record(key, mtime=moment)))
        return mutations
