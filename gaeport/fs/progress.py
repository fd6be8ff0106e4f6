"""A line on a terminal that tells how far a long piece of work is."""

import os
import sys
import time

from gaeport.commands import printable

FIRST = 0.5  # seconds of work before anything is shown
EVERY = 0.2  # seconds between two changes of the line
WIDTH = 24  # characters of a full bar
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Progress:
    """Shown on standard error where that is a terminal, and only for work that takes a while; gone at the end."""

    def __init__(self) -> None:
        self._next = time.monotonic() + FIRST
        self._visible = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the line away, before something else is written."""
        if self._visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._visible = False

    def tell(self, text: str, part: float | None = None) -> None:
        """Show a text, and a bar when `part` (0 to 1) is known; most calls return at once."""
        now = time.monotonic()
        if now < self._next or not sys.stderr.isatty():
            return
        self._next, self._visible = now + EVERY, True
        sys.stderr.write(f"\r\x1b[K{printable(_bar(part) + text)[: _columns() - 1]}")
        sys.stderr.flush()


def size(count: int) -> str:
    """Return a number of bytes for people to read, such as "3.4 MiB"."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def _columns() -> int:
    """Return how wide the terminal is: a line that it breaks in two could not be taken away again."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):  # no real terminal
        return 80


def _bar(part: float | None) -> str:
    if part is None:
        return ""
    full = round(min(1.0, max(0.0, part)) * WIDTH)
    return f"[{'#' * full}{'.' * (WIDTH - full)}] {part:4.0%} "
