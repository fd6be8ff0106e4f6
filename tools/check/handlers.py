"""app.yaml's handlers: what each serves, and which are never reached."""

import re
from collections.abc import Iterator
from pathlib import Path

from gaeport.settings import Settings

from ..findings import Finding
from .documents import Document, Node

_KINDS = ("script", "static_dir", "static_files")


def check(document: Document, root: Path, config: Settings) -> Iterator[Finding]:
    """Yield what is wrong with the handlers.

    Args:
        document: app.yaml.
        root: the application's folder, where static files lie.
        config: its settings, for the mounts.
    """
    top = document.root
    handlers = top.get("handlers") if top is not None else None
    if handlers is None or handlers.kind != "list":
        return
    before: list[tuple[str, int]] = []
    for handler in handlers.items:
        if handler.kind != "map":
            continue
        yield from _check_one(handler, document, root, config)
        url = handler.text_of("url")
        pattern = _pattern(handler)
        for earlier, line in before:
            if url and _covers(earlier, url, static=handler.get("static_dir") is not None):
                message = f"url: {url} is never reached: {earlier} in line {line} answers first"
                yield document.finding("app.shadowed", message, "put it before that", at=handler.line_of("url"))
                break
        if pattern:
            before.append((pattern, handler.line))


def _check_one(handler: Node, document: Document, root: Path, config: Settings) -> Iterator[Finding]:
    url = handler.get("url")
    if url is not None:
        yield from _check_url(url, document)
    given = [kind for kind in _KINDS if handler.get(kind) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "neither script nor static_dir nor static_files"
        yield document.finding("app.handler", f"a handler with {found}; it needs one", at=handler)
    script = handler.get("script")
    if script is not None and script.text != "auto":
        message = f"script: {script.text} is not run by Python 3 runtimes, whose handlers are `auto`"
        yield document.finding("app.script", message, "script: auto", at=script)
    login = handler.get("login")
    if login is not None and login.text != "optional":
        message = f"login: {login.text} is not for Python 3: everybody would be let in"
        yield document.finding(
            "app.login", message, "check it in the application, or use Identity-Aware Proxy", at=login
        )
    yield from _check_files(handler, document, root)
    yield from _check_mounts(handler, document, root, config)


def _check_url(url: Node, document: Document) -> Iterator[Finding]:
    if not url.text.startswith(("/", ".", "(")):
        yield document.finding("app.url", f"url: {url.text} must begin with /", f"url: /{url.text}", at=url)
        return
    try:
        re.compile(url.text)
    except re.error as error:
        yield document.finding("app.url", f"url: {url.text} is no regular expression: {error}", at=url)


def _check_files(handler: Node, document: Document, root: Path) -> Iterator[Finding]:
    folder, files, upload = (handler.get(key) for key in ("static_dir", "static_files", "upload"))
    if folder is not None and not (root / folder.text).is_dir():
        message = f"static_dir: {folder.text} is no folder here: gcloud uploads, and every file in it is a 404"
        yield document.finding("app.static", message, at=folder)
    if files is not None and upload is None:
        message = f"static_files: {files.text} without upload, which gcloud refuses"
        yield document.finding("app.upload", message, "upload: a regular expression of the files", at=files)
    if upload is not None:
        try:
            pattern = re.compile(upload.text)
        except re.error as error:
            yield document.finding("app.upload", f"upload: {upload.text} is no regular expression: {error}", at=upload)
            return
        found = any(pattern.fullmatch(path.relative_to(root).as_posix()) for path in root.rglob("*") if path.is_file())
        if not found:
            yield document.finding("app.static", f"upload: {upload.text} matches no file here", at=upload)
    url = handler.text_of("url")
    if files is not None and (most := max((int(n) for n in re.findall(r"\\(\d)", files.text)), default=0)):
        groups = _groups(url)
        if groups is not None and most > groups:
            message = f"static_files: {files.text} names group {most}; url has {groups}"
            yield document.finding("app.static", message, at=files)


def _check_mounts(handler: Node, document: Document, root: Path, config: Settings) -> Iterator[Finding]:
    """Yield mounts under a static folder: App Engine serves what was uploaded, never what was written."""
    folder = handler.text_of("static_dir")
    if not folder:
        return
    served = (root / folder).absolute()
    for mount in config.mounts:
        path = (root / mount.path).absolute()
        if path.is_relative_to(served) or served.is_relative_to(path):
            message = (
                f"static_dir: {folder} serves what was uploaded; files that the application writes to the mount "
                f"{mount.path} would be 404"
            )
            fix = "serve that folder from the application, or write elsewhere"
            yield document.finding("app.static-mount", message, fix, at=handler.line_of("static_dir"))


def _pattern(handler: Node) -> str:
    """Return the expression that a handler answers: a static folder answers everything below its url."""
    url = handler.text_of("url")
    return f"{url.rstrip('/')}/.*" if url and handler.get("static_dir") is not None else url


def _covers(earlier: str, later: str, *, static: bool) -> bool:
    """Whether an earlier expression answers what a later one, taken literally where it can be, would."""
    sample = re.sub(r"\.\*|\.\+|\(.*?\)|\[.*?\][*+]?", "zz9", later)
    sample = f"{sample.rstrip('/')}/zz9" if static else sample
    try:
        return re.fullmatch(earlier, sample.replace("\\", "")) is not None
    except re.error:
        return False


def _groups(url: str) -> int | None:
    try:
        return re.compile(url).groups
    except re.error:
        return None
