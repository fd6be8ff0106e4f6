"""Which exceptions are the same error: the type and the application's own frames, line numbers ignored."""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from gaeport import settings

_MAX_FRAMES = 200  # of a traceback that are looked at; a recursion has a thousand
_MAX_LINKS = 20  # of a chain of exceptions
_GAEPORT = str(Path(__file__).parent.parent) + os.sep
_LIBRARIES = tuple(
    {
        os.path.join(path, "")
        for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
        if (path := sysconfig.get_path(name))
    }
)
# gluon is web2py itself, which lies beside its applications.
_FOREIGN_PARTS = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages", "gluon"))


def links(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Yield an exception and those that it goes back to, each with how: "", "cause", "context" or "member".

    Members of an exception group follow the group; what was seen already, or is one too many, is left out.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, BaseException]] = [("", error)]
    while waiting and len(seen) < _MAX_LINKS:
        how, found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield how, found
        if isinstance(found, BaseExceptionGroup):
            waiting += [("member", member) for member in found.exceptions[:_MAX_LINKS]]
        if found.__cause__ is not None:
            waiting.append(("cause", found.__cause__))
        elif found.__context__ is not None and not found.__suppress_context__:
            waiting.append(("context", found.__context__))


def frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    """Yield the entries of a traceback, outermost first, gaeport's own left out where the application is called."""
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def is_application(filename: str) -> bool:
    """Tell whether code belongs to the application: neither Python's, nor an installed package's, nor gaeport's."""
    if filename.startswith(("<frozen", _GAEPORT)):
        return False
    path = os.path.abspath(filename) if not filename.startswith("<") else filename
    if any(part in path for part in _FOREIGN_PARTS):
        return False
    return not path.startswith(_LIBRARIES)


def place(filename: str) -> str:
    """Return a file's path relative to the application's folder, so that it is the same on every machine."""
    root = os.path.join(str(settings.current().root), "")
    return filename.removeprefix(root)


def type_name(error: BaseException) -> str:
    """Return an exception's type as tracebacks write it: with its module, but for built-in ones."""
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def fingerprint(error: BaseException) -> str:
    """Return what identical errors have in common, as 64 hexadecimal digits.

    Args:
        error: with its traceback. Where no frame is the application's own, all frames count.
    """
    digest = hashlib.sha256()
    for how, found in links(error):
        digest.update(f"{how}\0{type_name(found)}\n".encode("utf-8", "surrogatepass"))
        for line in _places(found.__traceback__):
            digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _places(traceback: TracebackType | None) -> list[str]:
    """Return file and function of the frames that count, repetitions (recursion) once."""
    own: list[str] = []
    every: list[str] = []
    for number, entry in enumerate(frames(traceback)):
        if number == _MAX_FRAMES:
            break
        code = entry.tb_frame.f_code
        line = f"{place(code.co_filename)}\0{code.co_qualname}\n"
        into = own if is_application(code.co_filename) else every
        if line not in into:
            into.append(line)
    return own or every


def current_error() -> BaseException | None:
    """Return the exception that is being handled, or None."""
    return sys.exc_info()[1]
