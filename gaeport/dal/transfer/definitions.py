"""Which tables an application has: from the `.table` files of a web2py application, or from a function.

pyDAL keeps, for each table that it has created or changed, a file `<hash of the connection string>_<table>.table` with
the table's fields as they are in the database.
"""

import hashlib
import io
import pickle
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaeport.errors import ConfigurationError

_FILE = re.compile(r"(?P<hash>[0-9a-f]{32})_(?P<table>\w+)\.table")

Define = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Application:
    """What a transfer needs to know of an application.

    Attributes:
        define: defines the application's tables on a pyDAL database.
        databases: the folder of `.table` files and SQLite files; None where there is none.
        uploads: the folder of uploaded files; None where there is none.
    """

    define: Define
    databases: Path | None = None
    uploads: Path | None = None


def from_folder(folder: Path, uri: str, tables_of: str = "") -> Application:
    """Return a web2py application by its folder.

    Args:
        folder: such as web2py/applications/shop; it has a folder databases with `.table` files.
        uri: the SQL database's connection string, whose hash the files' names begin with.
        tables_of: the beginning of the hash, where the application's connection string is another than `uri`.

    Raises:
        ConfigurationError: there are no such files, or those of several databases, or one is damaged.
    """
    databases = folder / "databases"
    found = _files(databases, uri, tables_of)
    tables = {name: _fields(path) for name, path in sorted(found.items())}

    def define(db: Any) -> None:
        from pydal import Field

        for name, fields in tables.items():
            db.define_table(name, *[Field(**options) for options in fields])

    return Application(define, databases, folder / "uploads")


def _files(databases: Path, uri: str, tables_of: str) -> dict[str, Path]:
    by_hash: dict[str, dict[str, Path]] = {}
    for path in databases.glob("*.table"):
        if matched := _FILE.fullmatch(path.name):
            by_hash.setdefault(matched["hash"], {})[matched["table"]] = path
    if not by_hash:
        raise ConfigurationError(
            f"{databases} holds no .table files, which pyDAL writes when it creates tables; "
            "name a function that defines them: --app MODULE:FUNCTION"
        )
    own = hashlib.md5(uri.encode(), usedforsecurity=False).hexdigest()
    if tables_of:
        matching = [name for name in by_hash if name.startswith(tables_of)]
    else:
        matching = [own] if own in by_hash else list(by_hash)
    if len(matching) != 1:
        shown = "; ".join(f"{name[:8]}: {', '.join(sorted(by_hash[name])[:5])}" for name in sorted(by_hash))
        raise ConfigurationError(f"{databases}: the tables of which database? --tables-of HASH, out of {shown}")
    return by_hash[matching[0]]


def _fields(path: Path) -> list[dict[str, Any]]:
    """Return the arguments of `Field` for each field of a `.table` file, in order."""
    try:
        found = _Plain(io.BytesIO(path.read_bytes())).load()
        items = sorted(found.items(), key=lambda item: item[1].get("sortable", 0))
    except (pickle.UnpicklingError, EOFError, AttributeError, ValueError, IndexError, KeyError) as error:
        raise ConfigurationError(f"{path} is no .table file of pyDAL, or damaged: {error}") from error
    return [_options(name, about) for name, about in items]


def _options(name: str, about: dict[str, Any]) -> dict[str, Any]:
    stored = about.get("raw_rname") or name
    options: dict[str, Any] = {"type": about["type"], "unique": about.get("unique"), "notnull": about.get("notnull")}
    if about.get("length") is not None:
        options["length"] = about["length"]
    if stored.lower() == name.lower():  # the file's own names have lost their capitals
        return {"fieldname": stored, **options}
    return {"fieldname": name, "rname": stored, **options}


class _Plain(pickle.Unpickler):
    """Reads plain values only: a pickle could otherwise run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every class."""
        raise pickle.UnpicklingError(f"it holds a {module}.{name}")


def chosen(db: Any, names: Sequence[str]) -> list[Any]:
    """Return the tables to move, each after those that it refers to.

    Args:
        db: a pyDAL database with its tables defined.
        names: the tables; none means all.

    Raises:
        ConfigurationError: there is no table, or none of that name.
    """
    unknown = [name for name in names if name not in db.tables]
    if unknown or not db.tables:
        there = ", ".join(sorted(db.tables)) or "none"
        raise ConfigurationError(f"no such table: {', '.join(unknown) or 'any'}; the application defines: {there}")
    for table in db:
        _check(db, table)
    wanted = set(names or db.tables)
    done: dict[str, Any] = {}
    for name in db.tables:
        _visit(db, name, done, set())
    keyed = [name for name in done if name in wanted and getattr(done[name], "_primarykey", None)]
    if keyed:
        raise ConfigurationError(
            f"{', '.join(keyed)}: tables with a primarykey of their own are not moved; --table NAME names the others"
        )
    return [table for name, table in done.items() if name in wanted]


def _check(db: Any, table: Any) -> None:
    """Refuse a table that refers to one that is not defined."""
    for field in table:
        kind, _, other = str(field.type).partition(" ")
        name = other.strip().partition(".")[0]
        if kind.endswith("reference") and name and name not in db.tables:
            raise ConfigurationError(
                f"{table._tablename}.{field.name} refers to the table {name}, which is not defined: are these the "
                ".table files of another database, or of a part of it? --tables-of HASH names others"
            )


def _visit(db: Any, name: str, done: dict[str, Any], above: set[str]) -> None:
    if name in done or name in above or name not in db.tables:
        return
    for other in referred(db[name]):
        _visit(db, other, done, above | {name})
    done[name] = db[name]


def referred(table: Any) -> Iterable[str]:
    """Yield the names of the tables that a table's reference fields point to."""
    for field in table:
        if (name := target(field)) is not None:
            yield name


def target(field: Any) -> str | None:
    """Return the name of the table that a field refers to; None for other fields, lists of references among them."""
    kind = str(field.type)
    if not kind.startswith(("reference", "big-reference")):
        return None
    name = kind.partition(" ")[2].strip()
    return str(field._tablename) if name in ("", ".") else name.partition(".")[0]
