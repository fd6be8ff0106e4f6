"""dispatch.yaml: which service answers which address.

Source: "dispatch.yaml reference".
"""

import re
from collections.abc import Iterator

from ..findings import Finding
from .documents import Document, Node
from .rules import List, Map, Text

_MOST = 20
_SERVICE = Text("[a-z0-9][a-z0-9-]{0,62}", "a service's name")
_FILE = Map(
    {
        "dispatch": List(
            Map(
                {"url": Text("(?s).{1,100}", "at most 100 characters"), "service": _SERVICE, "module": _SERVICE},
                ("url",),
            ),
            _MOST,
            "a rule",
        ),
        "application": Text(),
    }
)


def check(document: Document) -> Iterator[Finding]:
    """Yield what is wrong with a dispatch.yaml."""
    yield from document.problems
    if document.root is None:
        if not document.problems:
            yield document.finding("dispatch.empty", "it is empty", "write `dispatch: []`, which removes every rule")
        return
    yield from _FILE.check(document.root, "dispatch.yaml", document, "dispatch")
    rules = document.root.get("dispatch")
    before: list[tuple[str, int]] = []
    for rule in rules.items if rules is not None and rules.kind == "list" else []:
        yield from _check_rule(rule, document)
        url = rule.text_of("url")
        for earlier, line in before:
            if url and _covers(earlier, url):
                message = f"{url} is never reached: {earlier} in line {line} answers first"
                yield document.warning("dispatch.shadowed", message, "put it before that", at=rule)
                break
        before.append((url, rule.line))


def _check_rule(rule: Node, document: Document) -> Iterator[Finding]:
    url = rule.get("url")
    if rule.kind == "map" and not rule.get("service") and not rule.get("module"):
        yield document.finding("dispatch.missing-key", "a rule: service is missing", at=rule)
    if url is None or url.kind in ("map", "list"):
        return
    host, slash, path = url.text.partition("/")
    if not slash:
        message = f"url: {url.text!r} has no path"
        yield document.finding("dispatch.url", message, f'write "{url.text}/*"', at=url)
    elif not host:
        message = f"url: {url.text!r} has no host"
        yield document.finding("dispatch.url", message, f'write "*{url.text}" for every host', at=url)
    elif "*" in host[1:] or "*" in path[:-1]:
        message = f"url: {url.text!r}: * may stand only before the host and after the path"
        yield document.finding("dispatch.url", message, at=url)
    elif "://" in url.text or "?" in path:
        yield document.finding("dispatch.url", f"url: {url.text!r} must be host/path alone", at=url)


def _covers(earlier: str, later: str) -> bool:
    """Whether a pattern answers everything that another would."""
    pattern = "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", earlier))
    return re.fullmatch(pattern, later.replace("*", "\0")) is not None
