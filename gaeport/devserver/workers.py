"""Several processes that answer on one socket, and the parent that keeps them running.

The parent never imports the application and opens no connection to a store: a SQLite or gRPC handle does not survive a
fork. Each worker opens its own.
"""

import atexit
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from gaeport.devserver.console import colour, say

STOP_SECONDS = 10.0  # between SIGTERM and SIGKILL of a worker; it gives its own requests 8
RETRY_SECONDS = 1.0  # between restarts of workers that die as soon as they are ready
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CONFIGURATION = 2  # a worker's exit code when the application cannot be loaded

Ready = Callable[[], None]
Work = Callable[[Ready], int]


@dataclass(slots=True)
class _Worker:
    """A worker process.

    Attributes:
        pid: its process id.
        pipe: where it writes when it can answer; -1 once it did.
        started: the monotonic clock when it was forked.
        stopping: whether its end is asked for.
    """

    pid: int
    pipe: int
    started: float = field(default_factory=time.monotonic)
    stopping: bool = False

    @property
    def ready(self) -> bool:
        return self.pipe == -1


def forget_exit_functions() -> None:
    """After a fork: what the parent registered (stopping the emulator, say) is the parent's to do."""
    atexit._clear()


def leave_process(code: int) -> NoReturn:
    """End a forked process: run what it registered itself, and nothing of what waits on the stack it was forked on."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Supervisor:
    """Runs a number of worker processes and replaces those that die."""

    def __init__(
        self,
        work: Work,
        count: int,
        *,
        on_ready: Ready,
        changed: Callable[[], str | None] | None = None,
        interval: float = 0.5,
    ) -> None:
        """Prepare; nothing is forked yet.

        Args:
            work: what a worker does: it is given a function to call when it can answer, and returns an exit code.
            count: how many workers.
            on_ready: called once, when all of them can answer for the first time.
            changed: asked every `interval` seconds; the name of a file that has changed restarts the workers.
            interval: seconds.
        """
        self._work = work
        self._count = count
        self._on_ready = on_ready
        self._changed = changed
        self._interval = interval
        self._workers: dict[int, _Worker] = {}
        self._announced = False
        self._stopping = False
        self._failed = False
        self._code = 0
        self._wake_read, self._wake_write = _pipe()
        self._life_read, self._life_write = _pipe()

    def run(self) -> int:
        """Keep the workers running until SIGINT or SIGTERM.

        Returns:
            0 after a signal; 2 when the application cannot be loaded, 1 when a first worker dies while it loads.
        """
        previous = self._install_signals()
        try:
            while not self._stopping:
                self._fill()
                self._wait(self._interval if self._changed else None)
                self._reap()
                self._restart_if_changed()
            self._stop_all()
            return self._code
        finally:
            _restore_signals(previous)

    def _install_signals(self) -> dict[int, object]:
        handlers = {signal.SIGINT: self._stop, signal.SIGTERM: self._stop, signal.SIGCHLD: self._ignore}
        previous: dict[int, object] = {number: signal.signal(number, handle) for number, handle in handlers.items()}
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        return previous

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _ignore(self, number: int, frame: FrameType | None) -> None:
        """SIGCHLD only has to wake the loop, which the wake-up descriptor does."""

    def _fill(self) -> None:
        """Start what is missing: the first one alone, so that an application that cannot be loaded says so once."""
        missing = self._count - len(self._workers)
        if self._failed or missing <= 0:
            return
        if any(worker.ready for worker in self._workers.values()):
            for _ in range(missing):
                self._start()
        elif not self._workers:
            self._start()

    def _start(self) -> None:
        read, write = _pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # held until the worker has its own handlers
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self._be_worker(write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        os.close(write)
        self._workers[pid] = _Worker(pid, read)

    def _be_worker(self, pipe: int) -> None:
        """Never returns."""
        code = 1
        try:
            forget_exit_functions()
            signal.set_wakeup_fd(-1)
            for number in _STOP_SIGNALS:
                signal.signal(number, _leave)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._follow_parent()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
            code = self._work(lambda: _tell(pipe))
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:  # noqa: BLE001 - the end of this process: nobody is left to catch it
            sys.excepthook(*sys.exc_info())
        finally:
            leave_process(code)

    def _follow_parent(self) -> None:
        """Make this worker stop when its parent is gone, killed ones included."""
        os.close(self._life_write)
        for descriptor in (self._wake_read, self._wake_write, *(w.pipe for w in self._workers.values() if not w.ready)):
            os.close(descriptor)

        def watch() -> None:
            os.read(self._life_read, 1)  # returns when the last writer, the parent, is gone
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="gaeport-parent", daemon=True).start()

    def _wait(self, timeout: float | None) -> None:
        pipes = [worker.pipe for worker in self._workers.values() if not worker.ready]
        readable, _, _ = select.select([self._wake_read, *pipes], [], [], timeout)
        if self._wake_read in readable:
            os.read(self._wake_read, 4096)
        for worker in self._workers.values():
            # A worker that died closes its pipe without a word; reaping deals with it.
            if worker.pipe in readable and os.read(worker.pipe, 1):
                os.close(worker.pipe)
                worker.pipe = -1
        ready = sum(worker.ready and not worker.stopping for worker in self._workers.values())
        if ready == self._count and not self._announced:
            self._announced = True
            self._on_ready()

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                del self._workers[pid]
                if not worker.ready:
                    os.close(worker.pipe)
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        if self._stopping or worker.stopping:
            return
        if not worker.ready:
            # It would fail again: the application cannot be loaded.
            self._failed = True
            self._stopping = self._changed is None
            if self._stopping:
                self._code = _CONFIGURATION if code == _CONFIGURATION else 1
            else:
                say(colour("waiting for a change", "yellow"))
            return
        say(colour(f"worker {worker.pid} {_ending(code)}; starting another", "yellow"))
        if time.monotonic() - worker.started < RETRY_SECONDS:
            select.select([self._wake_read], [], [], RETRY_SECONDS)

    def _restart_if_changed(self) -> None:
        name = self._changed() if self._changed else None
        if name is None or self._stopping:
            return
        say(colour(f"{name} changed; restarting", "cyan"))
        for worker in self._workers.values():
            worker.stopping = True
            os.kill(worker.pid, signal.SIGTERM)
        self._announced = self._failed = False

    def _stop_all(self) -> None:
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._workers and time.monotonic() < deadline:
            self._reap()
            if self._workers:
                self._wait(max(0.0, min(1.0, deadline - time.monotonic())))
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
        self._workers.clear()


def _pipe() -> tuple[int, int]:
    return os.pipe()  # not inherited by programs that a worker starts


def _tell(pipe: int) -> None:
    os.write(pipe, b"r")
    os.close(pipe)


def _leave(number: int, frame: FrameType | None) -> None:
    """Stop a worker that has nothing to finish yet."""
    raise SystemExit(0)


def _restore_signals(previous: dict[int, object]) -> None:
    signal.set_wakeup_fd(-1)
    for number, handler in previous.items():
        signal.signal(number, handler)  # type: ignore[arg-type]


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
