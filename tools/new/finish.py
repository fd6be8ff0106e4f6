"""`gaeport upgrade --finish`: the new format is written from now on, and what is stored in the former one rewritten."""

import re
import sys
from pathlib import Path

from gaeport import formats, settings
from gaeport.cli.command import FAILED, OK
from gaeport.commands import agreed, say
from gaeport.errors import ConfigurationError
from gaeport.settings import Settings

_LINE = re.compile(r"(?m)^format[ \t]*=[ \t]*\d+")
_TABLE = re.compile(r"(?m)^[ \t]*\[")


def finish(config: Settings, *, check: bool, yes: bool) -> int:
    """Take the next of the two steps.

    Args:
        config: the application's settings.
        check: change nothing, only tell.
        yes: the answer to the question before production is written to.

    Returns:
        The exit code: with `check`, FAILED where something is to be done.

    Raises:
        ConfigurationError: the first step is due, and there is no gaeport.toml.
    """
    if formats.OLDEST == formats.NEWEST:
        say(f"format {formats.NEWEST} is the only one that this release of gaeport knows: nothing to finish")
        return OK
    if config.format < formats.NEWEST:
        return _set(config, check=check)
    return _rewrite(config, check=check, yes=yes)


def with_format(text: str, number: int) -> str:
    """Return gaeport.toml's text with `format` set; everything else stays as it is."""
    line = f"format = {number}"
    if _LINE.search(text):
        return _LINE.sub(line, text, count=1)
    table = _TABLE.search(text)
    top, rest = (text, "") if table is None else (text[: table.start()], text[table.start() :])
    kept = top.rstrip("\n")
    return f"{kept}\n{line}\n{top[len(kept) + 1 :]}{rest}" if kept else f"{line}\n\n{rest}"


def _set(config: Settings, *, check: bool) -> int:
    if config.source is None:
        raise ConfigurationError(f"there is no {settings.FILE_NAME} to set format = {formats.NEWEST} in")
    path = Path(config.source)
    if check:
        say(f"would set format = {formats.NEWEST} in {path}")
        return FAILED
    path.write_text(with_format(path.read_text("utf-8"), formats.NEWEST), "utf-8")
    say(f"set format = {formats.NEWEST} in {path}")
    say("Deploy it. When that version has all traffic, run gaeport upgrade --finish again: it rewrites what is stored.")
    return OK


def _rewrite(config: Settings, *, check: bool, yes: bool) -> int:
    from gaeport.datastore import own_client
    from gaeport.upgrading import Rewritten, rewrite

    what = f"rewrite what is stored in format {formats.OLDEST}; the release before this one cannot read it then"
    if not check and not agreed(what, ask=config.environment == "production", yes=yes):
        return FAILED

    def report(done: Rewritten) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done.seen:,} seen, {done.older:,} in format {formats.OLDEST}")
            sys.stderr.flush()

    done = rewrite(own_client(), report, dry_run=check)
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    say(f"{done.older:,} of {done.seen:,} entities {'are' if check else 'were'} in format {formats.OLDEST}")
    return FAILED if check and done.older else OK
