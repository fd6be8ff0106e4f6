"""`gaeport serve --server gunicorn`: the server that App Engine uses, on the same application."""

import os
import socket
from collections.abc import Callable
from typing import Any

from gaeport.devserver.workers import forget_exit_functions, leave_process
from gaeport.errors import GaeportError, MissingExtraError

_LOAD_ERROR = 4  # gunicorn's Arbiter.APP_LOAD_ERROR
_GRACE = 8  # seconds that running requests get to finish


def run(
    load: Callable[[], Any], listener: socket.socket, *, workers: int, threads: int, on_ready: Callable[[], None]
) -> int:
    """Serve with gunicorn until a signal ends it.

    Args:
        load: makes the application; called in each worker.
        listener: a listening socket.
        workers: processes.
        threads: requests that each of them answers at once.
        on_ready: called in the first worker when it can answer.

    Returns:
        0, or 2 when the application cannot be loaded.

    Raises:
        MissingExtraError: gunicorn is not installed.
    """
    options = {
        "bind": [f"fd://{listener.dup().detach()}"],  # gunicorn closes what it is given
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "loglevel": "warning",
        "graceful_timeout": _GRACE,
        "post_fork": lambda arbiter, worker: forget_exit_functions(),
        "post_worker_init": lambda worker: on_ready() if worker.age == 1 else None,
        "control_socket_disable": True,
    }
    application = _application(load, options)
    arbiter = os.getpid()
    code = 0
    try:
        application.run()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    if os.getpid() != arbiter:
        leave_process(code)  # a worker: what follows here is the arbiter's to do
    return 2 if code == _LOAD_ERROR else code


def _application(load: Callable[[], Any], options: dict[str, Any]) -> Any:
    try:
        from gunicorn.app.base import BaseApplication
        from gunicorn.errors import AppImportError
    except ImportError as error:
        raise MissingExtraError("gunicorn is not installed: pip install 'gaeport[gunicorn]'") from error

    class Application(BaseApplication):  # type: ignore[misc] # gunicorn has no types
        def load_config(self) -> None:
            for name, value in options.items():
                if name in self.cfg.settings:  # releases before 25 have no control socket
                    self.cfg.set(name, value)

        def load(self) -> Any:
            try:
                return load()
            except GaeportError as error:
                raise AppImportError(f"gaeport: {error}") from error  # ends gunicorn instead of trying for ever

    return Application()
