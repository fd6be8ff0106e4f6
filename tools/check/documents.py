"""YAML files whose every value knows its line."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..findings import Finding

_SCALARS = {"str": "text", "int": "number", "float": "number", "bool": "flag", "null": "nothing"}


@dataclass(slots=True)
class Node:
    """A value in a file.

    Attributes:
        kind: "map", "list", "text", "number", "flag", "nothing", or "other" (a date, say).
        value: of a scalar, what it stands for.
        text: of a scalar, how it is written, without quotes.
        line: its line, from 1.
        entries: of a map, by key.
        items: of a list.
        keys: of a map, the line of each key.
    """

    kind: str
    line: int
    value: Any = None
    text: str = ""
    entries: dict[str, "Node"] = field(default_factory=dict)
    items: list["Node"] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)

    def get(self, key: str) -> "Node | None":
        """Return a map's value, or None where the key is missing or has nothing."""
        found = self.entries.get(key)
        return None if found is None or found.kind == "nothing" else found

    def text_of(self, key: str) -> str:
        """Return a scalar of a map as it is written; "" where there is none."""
        found = self.get(key)
        return "" if found is None else found.text

    def line_of(self, key: str) -> int:
        """Return the line of a key, or of the map itself."""
        return self.keys.get(key, self.line)


@dataclass(frozen=True, slots=True)
class Document:
    """One file.

    Attributes:
        file: its name, for findings.
        root: what is in it; None for an empty file.
        problems: what makes it unreadable, or is twice in it.
    """

    file: str
    root: Node | None
    problems: tuple[Finding, ...] = ()

    def finding(self, code: str, message: str, fix: str = "", *, at: Node | int | None = None) -> Finding:
        """Return an error in this file. `at` is the value, or the line, that is wrong."""
        line = at.line if isinstance(at, Node) else at
        return Finding(code, "error", message, fix, self.file, line)

    def warning(self, code: str, message: str, fix: str = "", *, at: Node | int | None = None) -> Finding:
        """As finding(), of what will hurt but is not refused."""
        line = at.line if isinstance(at, Node) else at
        return Finding(code, "warning", message, fix, self.file, line)


def load(path: Path, code: str) -> Document | None:
    """Read a YAML file; None where there is no such file.

    Args:
        path: the file.
        code: what to put before the codes of findings, such as "app".
    """
    if not path.is_file():
        return None
    try:
        root = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        message = f"is not YAML: {getattr(error, 'problem', None) or error}"
        return Document(path.name, None, (Finding(f"{code}.yaml", "error", message, "", path.name, line),))
    problems: list[Finding] = []
    made = None if root is None else _node(root, path.name, code, problems)
    return Document(path.name, made, tuple(problems))


def _node(node: yaml.Node, file: str, code: str, problems: list[Finding]) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        made = Node("map", line)
        for key, value in _pairs(node):
            if key.value in made.entries:
                message = f"the key {key.value!r} is there twice; the last one counts"
                problems.append(Finding(f"{code}.twice", "error", message, "remove one", file, key.start_mark.line + 1))
            made.entries[key.value] = _node(value, file, code, problems)
            made.keys[key.value] = key.start_mark.line + 1
        return made
    if isinstance(node, yaml.SequenceNode):
        return Node("list", line, items=[_node(item, file, code, problems) for item in node.value])
    kind = _SCALARS.get(node.tag.rpartition(":")[2], "other")
    value = yaml.SafeLoader("").construct_object(node) if kind != "other" else node.value
    return Node(kind, line, value, str(node.value))


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield keys and values, those of merged maps (`<<: *base`) where the map has no own."""
    own = {key.value for key, _ in node.value}
    for key, value in node.value:
        if key.tag.endswith(":merge"):
            merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for other in merged:
                yield from (pair for pair in _pairs(other) if pair[0].value not in own)
        else:
            yield key, value
