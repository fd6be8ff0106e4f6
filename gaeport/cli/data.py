"""`gaeport data`."""

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gaeport import settings
from gaeport.cli.command import add_command, read_settings
from gaeport.commands import agreed
from gaeport.errors import ConfigurationError

if TYPE_CHECKING:
    from gaeport.dal.transfer.definitions import Application
    from gaeport.dal.transfer.files import Folder, Functions

_WEB2PY = "sqlite://storage.sqlite"  # the connection string of its scaffold
_DATASTORE = "default: what [dal] map makes of the other, else datastore://"


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "data",
        "move tables and uploads between SQL databases and Datastore; mark unique values",
        """
        import brings the tables of a SQLite, PostgreSQL or MySQL database, and the folder of uploaded files, to
        Datastore and its mounts; export brings them back. Rows keep their ids, so that references hold; ids that are
        in use are never allocated again. Killed on the way, the same command goes on where it stopped. At the end both
        sides are read again, and their counts and checksums are compared.

        APP is a web2py application's folder, whose databases/*.table files say which tables there are, or
        MODULE:FUNCTION or FILE.py:FUNCTION, a function that is called with a pyDAL database and defines them.

        unique makes the markers by which `unique=True` is enforced, for rows that were written before the field
        became unique, and names rows that share a value.
        """,
        """
        examples:
          gaeport data import --from sqlite://storage.sqlite --app web2py/applications/shop --check
          gaeport data import --from sqlite://storage.sqlite --app web2py/applications/shop
          gaeport --project shop data import --from postgres://me:secret@localhost/shop --app models:define
          gaeport data export --to sqlite://copy.sqlite --app models:define
          gaeport data unique auth_user.email

        In production each says where first and asks; --replace asks everywhere. --yes answers.
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_import(actions)
    _add_export(actions)
    _add_unique(actions)
    for name, action in actions.choices.items():
        action.add_argument("--yes", action="store_true", help="do not ask")
        action.set_defaults(run=_run, action=name)


def _add_import(actions: Any) -> None:
    parser = actions.add_parser("import", help="from a SQL database to Datastore")
    parser.add_argument("--from", dest="sql", required=True, metavar="URI", help="the SQL database, as pyDAL writes it")
    parser.add_argument("--to", dest="datastore", metavar="URI", help=_DATASTORE)
    parser.add_argument("--check", action="store_true", help="only list the rows that do not fit into Datastore")
    _add_moving(parser, "where the uploaded files are (default: APP's folder uploads)", "the mount that they go to")


def _add_export(actions: Any) -> None:
    parser = actions.add_parser("export", help="from Datastore to a SQL database")
    parser.add_argument(
        "--to", dest="sql", required=True, metavar="URI", help="the SQL database; missing tables are made"
    )
    parser.add_argument("--from", dest="datastore", metavar="URI", help=_DATASTORE)
    _add_moving(parser, "the mount of the uploaded files (default: APP's folder uploads)", "the folder that they go to")


def _add_moving(parser: argparse.ArgumentParser, uploads: str, uploads_to: str) -> None:
    _add_app(parser, required=True)
    parser.add_argument("--table", action="append", default=[], dest="tables", metavar="NAME", help="only this table")
    parser.add_argument("--uploads", metavar="DIR", help=uploads)
    parser.add_argument("--uploads-to", metavar="DIR", help=f"{uploads_to} (default: the same path)")
    parser.add_argument("--no-uploads", action="store_true", help="tables only")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--merge", dest="mode", action="store_const", const="merge", help="overwrite rows of the same ids, keep others"
    )
    how.add_argument("--replace", dest="mode", action="store_const", const="replace", help="delete the tables' rows")
    parser.add_argument("--restart", action="store_true", help="begin anew, wherever an earlier run stopped")
    parser.set_defaults(mode="empty")


def _add_app(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--app", required=required, metavar="APP", help="the folder or function that defines the tables"
    )
    parser.add_argument(
        "--tables-of",
        default="",
        metavar="HASH",
        help="which .table files, if the folder has those of several databases",
    )


def _add_unique(actions: Any) -> None:
    parser = actions.add_parser("unique", help="make the missing markers of a unique field, and name duplicates")
    parser.add_argument("field", metavar="TABLE.FIELD")
    parser.add_argument("--in", dest="datastore", metavar="URI", help=_DATASTORE)
    parser.add_argument("--check", action="store_true", help="only name duplicates")
    _add_app(parser, required=False)


def _run(args: argparse.Namespace) -> int:
    from gaeport.fs.progress import Progress

    settings.use(read_settings(args))
    with Progress() as progress:
        return _unique(args, progress.tell) if args.action == "unique" else _move(args, progress.tell)


def _unique(args: argparse.Namespace, tell: Callable[[str, float | None], object]) -> int:
    from gaeport.dal.transfer.commands import run_unique

    application = _application(args, "") if args.app else None
    return run_unique(
        args.field,
        _datastore(args, _WEB2PY, application),
        application,
        only_check=args.check,
        agreed=_asker(args),
        tell=tell,
    )


def _move(args: argparse.Namespace, tell: Callable[[str, float | None], object]) -> int:
    from gaeport.dal.transfer.commands import Options, run_export, run_import

    application = _application(args, args.sql)
    with _folders(args, application) as folders:
        options = Options(
            sql=args.sql,
            datastore=_datastore(args, args.sql, application),
            application=application,
            agreed=_asker(args),
            tell=tell,
            tables=args.tables,
            folders=folders,
            contents_to=_contents_to(args, application),
            mode=args.mode,
            restart=args.restart,
        )
        if args.action == "export":
            return run_export(options)
        return run_import(options, only_check=args.check)


def _datastore(args: argparse.Namespace, uri: str, application: "Application | None") -> str:
    from gaeport.dal.transfer.databases import counterpart
    from gaeport.dal.transfer.definitions import Application

    if args.datastore:
        return str(args.datastore)
    return counterpart(uri, application or Application(str))


def _application(args: argparse.Namespace, uri: str) -> "Application":
    from gaeport.dal.transfer.definitions import Application, from_folder

    if os.path.isdir(args.app):
        return from_folder(Path(args.app), uri, args.tables_of)
    return Application(_function(args.app))


def _function(reference: str) -> Callable[[Any], object]:
    """Import the function that defines the tables.

    Raises:
        ConfigurationError: there is no such folder, module or function.
    """
    place, _, name = reference.rpartition(":")
    if not place:
        raise ConfigurationError(f"{reference}: no such folder; a function is written MODULE:FUNCTION")
    module = _module(place)
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigurationError(f"{place} has no function {name!r}")
    found: Callable[[Any], object] = function
    return found


def _module(place: str) -> ModuleType:
    root = str(settings.current().root)
    if root not in sys.path:
        sys.path.insert(0, root)
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"the module {place!r} is not found from {root}: {error}") from error
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    if spec is None or spec.loader is None or not os.path.isfile(place):
        raise ConfigurationError(f"there is no file {place}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _folders(args: argparse.Namespace, application: "Application") -> Iterator[list[tuple["Folder", "Folder"]]]:
    """Give the folders to copy, with the mounts in place; what is left open is committed at the end."""
    from gaeport.dal.transfer.files import Folder
    from gaeport.fs.mounts import mount_all
    from gaeport.fs.patching.requests import begin_request, end_request

    source = args.uploads or application.uploads
    if args.no_uploads or source is None:
        yield []
        return
    mount_all(settings.current())
    here, there = os.path.abspath(source), os.path.abspath(args.uploads_to or source)
    mount, disk = (there, here) if args.action == "import" else (here, there)
    if not args.uploads and not _is_there(args.action, here):
        yield []
        return
    _check_mounted(mount)
    mounted, native = Folder(mount, _mounted()), Folder(disk, _native())
    token, failed = begin_request(), True
    try:
        yield [(native, mounted) if args.action == "import" else (mounted, native)]
        failed = False
    finally:
        end_request(token, failed)


def _contents_to(args: argparse.Namespace, application: "Application") -> "Folder | None":
    """Return the folder on the disk for uploads that Datastore keeps in entities; None where no folder is named."""
    from gaeport.dal.transfer.files import Folder

    named = args.uploads_to or args.uploads or application.uploads
    if args.no_uploads or args.action != "export" or named is None:
        return None
    return Folder(os.path.abspath(named), _native())


def _is_there(action: str, folder: str) -> bool:
    functions = _native() if action == "import" else _mounted()
    try:
        functions.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _check_mounted(folder: str) -> None:
    from gaeport.fs.patching.paths import locate
    from gaeport.fs.places import Place

    if not isinstance(locate(folder), Place):
        shown = os.path.relpath(folder, settings.current().root)
        raise ConfigurationError(
            f"{folder} lies in no mount: --uploads-to names one, --no-uploads leaves the files "
            f'out, or gaeport.toml gets:\n[[mount]]\npath = "{shown}"'
        )


def _mounted() -> "Functions":
    import builtins

    from gaeport.dal.transfer.files import Functions

    return Functions(os, builtins.open)


def _native() -> "Functions":
    from gaeport.dal.transfer.files import Functions
    from gaeport.fs import native

    return Functions(native, native.open)


def _asker(args: argparse.Namespace) -> Callable[[str, bool], bool]:
    """Return what asks in production, and before anything is deleted."""

    def agreed_to(what: str, destroys: bool) -> bool:
        config = settings.current()
        ask = config.environment == "production" or destroys
        return agreed(what, ask=ask, yes=args.yes, namespace=config.namespace or "")

    return agreed_to
