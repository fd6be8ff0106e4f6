"""Commits at the end of a request what it left open."""

from gaeport.fs import opened
from gaeport.fs.opened import Pending, Request
from gaeport.fs.patching import paths


def begin_request() -> Request:
    """Start to remember what this thread (or task) opens for writing. Returns what `end_request` wants."""
    request = Request()
    request.token = opened.current.set(request)
    return request


def end_request(request: Request, failed: bool = False) -> None:
    """Commit what the request left open, what it may have written to the application's own files (an open log), and
    what the volumes put off.

    Args:
        request: what `begin_request` returned.
        failed: whether an exception ended it: then files opened with "w" or "x" are dropped instead, and keep what
            they held before.

    Raises:
        OSError: the first failure to commit, after everything was tried.
    """
    token, request.token = request.token, None
    if token is not None and opened.current.get() is request:
        former = token.old_value
        opened.current.set(former if isinstance(former, Request) else None)
    errors: list[OSError] = []
    for reference in request.opened:
        pending = reference()
        if pending is not None and not pending.released:
            _finish(pending, failed, errors)
            opened.keep(pending)
    request.opened.clear()
    for pending in opened.long_lived():
        _finish(pending, False, errors)
    _flush_times(errors)
    if errors:
        raise errors[0]


def _finish(pending: Pending, failed: bool, errors: list[OSError]) -> None:
    try:
        if failed and pending.truncating:
            pending.abandon()
        else:
            pending.settle()
    except OSError as error:
        errors.append(error)


def _flush_times(errors: list[OSError]) -> None:
    for mount in paths.mounts():
        flush = getattr(mount.volume, "flush_times", None)
        if flush is not None:
            try:
                flush()
            except OSError as error:
                errors.append(error)


def settle_all() -> None:
    """Flush and commit everything that this process has open for writing (at its end).

    Raises:
        OSError: the first failure to commit, after everything was tried.
    """
    errors: list[OSError] = []
    for pending in opened.everything():
        _finish(pending, False, errors)
    _flush_times(errors)
    if errors:
        raise errors[0]
