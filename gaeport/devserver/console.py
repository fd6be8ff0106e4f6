"""Lines on the terminal: whole, even from several processes at once, and coloured only there."""

import os
import sys
from typing import TextIO

_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2"}


def say(line: str, *, error: bool = False) -> None:
    """Write one line to standard output, or to standard error."""
    stream = sys.stderr if error else sys.stdout
    try:
        stream.write(f"{line}\n")  # one write call, so that lines of several processes do not mix
        stream.flush()
    except BrokenPipeError:  # the reader of the log has gone; serving goes on
        pass


def colour(text: str, name: str, stream: TextIO | None = None) -> str:
    """Return the text in a colour, if it goes to a terminal and $NO_COLOR is not set."""
    stream = stream or sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{_CODES[name]}m{text}\033[0m"
