"""Which servers answer: a server that failed is left out for a while, and one caller at a time tries it again."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gaeport.errors import KVUnavailable

FIRST_PAUSE = 1.0  # seconds; short enough for a restarted server, long enough that an outage costs few requests a wait
LONGEST_PAUSE = 15.0  # seconds; doubled up to this, so that a server that is back is found soon

_log = logging.getLogger("gaeport.kv")


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """What is known of one server.

    Attributes:
        server: its name, "host:port".
        up: whether it is believed to answer.
        outages: how often it stopped answering.
        failed_calls: how many calls found it not answering, those included that did not wait for it.
    """

    server: str
    up: bool
    outages: int
    failed_calls: int


class Breaker:
    """Decides whether a server may be called.

    After a failure nobody calls it for a second; then one caller tries, while the others go on without it; each
    further failure doubles the pause, up to 15 seconds. The first answer closes the outage.
    """

    def __init__(self, server: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._up = True
        self._pause = FIRST_PAUSE
        self._retry_at = 0.0
        self._outages = 0
        self._failed_calls = 0

    def check(self) -> bool:
        """Return if the caller may call the server.

        Returns:
            Whether the caller is the one that tries a server which did not answer; `failed` wants to know.

        Raises:
            KVUnavailable: the server is left out at present.
        """
        if self._up:
            return False
        with self._lock:
            now = self._clock()
            if now < self._retry_at:
                self._failed_calls += 1
                raise KVUnavailable(f"{self._server} does not answer; tried again in {self._retry_at - now:.1f} s")
            self._retry_at = now + self._pause  # the others go on without it while this caller tries
            return True

    def failed(self, error: BaseException, trying: bool) -> KVUnavailable:
        """Count a call that got no answer; return the exception to raise.

        Args:
            error: what happened.
            trying: what `check` returned before the call.
        """
        with self._lock:
            self._failed_calls += 1
            if self._up:
                self._up, self._pause = False, FIRST_PAUSE
                self._outages += 1
                self._retry_at = self._clock() + self._pause
                _log.warning("%s does not answer (%s); going on without it", self._server, _words(error))
            elif trying:
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
                self._retry_at = self._clock() + self._pause
        return KVUnavailable(f"{self._server} does not answer: {_words(error)}")

    def answered(self) -> None:
        """Note that the server answered."""
        if self._up:
            return
        with self._lock:
            if not self._up:
                self._up, self._retry_at = True, 0.0
                _log.warning("%s answers again", self._server)

    def after_fork(self) -> None:
        """Make the lock anew: in the child nobody would release the parent's."""
        self._lock = threading.Lock()

    def health(self) -> ServerHealth:
        """Return what is known."""
        return ServerHealth(self._server, self._up, self._outages, self._failed_calls)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
