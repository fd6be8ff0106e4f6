"""Every check of an application's folder, one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

from gaeport import settings
from gaeport.errors import ConfigurationError, GaeportError
from gaeport.settings import Settings

from ..audit import report as audit
from ..audit import source
from ..bundle import check as bundle
from ..findings import Finding
from . import app_yaml, cron_yaml, dispatch_yaml, entrypoint, handlers, index_file, queue_yaml, scaling, settings_file
from .documents import Document, load

_OTHERS: tuple[tuple[str, Callable[[Document], Iterator[Finding]]], ...] = (
    ("queue", queue_yaml.check),
    ("cron", cron_yaml.check),
    ("dispatch", dispatch_yaml.check),
)


def read(root: Path) -> tuple[Settings | None, list[Finding]]:
    """Return a folder's settings, or what is wrong with gaeport.toml."""
    path = root / settings.FILE_NAME
    try:
        return settings.load(path if path.is_file() else None, root=root), []
    except ConfigurationError as error:
        message = str(error).removeprefix(f"{path}: ")
        return None, [Finding("settings.value", "error", message, "", path.name)]


def check(root: Path) -> list[Finding]:
    """Return everything that is wrong with a folder that would be deployed.

    Args:
        root: the folder of app.yaml.
    """
    config, findings = read(root)
    known = config or settings.Settings(root=root)
    app = load(root / "app.yaml", app_yaml.CODE)
    if app is None:
        findings.append(
            Finding("app.missing", "error", "there is no app.yaml: gcloud has nothing to deploy", "gaeport new")
        )
    else:
        findings += app_yaml.check(app)
        findings += scaling.check(app)
        findings += handlers.check(app, root, known)
        findings += entrypoint.check(app, root, known)
    for name, checked in _OTHERS:
        document = load(root / f"{name}.yaml", name)
        if document is not None:
            findings += checked(document)
    findings += _left_out(root, known)
    findings += index_file.check(root)
    if config is not None:
        findings += settings_file.check(root, config, app)
    findings += bundle.check(root, known)
    findings += _indexes(root, known)
    findings += audit.findings(source.scan(root), known)
    return findings


def _left_out(root: Path, config: Settings) -> Iterator[Finding]:
    """Yield the running queues that an upload of queue.yaml would pause, by what `gaeport plan --save` kept."""
    from ..plan import state

    document, kept = load(root / "queue.yaml", "queue"), state.path_of(config)
    if document is None or document.root is None or not kept.is_file():
        return
    try:
        there = state.read(kept).queues
    except ConfigurationError as error:
        yield Finding("queue.state", "warning", str(error), "gaeport plan --save, after a deployment")
        return
    yield from queue_yaml.left_out(document, [name for name, queue in there.items() if queue.get("state") == "RUNNING"])


def _indexes(root: Path, config: Settings) -> list[Finding]:
    """Return what recorded runs lack, where there are recordings."""
    from ..indexes import comparison, entries, recordings

    folder = None if config.in_memory else config.data_path / "queries"
    if folder is None or not folder.is_dir():
        return []
    path = root / "index.yaml"
    try:
        listed = entries.parse(entries.read(path), path.name)
        recorded = recordings.load([folder])
    except GaeportError:
        return []  # a wrong index.yaml has been told already; recordings are gaeport indexes' own matter
    found = comparison.compare(listed, recorded)
    return [one for one in comparison.findings(found, root) if one.code in ("indexes.missing", "indexes.exploding")]
