"""`gaeport audit`."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from gaeport import settings
from gaeport.cli.command import FAILED, OK, add_command, read_settings
from gaeport.settings import Settings


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = add_command(
        commands,
        "audit",
        "list what an application does that App Engine would refuse",
        """
        Runs a Python program, or the application itself, and watches it: files written outside the mounts and the
        temporary folder, grouped by folder, with the line of code and the [[mount]] that would cure it; SQLite
        databases; other programs that are started; threads; schedulers; responses over 32 MiB. Nothing is refused
        while it watches, so that one run shows all. COMMAND is as for `gaeport run`; child processes are not watched.
        """,
        """
        examples:
          gaeport audit -- python -m pytest
          gaeport audit -- gaeport serve        use the application, then stop it with Ctrl-C
          gaeport audit --static                likely places in the source, without running it

        The exit code is 1 where something was found, or where COMMAND fails.
        """,
    )
    parser.add_argument("--static", action="store_true", help="read the source in place of running something")
    parser.add_argument(
        "--json", action="store_true", help="for machines; what the program prints goes to standard error"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="the program, its arguments")
    parser.set_defaults(run=_run, parser=parser)


def _run(args: argparse.Namespace) -> int:
    from ..findings import report
    from .report import findings

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if bool(command) == args.static:
        args.parser.error("what to watch? For example: gaeport audit -- python -m pytest, or gaeport audit --static")
    config = read_settings(args)
    settings.use(config)
    if args.static:
        from .source import scan

        return report(findings(scan(config.root), config), json_form=args.json)
    with _standard_output_elsewhere() if args.json else nullcontext():
        seen, code = _watch(command, config)
        sys.stdout.flush()
    return max(report(findings(seen, config), json_form=args.json), FAILED if code else OK)


@contextmanager
def _standard_output_elsewhere() -> Iterator[None]:
    """Send to standard error what the program, and those that it starts, print: standard output is the report's."""
    sys.stdout.flush()
    duplicate, replace = os.dup, os.dup2  # as they are now: the program may end with others in their places
    kept = duplicate(1)
    replace(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        replace(kept, 1)
        os.close(kept)


def _watch(command: list[str], config: Settings) -> tuple[dict[Any, int], int]:
    from gaeport.devserver.run import run

    from .recorder import Recorder

    recorder = Recorder()
    recorder.start(config)
    try:
        code = run(command)
    except KeyboardInterrupt:
        code = OK
    finally:
        recorder.stop()
    if code:
        sys.stderr.write(f"gaeport: {' '.join(command)} ended with {code}; what it did until then counts\n")
    return recorder.seen, code
