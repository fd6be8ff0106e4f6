"""`gaeport new`: the command line."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from gaeport.cli.command import OK, add_command

from . import kinds, project, web2py

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
        vendor/. It never overwrites a file: in a folder that has an application already, it finds that and adds what
        is missing, and says what the files that are there need. In an empty one it makes a first application.
        """,
        """
        examples:
          gaeport new shop --flask
          gaeport new . --wsgi "shop:create_app()"      around the application here
          gaeport new shop --web2py ~/web2py
          cd shop && gaeport serve --workers 2
          gcloud app deploy
        """,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the application's folder")
    kind_options = parser.add_argument_group("what kind of application")
    chosen = kind_options.add_mutually_exclusive_group(required=True)
    for kind in kinds.KINDS:
        chosen.add_argument(f"--{kind.name}", action="store_const", const=kind, dest="kind", help=kind.help)
    chosen.add_argument("--wsgi", metavar="MODULE:CALLABLE", nargs="?", const="", help=kinds.WSGI.help)
    web2py.add_option(chosen)  # type: ignore[arg-type]  # a group adds options as a parser does
    parser.add_argument(
        "--runtime",
        type=_runtime,
        default=RUNTIME,
        metavar="NAME",
        help=f"App Engine's runtime; {RUNTIME} unless given",
    )
    parser.set_defaults(run=_run, parser=parser)


def _run(args: argparse.Namespace) -> int:
    folder = args.folder.absolute()
    if args.web2py is not None:
        plan = web2py.plan(folder, args.web2py, args.runtime)
        project.check_free(plan)
        web2py.copy(folder, args.web2py)
    else:
        plan = kinds.plan(folder, args.kind or kinds.WSGI, args.runtime, args.wsgi or None)
    project.write(plan)
    for line in (f"made {args.folder}", *plan.notes, "", f"Next: cd {args.folder} && gaeport serve --workers 2"):
        sys.stdout.write(f"{line}\n")
    return OK


def _runtime(text: str) -> str:
    if not re.fullmatch(r"python3\d+", text):
        raise argparse.ArgumentTypeError(f"{text} is not a runtime such as {RUNTIME}")
    return text
