"""gaeport.toml, and what it needs of the other files."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from gaeport.sessions import ttl
from gaeport.settings import Settings
from gaeport.wsgi import default_application

from ..bundle.imports import module_file
from ..findings import Finding
from .documents import Document

FILE = "gaeport.toml"
_STAGE = re.compile(r"(?:^|[-_])(stag\w*|test\w*|dev\w*|qa|preview|sandbox)(?:$|[-_])")


def check(root: Path, config: Settings, app: Document | None) -> Iterator[Finding]:
    """Yield what in gaeport.toml would not work in production.

    Args:
        root: the application's folder.
        config: the settings, read already.
        app: app.yaml, where there is one.
    """
    name = default_application(config)
    module = name.partition(":")[0]
    if module_file(root, module) is None and (root / module.split(".")[0]).exists():
        yield Finding("settings.app", "error", f"app = {name!r}: there is no module {module} here", "", FILE)
    yield from _mounts(root, config)
    if app is not None and app.root is not None:
        yield from _network(config, app)
        yield from _stage(config, app)
    for policy in ttl.policies(config):
        yield Finding(
            "settings.ttl",
            "note",
            f"{policy.what} are removed by a TTL policy, which each project and database needs once",
            policy.command(project=config.project, database=config.database),
        )


def _mounts(root: Path, config: Settings) -> Iterator[Finding]:
    for mount in config.mounts:
        if (root / mount.path).is_file():
            yield Finding("settings.mount", "error", f"[[mount]] {mount.path} is a file here", "mount its folder", FILE)
        elif mount.store == "gcs" and not (mount.bucket or config.bucket):
            message = f'[[mount]] {mount.path} has store = "gcs", and no bucket is named'
            yield Finding("settings.mount", "error", message, 'write bucket = "my-bucket"', FILE)
        elif Path(mount.path).is_absolute() and not Path(mount.path).is_relative_to(root):
            message = f"[[mount]] {mount.path} is an absolute path: on App Engine the application lies in /workspace"
            yield Finding("settings.mount", "warning", message, "write it relative to gaeport.toml", FILE)


def _network(config: Settings, app: Document) -> Iterator[Finding]:
    """Yield a finding where a store has an address that only a VPC connector reaches."""
    assert app.root is not None
    urls = [config.cache.url, config.sessions.url if config.sessions is not None else None]
    for url in urls:
        host = urlsplit(url).hostname if url else None
        try:
            private = host is not None and ip_address(host).is_private and not ip_address(host).is_loopback
            loopback = host == "localhost" or (host is not None and ip_address(host).is_loopback)
        except ValueError:
            private, loopback = False, host == "localhost"
        if private and app.root.get("vpc_access_connector") is None:
            message = f"{url} has a private address, which App Engine reaches through a VPC connector only"
            fix = "app.yaml: vpc_access_connector: name: projects/P/locations/L/connectors/C"
            yield Finding("settings.network", "error", message, fix, FILE)
        elif loopback:
            message = f"{url} is this machine; on App Engine nothing listens there"
            yield Finding("settings.network", "error", message, "name the address of Memorystore", FILE)


def _stage(config: Settings, app: Document) -> Iterator[Finding]:
    assert app.root is not None
    service = app.root.text_of("service") or app.root.text_of("module")
    if _STAGE.search(service) and not config.namespace and not config.database:
        message = f"the service {service} has no namespace of its own: its files and sessions are those of production"
        line = app.root.line_of("service")
        yield Finding(
            "settings.namespace", "warning", message, f'gaeport.toml: namespace = "{service}"', app.file, line
        )
