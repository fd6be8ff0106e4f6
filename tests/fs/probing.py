"""What the probes of files have in common: a probe does something in a folder and returns what came of it."""

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

Probe = Callable[[str], Any]


def raised(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the errno that a call raises (or the kind of another error), or ("no error", its result)."""
    try:
        return "no error", function(*args, **kwargs)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except (ValueError, TypeError, OverflowError) as error:
        return type(error).__name__


def put(path: str, content: bytes = b"content") -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path


def got(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def kind(status: os.stat_result) -> tuple[int, ...]:
    size = -1 if stat.S_ISDIR(status.st_mode) else status.st_size
    return status.st_mode, size, status.st_uid, status.st_gid


#: Probes that show a documented difference, by the volume that it is of.
DIFFERENT = {
    "MemoryVolume": {"locks"},  # it stands for one instance
    "GcsVolume": {  # docs/gcs-mounts.md: an object has one name, which is UTF-8
        *("linking", "directory_times", "relative_to_a_descriptor", "names_of_every_kind", "paths_write", "tar_files"),
    },
}
