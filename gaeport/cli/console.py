"""`gaeport console`."""

import argparse
from typing import Any

from gaeport.cli.command import add_command


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "console",
        "make the password hash that opens the admin console",
        """
        The console, under /_gaeport/ of the application, is off until [console] of gaeport.toml has the hash of a
        password (docs/console.md). `password` asks for one and prints its hash; the password itself is kept nowhere.
        """,
        """
        examples:
          gaeport console password                       ask twice, print the hash
          pass show shop/console | gaeport console password --stdin
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    password = actions.add_parser("password", help="print the hash of a password")
    password.add_argument("--stdin", action="store_true", help="read the password from standard input, one line")
    password.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from gaeport.console import command

    return command.password(from_stdin=args.stdin)
