"""Tickets in the data folder until they are written where they belong: nothing is lost when a server is away.

One file a ticket, put there before the first attempt and removed after the last success; a process that is killed
between the two leaves the file. On App Engine, whose disk is read-only, the log line is the copy that cannot fail.
"""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaeport import settings
from gaeport.tickets.records import Record

FOLDER = "tickets-spool"
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A ticket in the data folder.

    Attributes:
        path: its file.
        record: what `records.build` gave.
        sinks: where it still has to go: "entity", "api".
    """

    path: Path
    record: Record
    sinks: tuple[str, ...]


def folder() -> Path | None:
    """Return the folder of spooled tickets, or None where nothing can be kept: on App Engine, or all in memory."""
    config = settings.current()
    if config.in_memory or os.environ.get("GAE_ENV") == "standard":
        return None
    return config.data_path / FOLDER


def put(record: Record, sinks: Sequence[str]) -> Path | None:
    """Keep a ticket in the data folder, whole or not at all.

    Returns:
        Its file, or None where there is no folder.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    into = folder()
    if into is None:
        return None
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{record['number']}{_SUFFIX}"
    _write(path, {"sinks": list(sinks), "record": record})
    return path


def done(path: Path | None, record: Record, left: Sequence[str]) -> None:
    """Note that a ticket has been written: its file goes, or names the places that are still to be written."""
    if path is None:
        return
    try:
        if left:
            _write(path, {"sinks": list(left), "record": record})
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return  # it is collected once more, which changes nothing


def waiting() -> Iterator[Spooled]:
    """Yield the spooled tickets, oldest number first in each group; files that are damaged are left out."""
    into = folder()
    if into is None or not into.is_dir():
        return
    for path in sorted(into.glob(f"*{_SUFFIX}")):
        try:
            content = json.loads(path.read_text("utf-8"))
            yield Spooled(path, content["record"], tuple(content["sinks"]))
        except FileNotFoundError:
            continue  # another `collect` was faster
        except (ValueError, KeyError, TypeError):
            _set_aside(path)


def count() -> int:
    """Return how many tickets are spooled."""
    into = folder()
    return sum(1 for _ in into.glob(f"*{_SUFFIX}")) if into is not None and into.is_dir() else 0


def _write(path: Path, content: object) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(json.dumps(content), "utf-8")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _set_aside(path: Path) -> None:
    """Take a damaged file out of the way, and keep it for whoever wants to look."""
    try:
        os.replace(path, path.with_suffix(".damaged"))
    except OSError:
        return
