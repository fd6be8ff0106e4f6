"""The `gaeport` command."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

from gaeport import __version__
from gaeport import settings as _settings
from gaeport.errors import ConfigurationError, GaeportError
from gaeport.settings import Settings

OK, FAILED, USAGE = 0, 1, 2
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_EXIT_CODES = """\
exit codes:
  0  it went well
  1  it failed, or found something
  2  wrong usage or a wrong setting; the message says which
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; by default the process's own.

    Returns:
        The exit code: 0 when all went well, 1 when it failed, 2 for wrong usage or settings.
    """
    args = build_parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except GaeportError as error:
        sys.stderr.write(f"gaeport: {error}\n")
        return USAGE
    except KeyboardInterrupt:
        return _INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="gaeport",
        description="Run a Python web application written for an ordinary server unchanged on Google App Engine.",
        epilog=_manual("""
            settings:
              gaeport.toml, in the working directory or a folder above it ($GAEPORT_CONFIG names another), says
              which application to run and which folders are mounts, that is, kept in Datastore and Cloud Storage:

                app = "shop.web:app"

                [[mount]]
                path = "uploads"

            examples:
              gaeport serve                     serve gaeport.toml's application on http://127.0.0.1:8080
              gaeport run -- flask shell        a shell whose open() reaches the mounts
              gaeport --project P run -- python report.py      the same on production's data

            `gaeport COMMAND --help` describes a command.
            """),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gaeport {__version__}")
    target = parser.add_argument_group("where the data is (in place of gaeport.toml's)")
    target.add_argument(
        "--project", metavar="P", help="a Google Cloud project's production data, by Application Default Credentials"
    )
    target.add_argument("--database", metavar="D", help="the Datastore database; the default one has no name")
    target.add_argument("--namespace", metavar="N", help="the namespace that services and stages share files by")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in _COMMANDS:
        add(commands)
    return parser


def read_settings(args: argparse.Namespace) -> Settings:
    """Return gaeport.toml's settings (or those in force) with the command line's --project and so on put over them."""
    named = {name: getattr(args, name) for name in ("project", "database", "namespace")}
    given = {name: value for name, value in named.items() if value is not None}
    config = replace(_read(), **given)
    if getattr(args, "require_indexes", False) is True:
        config = replace(config, require_indexes=True)
    return replace(config, production=True) if args.project else config


def _read() -> Settings:
    present = _settings.in_force()
    if present is not None and present.source is None:
        return present
    # Read again, since a reload may have been caused by a change of the file itself.
    return _settings.load(present.source if present else _settings.find())


def _add_serve(commands: Any) -> None:
    parser = _command(
        commands,
        "serve",
        "serve the application here as App Engine would",
        """
        Serves the application under App Engine's rules: app.yaml's static handlers and env_variables are in force, the
        variables that App Engine sets are set (GAE_ENV excepted), X-Appengine-* headers from outside are stripped, and
        every file outside the mounts and the temporary folder is read-only. A refused write says which line of
        gaeport.toml would allow it. The application is gaeport.toml's `app`, else `app` of main.py, else the welcome
        application; it starts in gaeport.toml's folder. A variable that is set in the shell keeps its value.

        Data is kept in .gaeport/ beside gaeport.toml ($GAEPORT_DATA names another folder, or :memory:), or in the
        emulator at $DATASTORE_EMULATOR_HOST.

        For each request a line says what it was, its status, how long it took, how many calls it made to Datastore
        and Cloud Storage, and what those would cost in production.
        """,
        """
        examples:
          gaeport serve
          gaeport serve --app shop.web:app --port 9000 --reload
          gaeport serve --workers 4 --latency 5
          gaeport serve --emulator firestore

        SIGINT (Ctrl-C) and SIGTERM stop it after the requests that are running, with exit code 0.
        """,
    )
    parser.add_argument("--app", metavar="MODULE:CALLABLE", help="the WSGI application, in place of gaeport.toml's")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=8, metavar="N", help="requests at once in each process (default: %(default)s)"
    )
    parser.add_argument(
        "--server",
        choices=["waitress", "gunicorn"],
        default="waitress",
        help="what speaks HTTP; gunicorn needs gaeport[gunicorn] (default: %(default)s)",
    )
    parser.add_argument("--reload", action="store_true", help="restart when a .py, .toml or .yaml file changes")
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="MS", help="milliseconds to add to each call, to feel production"
    )
    parser.add_argument(
        "--require-indexes",
        action="store_true",
        help="refuse queries that lack their composite index in index.yaml, as production does",
    )
    parser.add_argument(
        "--emulator",
        nargs="?",
        choices=["firestore", "datastore"],
        const="firestore",
        help="start Google's own emulator from the installed Cloud SDK, use it and stop it (alone: firestore)",
    )
    parser.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> int:
    from gaeport.devserver.serve import Options, serve

    options = Options(
        app=args.app,
        host=args.host,
        port=args.port,
        workers=args.workers,
        threads=args.threads,
        server=args.server,
        reload=args.reload,
        latency_ms=args.latency,
        emulator=args.emulator,
    )
    return serve(options, lambda: read_settings(args))


def _add_run(commands: Any) -> None:
    parser = _command(
        commands,
        "run",
        "run a Python program with the mounts in place",
        """
        Runs a Python program in a process where open(), os, pathlib and shutil reach the mounts of gaeport.toml, and
        commits what it wrote when it ends. COMMAND is

          python FILE.py …        python -m MODULE …      python -c CODE …      python (interactive)
          FILE.py …               the name of an installed command that is written in Python (flask, pytest, …)

        The program runs inside gaeport's own process, so that a debugger works; programs that it starts itself do not
        see the mounts. Files outside the mounts can be written, other than under `gaeport serve`.
        """,
        """
        examples:
          gaeport run -- flask shell
          gaeport run -- python manage.py migrate
          gaeport run -- python -m pytest tests
          gaeport --project shop run -- python report.py     on production's data

        The exit code is the program's own; 2 when there is no such program.
        """,
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="the program, its arguments")
    parser.set_defaults(run=_run, parser=parser)


def _run(args: argparse.Namespace) -> int:
    from gaeport.devserver.run import run

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        args.parser.error("which command? For example: gaeport run -- python -m pytest")
    _settings.use(read_settings(args))
    return run(command)


def _add_datastore(commands: Any) -> None:
    parser = _command(
        commands,
        "datastore",
        "run the embedded Datastore as a server of its own, or copy its data",
        """
        Serves the embedded Datastore over gRPC: any Datastore client, in any language, reaches it when
        DATASTORE_EMULATOR_HOST names it, as it would one of Google's emulators. It prints `listening on HOST:PORT`
        when it can answer. Data is kept in .gaeport/ beside gaeport.toml ($GAEPORT_DATA or --data names another
        folder, or :memory:); a running `gaeport serve` may use the same folder at the same time.
        """,
        """
        examples:
          gaeport datastore
          gaeport datastore --port 0 --data :memory:
          gaeport datastore export shop.gaeport          every namespace, as of one moment, in one file
          gaeport datastore import shop.gaeport --data copy

        SIGINT (Ctrl-C) and SIGTERM stop it after the calls that are running, with exit code 0.
        """,
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8432, help="0 takes a free one (default: %(default)s)")
    _add_data(parser, "the data folder, or :memory:")
    parser.add_argument(
        "--require-indexes",
        nargs="?",
        const="",
        metavar="INDEX_YAML",
        help="refuse queries that lack their composite index in index.yaml (beside gaeport.toml, or this file)",
    )
    parser.set_defaults(run=_datastore)
    _add_export_and_import(parser.add_subparsers(title="commands", metavar="COMMAND"))


def _add_export_and_import(commands: Any) -> None:
    parser = _command(
        commands,
        "export",
        "write all entities into one file",
        """
        Writes every entity of every namespace and database of the data folder into one file, as they are at one
        moment; applications may go on working meanwhile. The file appears when it is complete.
        """,
        """
        examples:
          gaeport datastore export shop.gaeport
        """,
    )
    parser.add_argument("file", type=Path, help="the file; one of that name is replaced")
    _add_data(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=_export)
    parser = _command(
        commands,
        "import",
        "read the entities of an exported file",
        """
        Reads an exported file into the data folder, under the keys that the entities have in it. The file is checked
        as a whole first. A folder that holds entities already is refused, unless --merge or --replace says what to do
        with them. Interrupted, the same command with --merge or --replace completes it.
        """,
        """
        examples:
          gaeport datastore import shop.gaeport
          gaeport datastore import shop.gaeport --data copy --replace
        """,
    )
    parser.add_argument("file", type=Path, help="the exported file")
    _add_data(parser, default=argparse.SUPPRESS)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--merge", dest="mode", action="store_const", const="merge", help="keep entities of other keys")
    how.add_argument("--replace", dest="mode", action="store_const", const="replace", help="delete all others first")
    parser.set_defaults(run=_import, mode="empty")


def _add_data(parser: argparse.ArgumentParser, what: str = "the data folder", default: Any = None) -> None:
    parser.add_argument("--data", metavar="DIR", default=default, help=f"{what} (default: gaeport.toml's)")


def _datastore(args: argparse.Namespace) -> int:
    from gaeport.datastore.engine import Engine
    from gaeport.datastore.server import run
    from gaeport.datastore.transport import Transport

    config = read_settings(args)
    data = args.data or config.data
    engine = Engine(None if data == _settings.MEMORY else _folder(args, config), synchronous=config.synchronous)
    transport: Transport = engine
    try:
        if args.require_indexes is not None:
            from gaeport.datastore import index_yaml
            from gaeport.datastore.require_indexes import RequireIndexes

            listed = index_yaml.load(Path(args.require_indexes or config.root / index_yaml.FILE_NAME))
            transport = RequireIndexes(engine, listed)
        return run(transport, args.host, args.port, _listening)
    finally:
        engine.close()


def _folder(args: argparse.Namespace, config: Settings) -> Path:
    if args.data == _settings.MEMORY:
        raise ConfigurationError(f"{_settings.MEMORY} holds nothing; --data names a folder")
    return Path(args.data).absolute() if args.data else config.data_path


def _export(args: argparse.Namespace) -> int:
    from gaeport.datastore.export_command import run_export

    count = run_export(_folder(args, _embedded(args)), args.file)
    sys.stdout.write(f"exported {count:,} entities to {args.file}\n")
    return OK


def _import(args: argparse.Namespace) -> int:
    from gaeport.datastore.export_command import run_import

    config = _embedded(args)
    count = run_import(_folder(args, config), args.file, args.mode, synchronous=config.synchronous)
    sys.stdout.write(f"imported {count:,} entities from {args.file}\n")
    return OK


def _embedded(args: argparse.Namespace) -> Settings:
    if args.project:
        raise ConfigurationError(
            "export and import work on the embedded Datastore's data folder; production has `gcloud datastore export`"
        )
    return read_settings(args)


def _listening(address: str) -> None:
    sys.stdout.write(f"listening on {address}\n")
    sys.stdout.flush()


def _add_sessions(commands: Any) -> None:
    parser = _command(
        commands,
        "sessions",
        "list and end visitors' sessions, remove expired ones, rotate the signing key",
        """
        Works on the sessions that gaeport.toml's [sessions] names (Datastore's, where there is no such table). purge
        removes those that have expired, and others by choice; in production a TTL policy or cron does the same
        (docs/sessions.md).
        list and revoke name a session by the hash that it is stored under; its id is stored nowhere.
        """,
        """
        examples:
          gaeport sessions purge                          what has expired
          gaeport sessions purge --older-than 30d --yes
          gaeport sessions list --user 7
          gaeport --project shop sessions revoke --user 7
          gaeport sessions rotate-key                     old cookies count until they would expire

        What ends sessions that have not expired asks first; --yes answers.
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    purge = actions.add_parser("purge", help="remove expired sessions")
    purge.add_argument("--older-than", type=_age, metavar="AGE", help="also those unused so long: 30d, 12h, 45m, 90s")
    purge.add_argument("--user", metavar="U", help="only this user's, expired or not")
    purge.add_argument("--all", action="store_true", dest="everything", help="every session")
    listing = actions.add_parser("list", help="show sessions")
    listing.add_argument("--user", metavar="U", help="only this user's")
    revoke = actions.add_parser("revoke", help="end sessions")
    revoke.add_argument("--user", metavar="U", help="all of this user's")
    revoke.add_argument("names", nargs="*", metavar="NAME", help="as `list` shows them")
    rotate = actions.add_parser("rotate-key", help="add a signing key for the cookie store, and retire the old ones")
    rotate.add_argument("--at-once", action="store_true", help="sign by it now, and end all cookie sessions")
    for action in (purge, revoke, rotate):
        action.add_argument("--yes", action="store_true", help="do not ask")
    for action, name in ((purge, "purge"), (listing, "list"), (revoke, "revoke"), (rotate, "rotate-key")):
        action.set_defaults(run=_sessions, action=name)


