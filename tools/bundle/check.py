"""What would go wrong, or leak, if the folder were deployed as it is."""

import configparser
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from gaeport.errors import ConfigurationError
from gaeport.settings import Settings
from gaeport.wsgi import default_application

from ..findings import Finding
from . import generate, secrets
from .imports import module_file, needs
from .patterns import IGNORE_FILE, Pattern, deciding, load
from .tree import Entry, walk

MAX_FILES = 10_000  # a version; "Quotas and limits" of App Engine
MAX_FILE = 32 * 1024 * 1024  # bytes; gcloud refuses a larger file before it uploads anything
_GENERATE = "run: gaeport bundle generate"


def check(root: Path, config: Settings) -> list[Finding]:
    """Return everything that is wrong with what would be uploaded.

    Args:
        root: the application's folder.
        config: its settings.
    """
    try:
        patterns = load(root)
        entries = list(walk(root, patterns))
    except ConfigurationError as error:
        return [
            Finding("bundle.ignore-file", "error", str(error), "put the file there, or remove the line", IGNORE_FILE)
        ]
    except OSError as error:
        return [Finding("bundle.link", "error", f"{error.strerror}", "remove the link", str(error.filename))]
    uploaded = [entry for entry in entries if entry.goes]
    return [
        *_ignore_file(root, patterns),
        *_skip_files(root),
        *_sizes(uploaded),
        *_links(root, uploaded),
        *_environments(uploaded),
        *_local_data(root, config, uploaded),
        *_secrets(root, uploaded),
        *_missing(root, config, patterns),
        *_remotes(root),
    ]


def _ignore_file(root: Path, patterns: list[Pattern]) -> Iterator[Finding]:
    if not (root / IGNORE_FILE).exists():
        yield Finding(
            "bundle.no-ignore-file",
            "error",
            f"there is no {IGNORE_FILE}: gcloud writes one that uploads tests, .env files and virtual environments",
            _GENERATE,
        )
        return
    for pattern in patterns:
        above = pattern.parts[:-1]
        if not pattern.negated or not above or not all(re.fullmatch(r"[^*?\[]*", part) for part in above):
            continue
        names = [part for part in above if part]
        lost = deciding(patterns, names, folder=True) if names and pattern.parts[0] == "" else None
        if lost is not None:
            yield Finding(
                "bundle.lost-exception",
                "warning",
                f"{pattern.text} has no effect: {lost.text} leaves out the whole folder {'/'.join(names)}",
                f"write {'/'.join(names)}/* in place of {lost.text}, and the exception after it",
                pattern.file,
                pattern.line,
            )


def _skip_files(root: Path) -> Iterator[Finding]:
    path = root / generate.APP_FILE
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    for number, line in enumerate(text.splitlines(), 1):
        if "skip_files" not in line:
            continue
        if not generate.takes_skip_files(text):
            yield Finding(
                "bundle.skip-files",
                "error",
                "gcloud refuses skip_files with a Python 3 runtime, even the word in a comment",
                f"remove the line; {_GENERATE}, which writes {IGNORE_FILE}",
                generate.APP_FILE,
                number,
            )
        elif (root / IGNORE_FILE).exists():
            yield Finding(
                "bundle.skip-files",
                "error",
                f"gcloud refuses skip_files beside {IGNORE_FILE}",
                "remove one of the two",
                generate.APP_FILE,
                number,
            )


def _sizes(uploaded: list[Entry]) -> Iterator[Finding]:
    for entry in uploaded:
        if entry.size > MAX_FILE:
            yield Finding(
                "bundle.large-file",
                "error",
                f"{entry.size:,} bytes; App Engine takes files of up to {MAX_FILE:,}",
                f"keep it in Cloud Storage, or list it in gaeport.toml: [bundle] ignore; then {_GENERATE[5:]}",
                entry.path,
            )
    if len(uploaded) > MAX_FILES:
        folders: dict[str, int] = {}
        for entry in uploaded:
            top = entry.path.split("/")[0]
            folders[top] = folders.get(top, 0) + 1
        most = sorted(folders.items(), key=lambda item: -item[1])[:3]
        yield Finding(
            "bundle.files",
            "error",
            f"{len(uploaded):,} files; a version takes {MAX_FILES:,}. Most are in "
            + ", ".join(f"{name} ({count:,})" for name, count in most),
            "gaeport bundle list shows them; leave folders out by gaeport.toml: [bundle] ignore",
        )


