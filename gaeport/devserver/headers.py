"""Strips what only App Engine may say, as its front end does with requests from outside."""

from collections.abc import Callable, Iterable
from typing import Any

_PREFIX = "HTTP_X_APPENGINE_"  # WSGI folds "-" and "_" into one: X_Appengine_… arrives under the same name


class StripPlatformHeaders:
    """Removes X-Appengine-* headers, so that nobody passes for a task, a cron job or App Engine itself."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        for name in [name for name in environ if name.upper().startswith(_PREFIX)]:
            del environ[name]
        return self._app(environ, start_response)
