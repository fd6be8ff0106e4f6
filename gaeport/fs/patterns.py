"""A mount whose path is a pattern: one mount for each directory that it fits."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from gaeport.errors import ConfigurationError
from gaeport.fs import native
from gaeport.settings import MountSettings

_SIGNS = re.compile(r"[*?\[]")
_LEFT_OUT = ("__pycache__",)


def expanded(item: MountSettings, root: str) -> list[MountSettings]:
    """Return the mounts that one `[[mount]]` of gaeport.toml stands for; itself where its path is no pattern.

    The directories up to the last part with a sign (`*`, `?`, `[…]`) are looked for on the disk; what comes after it
    need not exist: `applications/*/uploads` gives every application its uploads.

    Args:
        item: as gaeport.toml has it.
        root: the folder that its path starts from.

    Raises:
        ConfigurationError: `name` has another number of stars than `path` has parts with signs.
    """
    parts = item.path.split(os.sep)
    count = sum(1 for part in parts if _SIGNS.search(part))
    if not count:
        return [item]
    if item.name != item.path and item.name.count("*") != count:
        raise ConfigurationError(
            f"[[mount]] {item.path!r}: name = {item.name!r} must have {count} *, one for each part with a sign"
        )
    found = []
    for path, matches in _directories(root, parts):
        name = path if item.name == item.path else _filled(item.name, matches)
        found.append(replace(item, path=path, name=name))
    return found


def _directories(root: str, parts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the paths that fit, relative as the pattern is, each with what its signs stand for."""
    at = next((number for number, part in enumerate(parts) if _SIGNS.search(part)), None)
    if at is None:
        yield os.sep.join(parts), []
        return
    before = os.path.join(root, os.path.expanduser(os.sep.join(parts[:at])))
    for name in _names(before, parts[at]):
        for path, matches in _directories(root, [*parts[:at], name, *parts[at + 1 :]]):
            yield path, [name, *matches]


def _names(folder: str, pattern: str) -> list[str]:
    try:
        names = native.os_functions["listdir"](folder)
    except OSError:
        return []
    fitting = [name for name in names if fnmatchcase(name, pattern) and name not in _LEFT_OUT]
    return sorted(
        name
        for name in fitting
        if (not name.startswith(".") or pattern.startswith(".")) and os.path.isdir(os.path.join(folder, name))
    )


def _filled(name: str, matches: Sequence[str]) -> str:
    pieces = name.split("*")
    return "".join(piece + match for piece, match in zip(pieces, [*matches, ""], strict=True))
