"""The files of a folder, each with the pattern that keeps it at home, if any."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .patterns import Pattern, deciding


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, or a folder that is left out as a whole.

    Attributes:
        path: from the application's folder, with slashes.
        size: bytes; of a left-out folder, of everything in it.
        files: 1, or how many files a left-out folder holds.
        pattern: what keeps it from being uploaded; None for a file that goes.
        folder: whether it is a folder.
    """

    path: str
    size: int
    files: int = 1
    pattern: Pattern | None = None
    folder: bool = False

    @property
    def goes(self) -> bool:
        """Whether it is uploaded."""
        return self.pattern is None


def walk(root: Path, patterns: list[Pattern]) -> Iterator[Entry]:
    """Yield every file that would be uploaded, and every file and folder that would not, ordered by folder and name.

    Symbolic links are followed, as gcloud does.

    Raises:
        OSError: ELOOP for a link that leads to itself or to a folder that it is in; gcloud refuses such a tree.
    """
    yield from _walk(root, (), patterns)


def uploaded(root: Path, patterns: list[Pattern]) -> list[Entry]:
    """Return the files that would be uploaded. Raises OSError as walk() does."""
    return [entry for entry in walk(root, patterns) if entry.goes]


def _walk(root: Path, above: tuple[str, ...], patterns: list[Pattern]) -> Iterator[Entry]:
    with os.scandir(root.joinpath(*above)) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        names = (*above, entry.name)
        folder = entry.is_dir()
        pattern = deciding(patterns, names, folder=folder)
        if pattern is not None and folder:
            size, files = _weigh(entry)
            yield Entry("/".join(names), size, files, pattern, folder=True)
        elif folder:
            _refuse_loop(entry)
            yield from _walk(root, names, patterns)
        else:
            yield Entry("/".join(names), _size(entry), pattern=pattern)


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # a link to nothing: it is listed, and the check names it
        return 0


def _weigh(folder: "os.DirEntry[str]") -> tuple[int, int]:
    """Return bytes and number of files below a folder, links not followed."""
    size = files = 0
    for path, _, names in os.walk(folder.path):
        for name in names:
            size += os.lstat(os.path.join(path, name)).st_size
        files += len(names)
    return size, files


def _refuse_loop(entry: "os.DirEntry[str]") -> None:
    if not entry.is_symlink():
        return
    target, path = os.path.realpath(entry.path), os.path.dirname(os.path.abspath(entry.path))
    if os.path.commonpath([target, os.path.realpath(path)]) == target:
        import errno

        raise OSError(errno.ELOOP, "the link leads to a folder that it is in; gcloud refuses to deploy", entry.path)
