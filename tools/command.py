"""The command line of the deploy-time tools."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gaeport.cli.command import FAILED, INTERRUPTED, OK, USAGE, add_target
from gaeport.errors import GaeportError

from . import requirements
from .audit import command as audit
from .bundle import command as bundle
from .check import command as check
from .indexes import command as indexes
from .new import command as new
from .new import upgrade
from .plan import command as plan

#: Each adds one tool to a parser's commands: `gaeport` has them too, in this order.
TOOLS: list[Callable[[Any], None]] = [new.add, upgrade.add, check.add, audit.add, bundle.add, indexes.add, plan.add]

_EPILOG = """\
exit codes:
  0  it went well
  1  --check found a difference
  2  wrong usage, or no pyproject.toml there
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one tool.

    Args:
        argv: the arguments; by default the process's own.

    Returns:
        0 when all went well, 1 when a check found something, 2 for wrong usage.
    """
    args = _parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except (requirements.ProjectError, GaeportError) as error:
        sys.stderr.write(f"tools: {error}\n")
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools", description="What is done before a deployment, on a developer's machine."
    )
    add_target(parser)
    commands = parser.add_subparsers(title="tools", metavar="TOOL", required=True)
    for add in TOOLS:
        add(commands)
    _add_requirements(commands)
    return parser


def _add_requirements(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "requirements",
        help="write requirements.txt from pyproject.toml",
        description=(
            "Writes requirements.txt, which App Engine installs: pyproject.toml's core dependencies and gunicorn, "
            "which app.yaml's entrypoint runs. Run it after a change of pyproject.toml's dependencies."
        ),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the file would change")
    parser.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="pyproject.toml's folder (default: .)")
    parser.set_defaults(run=_requirements)


def _requirements(args: argparse.Namespace) -> int:
    if not args.check:
        sys.stdout.write(f"wrote {requirements.write(args.root)}\n")
        return OK
    if requirements.is_current(args.root):
        return OK
    path = args.root / requirements.REQUIREMENTS_FILE
    sys.stderr.write(f"{path} does not agree with {requirements.PROJECT_FILE}: run python -m tools requirements\n")
    return FAILED
