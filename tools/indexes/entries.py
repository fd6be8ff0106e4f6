"""The entries of an index.yaml with their lines, so that some can be added or taken out and the rest stays as it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from gaeport.datastore import index_yaml
from gaeport.datastore.indexes import Index
from gaeport.errors import ConfigurationError

_EMPTY = "indexes:\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        index: what it says.
        line: its first line, from 1.
        end: the line after its last one.
    """

    index: Index
    line: int
    end: int


def read(path: Path) -> str:
    """Return an index.yaml's text; that of one without entries where there is no file."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return _EMPTY


def parse(text: str, place: str) -> list[Entry]:
    """Return the entries of an index.yaml, in its order, repeated ones too.

    Args:
        text: the file's text.
        place: the file's name, for messages.

    Raises:
        ConfigurationError: it is wrong, or written in braces, which cannot be edited line by line.
    """
    index_yaml.parse(text, place)  # refuses what is wrong, with the line
    found = []
    for node in _items(text, place):
        start, end = node.start_mark.line, _last_line(node) + 1
        alone = "".join(text.splitlines(keepends=True)[start:end])
        (index,) = index_yaml.parse(f"indexes:\n{alone}", place)
        found.append(Entry(index, start + 1, end + 1))
    return found


def add(text: str, indexes: Iterable[Index], place: str) -> str:
    """Return an index.yaml with indexes added after its last entry, everything else as it was."""
    entries = parse(text, place)
    lines = _ended(text)
    block = index_yaml.render(indexes).splitlines(keepends=True)
    if entries:
        last = entries[-1]
        written = lines[last.line - 1]
        indent = written[: len(written) - len(written.lstrip())]
        where = last.end - 1
    else:
        indent = ""
        where = _after_key(lines, text, place)
    return "".join([*lines[:where], *(indent + line for line in block), *lines[where:]])


def remove(text: str, entries: Sequence[Entry]) -> str:
    """Return an index.yaml without some of its entries; comments above them stay."""
    gone = {number for entry in entries for number in range(entry.line, entry.end)}
    return "".join(line for number, line in enumerate(_ended(text), 1) if number not in gone)


def _ended(text: str) -> list[str]:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines


def _items(text: str, place: str) -> list[yaml.Node]:
    _, value = _indexes(text)
    if not isinstance(value, yaml.SequenceNode):
        return []
    items: list[yaml.Node] = value.value
    if items and (value.flow_style or any(getattr(item, "flow_style", False) for item in items)):
        raise ConfigurationError(
            f"{place}:{value.start_mark.line + 1}: entries in [] or {{}} cannot be edited line by line; "
            "write each as `- kind: …` lines"
        )
    return items


def _indexes(text: str) -> tuple[yaml.Node, yaml.Node]:
    """Return the key `indexes` and its value, of a text that index_yaml takes."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((key, value) for key, value in pairs if key.value == "indexes")


def _last_line(node: yaml.Node) -> int:
    """Return the line of the last thing in a node; its own end mark stands after the comments that follow."""
    if isinstance(node, yaml.ScalarNode):
        return int(node.end_mark.line)
    parts = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
    return max((_last_line(part) for part in parts), default=int(node.start_mark.line))


def _after_key(lines: list[str], text: str, place: str) -> int:
    """Return the line after `indexes:`, and make that key ready for entries below it."""
    key, value = _indexes(text)
    number: int = key.start_mark.line
    if isinstance(value, yaml.SequenceNode):
        written = lines[number]
        lines[number] = written.replace("[]", "", 1).rstrip() + "\n"
        if "[]" not in written:
            raise ConfigurationError(f"{place}:{number + 1}: write `indexes:` alone in its line")
    return number + 1
