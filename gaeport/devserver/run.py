"""`gaeport run`: a Python program with the mounts in place."""

import code
import runpy
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from gaeport import fs
from gaeport import settings as _settings
from gaeport.errors import ConfigurationError

_PYTHONS = ("python", "python3", f"python3.{sys.version_info.minor}")


def run(command: Sequence[str]) -> int:
    """Run a program in this process, its files in the mounts, and commit what it wrote.

    Args:
        command: "python x.py …", "python -m module …", "python -c code …", "python" alone (an interactive
            interpreter), "x.py …", or the name of an installed command written in Python ("flask", "pytest") …

    Returns:
        The program's exit code.

    Raises:
        ConfigurationError: there is no such program, or it is not written in Python.
    """
    program = _program(list(command))
    fs.mount_all(_settings.current())
    token = fs.begin_request()
    failed = True
    try:
        program()
        result, failed = 0, False
    except SystemExit as leaving:
        result = _exit_code(leaving)
        failed = result != 0
    except Exception as error:  # noqa: BLE001 - the program's own end, reported as the interpreter would
        trace = _own_frames(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        result = 1
    finally:
        fs.end_request(token, failed)
    return result


def _exit_code(leaving: SystemExit) -> int:
    if leaving.code is None or isinstance(leaving.code, int):
        return leaving.code or 0
    sys.stderr.write(f"{leaving.code}\n")
    return 1


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from where the program itself begins."""
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
        trace = trace.tb_next
    return trace


def _program(command: list[str]) -> Callable[[], Any]:
    name, arguments = command[0], command[1:]
    if name in _PYTHONS or name == sys.executable:
        return _python(arguments)
    if name.endswith(".py"):
        return _script(name, arguments)
    entry = _entry_point(name)
    if entry is not None:
        sys.argv = [shutil.which(name) or name, *arguments]
        return lambda: sys.exit(entry.load()())
    return _installed(name, arguments)


def _python(arguments: list[str]) -> Callable[[], Any]:
    if not arguments:
        return lambda: code.interact(banner=f"Python {sys.version.split()[0]}, gaeport's mounts in place", exitmsg="")
    first, rest = arguments[0], arguments[1:]
    if first in ("-m", "-c") and not rest:
        raise ConfigurationError(f"python {first} needs an argument")
    if first == "-m":
        sys.argv = rest
        sys.path.insert(0, str(Path.cwd()))
        return lambda: runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        source = compile(rest[0], "<string>", "exec")
        return lambda: exec(source, {"__name__": "__main__"})
    if first.startswith("-"):
        raise ConfigurationError(f"python {first}: of Python's own options, gaeport run knows -m and -c")
    return _script(first, rest)


def _script(path: str, arguments: list[str]) -> Callable[[], Any]:
    if not Path(path).is_file():
        raise ConfigurationError(f"{path}: there is no such file")
    sys.argv = [path, *arguments]
    sys.path.insert(0, str(Path(path).resolve().parent))
    return lambda: runpy.run_path(path, run_name="__main__")


def _entry_point(name: str) -> metadata.EntryPoint | None:
    found = metadata.entry_points(group="console_scripts", name=name)
    return next(iter(found), None)


def _installed(name: str, arguments: list[str]) -> Callable[[], Any]:
    path = shutil.which(name)
    if path is None:
        raise ConfigurationError(f"{name}: there is no such command")
    with open(path, "rb") as file:
        first = file.readline(200)
    if not first.startswith(b"#!") or b"python" not in first:
        raise ConfigurationError(
            f"{path} is not written in Python: mounts exist only inside the Python process that gaeport runs"
        )
    return _script(path, arguments)
