"""web2py as one WSGI application: what stands between its tree, which stays as it is, and App Engine.

gaeport.toml names it: `app = "gaeport.web2py:application('web2py')"`.
"""

import locale
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gaeport import settings
from gaeport.errors import ConfigurationError

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGIApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

_HTTPS_PORT, _HTTP_PORT = "443", "80"
_PATH = "web2py_path"  # gluon/settings.py reads it, in lower case
_VISITOR = "HTTP_X_APPENGINE_USER_IP"


def application(folder: str = "web2py") -> "Application":
    """Load web2py.

    pyDAL is the release that gaeport is made for, whatever the tree carries; `DAL("gae")`, `DAL("firestore")` and what
    `[dal] map` names open Datastore.

    Args:
        folder: web2py's tree, relative to gaeport.toml.

    Raises:
        ConfigurationError: the folder has no web2py, or it cannot be imported.
        MissingExtraError: pyDAL is not installed.
    """
    root = Path(settings.current().root, folder).absolute()
    if not Path(root, "gluon", "main.py").is_file():
        raise ConfigurationError(f"{root} is no web2py: it has no gluon/main.py")
    import gaeport.dal  # noqa: F401 - before gluon, which takes the pydal that is loaded already

    os.environ[_PATH] = str(root)
    os.chdir(root)  # as web2py's own handlers do; its applications open paths relative to its folder
    for path in (str(root / "site-packages"), str(root)):
        if path not in sys.path:
            sys.path.insert(0, path)
    return Application(_gluon(), root)


def _gluon() -> WSGIApplication:
    """Import web2py and return its WSGI application; the tree takes what it may not change as it is."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        import gluon.main
        import gluon.restricted
        import gluon.settings
    except (ImportError, RuntimeError) as error:
        raise ConfigurationError(
            f"web2py cannot be imported: {error}. Its tree needs its submodules, or requirements.txt the packages that "
            "they stand for: yatl, rocket3"
        ) from error
    finally:
        # gluon sets the locale "C", with which Python reads and writes text files as ASCII.
        locale.setlocale(locale.LC_CTYPE, before)
    found = gluon.settings.global_settings
    found.web2py_runtime_handler = True
    # No looking for missing folders on each request: what may be written is a mount, and the rest cannot be made.
    apps = os.path.join(found.applications_parent, "applications")
    found.app_folders.update(entry.path for entry in os.scandir(apps) if entry.is_dir())
    if not hasattr(gluon.restricted.TicketStorage, "TICKET_ALLOWED_CLASSES"):
        # Up to 3.3.3 admin refuses to load what tickets are made of, and shows them empty.
        gluon.restricted.DEFAULT_SAFE_GLOBALS.setdefault("gluon.html", {"XML", "XML_unpickle"})
    wsgi: WSGIApplication = gluon.main.wsgibase
    return wsgi


class Application:
    """web2py's WSGI application, with the request's addresses as App Engine's front end vouches for them."""

    def __init__(self, wsgi: WSGIApplication, root: Path) -> None:
        """Take over web2py.

        Args:
            wsgi: `gluon.main.wsgibase`, or whatever answers instead.
            root: the folder of web2py's tree.
        """
        self._wsgi = wsgi
        self._keys = _AuthKeys(root)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        self._keys.make_missing()
        if os.environ.get("GAE_ENV") == "standard":
            _trust_front_end(environ)
        body = self._wsgi(environ, start_response)
        return body if isinstance(body, list) else _Encoded(body)


class _Encoded:
    """A body whose text becomes bytes: web2py answers `HTTP(200, T("…"))` with the characters of the translation."""

    def __init__(self, body: Iterable[Any]) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            yield piece.encode() if isinstance(piece, str) else piece

    def close(self) -> None:
        """Close the body, where it can be."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def _trust_front_end(environ: Environ) -> None:
    """Put the visitor's address and the outside port where web2py looks.

    The server that runs the application hears from a proxy beside it, and X-Forwarded-For begins with whatever the
    visitor sent: web2py would take anyone who sends 127.0.0.1 for a local administrator. X-Appengine-User-Ip is the
    front end's own. The port names the file with the administrator's password: parameters_443.py.
    """
    visitor = environ.get(_VISITOR)
    if visitor:
        environ["REMOTE_ADDR"] = environ["HTTP_X_FORWARDED_FOR"] = visitor
    secure = environ.get("HTTP_X_FORWARDED_PROTO", environ.get("wsgi.url_scheme")) == "https"
    environ["SERVER_PORT"] = _HTTPS_PORT if secure else _HTTP_PORT


class _AuthKeys:
    """Makes the missing private/auth.key of each application once, however many instances start at the same time.

    web2py looks for it and then writes it: two instances at once would key their first passwords differently.
    """

    def __init__(self, root: Path) -> None:
        self._pending = _without_key(root)
        self._lock = threading.Lock()

    def make_missing(self) -> None:
        """Make them on the first request, when the process that answers has been forked."""
        if not self._pending:
            return
        with self._lock:
            pending, self._pending = self._pending, []
            for path in pending:
                _make_key(path)


def _without_key(root: Path) -> list[Path]:
    from gaeport.fs.patching import paths

    keys = [app / "private" / "auth.key" for app in Path(root, "applications").iterdir() if (app / "models").is_dir()]
    mounted = [f"{mount.spelled}{os.sep}" for mount in paths.mounts()]
    return sorted(key for key in keys if any(f"{key}".startswith(folder) for folder in mounted) and not _shipped(key))


def _shipped(key: Path) -> bool:
    from gaeport.fs import native

    try:
        native.lstat(str(key))
    except OSError:
        return False
    return True


def _make_key(path: Path) -> None:
    import uuid

    if path.exists():
        return
    try:
        with open(path, "x") as file:
            file.write(f"sha512:{uuid.uuid4()}")
    except FileExistsError:
        return  # another instance was first
