"""`gaeport check`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from gaeport.cli.command import add_command


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = add_command(
        commands,
        "check",
        "find what would make a deployment fail, or hurt afterwards",
        """
        Reads app.yaml, queue.yaml, cron.yaml, dispatch.yaml, index.yaml, requirements.txt, gaeport.toml and
        .gcloudignore, and names what gcloud refuses, what the server refuses when the version is live already, and
        what neither refuses but does not work: handlers that shadow one another, static paths that match nothing,
        schedules that do not parse, secrets that would be uploaded, variables that turn into something else, modules
        left at home, queries of recorded runs without their index. Nothing leaves the machine, and nothing is run.
        """,
        """
        examples:
          gaeport check
          gaeport check --fix               mend what has one right answer, then check again
          gaeport check --json ../other     another folder, for machines

        The exit code is 1 where there is an error or a warning; a note does not count.
        """,
    )
    parser.add_argument("folder", nargs="?", type=Path, help="app.yaml's folder (default: gaeport.toml's, or this one)")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended mechanically")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    from gaeport import settings
    from gaeport.errors import ConfigurationError

    from ..findings import report
    from .everything import check, read
    from .fixes import mend

    found = settings.find()
    root = (args.folder or (found.parent if found else Path())).absolute()
    if not root.is_dir():
        raise ConfigurationError(f"{root} is no folder")
    if args.fix:
        config, _ = read(root)
        for line in mend(root, config or settings.Settings(root=root), check(root)):
            sys.stderr.write(f"{line}\n")
    return report(check(root), json_form=args.json)
