"""`gaeport upgrade`: the running gaeport's wheel in place of the one that travels with an application."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from gaeport.cli.command import FAILED, OK, add_command, read_settings
from gaeport.errors import ConfigurationError

from . import wheel

_VENDOR = "vendor"
_LINE = re.compile(r"(?m)^(\./)?vendor/gaeport-[^\s\[]+\.whl")


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = add_command(
        commands,
        "upgrade",
        "put this gaeport's wheel into an application made by gaeport new",
        """
        Writes the wheel of the gaeport that runs into vendor/, names it in requirements.txt in place of the former
        one, whose extras and neighbours stay, and removes the former one. The other files are yours and stay.

        A new release may keep files, sessions and tickets in a new format. It reads the former one, and goes on
        writing it, so that both releases work side by side and the former one can come back. --finish ends that,
        in two steps with a deployment between them: first it sets `format` in gaeport.toml; when the version with
        that setting has all traffic, it rewrites what is stored in the former format.
        """,
        """
        examples:
          gaeport upgrade
          gaeport upgrade --check           exit 1 if the application has another gaeport
          gaeport --project P upgrade --finish
        """,
    )
    parser.add_argument("--finish", action="store_true", help="write the new format, and rewrite the former one")
    parser.add_argument("--yes", action="store_true", help="answer yes when asked")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if something would change")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = read_settings(args)
    if args.finish:
        from .finish import finish

        return finish(config, check=args.check, yes=args.yes)
    root = config.root
    changed = upgrade(root, check=args.check)
    for line in changed:
        sys.stdout.write(f"{'would have ' if args.check else ''}{line}\n")
    if not changed:
        sys.stdout.write(f"{root} has this gaeport already\n")
    return FAILED if changed and args.check else OK


def upgrade(root: Path, *, check: bool) -> list[str]:
    """Swap the wheel.

    Args:
        root: the application's folder.
        check: only tell.

    Returns:
        What was done, or would be, a line each.

    Raises:
        ConfigurationError: requirements.txt names no wheel of gaeport in vendor/.
    """
    requirements = root / "requirements.txt"
    text = requirements.read_text("utf-8") if requirements.is_file() else ""
    if not _LINE.search(text):
        raise ConfigurationError(
            f"{requirements} names no wheel of gaeport in {_VENDOR}/; gaeport new writes such a line"
        )
    name, content = wheel.file_name(), wheel.build()
    path = root / _VENDOR / name
    done = []
    if not path.is_file() or path.read_bytes() != content:
        done.append(f"written {_VENDOR}/{name}")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    swapped = _LINE.sub(f"./{_VENDOR}/{name}", text)
    if swapped != text:
        done.append(f"named {_VENDOR}/{name} in requirements.txt")
        if not check:
            requirements.write_text(swapped, "utf-8")
    for old in sorted((root / _VENDOR).glob("gaeport-*.whl")):
        if old.name != name:
            done.append(f"removed {_VENDOR}/{old.name}")
            if not check:
                old.unlink()
    return done
