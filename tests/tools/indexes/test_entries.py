"""index.yaml is edited by the line: what is not changed stays byte for byte."""

import random

import pytest

from gaeport.datastore import index_yaml
from gaeport.datastore.indexes import Index
from gaeport.errors import ConfigurationError
from tools.indexes import entries

TEXT = """\
# Ours.
indexes:

# the list
- kind: Note   # short
  properties:
  - name: tags
  - {name: created, direction: desc}

# the board
- kind: "Board"
  ancestor: yes
  properties:
  - name: 'y'
# the end
"""
ADDED = Index("Shop", False, (("a", "asc"), ("b", "desc")))
PLACE = "index.yaml"


def test_each_entry_knows_its_lines() -> None:
    found = entries.parse(TEXT, PLACE)
    assert [(entry.index.kind, entry.line, entry.end) for entry in found] == [("Note", 5, 9), ("Board", 11, 15)]


def test_what_is_added_stands_after_the_last_entry_and_all_else_as_before() -> None:
    text = entries.add(TEXT, [ADDED], PLACE)
    assert text.replace(index_yaml.render([ADDED]), "") == TEXT
    assert [entry.index for entry in entries.parse(text, PLACE)][-1] == ADDED
    assert text.endswith("    direction: desc\n# the end\n")


def test_what_is_removed_takes_its_own_lines_only() -> None:
    first, second = entries.parse(TEXT, PLACE)
    lines = TEXT.splitlines(keepends=True)
    assert entries.remove(TEXT, [first]) == "".join(lines[:4] + lines[8:])
    assert entries.remove(TEXT, [first, second]) == "# Ours.\nindexes:\n\n# the list\n\n# the board\n# the end\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("indexes:\n", "indexes:\n{}"),
        ("indexes:", "indexes:\n{}"),
        ("indexes: []  # none\n# end\n", "indexes:   # none\n{}# end\n"),
        ("indexes:\n  - kind: A\n    properties: [{name: x}]", None),
    ],
)
def test_the_first_entry_and_an_indented_one(text: str, expected: str | None) -> None:
    made = entries.add(text, [ADDED], PLACE)
    assert index_yaml.parse(made)[-1] == ADDED
    if expected is None:
        assert made.startswith(text + "\n  - kind: Shop\n    properties:\n    - name: a\n")
    else:
        assert made == expected.format(index_yaml.render([ADDED]))


def test_entries_in_braces_are_refused_with_the_line() -> None:
    with pytest.raises(ConfigurationError, match=r"index.yaml:1: .*line by line"):
        entries.parse("indexes: [{kind: A, properties: [{name: x}]}]", PLACE)


def test_random_additions_and_removals_leave_the_comments_and_the_other_entries() -> None:
    chance = random.Random(4)
    text, present = TEXT, [entry.index for entry in entries.parse(TEXT, PLACE)]
    for number in range(200):
        if chance.random() < 0.5 or not present:
            index = Index(f"K{number}", chance.random() < 0.5, (("a", "asc"), (f"b{number}", "desc")))
            text = entries.add(text, [index], PLACE)
            present.append(index)
        else:
            gone = chance.choice(entries.parse(text, PLACE))
            text = entries.remove(text, [gone])
            present.remove(gone.index)
        assert [entry.index for entry in entries.parse(text, PLACE)] == present
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Ours.",
        "# the list",
        "# the board",
        "# the end",
    ]
