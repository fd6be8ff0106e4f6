"""Watches a running program for what App Engine would refuse."""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import gaeport
from gaeport import meter, wsgi
from gaeport.devserver import readonly
from gaeport.settings import Settings

from .events import DATABASE, MAX_RESPONSE, PROCESS, RESPONSE, SCHEDULER, SCHEDULERS, THREAD, WRITE, Matter

#: What happened, to what, by which line of the application ("" where only libraries are on the stack).
Seen = tuple[Matter, str, str]

_OWN = str(Path(gaeport.__file__).parent)
_TOOLS = str(Path(__file__).parent.parent)
_PROCESSES = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "os.forkpty")
_DATABASES = (".sqlite", ".sqlite3", ".db")


class Recorder:
    """Collects what happens while it is on."""

    def __init__(self) -> None:
        self.seen: dict[Seen, int] = {}
        self._lock = threading.RLock()
        self._on = False
        self._busy = threading.local()

    def start(self, config: Settings) -> None:
        """Begin: writes outside mounts and the temporary folder happen, and are noted."""
        self._on = True
        readonly.observe(self._write)
        readonly.enforce(config)
        sys.addaudithook(self._hook)  # cannot be taken away; it does nothing when off
        self._call = wsgi.Application.__call__
        self._thread_start = threading.Thread.start  # not every Python has an audit event for it
        threading.Thread.start = _telling(self._thread_start, self._thread)  # type: ignore[method-assign,assignment]  # while on
        wsgi.Application.__call__ = _counting(self._call, self._response)  # type: ignore[method-assign]  # while on

    def stop(self) -> None:
        """End; nothing more is noted."""
        self._on = False
        readonly.lift()
        readonly.observe(None)
        threading.Thread.start = self._thread_start  # type: ignore[method-assign]  # as it was
        wsgi.Application.__call__ = self._call  # type: ignore[method-assign]  # as it was

    def _write(self, path: str, is_folder: bool) -> None:
        database = path.endswith(_DATABASES) and any("sqlite3" in name for name in sys.modules)
        self._note(DATABASE if database else WRITE, path)

    def _thread(self, thread: threading.Thread) -> None:
        self._note(THREAD, thread.name.partition(" (")[2].rstrip(")") or thread.name, by_application=True)

    def _response(self, path: str) -> None:
        self._note(RESPONSE, path)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event in _PROCESSES:
            self._note(PROCESS, _program(event, arguments), by_application=True)
        elif event == "import" and arguments[0] in SCHEDULERS:
            self._note(SCHEDULER, str(arguments[0]), by_application=True)

    def _note(self, matter: Matter, what: str, *, by_application: bool = False) -> None:
        if getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            own = _place(direct=by_application)
            if own or not by_application:  # servers and libraries start threads of their own, which are their matter
                with self._lock:
                    key = (matter, what, own)
                    self.seen[key] = self.seen.get(key, 0) + 1
        finally:
            self._busy.now = False


def _place(*, direct: bool) -> str:
    """Return the innermost line of the application that runs, as "file:line"; "" where there is none.

    Args:
        direct: whether gaeport may not stand between: what it does for the application is not the application's doing.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if direct and file.startswith(_OWN):
            return ""
        if not file.startswith(_TOOLS) and meter.is_application(file):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _telling(
    start: Callable[[threading.Thread], None], tell: Callable[[threading.Thread], None]
) -> Callable[[threading.Thread], None]:
    """Return Thread.start() that tells of each thread."""

    def told(self: threading.Thread) -> None:
        tell(self)
        start(self)

    return told


def _program(event: str, arguments: tuple[Any, ...]) -> str:
    if event in ("os.fork", "os.forkpty"):
        return "a copy of this process"
    words = arguments[1] if event == "subprocess.Popen" else arguments[0]
    first = words[0] if isinstance(words, list | tuple) and words else words
    return os.fsdecode(first) if isinstance(first, str | bytes | os.PathLike) else repr(first)


def _counting(call: Callable[..., Iterable[bytes]], tell: Callable[[str], None]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application's call that counts the bytes of its answer."""

    def counted(self: Any, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return _Counted(call(self, environ, start_response), lambda: tell(environ.get("PATH_INFO", "")))

    return counted


class _Counted:
    """The body of an answer; tells when it is too large."""

    def __init__(self, body: Iterable[bytes], tell: Callable[[], None]) -> None:
        self._body = body
        self._tell = tell

    def __iter__(self) -> Iterator[bytes]:
        size, told = 0, False
        for piece in self._body:
            size += len(piece)
            if size > MAX_RESPONSE and not told:
                told = True
                self._tell()
            yield piece

    def close(self) -> None:
        """Pass the end on."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
