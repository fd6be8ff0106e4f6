"""`gaeport serve`: an application on this machine under App Engine's rules."""

import os
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from gaeport import datastore, wsgi
from gaeport import settings as _settings
from gaeport.devserver import appyaml, environment, gunicorn, listening, readonly
from gaeport.devserver.console import say
from gaeport.devserver.headers import StripPlatformHeaders
from gaeport.devserver.reloading import Watcher
from gaeport.devserver.requestlog import RequestLog
from gaeport.devserver.server import Server
from gaeport.devserver.static import StaticFiles
from gaeport.devserver.workers import Ready, Supervisor
from gaeport.errors import ConfigurationError, GaeportError
from gaeport.settings import Settings

_EXIT_CONFIGURATION = 2


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve.

    Attributes:
        app: "module:callable" in place of gaeport.toml's.
        host: the address to listen on.
        port: 0 takes any free one.
        workers: processes.
        threads: requests that each process answers at once.
        server: what speaks HTTP.
        reload: whether to restart when source files change.
        latency_ms: milliseconds added to each call.
        emulator: which of Google's emulators to start and use.
    """

    app: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    threads: int = 8
    server: Literal["waitress", "gunicorn"] = "waitress"
    reload: bool = False
    latency_ms: float = 0.0
    emulator: Literal["firestore", "datastore"] | None = None


def serve(options: Options, read_settings: Callable[[], Settings]) -> int:
    """Serve until SIGINT or SIGTERM.

    Args:
        options: how.
        read_settings: gives the settings; called again after each reload.

    Returns:
        The exit code: 0 after a signal, 2 when the application cannot be loaded.

    Raises:
        ConfigurationError: a setting is wrong, or the port in use.
        ApplicationError: there is no application to serve (one process without reload; else it is said and returned).
    """
    config = read_settings()
    _settings.use(config)  # so that later readings find the same file from any working directory
    _check(options, config)
    listener = listening.listen(options.host, options.port)
    os.chdir(config.root)  # where App Engine starts applications
    with ExitStack() as stack:
        stack.callback(listener.close)
        if options.emulator:
            _start_emulator(options.emulator, config, stack)
        return _run(_Application(options, read_settings, listener), options, listener, config.root)


def _check(options: Options, config: Settings) -> None:
    if options.workers > 1 and config.in_memory and not options.emulator and config.environment == "embedded":
        raise ConfigurationError("--workers: data in :memory: belongs to one process; use a data folder or one worker")
    for name in ("workers", "threads"):
        if getattr(options, name) < 1:
            raise ConfigurationError(f"--{name} must be 1 or more")
    if not hasattr(os, "fork") and (options.workers > 1 or options.reload or options.server == "gunicorn"):
        raise ConfigurationError("this system has no fork(): serve with one worker, waitress and without --reload")


def _start_emulator(kind: Literal["firestore", "datastore"], config: Settings, stack: ExitStack) -> None:
    from gaeport.devserver.emulator import Emulator

    say(f"starting Google's {kind} emulator")
    emulator = stack.enter_context(Emulator(kind, project=config.project))
    os.environ["DATASTORE_EMULATOR_HOST"] = emulator.host
    os.environ["DATASTORE_PROJECT_ID"] = config.project


class _Application:
    """Makes the application in the process that will answer for it."""

    def __init__(self, options: Options, read_settings: Callable[[], Settings], listener: socket.socket) -> None:
        self._options = options
        self._read_settings = read_settings
        self._url = listening.url(listener)
        self._port = listener.getsockname()[1]

    def load(self) -> Callable[..., Iterable[bytes]]:
        """Import the application under App Engine's rules and put the front end's parts around it."""
        config = replace(self._read_settings(), latency_ms=self._options.latency_ms)
        app_yaml = appyaml.load(config.root)
        environment.apply(config, app_yaml, self._port)
        _make_room(config)
        readonly.enforce(config)
        _settings.use(config)
        datastore.check()
        app = wsgi.wrap(self._options.app or wsgi.default_application(config), config)
        return RequestLog(StripPlatformHeaders(StaticFiles(app, app_yaml.handlers, config.root)))

    def announce(self) -> None:
        """Say that requests are answered, and where files and entities go."""
        config = self._read_settings()
        app = self._options.app or wsgi.default_application(config)
        say(f"{app}: {_where(config)}")
        say(f"serving on {self._url} (Ctrl-C stops)")


def _make_room(config: Settings) -> None:
    """Make the folder that the data folder lies in: once the disk is read-only, only the data folder can be made."""
    if config.environment == "embedded" and not config.in_memory:
        try:
            config.data_path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the data folder {config.data_path} cannot be made: {error}; set `data` in gaeport.toml to another"
            ) from error


def _where(config: Settings) -> str:
    if config.environment == "embedded":
        return "everything in memory, gone at the end" if config.in_memory else f"data in {config.data_path}"
    target = f"project {config.project}" + (f", database {config.database}" if config.database else "")
    if config.environment == "production":
        return f"data in production Datastore, {target}"
    return f"data in the emulator at {os.environ['DATASTORE_EMULATOR_HOST']}, {target}"


def _run(application: _Application, options: Options, listener: socket.socket, root: Path) -> int:
    if options.reload:
        watcher = Watcher(root)

        def everything(ready: Ready) -> int:
            return _answer(application, options, listener, ready)

        # With reload and several workers a worker supervises the others: one restart, one answer to Ctrl-C.
        return Supervisor(everything, 1, on_ready=application.announce, changed=watcher.changed).run()
    if options.workers == 1 and options.server == "waitress":
        _leave_on_signals()
        server = Server(application.load(), listener, options.threads)
        application.announce()
        server.run()
        return 0
    return _answer(application, options, listener, application.announce)


def _answer(application: _Application, options: Options, listener: socket.socket, ready: Ready) -> int:
    if options.server == "gunicorn":
        return gunicorn.run(
            application.load, listener, workers=options.workers, threads=options.threads, on_ready=ready
        )

    def work(ready: Ready) -> int:
        try:
            server = Server(application.load(), listener, options.threads)
        except GaeportError as error:
            say(f"gaeport: {error}", error=True)
            return _EXIT_CONFIGURATION
        ready()
        server.run()
        return 0

    return work(ready) if options.workers == 1 else Supervisor(work, options.workers, on_ready=ready).run()


def _leave_on_signals() -> None:
    """End quietly while the application is still being imported."""

    def leave(number: int, frame: FrameType | None) -> Any:
        raise SystemExit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
