"""The connection strings of other databases that open this adapter: web2py's old ones, and those of `[dal] map`."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from gaeport import settings
from gaeport.dal.uri import SCHEME
from gaeport.errors import ConfigurationError

#: What web2py called its adapters for App Engine, and pyDAL's experimental one for Firestore.
SCHEMES = ("gae", "google:datastore", "google:datastore+ndb", "firestore")
_PLACEHOLDERS = ("app", "namespace")


_as_written: ContextVar[bool] = ContextVar("gaeport_dal_as_written", default=False)


@contextmanager
def as_written() -> Iterator[None]:
    """Open connection strings as they are written in the block, whatever `[dal] map` says."""
    token = _as_written.set(True)
    try:
        yield
    finally:
        _as_written.reset(token)


def install(registry: Any, adapter: Any) -> None:
    """Make pyDAL ask here first which adapter a connection string opens.

    Args:
        registry: `pydal.adapters.adapters`.
        adapter: the class that serves `datastore://`.
    """
    for scheme in SCHEMES:
        registry.register_for(scheme)(adapter)
    registry.get_for = partial(_adapter_for, registry.get_for, adapter)


def _adapter_for(find: Callable[[str], Any], adapter: Any, name: str) -> Callable[..., Any]:
    """Return what makes the adapter; which one is known only by the whole connection string."""

    def make(*, uri: str, **options: Any) -> Any:
        translated = None if _as_written.get() else translate(uri, options.get("folder"))
        if translated is None:
            return find(name)(uri=uri, **options)
        return adapter(uri=translated, **options)

    return make


def translate(uri: str, folder: str | None = None) -> str | None:
    """Return the `datastore://` connection string that another one stands for, or None where it is left alone.

    Args:
        uri: a connection string; `[dal] map` is asked first, then the schemes that always were Datastore's count.
        folder: the folder that DAL() was given for its files; `{app}` in the map's answer is named after it.

    Raises:
        ConfigurationError: the map's answer has an unknown placeholder.
    """
    config = settings.current()
    for pattern, target in config.dal.map.items():
        if fnmatchcase(uri, pattern):
            return _filled(target, config.namespace, _application(folder))
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES:
        return None
    # As web2py expects: ids grow with time, since its applications order by them, and a failed request leaves nothing.
    if scheme == "firestore":  # pyDAL's takes the project
        return f"{SCHEME}://{dict(parse_qsl(rest)).get('id', '')}?ids=time&buffer=request"
    return f"{SCHEME}:///{rest.strip('/')}?ids=time&buffer=request"


def _filled(target: str, namespace: str, app: str) -> str:
    unknown = set(re.findall(r"\{(\w*)\}", target)) - set(_PLACEHOLDERS)
    if unknown:
        raise ConfigurationError(
            f"[dal] map: {target!r}: unknown placeholder {min(unknown)!r}; there are: {', '.join(_PLACEHOLDERS)}"
        )
    head, separator, rest = target.partition("://")
    project, slash, path = rest.partition("/")
    place, mark, options = path.partition("?")
    place = place.replace("{app}", app).replace("{namespace}", namespace).strip("-")
    return f"{head}{separator}{project}{slash}{place}{mark}{options}"


def _application(folder: str | None) -> str:
    """Return the name of the application that a folder for a database's files belongs to; "" for none.

    web2py and py4web name `applications/NAME/databases` and `apps/NAME/databases`.
    """
    if not folder:
        from pydal._globals import THREAD_LOCAL

        folder = getattr(THREAD_LOCAL, "_pydal_folder_", "")
    parts = os.path.normpath(folder).split(os.sep) if folder else [""]
    if parts[-1] == "databases" and len(parts) > 1:
        parts.pop()
    return parts[-1] if re.fullmatch(r"[0-9A-Za-z._-]+", parts[-1]) and parts[-1] != "." else ""
