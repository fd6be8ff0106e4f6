"""index.yaml, read as gcloud reads it, and written."""

from pathlib import Path

import pytest
import yaml

from gaeport.datastore import index_yaml
from gaeport.datastore.indexes import Index
from gaeport.errors import ConfigurationError

GOOD = """\
indexes:

# Newest first.
- kind: Note
  properties:
  - name: tags
  - {name: created, direction: desc}
- kind: "y"
  ancestor: yes
  properties:
  - name: a.b
    direction: ascending
  - name: __key__
    direction: descending
"""
PARSED = (
    Index("Note", False, (("tags", "asc"), ("created", "desc"))),
    Index("y", True, (("a.b", "asc"), ("__key__", "desc"))),
)


def test_indexes_are_read_in_their_order() -> None:
    assert index_yaml.parse(GOOD) == PARSED


@pytest.mark.parametrize("text", ["indexes:\n", "indexes: []\n", "application: shop\nindexes:\n"])
def test_a_file_may_name_no_indexes(text: str) -> None:
    assert index_yaml.parse(text) == ()


def test_what_is_written_is_read_again() -> None:
    odd = Index(
        "n", False, (("on", "asc"), ("1", "asc"), ("a: b", "desc"), ("é#\n", "asc"), ("Y", "asc"), ("null", "asc"))
    )
    text = index_yaml.render([*PARSED, odd])
    assert index_yaml.parse("indexes:\n" + text) == (*PARSED, odd)
    assert yaml.safe_load(text)[0] == {
        "kind": "Note",
        "properties": [{"name": "tags"}, {"name": "created", "direction": "desc"}],
    }


def test_an_index_is_written_as_the_service_words_it() -> None:
    assert index_yaml.render([Index("Task", True, (("done", "asc"), ("created", "desc")))]) == (
        "- kind: Task\n  ancestor: yes\n  properties:\n  - name: done\n  - name: created\n    direction: desc\n"
    )


ENTRY = "indexes:\n- kind: K\n  properties:\n  - name: "


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, ["is empty", "indexes:"]),
        ("# nothing\n", None, ["is empty"]),
        ("- kind: K\n", 1, ["an index.yaml", "key: value"]),
        ("application: shop\n", 1, ["no `indexes:`"]),
        ("indexes:\n- kind: K\n", 2, ["without `properties`"]),
        ("indexes:\n- properties:\n  - name: a\n", 2, ["without `kind`"]),
        ("indexes:\n- kind: K\n  properties:\n", 3, ["properties", "list"]),
        ("indexes:\n- kind: K\n  properties: []\n", 3, ["properties: 0"]),
        ("indexes:\n  kind: K\n", 2, ["indexes: must be a list"]),
        (ENTRY + "y\n", 4, ["name: y is a bool", 'quote it: "y"']),
        (ENTRY + "on\n", 4, ["name: on is a bool", 'quote it: "on"']),
        (ENTRY + "12\n", 4, ["name: 12 is a int", 'quote it: "12"']),
        (ENTRY + "\n", 4, ["name: is empty"]),
        (ENTRY + "[a]\n", 4, ["name: must be a name"]),
        (ENTRY + "a\n  - name: a\n", 4, ["'a' is named twice"]),
        (ENTRY + "a\n    direction: down\n", 5, ["'down' is unknown", "asc, desc"]),
        (ENTRY + "a\n    mode: geospatial\n", 5, ["unknown key 'mode'", "name, direction"]),
        ("indexes:\n- kind: K\n  ancestor: 'yes'\n  properties:\n  - name: a\n", 3, ["ancestor", "without quotes"]),
        ("indexes:\n- kind: K\n  kind: L\n", 3, ["'kind' is there twice"]),
        ("indexes:\n- kind: no\n  properties:\n  - name: a\n", 2, ["kind: no is a bool"]),
        ("indexes: [\n", 2, ["is not YAML"]),
        ("indexes:\n---\nindexes:\n", 2, ["is not YAML"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, line: int | None, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        index_yaml.parse(text, "app/index.yaml")
    message = str(raised.value)
    assert message.startswith("app/index.yaml:" if line is None else f"app/index.yaml:{line}: "), message
    for word in words:
        assert word in message


def test_more_indexes_than_a_project_may_have_are_refused() -> None:
    entries = [Index("K", False, ((f"p{i}", "asc"), ("q", "asc"))) for i in range(index_yaml.MAX_INDEXES + 1)]
    assert len(index_yaml.parse("indexes:\n" + index_yaml.render(entries[1:]))) == index_yaml.MAX_INDEXES
    with pytest.raises(ConfigurationError, match=r"names 1,001 indexes; the limit is 1,000 \(200 without billing\)"):
        index_yaml.parse("indexes:\n" + index_yaml.render(entries))


def test_no_file_names_no_indexes(tmp_path: Path) -> None:
    assert index_yaml.load(tmp_path / "index.yaml") == ()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"index\.yaml: cannot be read"):
        index_yaml.load(tmp_path / "index.yaml")
