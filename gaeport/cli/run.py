"""`gaeport run`."""

import argparse
from typing import Any

from gaeport import settings
from gaeport.cli.command import add_command, read_settings


def add(commands: Any) -> None:
    parser = add_command(
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
    settings.use(read_settings(args))
    return run(command)
