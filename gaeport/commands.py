"""What the commands of several parts share: exit codes, ages, what they say before they write, and how they ask."""

import re
import sys
from collections.abc import Callable

from gaeport import settings
from gaeport.errors import ConfigurationError

OK, FAILED = 0, 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def age(text: str) -> float:
    """Return the seconds of an age such as "30d", "12h", "45m", "90s". Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if found is None:
        raise ValueError(f"{text!r} is not an age; write e.g. 30d, 12h, 45m or 90s")
    return float(found[1]) * _UNITS[found[2]]


def printable(text: str) -> str:
    """Return a line as a terminal may have it: control characters (of file names, say) and lone surrogates escaped."""
    plain = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return plain.encode("utf-8", "backslashreplace").decode()


def say(text: str) -> None:
    """Print a line; what no terminal takes (a name that is not UTF-8 holds surrogates) is escaped."""
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def target(config: settings.Settings, namespace: str | None = None) -> str:
    """Return in words where a command's data is; the namespace is gaeport's own unless another is given."""
    if config.environment == "embedded":
        return f"embedded data in {config.data}"
    database = config.database or "(default)"
    namespace = config.own_namespace if namespace is None else namespace or "(default)"
    return f"{config.environment}, project {config.project}, database {database}, namespace {namespace}"


def agreed(what: str, *, ask: bool, yes: bool, tell: Callable[[str], None] = say, namespace: str | None = None) -> bool:
    """Say what is done where; ask, unless `yes` answered before.

    Args:
        what: what is about to be done, in words.
        ask: whether it is due to ask. Where it is not, production is named all the same.
        yes: the answer given with the command.
        tell: prints a line.
        namespace: where the data is, if it is not gaeport's own.

    Returns:
        Whether to go on.

    Raises:
        ConfigurationError: nobody can be asked, and no answer was given.
    """
    config = settings.current()
    if config.environment == "production" or ask:
        tell(f"{target(config, namespace)}: {what}")
    if not ask or yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{what}? --yes answers where nobody can be asked")
    sys.stderr.write("Go on? [y/N] ")  # not to standard output, which may be a file
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
