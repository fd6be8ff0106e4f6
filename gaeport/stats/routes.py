"""What requests are grouped by."""

import re
from typing import Any

_MOST = 200  # characters
# Numbers, hexadecimal ids, UUIDs, and other long mixtures of letters and digits stand for a record.
_ID = re.compile(r"[0-9]+|[0-9a-fA-F]{8,}|[0-9a-fA-F-]{32,}|(?=[^/]*[0-9])[\w~=-]{16,}")


def route_of(environ: dict[str, Any]) -> str:
    """Return a request's route, once it was answered.

    The application's own word (`environ["gaeport.route"]`), Flask's or Bottle's pattern, or the path with `*` for the
    parts that look like ids.
    """
    found = environ.get("gaeport.route") or _flask(environ) or _bottle(environ)
    if not found:
        path = path_of(environ)
        found = "/".join("*" if _ID.fullmatch(part) else part for part in path.split("/"))
    return str(found)[:_MOST]


def path_of(environ: dict[str, Any]) -> str:
    """Return a request's path as text."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}" or "/"
    return path.encode("latin-1", "replace").decode("utf-8", "replace")[:500]


def _flask(environ: dict[str, Any]) -> str:
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return str(getattr(rule, "rule", "") or "")


def _bottle(environ: dict[str, Any]) -> str:
    return str(getattr(environ.get("bottle.route"), "rule", "") or "")
