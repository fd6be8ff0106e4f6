"""Every broken configuration is named before an upload, with its line; a sound one has no findings."""

import json
from pathlib import Path

import pytest

from gaeport import cli
from tests.tools.check.broken import AFTER, APP, CASES, SOUND, Broken, write
from tools.check.everything import check
from tools.plan import state


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that can be deployed."""
    write(tmp_path, Broken("sound"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sound_folder_has_no_findings(root: Path) -> None:
    assert check(root) == []


def test_there_are_many_mistakes_and_gcloud_lets_many_through() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.name for case in CASES if case.gcloud == "deploys"} == set(AFTER)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_mistake_is_named_with_its_line(tmp_path: Path, case: Broken) -> None:
    write(tmp_path, case)
    found = check(tmp_path)
    assert (case.code, case.line) in [(finding.code, finding.line) for finding in found], found
    assert {finding.code for finding in found if finding.severity == "error"} <= {case.code}


def test_running_queues_that_the_upload_would_pause_are_named(root: Path) -> None:
    queues = {
        name: {"state": state} for name, state in {"mail": "RUNNING", "off": "PAUSED", "default": "RUNNING"}.items()
    }
    state.write(root / ".gaeport" / state.FILE, state.State(queues=queues))
    found = [(one.code, one.severity, one.message.split(",")[0]) for one in check(root)]
    assert found == [("queue.left-out", "warning", "the queue mail runs")]
    (root / "queue.yaml").write_text("queue:\n- name: mail\n  rate: 5/s\n")
    assert check(root) == []


def test_a_kept_state_that_cannot_be_read_is_said(root: Path) -> None:
    (root / ".gaeport").mkdir()
    (root / ".gaeport" / state.FILE).write_text("{}")
    assert [one.code for one in check(root)] == ["queue.state"]


FIXABLE = (
    ("a variable that turns into True", "app.yaml", 'DEBUG: "true"'),
    ("entrypoint without gunicorn", "requirements.txt", "flask\ngunicorn\n"),
    ("a script of Python 2", "app.yaml", "script: auto"),
    ("threadsafe", "app.yaml", APP),
    ("an emulator in production", "app.yaml", "env_variables:\n"),
    ("a property y", "index.yaml", '  - name: "y"\n'),
    ("empty index.yaml", "index.yaml", "indexes:\n"),
    ("no .gcloudignore", ".gcloudignore", "\n.env\n"),
)


@pytest.mark.parametrize(("name", "file", "text"), FIXABLE)
def test_what_has_one_right_answer_is_mended(
    tmp_path: Path, name: str, file: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case = next(case for case in CASES if case.name == name)
    write(tmp_path, case)
    cli.main(["check", "--fix", str(tmp_path)])
    assert text in (tmp_path / file).read_text()
    assert case.code not in capsys.readouterr().out
    others = [name for name in SOUND if name != file]
    assert [(tmp_path / name).read_text() for name in others] == [case.files.get(name, SOUND[name]) for name in others]


def test_the_command_prints_places_and_fixes_for_people_and_machines(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check"]) == 0
    assert capsys.readouterr().out == "nothing found\n"
    (root / "app.yaml").write_text(APP.replace("handlers", "handler"))
    assert cli.main(["check"]) == 1
    out = capsys.readouterr().out
    assert "error: app.yaml:5: app.yaml: unknown key 'handler', which gcloud refuses  [app.unknown-key]\n" in out
    assert "    did you mean handlers?\n" in out
    assert cli.main(["check", "--json", str(root)]) == 1
    assert json.loads(capsys.readouterr().out)[0]["line"] == 5


def test_a_folder_that_is_none_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "nowhere"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


def test_the_ttl_policy_of_sessions_is_a_note_with_its_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "gaeport.toml").write_text('app = "main:app"\nproject = "shop"\n[sessions]\n')
    assert cli.main(["check"]) == 0
    assert "gcloud firestore fields ttls update expires" in capsys.readouterr().out


def test_the_table_in_the_docs_is_this_one() -> None:
    page = (Path(__file__).parents[3] / "docs" / "check.md").read_text("utf-8")
    for case in CASES:
        line = f"| {case.name} | {case.gcloud} | {AFTER.get(case.name, '')} | `{case.code}` |"
        assert line.replace("  |", " |") in page, line
