"""Finds the WSGI application that "module:callable" names, and says what is wrong when there is none."""

import ast
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from gaeport.errors import ApplicationError

WSGIApplication = Callable[..., Iterable[bytes]]

_EXAMPLE = '"module:callable", "module:factory()" or "module:factory(key=\'value\')"'


def load(reference: str, root: Path) -> WSGIApplication:
    """Import an application.

    Args:
        reference: "module:callable", where callable may be dotted, or a call of it with literal arguments
            ("shop.web:make(debug=True)").
        root: the application's folder; it becomes the first entry of sys.path, as on App Engine.

    Returns:
        The WSGI application.

    Raises:
        ApplicationError: the module is missing or fails at import (the message carries its traceback), the attribute
            is missing (the message lists candidates), or it is not a WSGI application.
    """
    module_name, _, rest = reference.partition(":")
    path, arguments, keywords = _parse(rest, reference)
    _put_first(root)
    found = _attribute(_import(module_name, reference, root), path, reference)
    if arguments is not None:
        found = _call(found, arguments, keywords, reference)
    check(found, reference)
    application: WSGIApplication = found
    return application


def check(app: object, name: str) -> None:
    """Raise ApplicationError unless `app` can be called as a WSGI application; `name` is how messages call it."""
    if not callable(app):
        raise ApplicationError(f"{name} is a {type(app).__name__}, not a WSGI application: it cannot be called")
    if _is_asgi(app):
        raise ApplicationError(
            f"{name} is an ASGI application; App Engine standard and gaeport serve WSGI applications. "
            "Wrap it (for example with a2wsgi.ASGIMiddleware) and name the result"
        )
    if not _accepts(app, 2):
        hint = f'; is it a factory? Then write "{name}()"' if _accepts(app, 0) else ""
        raise ApplicationError(f"{name} cannot be called with the two arguments of WSGI{hint}")


def _parse(text: str, reference: str) -> tuple[list[str], list[Any] | None, dict[str, Any]]:
    try:
        node = ast.parse(text, mode="eval").body
        arguments: list[Any] | None = None
        keywords: dict[str, Any] = {}
        if isinstance(node, ast.Call):
            arguments = [ast.literal_eval(item) for item in node.args]
            keywords = {str(item.arg): ast.literal_eval(item.value) for item in node.keywords}
            node = node.func
        return _dotted(node), arguments, keywords
    except (SyntaxError, ValueError) as error:
        raise ApplicationError(
            f"the application {reference!r} must be written as {_EXAMPLE}; arguments must be literals"
        ) from error


def _dotted(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [*_dotted(node.value), node.attr]
    raise ValueError("neither a name nor an attribute")


def _put_first(root: Path) -> None:
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))


def _import(name: str, reference: str, root: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None
        if missing and f"{name}.".startswith(f"{error.name}."):  # type: ignore[union-attr]
            raise ApplicationError(
                f"the application {reference!r}: there is no module {error.name!r}; "  # type: ignore[union-attr]
                f"looked in {root} and in the installed packages"
            ) from error
        raise ApplicationError(
            f"the application {reference!r}: importing {name} failed:\n{_application_traceback(error)}"
        ) from error


def _application_traceback(error: BaseException) -> str:
    # Only the application's own frames: those of gaeport and of the import system come before and in between.
    report = traceback.TracebackException.from_exception(error)
    hidden = (__file__, importlib.__file__)
    for part in _chain(report):
        shown = [
            frame
            for frame in part.stack
            if not frame.filename.startswith("<frozen importlib") and frame.filename not in hidden
        ]
        part.stack = traceback.StackSummary.from_list(shown)
    return "".join(report.format()).rstrip()


def _chain(report: traceback.TracebackException | None) -> Iterable[traceback.TracebackException]:
    while report is not None:
        yield report
        report = report.__cause__ or report.__context__


def _attribute(module: ModuleType, path: list[str], reference: str) -> Any:
    found: Any = module
    for name in path:
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ApplicationError(_no_attribute(module, name, reference)) from error
    return found


def _no_attribute(module: ModuleType, name: str, reference: str) -> str:
    if getattr(module.__spec__, "_initializing", False):
        return (
            f"the application {reference!r} is named while {module.__name__} itself is still being imported; "
            f"name the module that {module.__name__} takes its application from"
        )
    candidates = _candidates(module)
    listed = f"it has {', '.join(candidates)}" if candidates else "nor any other callable"
    return f"the application {reference!r}: {module.__file__} has no {name!r}; {listed}"


def _candidates(module: ModuleType) -> list[str]:
    def own(value: object) -> bool:
        # Imported functions and classes are not applications; instances of imported classes usually are.
        named = inspect.isroutine(value) or isinstance(value, type)
        return not named or (not isinstance(value, type) and getattr(value, "__module__", None) == module.__name__)

    names = (name for name, value in vars(module).items() if callable(value) and own(value))
    return sorted(name for name in names if not name.startswith("_"))


def _call(factory: Any, arguments: list[Any], keywords: dict[str, Any], reference: str) -> Any:
    try:
        return factory(*arguments, **keywords)
    except (Exception, SystemExit) as error:
        raise ApplicationError(
            f"the application {reference!r}: the factory failed:\n{_application_traceback(error)}"
        ) from error


def _is_asgi(app: Any) -> bool:
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004
        return True  # B004: the method itself is wanted, to see whether it is a coroutine function
    return not _accepts(app, 2) and _accepts(app, 3)


def _accepts(app: Any, count: int) -> bool:
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return count == 2  # written in C or with a broken signature: believed
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
