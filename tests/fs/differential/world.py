"""A folder, what is open in it, and what an operation there comes to: in a form that can be compared with another."""

import io
import os
import random
import shutil
import stat
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

NAMES = [
    *("a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/f", "l", "l/a", "d/l", "g/h", "é"),
    *("f/..", "a/", "d/", "./b", "d/../c", "d/.", "l/", "l/../a", "\udcff"),
]
PLAIN = [name for name in NAMES if "." not in name and not name.endswith("/")]
FILES = ["a", "a", "b", "c", "d/a", "d/b", "l"]  # names that are mostly files, so that much happens to few
SLOTS = 4  # things that stay open from one operation to the next
LONG_AGO = 10**17  # nanoseconds; times before it were set, those after it are of this day

Operation = Callable[["World", random.Random], Any]
OPERATIONS: dict[str, Operation] = {}
WEIGHTS: dict[str, int] = {}


def operation(weight: int = 1) -> Callable[[Operation], Operation]:
    """Enter a function among the operations; those of more weight are done more often."""

    def enter(function: Operation) -> Operation:
        assert function.__name__ not in OPERATIONS
        OPERATIONS[function.__name__], WEIGHTS[function.__name__] = function, weight
        return function

    return enter


class World:
    """One of the two folders.

    Attributes:
        root: its path.
        base: that of the folder around it, which ".." from within may reach.
        slots: what is open: file objects, descriptors (int) and maps, by number.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.root = f"{base}/above/root"
        os.makedirs(self.root)
        self.slots: dict[int, Any] = {}

    def path(self, rng: random.Random, names: list[str] = NAMES) -> str:
        """Return the path of some name in the folder."""
        return os.path.join(self.root, rng.choice(names))

    def file(self, rng: random.Random) -> str:
        """Return the path of what is often a file."""
        return self.path(rng, FILES)

    def put(self, rng: random.Random, opened: Any) -> None:
        """Keep something open, in the place of what was there."""
        number = rng.randrange(SLOTS)
        former = self.slots.pop(number, None)
        self.slots[number] = opened
        if former is not None:
            close(former)

    def pick(self, rng: random.Random, *kinds: type) -> Any:
        """Return something that is open, or None."""
        fitting = [opened for _, opened in sorted(self.slots.items()) if not kinds or isinstance(opened, kinds)]
        return rng.choice(fitting) if fitting else None

    def descriptor(self, rng: random.Random) -> int | None:
        """Return a descriptor that is open, or None."""
        found = self.pick(rng, int)
        return found if found is None else int(found)

    def has_ways_back(self) -> bool:
        """Whether a link leads to a directory."""
        return any(path.is_symlink() and path.is_dir() for path in Path(self.root).rglob("*"))

    def sync_all(self) -> None:
        """Commit what is open: a directory's time is that of a new file's first commit, which a disk does not have."""
        for opened in self.slots.values():
            if isinstance(opened, int) or (isinstance(opened, io.IOBase) and not opened.closed):
                os.fsync(opened)

    def give_up(self, opened: Any) -> None:
        """Close what cannot write what it buffers: how much that is differs with the buffer's size."""
        self.slots = {number: other for number, other in self.slots.items() if other is not opened}
        with suppress(OSError):
            close(opened)

    def close_all(self) -> None:
        """Close what is open; what fails is closed all the same."""
        while self.slots:
            _, opened = self.slots.popitem()
            try:
                close(opened)
            except (OSError, ValueError, BufferError):
                continue  # both worlds did the same to it before, and this was compared

    def short(self, value: object) -> str:
        """Return a text without the folder's own path."""
        return str(value).replace(self.root, "").replace(os.path.dirname(self.base), "/..")


def close(opened: Any) -> None:
    """Close a descriptor, a file or a map."""
    if isinstance(opened, int):
        os.close(opened)
    else:
        opened.close()


def shown(status: os.stat_result) -> tuple[Any, ...]:
    """Return what a mount and a disk must tell alike of a file; a directory's size and links are each one's own."""
    moment = status.st_mtime_ns if status.st_mtime_ns < LONG_AGO else "now"
    if stat.S_ISDIR(status.st_mode):
        return (oct(status.st_mode), moment)
    return (oct(status.st_mode), status.st_size, status.st_nlink, moment)


def data(rng: random.Random, most: int = 40) -> bytes:
    """Return some bytes; rarely many."""
    return rng.randbytes(rng.choice([0, 1, 7, most, 9_000]) if rng.random() < 0.2 else rng.randrange(most))


def tree(root: str) -> dict[str, Any]:
    """Return everything below a folder: attributes, content, what links hold, and which names are one file."""
    found: dict[str, Any] = {}
    first: dict[int, str] = {}
    for path in sorted(Path(root).rglob("*")):
        name, status = str(path)[len(root) :], path.lstat()
        content: Any = None
        if path.is_symlink():
            content = os.readlink(path).replace(os.path.dirname(root), "")
        elif path.is_file():
            content = (first.setdefault(status.st_ino, name), path.read_bytes())
        found[name] = (shown(status), content)
    return found


def outcome(world: World, name: str, seed: int) -> Any:
    """Do an operation; return what it came to, failures included."""
    try:
        return OPERATIONS[name](world, random.Random(seed))
    except shutil.Error as error:
        parts = error.args[0] if isinstance(error.args[0], list) else error.args
        return "shutil.Error", sorted(world.short(part) for part in parts)
    except OSError as error:
        names = ["a descriptor" if isinstance(n, int) else world.short(n) for n in (error.filename, error.filename2)]
        return type(error).__name__, error.errno, names
    except (TypeError, BufferError, zipfile.BadZipFile) as error:
        return type(error).__name__
    except (ValueError, RuntimeError, LookupError) as error:
        return type(error).__name__, world.short(error)
