"""Web frameworks that answer unhandled exceptions themselves: what they catch becomes a ticket all the same.

Flask and Django tell of it by a signal, Bottle (like any framework that heeds PEP 3333) by start_response's exc_info,
web2py and py4web by their own tickets. A framework is looked for among the modules that are loaded, and never imported.
"""

import sys
from collections.abc import Mapping
from typing import Any

from gaeport.tickets import context

_ID = "gaeport.tickets"


def record(error: BaseException, labels: Mapping[str, str] | None = None) -> str:
    """Make a ticket, as `gaeport.tickets.record`; what that needs is imported with the first error."""
    from gaeport.tickets import reporting

    return reporting.record(error, labels)


def connect() -> None:
    """Connect to the frameworks that are loaded by now; those that are connected already stay so."""
    if "flask" in sys.modules:
        _connect_flask()
    if "django.core.signals" in sys.modules:
        _connect_django()
    if "gluon.restricted" in sys.modules:
        _connect_web2py(sys.modules["gluon.restricted"])
    if "py4web.core" in sys.modules:
        _connect_py4web(sys.modules["py4web.core"])


def answers_plainly(environ: dict[str, Any]) -> bool:
    """Tell whether Bottle's answer to an exception is its built-in page, not the application's own."""
    app = environ.get("bottle.app")
    if app is None:
        return False
    own = getattr(app, "error_handler", {})
    standard = getattr(type(app), "default_error_handler", None) is getattr(_bottle(), "default_error_handler", 0)
    return 500 not in own and standard


def _bottle() -> Any:
    return getattr(sys.modules.get("bottle"), "Bottle", None)


def _connect_flask() -> None:
    import flask

    flask.got_request_exception.connect(_on_flask)


def _on_flask(sender: Any, exception: BaseException, **_: Any) -> None:
    request = context.current()
    if request is None:
        return
    import flask

    form = flask.request.__dict__.get("form")  # only where the application has read it
    if form is not None:
        request.form = list(form)
    request.told = True
    record(exception)
    request.replace = not _has_flask_handler(sender, flask.request.blueprints)


def _has_flask_handler(app: Any, blueprints: list[str]) -> bool:
    """Tell whether a Flask application has a page of its own for 500."""
    from werkzeug.exceptions import InternalServerError

    for name in (None, *blueprints):
        handlers = app.error_handler_spec.get(name, {})
        for code in (500, None):
            if any(issubclass(InternalServerError, kind) for kind in handlers.get(code, {})):
                return True
    return False


def _connect_django() -> None:
    from django.core.signals import got_request_exception

    got_request_exception.connect(_on_django, dispatch_uid=_ID)


def _on_django(sender: Any, request: Any = None, **_: Any) -> None:
    present, error = context.current(), sys.exc_info()[1]
    if present is None or error is None:
        return
    form = getattr(request, "_post", None)  # only where the application has read it
    if form is not None:
        present.form = list(form)
    record(error)
    present.replace = not _has_django_page(request)


def _has_django_page(request: Any) -> bool:
    """Tell whether a Django project has a page of its own for 500: a handler, a template, or the debugger's."""
    from django.conf import settings
    from django.template import TemplateDoesNotExist, loader
    from django.urls import get_resolver
    from django.views.defaults import server_error

    if settings.DEBUG:
        return True
    resolver = get_resolver(getattr(request, "urlconf", None))
    if resolver.resolve_error_handler(500) is not server_error:
        return True
    try:
        loader.get_template("500.html")
    except TemplateDoesNotExist:
        return False
    except Exception:  # noqa: BLE001 (a broken template, or no template engine at all)
        return False
    return True


def _connect_web2py(module: Any) -> None:
    """Have web2py's tickets recorded here too; its own numbers are put into the record."""
    original = module.RestrictedError.log
    if getattr(original, _ID, False):
        return

    def log(self: Any, request: Any) -> Any:
        number = str(getattr(request, "uuid", "") or "")
        record(self.__cause__ or self.__context__ or self, {"web2py": number})
        return original(self, request)

    setattr(log, _ID, True)
    module.RestrictedError.log = log


def _connect_py4web(module: Any) -> None:
    """Have py4web's tickets recorded here too; where it cannot keep its own, its page shows the number from here."""
    original = module.ErrorLogger.log
    if getattr(original, _ID, False):
        return

    def log(self: Any, app_name: str, error_snapshot: Any) -> Any:
        error = sys.exc_info()[1]
        number = record(error, {"py4web": str(app_name)}) if error is not None else None
        return original(self, app_name, error_snapshot) or number

    setattr(log, _ID, True)
    module.ErrorLogger.log = log
