"""Notices that the application's source has changed, for `gaeport serve --reload`."""

import os
from collections.abc import Iterator
from pathlib import Path

_SUFFIXES = (".py", ".toml", ".yaml", ".yml")
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "build", "dist"}


class Watcher:
    """Compares the modification times of source files with those of the last look."""

    def __init__(self, root: Path) -> None:
        """Take the first look.

        Args:
            root: the application's folder; hidden folders and virtual environments in it are not watched.
        """
        self._root = root
        self._seen = self._look()

    def changed(self) -> str | None:
        """Return one file, relative to the root, that was changed, made or removed since the last call, or None."""
        now = self._look()
        before, self._seen = self._seen, now
        if now == before:
            return None
        different = {path for path, _ in now.items() ^ before.items()}
        return os.path.relpath(min(different), self._root)

    def _look(self) -> dict[str, tuple[int, int]]:
        return dict(_files(str(self._root)))


def _files(folder: str) -> Iterator[tuple[str, tuple[int, int]]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # removed meanwhile, or not ours to read
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.name.endswith(_SUFFIXES):
                info = entry.stat()
                yield entry.path, (info.st_mtime_ns, info.st_size)
        except OSError:
            continue  # removed between the listing and the look; the next look tells
