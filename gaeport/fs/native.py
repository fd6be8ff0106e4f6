"""The operating system's own file functions, as they were before gaeport replaced any.

Whatever in gaeport must reach the disk below a mount (an overlay's shipped files, anonymous memory) calls these: the
same names in `os` and `builtins` lead back into the mount.
"""

import builtins
import errno
import io
import os
from typing import Any

open = builtins.open
FileIO = io.FileIO
DirEntry = os.DirEntry

_REPLACED = (
    *("access", "chdir", "chmod", "chown", "close", "closerange", "copy_file_range", "dup", "dup2", "fchdir", "fchmod"),
    *("fchown", "fdatasync", "fstat", "fstatvfs", "fsync", "getcwd", "getcwdb", "getxattr", "lchown"),
    *("link", "listdir", "listxattr", "lstat", "mkdir", "mkfifo", "mknod", "open", "pathconf", "readlink", "remove"),
    *("removexattr", "rename", "replace", "rmdir", "scandir", "setxattr", "stat", "statvfs", "symlink", "sync"),
    *("truncate", "umask", "unlink", "utime"),
)

#: The replaced functions of `os` by name, those that this platform has.
os_functions: dict[str, Any] = {name: getattr(os, name) for name in _REPLACED if hasattr(os, name)}

stat = os.stat
lstat = os.lstat
fstat = os.fstat
access = os.access
listdir = os.listdir
scandir = os.scandir
mkdir = os.mkdir
rmdir = os.rmdir
unlink = os.unlink
rename = os.rename
replace = os.replace
readlink = os.readlink
truncate = os.truncate
utime = os.utime
chmod = os.chmod
chdir = os.chdir
getcwd = os.getcwd
umask = os.umask
os_open = os.open
close = os.close
dup = os.dup
dup2 = os.dup2
fsync = os.fsync


def realpath(path: str) -> str:
    """Return `path` with every symbolic link on the disk resolved, whatever is mounted; missing parts stay as spelled.

    Raises:
        OSError: ELOOP, more than 40 links.
    """
    done = "/"
    rest = [part for part in reversed(path.split("/")) if part]
    if not path.startswith("/"):
        rest += [part for part in reversed(getcwd().split("/")) if part]
    followed = 0
    while rest:
        part = rest.pop()
        if part == ".":
            continue
        if part == "..":
            done = os.path.dirname(done)
            continue
        candidate = os.path.join(done, part)
        try:
            target = readlink(candidate)
        except OSError:
            done = candidate
            continue
        followed += 1
        if followed > 40:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        done = "/" if target.startswith("/") else done
        rest += [item for item in reversed(target.split("/")) if item]
    return done