def _links(root: Path, uploaded: list[Entry]) -> Iterator[Finding]:
    for entry in uploaded:
        if not (root / entry.path).exists():
            target = os.readlink(root / entry.path)
            message = f"a link to {target}, which is not there: gcloud fails at it"
            yield Finding("bundle.link", "error", message, "remove it, or list it in [bundle] ignore", entry.path)


def _environments(uploaded: list[Entry]) -> Iterator[Finding]:
    for entry in uploaded:
        folder, _, name = entry.path.rpartition("/")
        if name == "pyvenv.cfg":
            count = sum(other.path.startswith(f"{folder}/") for other in uploaded)
            yield Finding(
                "bundle.environment",
                "error",
                f"a virtual environment of {count:,} files would be uploaded; requirements.txt says what to install",
                f'gaeport.toml: [bundle] ignore = ["/{folder}/"]; then {_GENERATE[5:]}',
                folder,
            )


def _local_data(root: Path, config: Settings, uploaded: list[Entry]) -> Iterator[Finding]:
    if config.in_memory or not config.data_path.is_relative_to(root):
        return
    data = config.data_path.relative_to(root).as_posix()
    if any(entry.path.startswith(f"{data}/") for entry in uploaded):
        yield Finding("bundle.data", "error", "the data of local runs would be uploaded", _GENERATE, data)


def _secrets(root: Path, uploaded: list[Entry]) -> Iterator[Finding]:
    for entry in uploaded:
        pattern = secrets.by_name(entry.path)
        found = (
            None if pattern is not None or not (root / entry.path).exists() else secrets.by_content(root / entry.path)
        )
        if pattern is None and found is None:
            continue
        message = (
            f"its name is that of a secret ({pattern.text})" if pattern else f"it holds {found[0] if found else ''}"
        )
        yield Finding(
            "bundle.secret",
            "error",
            f"{message}, and it would be uploaded",
            "leave it out by gaeport.toml: [bundle] ignore, and keep the secret in Secret Manager; "
            "where it is none, say so: [bundle] keep",
            entry.path,
            found[1] if found else None,
        )


def _missing(root: Path, config: Settings, patterns: list[Pattern]) -> Iterator[Finding]:
    """Yield what main.py and the application need and what would stay at home."""
    entries = ["main.py"] if (root / "main.py").exists() else []
    application = module_file(root, default_application(config).partition(":")[0])
    entries += [application] if application is not None and application not in entries else []
    for name in ("app.yaml", "requirements.txt", *entries):
        lost = deciding(patterns, name.split("/"), folder=False)
        if lost is not None and (root / name).exists() and name != "app.yaml":
            yield _left_out(name, lost, "the application cannot start without it", "error")
    for need in needs(root, entries):
        lost = deciding(patterns, need.path.split("/"), folder=False)
        if lost is not None:
            why = f"{need.importer}:{need.line} imports it" + (", where it may be missing" if need.optional else "")
            yield _left_out(need.path, lost, why, "warning" if need.optional else "error")


def _left_out(path: str, lost: Pattern, why: str, severity: str) -> Finding:
    place = f"{lost.file}:{lost.line}" if lost.line else lost.file
    return Finding(
        "bundle.missing",
        "error" if severity == "error" else "warning",
        f"it stays at home by {lost.text} ({place}), but {why}",
        f'gaeport.toml: [bundle] keep = ["/{path.split("/")[0]}{"/" if "/" in path else ""}"]; then {_GENERATE[5:]}',
        path,
    )


def _remotes(root: Path) -> Iterator[Finding]:
    """Yield git remotes with a password: gcloud sends the URL with the version, and the console shows it."""
    for folder in (root, *root.absolute().parents):
        path = folder / ".git" / "config"
        if path.is_file():
            break
    else:
        return
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(re.sub(r"(?m)^\s+", "", path.read_text("utf-8", "replace")))
    except configparser.Error:
        return  # not git's own writing; git itself refuses it too
    for section in parser.sections():
        url = parser.get(section, "url", fallback="") or ""
        if section.startswith("remote ") and urlsplit(url).password:
            host = urlsplit(url).hostname
            yield Finding(
                "bundle.remote",
                "error",
                f"the git {section} at {host} has a password in its URL; gcloud uploads the URL with the version",
                "git remote set-url it without the password, and use a credential helper",
                os.path.relpath(path, root),
            )
