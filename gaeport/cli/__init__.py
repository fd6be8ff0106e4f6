"""The `gaeport` command: a module here for each subcommand parses it; the work is done where the part lives."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gaeport import __version__
from gaeport.cli import console, data, datastore, fs, run, serve, sessions, tickets, tools
from gaeport.cli.command import INTERRUPTED, USAGE, add_target, manual, read_settings
from gaeport.errors import GaeportError

__all__ = ["build_parser", "main", "read_settings"]

#: Each adds one command (with its subcommands) to the parser, in the order of --help.
_COMMANDS: list[Callable[[Any], None]] = [
    serve.add,
    run.add,
    datastore.add,
    sessions.add,
    fs.add,
    data.add,
    tickets.add,
    console.add,
    tools.add,
]


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
        return INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="gaeport",
        description="Run a Python web application written for an ordinary server unchanged on Google App Engine.",
        epilog=manual("""
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
    add_target(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in _COMMANDS:
        add(commands)
    return parser
