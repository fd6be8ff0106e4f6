"""app.yaml of a Python 3 service in the standard environment: its keys and values.

Source: "app.yaml reference" of App Engine; what gcloud 528 does with each mistake was tried.
"""

import re
from collections.abc import Iterator

from ..findings import Finding
from .documents import Document
from .rules import Choice, Flag, List, Map, Names, Number, Text

CODE = "app"
RETIRED = ("python27", "python37", "python38")  # take no new deployments, or soon none
RUNTIMES = ("python39", "python310", "python311", "python312", "python313", "python314")

_EXPIRATION = Text(r"\s*(\d+([dDhHmM]|[sS]?))(\s+\d+([dDhHmM]|[sS]?))*\s*", 'a time such as "1d 12h"')
_LATENCY = Text(r"\d+((\.\d{1,3})?s|ms)|automatic", 'a time such as "30ms", or automatic')
_IDLE = Text(r"\d+|automatic", "a number of instances, or automatic")
_SHARE = Number(0.5, 0.95, whole=False)
_SERVICES = (
    "warmup",
    "mail",
    "mail_bounce",
    "xmpp_message",
    "xmpp_subscribe",
    "xmpp_presence",
    "xmpp_error",
    "channel_presence",
    "rest",
)

_AUTOMATIC = Map(
    {
        "max_instances": Number(1),
        "min_instances": Number(0),
        "max_idle_instances": _IDLE,
        "min_idle_instances": _IDLE,
        "max_pending_latency": _LATENCY,
        "min_pending_latency": _LATENCY,
        "max_concurrent_requests": Number(1, 1_000),
        "target_cpu_utilization": _SHARE,
        "target_throughput_utilization": _SHARE,
    }
)
_BASIC = Map(
    {"max_instances": Number(1), "idle_timeout": Text(r"\d+[sm]", 'a time such as "10m"')}, needed=("max_instances",)
)
_MANUAL = Map({"instances": Number(1)}, needed=("instances",))
_HANDLER = Map(
    {
        "url": Text(),
        "script": Text(),
        "static_dir": Text(),
        "static_files": Text(),
        "upload": Text(),
        "expiration": _EXPIRATION,
        "http_headers": Names(Text()),
        "mime_type": Text(),
        "secure": Choice(("always", "never", "optional", "default")),
        "redirect_http_response_code": Choice(("301", "302", "303", "307")),
        "login": Choice(("optional", "required", "admin")),
        "auth_fail_action": Choice(("redirect", "unauthorized")),
        "application_readable": Flag(),
        "require_matching_file": Flag(),
    },
    needed=("url",),
)
_OLD = "remove it: it belongs to Python 2.7"
_FLEX = "remove it: it belongs to the flexible environment"
_FILE = Map(
    {
        "runtime": Text("[a-z][a-z0-9.-]{0,29}", "a runtime such as python313"),
        "service": Text("(?!-)[a-z0-9-]{0,62}[a-z0-9]", "a name of small letters, digits and hyphens", quoted=True),
        "module": Text(),
        "env": Choice(("standard",)),
        "entrypoint": Text(),
        "instance_class": Choice(("F1", "F2", "F4", "F4_1G", "B1", "B2", "B4", "B4_1G", "B8")),
        "automatic_scaling": _AUTOMATIC,
        "basic_scaling": _BASIC,
        "manual_scaling": _MANUAL,
        "handlers": List(_HANDLER, 100, "a handler"),
        "inbound_services": List(Choice(_SERVICES)),
        "default_expiration": _EXPIRATION,
        "env_variables": Names(Text("(?s).*", "a text")),
        "build_env_variables": Names(Text("(?s).*", "a text")),
        "error_handlers": List(Map({"file": Text(), "error_code": Text(), "mime_type": Text()}, ("file",))),
        "vpc_access_connector": Map(
            {"name": Text(), "egress_setting": Choice(("all-traffic", "private-ranges-only"))}, ("name",)
        ),
        "app_engine_apis": Flag(),
        "service_account": Text(r"[^@\s]+@[^@\s]+", "the e-mail address of a service account"),
        "runtime_config": Names(Text()),
        "main": Text(),
        "beta_settings": Names(Text()),
        "network": Map({"name": Text(), "session_affinity": Flag(), "subnetwork_name": Text(), "instance_tag": Text()}),
        "skip_files": Text("(?s).*", "an expression"),  # the check of what is uploaded says more
    },
    needed=("runtime",),
    refused={
        "application": "remove it: gcloud app deploy --project",
        "project": "remove it: gcloud app deploy --project",
        "version": "remove it: gcloud app deploy --version",
        "threadsafe": _OLD,
        "libraries": "name them in requirements.txt",
        "builtins": _OLD,
        "includes": _OLD,
        "api_version": _OLD,
        "vm": _FLEX,
        "vm_settings": _FLEX,
        "resources": _FLEX,
        "liveness_check": _FLEX,
        "readiness_check": _FLEX,
        "health_check": _FLEX,
        "manual_instances": _FLEX,
    },
)


def check(document: Document) -> Iterator[Finding]:
    """Yield what is wrong with the keys and values of an app.yaml."""
    yield from document.problems
    root = document.root
    if root is None:
        if not document.problems:
            yield document.finding(f"{CODE}.empty", "it is empty", "write at least: runtime: python313")
        return
    for finding in _FILE.check(root, "app.yaml", document, CODE):
        if not finding.message.startswith("skip_files"):
            yield finding
    runtime = root.get("runtime")
    if runtime is not None:
        yield from _runtime(document)
    if root.get("module") is not None:
        message = "module is the old name of service"
        yield document.warning(f"{CODE}.module", message, "write service:", at=root.line_of("module"))


def _runtime(document: Document) -> Iterator[Finding]:
    assert document.root is not None
    line = document.root.line_of("runtime")
    name = document.root.text_of("runtime")
    if name in RETIRED:
        message = f"runtime: {name} has reached its end: App Engine takes no new version on it"
        yield document.finding(f"{CODE}.runtime", message, f"runtime: {RUNTIMES[-2]}", at=line)
    elif name not in RUNTIMES and re.match("python", name):
        message = f"runtime: {name} is unknown; gcloud uploads everything before the server says so"
        yield document.finding(f"{CODE}.runtime", message, f"valid: {', '.join(RUNTIMES)}", at=line)
    elif name not in RUNTIMES:
        message = f"runtime: {name} does not run Python"
        yield document.warning(f"{CODE}.runtime", message, f"valid: {', '.join(RUNTIMES)}", at=line)
