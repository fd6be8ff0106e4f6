"""The console's first page: what runs here, and with which settings."""

import os
import platform
import sys

from gaeport import __version__, settings
from gaeport.console.rendering import page
from gaeport.console.web import Request, Response, not_found

_WHERE = {
    "embedded": "on this machine; data lies in its data folder",
    "emulator": "on this machine, against an emulator of Google",
    "production": "Google App Engine",
}


def answer(request: Request) -> Response:
    """Return the overview."""
    if request.rest:
        raise not_found()
    config = settings.current()
    facts = {
        "Runs": _WHERE[config.environment],
        "Project": config.project,
        "Database": config.database or "(default)",
        "Namespace": config.namespace or "none",
        "Bucket": config.bucket or "none: large content lies in entities",
        "Service": os.environ.get("GAE_SERVICE", "none"),
        "Version": os.environ.get("GAE_VERSION", "none"),
        "Instance": os.environ.get("GAE_INSTANCE", "none"),
        "Process": f"{os.getpid()}",
        "gaeport": __version__,
        "Python": f"{platform.python_version()} on {sys.platform}",
    }
    return page(request, "overview.html", title="Overview", facts=facts, mounts=config.mounts)
