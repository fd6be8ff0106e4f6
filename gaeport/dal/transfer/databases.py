"""Opening the databases of a transfer, so that values pass as they are stored."""

import re
from pathlib import Path
from typing import Any

from gaeport.dal.schemes import as_written, translate
from gaeport.dal.transfer.definitions import Application
from gaeport.errors import ConfigurationError, GaeportError

DATASTORE = "datastore"
_SQLITE = "sqlite://"


def engine_of(uri: str) -> str:
    """Return the scheme of a connection string, such as "sqlite"."""
    return uri.partition("://")[0].partition(":")[0]


def shown(uri: str) -> str:
    """Return a connection string without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:…@", uri)


def counterpart(uri: str, application: Application) -> str:
    """Return the connection string on Datastore that belongs to a SQL one: by `[dal] map`, else `datastore://`."""
    folder = application.databases
    return translate(uri, str(folder.absolute()) if folder is not None else None) or f"{DATASTORE}://"


def opened(uri: str, application: Application, *, must_exist: bool = False, big_ids: bool = False) -> Any:
    """Return a pyDAL database with the application's tables, nothing of which is created or changed.

    Args:
        uri: the connection string; a SQLite file's path is relative to the application's folder databases, or to the
            working directory.
        application: what defines the tables.
        must_exist: whether a SQLite file that is not there is an error.
        big_ids: whether ids have 64 bits in databases that tell the difference.

    Raises:
        ConfigurationError: it cannot be opened, or the tables cannot be defined.
    """
    from pydal import DAL

    folder = (application.databases or Path()).absolute()
    if must_exist and uri.startswith(_SQLITE) and not (folder / uri.removeprefix(_SQLITE)).is_file():
        raise ConfigurationError(f"{shown(uri)}: there is no file {folder / uri.removeprefix(_SQLITE)}")
    try:
        with as_written():
            db = DAL(
                uri,
                folder=str(folder) if folder.is_dir() else None,
                attempts=1,
                pool_size=0,
                migrate=False,
                migrate_enabled=False,
                bigint_id=big_ids,
                adapter_args={"foreign_keys": False},  # SQLite: rows arrive before those that they refer to
            )
    except GaeportError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{shown(uri)} cannot be opened: {_reason(error)}") from error
    try:
        _define(db, application, uri)
    except BaseException:
        db.close()
        raise
    return db


def _define(db: Any, application: Application, uri: str) -> None:
    try:
        application.define(db)
    except GaeportError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the tables cannot be defined on {shown(uri)}: {type(error).__name__}: {_reason(error)}"
        ) from error
    for table in db:
        table._common_filter = None
        table._virtual_fields, table._virtual_methods = [], []
        table.virtualfields.clear()
        for field in table:
            field.filter_in = field.filter_out = None
    if db._adapter.dbengine == DATASTORE:
        db._adapter.store.units.buffered = False  # what is moved is committed batch by batch, whatever `?buffer` says
    if db._adapter.dbengine == "mysql":
        db.executesql("SET FOREIGN_KEY_CHECKS = 0")
        db.executesql("SET NAMES utf8mb4")  # by pyDAL's own utf8, characters beyond 16 bits would be read as "?"


def _reason(error: BaseException) -> str:
    """Return the last line of a message: pyDAL puts whole tracebacks into some."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return shown(lines[-1].strip()) if lines else type(error).__name__
