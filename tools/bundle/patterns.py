"""The lines of a .gcloudignore, matched as gcloud matches them.

gcloud's rules differ from git's in one point that matters: a pattern with a slash in its middle is not tied to the
folder of the file; only a leading slash, or `**`, ties it. Held against `gcloud meta list-files-for-upload` by a test.
Source: `gcloud topic gcloudignore`, and the behaviour of SDK 528.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from gaeport.errors import ConfigurationError

IGNORE_FILE = ".gcloudignore"
#: What gcloud writes where a Python 3 application has no .gcloudignore.
GCLOUD_DEFAULT = ".gcloudignore\n.git\n.gitignore\n__pycache__/\n/setup.cfg\n"

_INCLUDE = "!include:"
_TOKEN = re.compile(r"\\.|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line that selects files.

    Attributes:
        text: the line as written.
        parts: its components; "" as the first one ties it to the root.
        negated: whether it takes files back in.
        only_folders: whether it ended in a slash.
        file: the file that it stands in.
        line: its line there, from 1.
    """

    text: str
    parts: tuple[str, ...]
    negated: bool = False
    only_folders: bool = False
    file: str = IGNORE_FILE
    line: int = 0

    def matches(self, names: Sequence[str], *, folder: bool) -> bool:
        """Whether it names exactly this file or folder.

        Args:
            names: the components of the path from the root.
            folder: whether it is a folder.
        """
        if self.only_folders and not folder:
            return False
        return _match(self.parts, ("", *names))


def parse_line(line: str, file: str = IGNORE_FILE, number: int = 0) -> Pattern | None:
    """Return the pattern of one line; None for a comment, an empty line and one that ends in a lone backslash."""
    if line.startswith("#"):
        return None
    negated = line.startswith("!")
    text = line[1:] if negated else line
    plain = _without_trailing_spaces(text.removesuffix("/"))
    return Pattern(line, tuple(plain.split("/")), negated, text.endswith("/"), file, number) if plain else None


def parse(text: str, folder: Path | None = None, file: str = IGNORE_FILE) -> list[Pattern]:
    """Return the patterns of an ignore file.

    Args:
        text: its content.
        folder: where files named by `#!include:` are; None leaves such lines out, as gcloud does inside an included
            file.
        file: its name, for messages.

    Raises:
        ConfigurationError: an included file is missing or in another folder: gcloud refuses to deploy.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") and line[1:].lstrip().startswith(_INCLUDE):
            found += _included(line, folder, f"{file}:{number}")
        elif (pattern := parse_line(line, file, number)) is not None:
            found.append(pattern)
    return found


def load(folder: Path) -> list[Pattern]:
    """Return the patterns that gcloud uses for a folder: its .gcloudignore's, else those that gcloud would write."""
    path = folder / IGNORE_FILE
    if not path.exists():
        return parse(GCLOUD_DEFAULT)
    return parse(_read(path, IGNORE_FILE), folder)


def deciding(patterns: Iterable[Pattern], names: Sequence[str], *, folder: bool) -> Pattern | None:
    """Return the pattern that keeps a file or folder, or a folder above it, from being uploaded; None if it goes.

    In each folder from the root down the last pattern that matches decides; what is in a left-out folder cannot be
    taken back in.
    """
    for depth in range(1, len(names) + 1):
        last = None
        for pattern in patterns:
            if pattern.matches(names[:depth], folder=folder or depth < len(names)):
                last = pattern
        if last is not None and not last.negated:
            return last
    return None


def _match(parts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether components match the end of a path, whose first component is "" for the root."""
    if not parts:
        return True
    if not names:
        return False
    *before, last = parts
    if last == "**":
        # It stands for any number of components, and ties the pattern to the root.
        tied = tuple(before) if before and before[0] == "" else ("", *before)
        return any(_match(tied, names[:count]) for count in range(1, len(names) + 1))
    if last == "*" and not before and len("/".join(names[1:-1])) > 1:
        return False  # gcloud's own rule for a lone star: only below the root and below folders of one letter
    return fnmatchcase(names[-1], last) and _match(tuple(before), names[:-1])


def _without_trailing_spaces(text: str) -> str | None:
    """Return a line with escapes undone and plain spaces at its end dropped; None if it ends in a lone backslash."""
    tokens = _TOKEN.findall(text)
    while tokens and tokens[-1] == " ":
        tokens.pop()
    text = "".join(tokens).replace("\\ ", " ")
    if (len(text) - len(text.rstrip("\\"))) % 2:
        return None
    return re.sub(r"\\([^\\])", r"\1", text).replace("\\\\", "\\")


def _included(line: str, folder: Path | None, place: str) -> list[Pattern]:
    name = line[line.index(_INCLUDE) + len(_INCLUDE) :]
    if "/" in name:
        raise ConfigurationError(f"{place}: #!include:{name}: only a file of the same folder can be included")
    return [] if folder is None else parse(_read(folder / name, place), None, name)


def _read(path: Path, place: str) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{place}: {path} cannot be read: {error.strerror}; gcloud would not deploy"
        ) from error
