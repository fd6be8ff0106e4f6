"""Writes tickets to Datastore and to the API in the background, so that no request waits for a server that hangs.

A request waits at most `[tickets] wait_ms` for its ticket; while a write before it is late, not at all.
"""

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gaeport.tickets import spool
from gaeport.tickets.records import Record

_ROOM = 200  # tickets that wait for the thread; more are left in the data folder, or to the log line
_LOOK = 5.0  # seconds between looks at what was counted in a storm
_AT_EXIT = 3.0  # seconds that tickets get when the process ends

_log = logging.getLogger("gaeport.tickets")


@dataclass(frozen=True, slots=True)
class Job:
    """A ticket to be written.

    Attributes:
        record: what `records.build` gave.
        sinks: where to: "entity", "api".
        path: its file in the data folder, if any.
        done: set when it was tried.
    """

    record: Record
    sinks: tuple[str, ...]
    path: Path | None
    done: threading.Event = field(default_factory=threading.Event)


class Writer:
    """One thread, started by the first ticket of a process."""

    def __init__(self, write: Callable[[str, list[Record]], None], look: Callable[[bool], bool]) -> None:
        """Prepare; the thread begins with the first job.

        Args:
            write: writes records to the sink of that name; raises what it likes where it cannot.
            look: called now and then while errors are counted, and with True when the process ends; tells whether
                there is more to come.
        """
        self._write = write
        self._look = look
        self._looking = False
        self._begin()

    def submit(self, job: Job, wait: float) -> None:
        """Have a ticket written, and wait for it, unless writing is late already.

        Args:
            job: the ticket.
            wait: seconds, at most.
        """
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._late = True
            return  # its file in the data folder, or its log line, is what there is of it
        self._start()
        if wait and not self._late:
            self._late = not job.done.wait(wait)

    def count(self) -> None:
        """Have the thread look at what is counted from now on."""
        if not self._looking:
            self._looking = True
            try:
                self._jobs.put_nowait(None)
            except queue.Full:
                return  # it looks after each job, too
            self._start()

    def finish(self, seconds: float = _AT_EXIT) -> bool:
        """Wait until everything was tried and what was counted is told; returns whether that was so in time."""
        end = time.monotonic() + seconds
        if self._looking:
            self._ending = True
            try:
                self._jobs.put_nowait(None)
            except queue.Full:
                return False
        with self._jobs.all_tasks_done:
            while self._jobs.unfinished_tasks:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._jobs.all_tasks_done.wait(left)
        return True

    def after_fork(self) -> None:
        """Begin anew in a child process, which has none of its parent's threads; the parent writes what waited."""
        self._begin()

    def _begin(self) -> None:
        self._jobs: queue.Queue[Job | None] = queue.Queue(_ROOM)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._late = False
        self._looking = False
        self._ending = False
        self._registered = False

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="gaeport-tickets", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending, or there are no more threads
                    self._thread = None

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_LOOK if self._looking else None)
            except queue.Empty:
                self._looking = self._looked()
                continue
            try:
                if job is not None:
                    self._do(job)
                if self._looking:
                    self._looking = self._looked()
            finally:
                self._jobs.task_done()

    def _looked(self) -> bool:
        ending, self._ending = self._ending, False
        try:
            return self._look(ending)
        except Exception:  # noqa: BLE001 (the thread must live; what was counted is lost, and said)
            _log.warning("counted errors could not be written", exc_info=True)
            return False

    def _register(self) -> None:
        """Finish before what the sinks have opened by now is closed: the last registered is the first called."""
        if not self._registered:
            self._registered = True
            atexit.unregister(self.finish)
            atexit.register(self.finish)

    def _do(self, job: Job) -> None:
        left = []
        for sink in job.sinks:
            try:
                self._write(sink, [job.record])
            except Exception as error:  # noqa: BLE001 (whatever a client library raises: the others still get theirs)
                left.append(sink)
                kept = "it stays in the data folder: gaeport tickets collect" if job.path else "its log line is kept"
                of = {"trace": job.record.get("trace", ""), "span_id": job.record.get("span", "")}
                _log.warning(
                    "ticket %s was not written (%s): %s; %s", job.record["number"], sink, error, kept, extra=of
                )
        spool.done(job.path, job.record, left)
        self._register()
        if not left:
            self._late = False
        job.done.set()


def register(writer: Writer) -> None:
    """Have a writer finish when the process ends, and begin anew in child processes."""
    atexit.register(writer.finish)
    os.register_at_fork(after_in_child=writer.after_fork)
