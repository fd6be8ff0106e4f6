"""What the commands share: exit codes, the parser of one, its manual, the settings that the options name."""

import argparse
from dataclasses import replace
from textwrap import dedent
from typing import Any

from gaeport import commands as _commands
from gaeport import settings as _settings
from gaeport.settings import Settings

OK, FAILED, USAGE = _commands.OK, _commands.FAILED, 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_EXIT_CODES = """\
exit codes:
  0  it went well
  1  it failed, or found something
  2  wrong usage or a wrong setting; the message says which
"""


def add_command(
    commands: Any, name: str, summary: str, description: str, epilog: str, *, exit_codes: str = _EXIT_CODES
) -> argparse.ArgumentParser:
    """Add a command to the parser.

    Args:
        commands: what add_subparsers() returned.
        name: the command's name.
        summary: its line in the list of commands.
        description: what it does, in paragraphs; indented as the caller is.
        epilog: examples and what else belongs below the options; the exit codes are put after it.
        exit_codes: what they mean, where they mean something special.

    Returns:
        The command's own parser, for its options.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=manual(description),
        epilog=f"{manual(epilog)}\n{manual(exit_codes)}".lstrip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the options that name another place for the data than gaeport.toml's: read_settings() heeds them."""
    target = parser.add_argument_group("where the data is (in place of gaeport.toml's)")
    target.add_argument(
        "--project", metavar="P", help="a Google Cloud project's production data, by Application Default Credentials"
    )
    target.add_argument("--database", metavar="D", help="the Datastore database; the default one has no name")
    target.add_argument("--namespace", metavar="N", help="the namespace that services and stages share files by")


def manual(text: str) -> str:
    """Return a help text without the indentation that it has in the source."""
    return dedent(text).lstrip("\n")


def port(text: str) -> int:
    """Return the port that an option names. Raises ArgumentTypeError outside 0 to 65535."""
    number = int(text)
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{number} is outside 0 to 65535")
    return number


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


def age(text: str) -> float:
    """Return the seconds of an option such as "30d" or "12h".

    Raises:
        argparse.ArgumentTypeError: it is no age.
    """
    try:
        return _commands.age(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
