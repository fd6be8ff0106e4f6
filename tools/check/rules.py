"""What a value of a YAML file may be: small rules, put together to the schema of a file."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Protocol

from ..findings import Finding
from .documents import Document, Node


class Rule(Protocol):
    """What one value may be."""

    def check(self, node: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
        """Yield what is wrong with a value.

        Args:
            node: the value.
            name: how messages call it.
            document: the file.
            code: put before the codes of findings.
        """
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar, as it is written.

    Attributes:
        pattern: what must match the whole of it.
        words: what it must be, in words.
        quoted: whether another type than text is refused: gcloud would take it for something else.
    """

    pattern: str = "(?s).+"
    words: str = "a text"
    quoted: bool = False

    def check(self, node: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
        """Yield what is wrong with a value."""
        if node.kind in ("map", "list") or not re.fullmatch(self.pattern, node.text):
            written = "a list" if node.kind == "list" else "a map" if node.kind == "map" else repr(node.text)
            yield document.finding(f"{code}.value", f"{name}: {written} must be {self.words}", at=node)
        elif self.quoted and node.kind != "text":
            message = f"{name}: {node.text} is a {node.kind} in YAML, not a text"
            yield document.finding(f"{code}.value", message, f'write "{node.text}"', at=node)


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds.

    Attributes:
        least: the smallest.
        most: the largest; None for any.
        whole: whether it has no fraction.
    """

    least: float = 0
    most: float | None = None
    whole: bool = True

    def check(self, node: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
        """Yield what is wrong with a value."""
        try:
            number = float(node.text) if node.kind in ("number", "text") else None
        except ValueError:
            number = None
        kind = "a whole number" if self.whole else "a number"
        if number is None or (self.whole and number != int(number)):
            yield document.finding(f"{code}.value", f"{name}: {node.text or node.kind!r} must be {kind}", at=node)
        elif number < self.least or (self.most is not None and number > self.most):
            bounds = f"at least {self.least:g}" if self.most is None else f"{self.least:g} to {self.most:g}"
            yield document.finding(f"{code}.value", f"{name}: {node.text} must be {kind}, {bounds}", at=node)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def check(self, node: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
        """Yield what is wrong with a value."""
        if node.kind != "flag":
            yield document.finding(
                f"{code}.value", f"{name}: {node.text or node.kind!r} must be true or false", at=node
            )


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def check(self, node: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
        """Yield what is wrong with a value."""
        if node.text not in self.words:
            message = f"{name}: {node.text or node.kind!r} is unknown; valid: {', '.join(self.words)}"
            yield document.finding(f"{code}.value", message, suggestion(node.text, self.words), at=node)


@dataclass(frozen=True, slots=True)
class Map:
    """A map with known keys.

    Attributes:
        keys: the rule of each.
        needed: those that must be there.
        refused: keys that gcloud refuses here, each with the remedy.
    """

    keys: Mapping[str, Rule]
    needed: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    def check(self, node: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
        """Yield what is wrong with a map and in it."""
        if node.kind != "map":
            yield document.finding(f"{code}.value", f"{name} must be written as `key: value` lines", at=node)
            return
        for key, value in node.entries.items():
            line = node.line_of(key)
            if key in self.refused:
                message = f"{name}: gcloud refuses {key} for Python 3"
                yield document.finding(f"{code}.refused-key", message, self.refused[key], at=line)
            elif key not in self.keys:
                message = f"{name}: unknown key {key!r}, which gcloud refuses"
                yield document.finding(f"{code}.unknown-key", message, suggestion(key, self.keys), at=line)
            elif value.kind == "nothing":
                yield document.finding(f"{code}.value", f"{key}: has no value", "write one, or remove it", at=line)
            else:
                yield from self.keys[key].check(value, key, document, code)
        for key in self.needed:
            if key not in node.entries:
                yield document.finding(f"{code}.missing-key", f"{name}: {key} is missing", at=node)


@dataclass(frozen=True, slots=True)
class Names:
    """A map with free keys.

    Attributes:
        rule: of each value.
    """

    rule: Rule

    def check(self, node: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
        """Yield what is wrong with a map and in it."""
        if node.kind != "map":
            yield document.finding(f"{code}.value", f"{name} must be written as `key: value` lines", at=node)
            return
        for key, value in node.entries.items():
            yield from self.rule.check(value, f"{name}: {key}", document, code)


@dataclass(frozen=True, slots=True)
class List:
    """A list.

    Attributes:
        rule: of each item.
        most: how many there may be.
        one: what messages call an item.
    """

    rule: Rule
    most: int | None = None
    one: str = "an entry"

    def check(self, node: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
        """Yield what is wrong with a list and in it."""
        if node.kind != "list":
            message = f"{name} must be a list, each entry with a leading `- `"
            yield document.finding(f"{code}.value", message, at=node)
            return
        if self.most is not None and len(node.items) > self.most:
            message = f"{name}: {len(node.items)} of them; {self.most} are allowed"
            yield document.finding(f"{code}.too-many", message, at=node)
        for item in node.items:
            yield from self.rule.check(item, self.one, document, code)


def suggestion(word: str, valid: Iterable[str]) -> str:
    """Return a hint at what was meant, or at what there is."""
    close = get_close_matches(word, list(valid), 1)
    return f"did you mean {close[0]}?" if close else ""
