"""`gaeport new`: the command line."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from gaeport.cli.command import OK, add_command

from . import project, web2py

RUNTIME = "python313"


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = add_command(
        commands,
        "new",
        "make an application's folder, ready to serve and to deploy",
        """
        Makes DIR with everything that serving and deploying need: app.yaml, main.py, gaeport.toml, index.yaml,
        queue.yaml, cron.yaml, requirements.txt, .gcloudignore, a first test, and the wheel of this gaeport in
        vendor/. It never overwrites a file.
        """,
        """
        examples:
          gaeport new shop --web2py ~/web2py
          cd shop && gaeport serve --workers 2
          gcloud app deploy
        """,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the application's folder")
    kinds = parser.add_argument_group("what kind of application")
    web2py.add_option(kinds)  # type: ignore[arg-type]  # a group adds options as a parser does
    parser.add_argument(
        "--runtime",
        type=_runtime,
        default=RUNTIME,
        metavar="NAME",
        help=f"App Engine's runtime; {RUNTIME} unless given",
    )
    parser.set_defaults(run=_run, parser=parser)


def _run(args: argparse.Namespace) -> int:
    if args.web2py is None:
        args.parser.error(f"say what kind of application: {web2py.OPTION} PATH")
    folder = args.folder.absolute()
    plan = web2py.plan(folder, args.web2py, args.runtime)
    project.check_free(plan)
    web2py.copy(folder, args.web2py)
    project.write(plan)
    for line in (f"made {args.folder}", *plan.notes, "", f"Next: cd {args.folder} && gaeport serve --workers 2"):
        sys.stdout.write(f"{line}\n")
    return OK


def _runtime(text: str) -> str:
    if not re.fullmatch(r"python3\d+", text):
        raise argparse.ArgumentTypeError(f"{text} is not a runtime such as {RUNTIME}")
    return text
