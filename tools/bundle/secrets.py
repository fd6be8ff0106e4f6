"""Secrets in files that would be uploaded, by the shapes that their issuers document."""

import re
from pathlib import Path

from .defaults import GROUPS
from .patterns import Pattern, deciding, parse_line

_READ = 262_144  # bytes looked at in a file: keys stand in small files, or near the top

_SHAPES = (
    ("a private key", re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")),
    ("a service account's key", re.compile(rb'"type"\s*:\s*"service_account"')),
    ("a Google API key", re.compile(rb"\bAIza[0-9A-Za-z_-]{35}\b")),
    ("a Google OAuth client secret", re.compile(rb"\bGOCSPX-[0-9A-Za-z_-]{28}\b")),
    ("an AWS access key", re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(rb"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{82})\b")),
    ("a Slack token", re.compile(rb"\bxox[abeoprs]-[0-9A-Za-z-]{10,}")),
    ("a Stripe live key", re.compile(rb"\b[rs]k_live_[0-9A-Za-z]{24,}")),
)


def by_name(path: str) -> Pattern | None:
    """Return the pattern of the default list's secrets that a path answers to, or None."""
    patterns = [found for line in _lines() if (found := parse_line(line)) is not None]
    return deciding(patterns, path.split("/"), folder=False)


def by_content(path: Path) -> tuple[str, int] | None:
    """Return what a file seems to hold and the line of it, or None.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_READ)
    if b"\0" in content[:8192]:
        return None  # not text
    for name, shape in _SHAPES:
        found = shape.search(content)
        if found is not None:
            return name, content.count(b"\n", 0, found.start()) + 1
    return None


def _lines() -> tuple[str, ...]:
    return next(group.lines for group in GROUPS if group.reason == "secrets")
