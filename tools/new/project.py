"""A new application's folder: its files, written whole or not at all, and never over others."""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from gaeport.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made.

    Attributes:
        folder: the application's folder; it may exist.
        files: contents by path from the folder; bytes for what is not text.
        notes: lines for whoever made it, about what needs a look.
    """

    folder: Path
    files: Mapping[str, str | bytes]
    notes: list[str] = field(default_factory=list)


def render(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return a kind's templates over those of all kinds, filled in, by their path from the application's folder.

    Args:
        kind: the folder of the templates; a name in it is a path with -- for /, with a dot for a leading "dot-".
        values: what $name and ${name} in them stand for.
    """
    found = {}
    for folder in ("common", kind):
        entries = resources.files(__package__).joinpath("templates", folder).iterdir()
        for entry in sorted(entries, key=lambda item: item.name):
            name = entry.name.removesuffix(".tmpl").replace("--", "/").replace("dot-", ".")
            found[name] = string.Template(entry.read_text("utf-8")).substitute(values)
    return found


def check_free(plan: Plan) -> None:
    """Raise ConfigurationError if any file is there already, or stands where a folder has to be."""
    taken = sorted(name for name in plan.files if Path(plan.folder, name).exists())
    if taken:
        raise ConfigurationError(f"{plan.folder} has {', '.join(taken)} already; new never overwrites")
    for parent in (plan.folder, *plan.folder.parents):
        if parent.exists() and not parent.is_dir():
            raise ConfigurationError(f"{parent} is a file, not a folder")


def write(plan: Plan) -> None:
    """Write the files of a plan; one that has come to be there meanwhile stays, and stops it.

    Raises:
        ConfigurationError: a file is there already, or cannot be written.
    """
    check_free(plan)
    try:
        for name, content in plan.files.items():
            path = Path(plan.folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: cannot be written: {error.strerror}") from error
