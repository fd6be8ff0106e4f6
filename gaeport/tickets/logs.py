"""Standard logging set up for Cloud Logging: structured lines, each with its request's trace."""

import logging
import sys
from typing import TextIO

from gaeport import settings
from gaeport.settings import Settings
from gaeport.tickets.line import Formatter

# Chatty about each call, and what a handler that calls Google would log for ever.
_QUIET = ("google.api_core.bidi", "werkzeug", "google.auth", "urllib3")


class StructuredHandler(logging.Handler):
    """Writes log records as structured lines; one that is too long for Cloud Logging as several."""

    def __init__(self, stream: TextIO | None = None, project: str | None = None) -> None:
        """Prepare.

        Args:
            stream: where lines go; standard output as it is at each line, by default.
            project: the Google Cloud project, for the traces' names; that of the settings by default.
        """
        super().__init__()
        self._stream = stream
        self.setFormatter(Formatter(project if project is not None else settings.current().project))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            formatter = self.formatter
            lines = formatter.lines(record) if isinstance(formatter, Formatter) else [self.format(record)]
            write(lines, self._stream)
        except Exception:  # noqa: BLE001 (as every handler of the standard library: logging never raises)
            self.handleError(record)


def write(lines: list[str], stream: TextIO | None = None) -> None:
    """Write lines in one piece, so that those of other processes and threads do not come between.

    Raises:
        OSError, ValueError: standard output is closed or broken.
    """
    into = stream or sys.stdout
    into.write("".join(f"{line}\n" for line in lines))
    into.flush()


def setup_logging(level: int = logging.INFO, *, project: str | None = None) -> StructuredHandler:
    """Have standard logging write structured lines to standard output, from this level on.

    `gaeport.wrap` does it on App Engine, unless the application has set up handlers of its own or `[tickets]` says
    `logging = false`. Handlers that are there already stay. Calling it again changes the level only.

    Args:
        level: of the root logger.
        project: as `StructuredHandler` takes it.

    Returns:
        The handler.
    """
    root = logging.getLogger()
    root.setLevel(level)
    for handler in root.handlers:
        if isinstance(handler, StructuredHandler):
            return handler
    made = StructuredHandler(project=project)
    root.addHandler(made)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, level))
    return made


def setup_for(config: Settings) -> None:
    """Set up logging where the settings, or App Engine, ask for it; an application's own set-up wins."""
    wanted = config.tickets.logging
    if wanted is None:
        wanted = config.environment == "production" and not config.production
    if wanted and not logging.getLogger().handlers:
        setup_logging(project=config.project)
