"""`gaeport datastore export` and `import`: checks, progress on a terminal, and what they say at the end."""

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from gaeport.datastore import export, wire
from gaeport.datastore.engine import Engine
from gaeport.datastore.engine.store import FILE_NAME
from gaeport.errors import ConfigurationError

Mode = Literal["empty", "merge", "replace"]

_EVERY = 0.2  # seconds between two lines of progress


def run_export(folder: Path, path: Path) -> int:
    """Write all entities of a data folder into a file.

    Returns:
        The number of entities.

    Raises:
        ConfigurationError: there is no data in the folder, or the file cannot be written.
    """
    if not (folder / FILE_NAME).is_file():
        raise ConfigurationError(f"there is no {FILE_NAME} in {folder}; --data names another folder")
    with _opened(folder) as engine, _Progress("exported") as progress:
        try:
            return engine.export(lambda entities: export.write(path, entities, progress.told))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


def run_import(folder: Path, path: Path, mode: Mode, *, synchronous: str = "normal") -> int:
    """Read a file's entities into a data folder. The file is checked whole before anything is changed.

    Args:
        folder: the data folder; made when missing.
        path: the file.
        mode: "empty" refuses a folder that holds entities; "merge" overwrites those that the file has too;
            "replace" deletes all others first. Killed on the way, the same again completes it (from "empty": "merge").
        synchronous: as for the engine.

    Returns:
        The number of entities.

    Raises:
        ConfigurationError: the folder is not empty, or the file cannot be read.
        DataLoss: the file is no export, or damaged; nothing was changed.
    """
    try:
        with _Progress("checked") as progress:
            for _ in export.read(path, progress.told):
                pass
        with _opened(folder, synchronous) as engine:
            if mode == "empty" and engine.first_keys(1):
                raise ConfigurationError(
                    f"{folder} holds entities already; --merge adds to them, --replace deletes them first"
                )
            if mode == "replace":
                _clear(engine)
            with _Progress("imported") as progress:
                return export.load(engine, export.read(path, progress.told))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _opened(folder: Path, synchronous: str = "normal") -> Iterator[Engine]:
    engine = Engine(folder, synchronous=synchronous)
    try:
        yield engine
    finally:
        engine.close()


def _clear(engine: Engine) -> None:
    while keys := engine.first_keys(export.BATCH):
        for (project, database), group in itertools.groupby(keys, _database):
            request = wire.CommitRequest(project_id=project, database_id=database, mode=wire.NON_TRANSACTIONAL)
            for key in group:
                request.mutations.add(delete=key)
            engine.call("Commit", request)


def _database(key: Any) -> tuple[str, str]:
    return key.partition_id.project_id, key.partition_id.database_id


class _Progress:
    """A line on standard error that is written again and again, if that is a terminal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = 0.0
        self._visible = False

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def told(self, entities: int, size: int) -> None:
        now = time.monotonic()
        if now - self._shown < _EVERY or not sys.stderr.isatty():
            return
        self._shown, self._visible = now, True
        sys.stderr.write(f"\r\x1b[K{self._what} {entities:,} entities, {size / 1_000_000:.1f} MB of the file")
        sys.stderr.flush()
