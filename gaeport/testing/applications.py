"""An application under WebTest, on fresh files and a fresh Datastore."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gaeport import settings
from gaeport.errors import MissingExtraError
from gaeport.testing.datastores import in_force
from gaeport.wsgi import default_application, wrap

if TYPE_CHECKING:
    from webtest import TestApp

    from gaeport.loader import WSGIApplication
    from gaeport.settings import Settings


@contextmanager
def app(
    application: "WSGIApplication | str | None" = None,
    *,
    settings: "Settings | None" = None,
    server: bool = False,
    **options: Any,
) -> "Iterator[TestApp]":
    """Give WebTest's TestApp around an application, on empty mounts and an empty Datastore.

    The mounts of gaeport.toml are in place meanwhile, kept in memory. Settings, environment, mounts and sys.path are
    afterwards what they were before.

    Args:
        application: a WSGI application, or "module:callable"; by default gaeport.toml's `app`, else main.py's.
        settings: by default those of gaeport.toml, in the working directory or a folder above it.
        server: as for `datastore`.
        **options: what `webtest.TestApp` takes, such as `extra_environ`.

    Yields:
        The TestApp.

    Raises:
        ApplicationError: there is no such application.
        ConfigurationError: gaeport.toml is wrong.
        MissingExtraError: WebTest is not installed.
    """
    made = _test_app()
    config = settings or _found()
    path = list(sys.path)
    with in_force(config, server=server):
        try:
            yield made(wrap(application or default_application(config)), **options)
        finally:
            sys.path[:] = path


def _found() -> "Settings":
    return settings.load(settings.find())


def _test_app() -> Any:
    try:
        from webtest import TestApp
    except ImportError as error:
        raise MissingExtraError(f"WebTest is not installed ({error}); pip install 'gaeport[testing]'") from error
    return TestApp
