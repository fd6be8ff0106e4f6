"""`py_compile.compile` for mounts, which reads and writes by the importer's own functions, and so the disk.

Archives with byte code (`zipfile.PyZipFile`) and `compileall` are built on it.
"""

import os
import py_compile
import stat
import tempfile
from functools import wraps
from importlib.util import cache_from_source
from typing import Any

from gaeport.fs.patching import paths
from gaeport.fs.places import Place

native_compile: Any = py_compile.compile


@wraps(native_compile)
def compile(
    file: Any,
    cfile: Any = None,
    dfile: Any = None,
    doraise: bool = False,
    optimize: int = -1,
    invalidation_mode: Any = None,
    quiet: int = 0,
) -> Any:
    """Stand in for `py_compile.compile`, which does the work on a copy outside where a path leads into a mount."""
    target = cfile if cfile is not None else _compiled_name(file, optimize)
    if not isinstance(paths.locate(file), Place) and not isinstance(paths.locate(target), Place):
        return native_compile(file, cfile, dfile, doraise, optimize, invalidation_mode, quiet)
    _check_target(target)
    mode = os.stat(file).st_mode
    with tempfile.TemporaryDirectory(dir=_outside()) as folder:
        source, made = os.path.join(folder, "source.py"), os.path.join(folder, "made.pyc")
        _copy(file, source)
        arguments = (dfile or os.fsdecode(file), doraise, optimize, invalidation_mode, quiet)
        if native_compile(source, made, *arguments) is None:
            return None
        _publish(made, target, mode)
    return target


def _compiled_name(file: Any, optimize: int) -> str:
    return cache_from_source(file, optimization=(optimize if optimize >= 1 else "") if optimize >= 0 else None)


def _check_target(target: Any) -> None:
    """Raise FileExistsError for what must not be replaced by a file, as the original does."""
    if os.path.lexists(target) and not stat.S_ISREG(os.lstat(target).st_mode):
        raise FileExistsError(f"{os.fsdecode(target)} is a non-regular file and will be changed into a regular one")


def _outside() -> str:
    """Return the folder for temporary files, which an application may have set to one in a mount."""
    folder = tempfile.gettempdir()
    return os.environ.get("TMPDIR", "/tmp") if isinstance(paths.locate(folder), Place) else folder


def _copy(source: Any, target: str) -> None:
    with open(source, "rb") as reading, open(target, "wb") as writing:
        writing.write(reading.read())
    status = os.stat(source)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))  # it is written into the byte code


def _publish(made: str, target: Any, mode: int) -> None:
    """Put the byte code in its place at once, with the source's permissions."""
    folder = os.path.dirname(target)
    if folder:
        os.makedirs(folder, exist_ok=True)
    temporary = f"{os.fsdecode(target)}.{os.urandom(4).hex()}"
    try:
        with open(made, "rb") as reading, open(temporary, "xb") as writing:
            writing.write(reading.read())
        os.chmod(temporary, stat.S_IMODE(mode) | stat.S_IWUSR)
        os.replace(temporary, target)
    except OSError:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
