"""What a file's permission bits let this process do.

The owner's bits count, whoever wrote the file from wherever: instances and laptops have different users. Root may
everything but run what nobody may run, as on a disk. A directory's bits are told, not enforced: they would have to be
fetched anew for each change in it.
"""

import errno
import os
import stat

from gaeport.errors import file_error

_EVERYBODY = 0o111


def binds() -> bool:
    """Whether permission bits bind this process."""
    return os.geteuid() != 0


def check_open(mode: int, flags: int, name: str) -> None:
    """Refuse to open an existing file in a way that its bits do not allow.

    Args:
        mode: the file's permission bits.
        flags: those of os.open.
        name: the path for the error.

    Raises:
        OSError: EACCES.
    """
    if _wanted(flags) & ~mode:
        raise file_error(errno.EACCES, name)


def allow(mode: int, wanted: int, *, root: bool) -> bool:
    """Whether something of this mode can be used so (source: access(2)).

    Args:
        mode: file type and permission bits.
        wanted: os.R_OK, os.W_OK and os.X_OK, or os.F_OK.
        root: whether it is asked for root.
    """
    if root:
        return not wanted & os.X_OK or stat.S_ISDIR(mode) or bool(mode & _EVERYBODY)
    return not wanted & ~(mode >> 6 & 0o7)


def _wanted(flags: int) -> int:
    access = flags & os.O_ACCMODE
    reading = 0 if access == os.O_WRONLY else stat.S_IRUSR
    writing = 0 if access == os.O_RDONLY and not flags & os.O_TRUNC else stat.S_IWUSR
    return reading | writing
