"""Fair turns at one file: who commits it without pause leaves room for others, and who lost tries again soon.

A change is a Lookup and a Commit that fails when somebody was faster. A process with the file open need not look again
after a commit of its own, so it would be faster each time: seconds could pass before another one gets through.
Nothing here makes a call.
"""

import random
import threading
import time
from collections import OrderedDict
from typing import Any

RUN = 16  # commits in a row, each begun as soon as the former ended, after which room is left for others
ROOM = 4  # times as long as a commit takes: a Lookup and a Commit of somebody else, whenever it begins
LONGEST = 0.5  # seconds of that
KNOWN = 500  # files

_jitter = random.SystemRandom()  # not the shared generator, which an application may seed


def backoff(attempt: int, took: float) -> None:
    """Sleep before the next attempt after a conflict.

    Args:
        attempt: 0 for the first that failed.
        took: seconds that it took. The sleep is up to 8 times as long, so that it soon falls into the room that others
            leave.
    """
    time.sleep(_jitter.uniform(0.001, max(0.004, min(LONGEST, took * 2 ** min(attempt, 3)))))


class Turns:
    """What one process committed lately, by the file's inode number."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lately: OrderedDict[int, tuple[float, int, bool]] = OrderedDict()  # when room ends; run; whether there is

    def hold(self) -> list[Any]:
        """Take the lock; returns it, to be released after a fork."""
        self._lock.acquire()
        return [self._lock]

    def wait(self, ino: int) -> None:
        """Leave room, where this process has had its turn at a file."""
        with self._lock:
            until, _, due = self._lately.get(ino, (0.0, 0, False))
            pause = until - time.monotonic() if due else 0.0
        if pause > 0:
            time.sleep(pause)

    def committed(self, ino: int, began: float, conflicts: int) -> None:
        """Note a commit.

        Args:
            ino: the file's inode number.
            began: when its last attempt began, of time.monotonic().
            conflicts: how often somebody else was faster.
        """
        now = time.monotonic()
        took = now - began
        with self._lock:
            ended, run, _ = self._lately.pop(ino, (0.0, 0, False))
            run = run + 1 if began - ended < 2 * took else 0
            due = run >= RUN or conflicts > 0
            room = min(LONGEST, took * _jitter.uniform(ROOM - 1, ROOM)) if due else 0.0
            self._lately[ino] = (now + room, 0 if due else run, due)
            if len(self._lately) > KNOWN:
                self._lately.popitem(last=False)
