"""`gaeport datastore`, with export and import."""

import argparse
import sys
from pathlib import Path
from typing import Any

from gaeport.cli.command import OK, add_command, port, read_settings
from gaeport.errors import ConfigurationError
from gaeport.settings import MEMORY, Settings


def add(commands: Any) -> None:
    parser = add_command(
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
    parser.add_argument("--port", type=port, default=8432, help="0 takes a free one (default: %(default)s)")
    _add_data(parser, "the data folder, or :memory:")
    parser.add_argument(
        "--require-indexes",
        nargs="?",
        const="",
        metavar="INDEX_YAML",
        help="refuse queries that lack their composite index in index.yaml (beside gaeport.toml, or this file)",
    )
    parser.add_argument(
        "--concurrency",
        choices=("optimistic", "pessimistic"),
        default="optimistic",
        help="who is aborted when a transaction has read what another writes: the reader, or, after 2 s, the writer "
        "(default: %(default)s)",
    )
    parser.set_defaults(run=_serve)
    _add_export_and_import(parser.add_subparsers(title="commands", metavar="COMMAND"))


def _add_export_and_import(commands: Any) -> None:
    parser = add_command(
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
    parser = add_command(
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


def _serve(args: argparse.Namespace) -> int:
    from gaeport.datastore.engine import Engine
    from gaeport.datastore.server import run
    from gaeport.datastore.transport import Transport

    config = read_settings(args)
    data = args.data or config.data
    folder = None if data == MEMORY else _folder(args, config)
    engine = Engine(folder, synchronous=config.synchronous, concurrency=args.concurrency)
    transport: Transport = engine
    try:
        if args.require_indexes is not None:
            from gaeport.datastore import index_yaml
            from gaeport.datastore.require_indexes import RequireIndexes

            listed = index_yaml.load(Path(args.require_indexes or config.root / index_yaml.FILE_NAME))
            transport = RequireIndexes(engine, listed)
        waits = args.concurrency == "pessimistic"
        return run(transport, args.host, args.port, _listening, commits_wait=waits)
    finally:
        engine.close()


def _folder(args: argparse.Namespace, config: Settings) -> Path:
    if args.data == MEMORY:
        raise ConfigurationError(f"{MEMORY} holds nothing; --data names a folder")
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
