"""`gaeport indexes`, as it is run."""

import json
import sys
from pathlib import Path

import pytest

from gaeport import cli

PROGRAM = """\
import gaeport
from google.cloud import ndb

class Note(ndb.Model):
    tags = ndb.StringProperty(repeated=True)
    created = ndb.IntegerProperty()

def ask():
    with gaeport.datastore.ndb_client().context():
        Note(tags=[str(n) for n in range(40)], created=1).put()
        return Note.query(Note.tags == "secret").order(-Note.created).fetch(2)
"""
TEST = """\
import program

def test_notes():
    assert program.ask() == []
"""
INDEX = "# ours\nindexes:\n\n- kind: Old   # from before\n  properties:\n  - name: a\n  - name: b\n"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application with a query that its index.yaml does not serve, and an index that nobody needs."""
    (tmp_path / "gaeport.toml").write_text("")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "test_program.py").write_text(TEST)
    (tmp_path / "index.yaml").write_text(INDEX)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAEPORT_DATA", raising=False)
    return tmp_path


def indexes(*given: str) -> int:
    return cli.main(["indexes", *given])


def test_a_test_run_is_recorded_compared_and_mended(root: Path, capfd: Capture) -> None:
    run = ["--", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    assert indexes("verify", *run) == 1
    out = capfd.readouterr().out
    assert "Note (tags, created desc): production refuses 1 recorded query" in out
    assert "asked:    SELECT * FROM Note WHERE tags = ? ORDER BY created DESC" in out
    assert "by:       program.py:11" in out
    assert "in test:  test_program.py::test_notes" in out
    assert "index.yaml:4: Old (a, b): no recorded query can use it" in out
    assert "secret" not in "".join(path.read_text() for path in root.glob(".gaeport/queries/*"))

    assert indexes("update", "--check") == 1
    assert (root / "index.yaml").read_text() == INDEX
    assert indexes("update") == 0
    assert (root / "index.yaml").read_text().startswith(INDEX + "- kind: Note\n")
    assert indexes("prune", "--check") == 1
    assert indexes("prune", "--yes") == 0
    assert (root / "index.yaml").read_text().startswith("# ours\nindexes:\n\n- kind: Note\n")
    assert indexes("verify") == 0
    assert indexes("update", "--check") == indexes("prune", "--check") == 0


def test_recordings_of_several_runs_and_machines_are_put_together(root: Path, capfd: Capture) -> None:
    ask = ["--", sys.executable, "-c", "import program; program.ask()"]
    other = "import gaeport; c = gaeport.datastore.client(); q = __import__('gaeport').datastore.wire.Query()"
    other += (
        "; q.kind.add(name='B'); q.order.add().property.name = 'x'; q.order.add().property.name = 'y'; list(c.query(q))"
    )
    assert indexes("verify", *ask) == 1
    assert indexes("verify", "--add", "--", sys.executable, "-c", other) == 1
    out = capfd.readouterr().out
    assert "B (x, y)" in out
    assert "Note (tags, created desc)" in out.rpartition("B (x, y)")[2] + out
    (root / ".gaeport" / "queries").rename(root / "elsewhere")
    capfd.readouterr()
    assert indexes("verify", "--json", "--from", "elsewhere") == 1
    found = json.loads(capfd.readouterr().out)
    assert sorted(one["code"] for one in found) == ["indexes.missing", "indexes.missing", "indexes.unused"]


def test_a_run_that_fails_and_one_that_asks_nothing_are_told(root: Path, capfd: Capture) -> None:
    assert indexes("verify", "--", sys.executable, "-c", "import program, sys; program.ask(); sys.exit(3)") == 1
    assert "ended with 3" in capfd.readouterr().err
    assert indexes("verify", "--", sys.executable, "-c", "pass") == 2
    assert "no query was recorded" in capfd.readouterr().err
    assert indexes("verify", "--", "no-such-command") == 2


def test_a_recording_cut_off_by_a_kill_is_read_and_a_damaged_one_named(root: Path, capfd: Capture) -> None:
    assert indexes("verify", "--", sys.executable, "-c", "import program; program.ask()") == 1
    (path,) = (root / ".gaeport" / "queries").iterdir()
    with path.open("a") as file:
        file.write('{"query": "Gg')
    assert indexes("verify") == 1
    with path.open("a") as file:
        file.write("\n")
    capfd.readouterr()
    assert indexes("verify") == 2
    assert "is not a line of a recording" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("gql", "words"),
    [
        ("SELECT * FROM Old WHERE a = 1 ORDER BY b", "index.yaml serves it, with:\n  Old (a, b)\n"),
        ("SELECT * FROM Old WHERE a = 1 AND b = 2", "needs no composite index"),
        ("SELECT COUNT(*) FROM Old WHERE a = 1 AND c > 2", "index.yaml lacks it. Add:\n  - kind: Old\n"),
    ],
)
def test_a_query_is_explained(root: Path, capfd: Capture, gql: str, words: str) -> None:
    assert indexes("explain", gql) == 0
    assert words in capfd.readouterr().out


def test_what_is_no_query_is_refused(root: Path, capfd: Capture) -> None:
    assert indexes("explain", "SELECT FROM") == 2
    assert "GQL" in capfd.readouterr().err
