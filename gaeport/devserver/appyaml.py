"""Reads the parts of app.yaml that a development server acts on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaeport.errors import ConfigurationError

FILE_NAME = "app.yaml"
DEFAULT_EXPIRATION = 600  # seconds; "app.yaml reference": caches keep 10 minutes where default_expiration is not set
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_EXPIRATION = re.compile(r"\s*(\d+[dhms]\s*)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Handler:
    """One entry of `handlers`.

    Attributes:
        url: matches the whole path (for static_dir: its beginning).
        static_dir: the folder whose files are served, relative to app.yaml's.
        static_files: the file to serve, with \\1 for the first group of `url`.
        upload: what static_files may name; others were not deployed.
        mime_type: the Content-Type of every file; by default guessed from each name.
        expiration: seconds that caches may keep the answer.
        http_headers: added to the answer.
    """

    url: re.Pattern[str]
    static_dir: str | None = None
    static_files: str | None = None
    upload: re.Pattern[str] | None = None
    mime_type: str | None = None
    expiration: int = DEFAULT_EXPIRATION
    http_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AppYaml:
    """What app.yaml says.

    Attributes:
        runtime: such as "python313".
        service: the service's name.
        env_variables: set before the application is loaded.
        handlers: in order; the first that matches serves.
    """

    runtime: str = "python313"
    service: str = "default"
    env_variables: Mapping[str, str] = field(default_factory=dict)
    handlers: tuple[Handler, ...] = ()


def load(root: Path) -> AppYaml:
    """Read app.yaml in a folder; without one everything goes to the application.

    Raises:
        ConfigurationError: the file is not YAML, or a value has a form that App Engine refuses.
    """
    import yaml

    path = root / FILE_NAME
    try:
        table = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return AppYaml()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: must be a table of keys, such as runtime: python313")
    return _parse(table, path)


def _parse(table: Mapping[str, Any], path: Path) -> AppYaml:
    variables = table.get("env_variables") or {}
    if not isinstance(variables, Mapping):
        raise ConfigurationError(f"{path}: env_variables must be a table of names and values")
    handlers = table.get("handlers") or []
    if not isinstance(handlers, list) or not all(isinstance(item, Mapping) for item in handlers):
        raise ConfigurationError(f"{path}: handlers must be a list of tables, each with url")
    default = _seconds(table.get("default_expiration"), DEFAULT_EXPIRATION, f"{path}: default_expiration")
    return AppYaml(
        runtime=str(table.get("runtime") or AppYaml().runtime),
        service=str(table.get("service") or AppYaml().service),
        # As the deploy client does: YAML's true becomes "True".
        env_variables={str(name): "" if value is None else str(value) for name, value in variables.items()},
        handlers=tuple(_handler(item, default, f"{path}: handler {i}") for i, item in enumerate(handlers, 1)),
    )


def _handler(item: Mapping[str, Any], default: int, where: str) -> Handler:
    url = item.get("url")
    if not isinstance(url, str) or not url:
        raise ConfigurationError(f"{where}: url is missing")
    where = f"{where} (url: {url})"
    kinds = [kind for kind in ("static_dir", "static_files", "script") if item.get(kind) is not None]
    if len(kinds) != 1:
        raise ConfigurationError(f"{where}: needs exactly one of script: auto, static_dir, static_files")
    if kinds == ["script"]:
        return Handler(url=_pattern(url, where))
    return _static(item, kinds[0], default, where)


def _static(item: Mapping[str, Any], kind: str, default: int, where: str) -> Handler:
    url, value = str(item["url"]), str(item[kind])
    headers = item.get("http_headers") or {}
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"{where}: http_headers must be a table of names and values")
    if kind == "static_files" and not item.get("upload"):
        raise ConfigurationError(f"{where}: static_files needs upload, a regular expression for the files to deploy")
    return Handler(
        url=_pattern(f"{url.rstrip('/')}/(.*)" if kind == "static_dir" else url, where),
        static_dir=value.strip("/") if kind == "static_dir" else None,
        static_files=value if kind == "static_files" else None,
        upload=_pattern(str(item["upload"]), where) if kind == "static_files" else None,
        mime_type=item.get("mime_type"),
        expiration=_seconds(item.get("expiration"), default, f"{where}: expiration"),
        http_headers=tuple((str(name), str(value)) for name, value in headers.items()),
    )


def _pattern(text: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigurationError(f"{where}: {text!r} is not a regular expression: {error}") from error


def _seconds(text: object, default: int, where: str) -> int:
    if text is None:
        return default
    if not isinstance(text, str) or not _EXPIRATION.fullmatch(text):
        raise ConfigurationError(f'{where}: {text!r} must be written as numbers with units, such as "4d 5h"')
    return sum(int(part[:-1]) * _UNITS[part[-1].lower()] for part in re.findall(r"\d+[dhms]", text, re.IGNORECASE))