def _sessions(args: argparse.Namespace) -> int:
    from gaeport.sessions import commands

    _settings.use(read_settings(args))
    if args.action == "purge":
        return commands.purge(older_than=args.older_than, user=args.user, everything=args.everything, yes=args.yes)
    if args.action == "list":
        return commands.show(args.user)
    if args.action == "revoke":
        return commands.revoke(user=args.user, names=args.names, yes=args.yes)
    return commands.rotate_key(at_once=args.at_once, yes=args.yes)


def _add_fs(commands: Any) -> None:
    parser = _command(
        commands,
        "fs",
        "list, copy, move and remove files in mounts; remove content that nothing needs",
        """
        Works on the mounts of gaeport.toml from the command line. A path that leads into a mount means the mount, any
        other the disk, so that cp and mv copy either way. A copied file appears when it is complete: interrupted, the
        old content stays. Long work shows how far it is, on a terminal.

        Content that was replaced or removed is kept for 8 days, so that a restored database has its blobs and a
        reader finishes what it reads; gc deletes what is older, and what writers left that died. Run it now and then,
        from cron in production; it may be interrupted, and several may run at once.
        """,
        """
        examples:
          gaeport fs ls                                   the mounts
          gaeport fs ls -l uploads
          gaeport fs cp -r backup/pictures uploads        from the disk into a mount
          gaeport --project shop fs cp uploads/a.png .    from production to here
          gaeport fs gc --dry-run
          gaeport fs verify && echo complete

        In production, commands that write say where first, and mv and rm ask. gc with fewer than 8 days asks
        everywhere. --yes answers.
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for add in (_add_fs_files, _add_fs_writing, _add_fs_care):
        add(actions)
    for name, action in actions.choices.items():
        action.set_defaults(run=_fs, action=name)


def _add_fs_files(actions: Any) -> None:
    ls = actions.add_parser("ls", help="list directories, hidden files included; without a path, the mounts")
    ls.add_argument("-l", "--long", action="store_true", help="mode, links, owner, group, bytes and time too")
    ls.add_argument("paths", nargs="*", metavar="PATH")
    cat = actions.add_parser("cat", help="write files to standard output")
    cat.add_argument("paths", nargs="+", metavar="PATH")
    du = actions.add_parser("du", help="tell how much is below each path")
    du.add_argument("-b", "--bytes", action="store_true", help="exact, in place of KiB, MiB …")
    du.add_argument("paths", nargs="+", metavar="PATH")


def _add_fs_writing(actions: Any) -> None:
    cp = actions.add_parser("cp", help="copy files, or with -r directories; an existing file is replaced")
    mv = actions.add_parser("mv", help="rename, or copy and remove between mounts and disk")
    rm = actions.add_parser("rm", help="remove files, or with -r directories")
    for action in (cp, rm):
        action.add_argument("-r", "--recursive", action="store_true", help="directories, with everything in them")
    for action in (cp, mv):
        action.add_argument("paths", nargs="+", metavar="PATH", help="the last one is the target, or its directory")
        action.set_defaults(parser=action)
    rm.add_argument("paths", nargs="+", metavar="PATH")
    for action in (cp, mv, rm):
        action.add_argument("--yes", action="store_true", help="do not ask")


def _add_fs_care(actions: Any) -> None:
    gc = actions.add_parser("gc", help="delete content that was dropped, and what abandoned writers left")
    gc.add_argument(
        "--keep-days",
        type=_days,
        default=8.0,
        metavar="DAYS",
        help="how long dropped content is kept; a writer that is slower than this fails (default: %(default)g)",
    )
    gc.add_argument("--dry-run", action="store_true", help="only count what would be deleted")
    gc.add_argument("--yes", action="store_true", help="do not ask")
    actions.add_parser("verify", help="list files whose content is gone; exit code 1 if there are any")
    shadowed = actions.add_parser(
        "shadowed", help="list written files that hide a newer deployed one; exit code 1 if there are any"
    )
    shadowed.add_argument("paths", nargs="*", metavar="PATH", help="directories (default: every mount)")


def _fs(args: argparse.Namespace) -> int:
    from gaeport.fs import commands

    if args.action in ("cp", "mv") and len(args.paths) < 2:
        args.parser.error("from where, and to where? Give at least two paths")
    _settings.use(read_settings(args))
    actions: dict[str, Callable[[], int]] = {
        "ls": lambda: commands.ls(args.paths, long=args.long),
        "cat": lambda: commands.cat(args.paths),
        "du": lambda: commands.du(args.paths, exact=args.bytes),
        "cp": lambda: commands.cp(args.paths, recursive=args.recursive, yes=args.yes),
        "mv": lambda: commands.mv(args.paths, yes=args.yes),
        "rm": lambda: commands.rm(args.paths, recursive=args.recursive, yes=args.yes),
        "gc": lambda: commands.gc(keep_days=args.keep_days, dry_run=args.dry_run, yes=args.yes),
        "verify": commands.verify,
        "shadowed": lambda: commands.shadowed(args.paths),
    }
    return actions[args.action]()


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days < 36_500:  # a century; also refuses nan and inf
        raise argparse.ArgumentTypeError(f"{text} is not a number of days, 0 or more")
    return days


def _age(text: str) -> float:
    from gaeport.sessions.commands import age

    try:
        return age(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


#: Each adds one command (with its subcommands) to the parser, in the order of --help.
_COMMANDS: list[Callable[[Any], None]] = [_add_serve, _add_run, _add_datastore, _add_sessions, _add_fs]


def _command(commands: Any, name: str, summary: str, description: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=_manual(description),
        epilog=f"{_manual(epilog)}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _manual(text: str) -> str:
    return dedent(text).lstrip("\n")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is outside 0 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
