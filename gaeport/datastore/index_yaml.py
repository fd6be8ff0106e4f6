"""index.yaml: the composite indexes that a project has, read and written.

Source: "Indexes configuration" of Firestore in Datastore mode; the schema is the one that gcloud reads.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import yaml

from gaeport.datastore.index_needs import Direction, Property
from gaeport.datastore.indexes import Index
from gaeport.errors import ConfigurationError

FILE_NAME = "index.yaml"
MAX_INDEXES = 1_000  # composite indexes of one project with billing enabled; without it, MAX_INDEXES_FREE
MAX_INDEXES_FREE = 200
MAX_PROPERTIES = 100  # of one composite index

_DIRECTIONS: dict[str, Direction] = {"asc": "asc", "ascending": "asc", "desc": "desc", "descending": "desc"}
_STRING, _BOOLEAN, _NOTHING = (f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "null"))


def load(path: Path) -> tuple[Index, ...]:
    """Read an index.yaml.

    Args:
        path: the file. One that does not exist names no indexes.

    Raises:
        ConfigurationError: the file cannot be read or is wrong; the message names file, line and key.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, place: str = FILE_NAME) -> tuple[Index, ...]:
    """Return the indexes that the text of an index.yaml names, in its order.

    Args:
        text: the YAML.
        place: where it came from, for messages.

    Raises:
        ConfigurationError: it is not YAML, is empty, or breaks a rule of gcloud or the service; the message names
            place, line and key.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}:{mark.line + 1}" if mark else place
        raise ConfigurationError(f"{where}: is not YAML: {getattr(error, 'problem', error)}") from error
    if root is None:
        raise ConfigurationError(f"{place}: is empty, which gcloud refuses; write `indexes:`")
    return _Reader(place).indexes(root)


def render(indexes: Iterable[Index]) -> str:
    """Return the entries of index.yaml for indexes, as they stand under `indexes:`."""
    return "".join(_entry(index) for index in indexes)


def _entry(index: Index) -> str:
    lines = [f"- kind: {_quoted(index.kind)}"]
    if index.ancestor:
        lines.append("  ancestor: yes")
    lines.append("  properties:")
    for name, direction in index.properties:
        lines.append(f"  - name: {_quoted(name)}")
        if direction == "desc":
            lines.append("    direction: desc")
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """Return a string as YAML, quoted where it would read as something else (`y`, `on`, `1`)."""
    try:
        plain = yaml.safe_load(f"name: {text}") == {"name": text}
    except yaml.YAMLError:
        plain = False
    return text if plain and not _short_boolean(text) else json.dumps(text, ensure_ascii=False)


class _Reader:
    """Walks the nodes of a file, for those know their lines."""

    def __init__(self, place: str) -> None:
        self._place = place

    def indexes(self, root: yaml.Node) -> tuple[Index, ...]:
        table = self._table(root, ("indexes", "application"), "an index.yaml")
        if "indexes" not in table:
            self._fail(root, "has no `indexes:`")
        if table["indexes"].tag == _NOTHING:
            return ()
        found: dict[Index, int] = {}
        for node in self._list(table["indexes"], "indexes"):
            found.setdefault(self._index(node), node.start_mark.line)
        if len(found) > MAX_INDEXES:
            self._fail(
                table["indexes"],
                f"names {len(found):,} indexes; the limit is {MAX_INDEXES:,} ({MAX_INDEXES_FREE} without billing)",
            )
        return tuple(found)

    def _index(self, node: yaml.Node) -> Index:
        table = self._table(node, ("kind", "ancestor", "properties"), "an index")
        for key in ("kind", "properties"):
            if key not in table:
                self._fail(node, f"an index without `{key}`")
        properties = [self._property(item) for item in self._list(table["properties"], "properties")]
        if not 1 <= len(properties) <= MAX_PROPERTIES:
            self._fail(table["properties"], f"properties: {len(properties)} of them; 1 to {MAX_PROPERTIES} are allowed")
        names = [name for name, _ in properties]
        for name in names:
            if names.count(name) > 1:
                self._fail(table["properties"], f"properties: {name!r} is named twice")
        ancestor = "ancestor" in table and self._boolean(table["ancestor"], "ancestor")
        return Index(self._string(table["kind"], "kind"), ancestor, tuple(properties))

    def _property(self, node: yaml.Node) -> Property:
        table = self._table(node, ("name", "direction"), "a property of an index")
        if "name" not in table:
            self._fail(node, "a property without `name`")
        name = self._string(table["name"], "name")
        if "direction" not in table:
            return name, "asc"
        direction = self._string(table["direction"], "direction")
        if direction not in _DIRECTIONS:
            self._fail(table["direction"], f"direction: {direction!r} is unknown; valid: asc, desc")
        return name, _DIRECTIONS[direction]

    def _table(self, node: yaml.Node, valid: tuple[str, ...], what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, f"{what} must be written as `key: value` lines")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.value not in valid:
                self._fail(key, f"unknown key {key.value!r} in {what}; valid: {', '.join(valid)}")
            if key.value in found:
                self._fail(key, f"the key {key.value!r} is there twice")
            found[key.value] = value
        return found

    def _list(self, node: yaml.Node, key: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, f"{key}: must be a list, each entry with a leading `- `")
        entries: list[yaml.Node] = node.value
        return entries

    def _string(self, node: yaml.Node, key: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._fail(node, f"{key}: must be a name, not a list or a table")
        if not node.value:
            self._fail(node, f"{key}: is empty")
        if node.tag != _STRING or _is_short_boolean(node):
            kind = "bool" if _is_short_boolean(node) else node.tag.rpartition(":")[2]
            self._fail(node, f'{key}: {node.value} is a {kind} in YAML, not a name; quote it: "{node.value}"')
        return str(node.value)

    def _boolean(self, node: yaml.Node, key: str) -> bool:
        if node.tag != _BOOLEAN:
            self._fail(node, f"{key}: must be yes or no, without quotes")
        return bool(yaml.SafeLoader.bool_values[node.value.lower()])

    def _fail(self, node: yaml.Node, message: str) -> NoReturn:
        raise ConfigurationError(f"{self._place}:{node.start_mark.line + 1}: {message}")


def _is_short_boolean(node: yaml.ScalarNode) -> bool:
    """Tell whether a word is a boolean to YAML 1.1, and so to gcloud, though not to PyYAML."""
    return node.style is None and _short_boolean(node.value)


def _short_boolean(text: str) -> bool:
    return text.lower() in ("y", "n")
