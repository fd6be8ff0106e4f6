"""What operations on a store have in common: attempts while others are in the way, and errors as a disk gives them."""

import errno
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from gaeport.errors import DatastoreError, Reentered, file_error
from gaeport.fs.datastore.turns import backoff

T = TypeVar("T")
PATIENCE = 120.0  # seconds of conflicts before an operation gives up; appends under load take their turn


class Outcome(NamedTuple):
    """What became of a commit.

    Attributes:
        results: a MutationResult for each mutation; None when it is not known to be applied.
        certain: whether None means that nothing was written; otherwise the caller looks for its mark.
    """

    results: list[Any] | None
    certain: bool = True


def attempts(path: str) -> Iterator[int]:
    """Yield 0, 1, 2 … with a jittered wait between, until PATIENCE is over.

    Raises:
        OSError: EAGAIN then.
    """
    end = time.monotonic() + PATIENCE
    count = 0
    while time.monotonic() < end:
        began = time.monotonic()
        yield count
        backoff(count, time.monotonic() - began)
        count += 1
    raise file_error(errno.EAGAIN, path, f"others changed it without pause for {PATIENCE:.0f} seconds")


def guarded(call: Callable[[], T], path: str) -> T:
    """Run a call; what a store refuses becomes the OSError that a failing disk gives.

    Raises:
        OSError: with `path`; EIO for errors of the store, ENOSPC for an exhausted quota, EACCES for missing rights,
            EDEADLK for what a signal handler asks of the embedded engine in the middle of a Commit.
    """
    try:
        return call()
    except Reentered as error:
        raise file_error(errno.EDEADLK, path, str(error)) from error
    except DatastoreError as error:
        number = {"RESOURCE_EXHAUSTED": errno.ENOSPC, "PERMISSION_DENIED": errno.EACCES}.get(error.code, errno.EIO)
        raise file_error(number, path, str(error)) from error
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise
