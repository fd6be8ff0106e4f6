"""`gaeport data import` and `export` as processes: killed on the way, resumed, with mounts; and what they ask."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gaeport import cli, settings
from gaeport.dal import DAL
from tests.dal.test_transfer import dump
from tests.dal.transfer_sample import define, make_application

ROOT = Path(__file__).parent.parent.parent
IMPORT = ["data", "import", "--from", "sqlite://storage.sqlite", "--app", "shop"]
EXPORT = ["data", "export", "--to", "sqlite://back.sqlite", "--app", "shop", "--uploads-to", "out"]
# Dies by SIGKILL when it is about to note, for the given time, how far it is: before that is committed.
KILLED = """
import os, signal, sys
from gaeport.dal.transfer import files, incoming, outgoing, state
incoming.BATCH = outgoing.BATCH = files.TOGETHER = 25
left, note = int(sys.argv.pop(1)), state.State.mutation
def mutation(self):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return note(self)
state.State.mutation = mutation
from gaeport.cli import main
sys.exit(main())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "gaeport.toml").write_text('[[mount]]\npath = "shop/uploads"\n', "utf-8")
    return tmp_path


def run(folder: Path, arguments: list[str], killed_at: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command; `killed_at` counts the notes of how far it is, 0 never dies."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(killed_at), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def there_and_back(project: Path, rows: int, uploads: int, kills: list[int]) -> str:
    """Import, killed each time that is listed, and export, all but the first; return what the last runs said."""
    make_application(project / "shop", rows, uploads)
    said = ""
    for command in (IMPORT, EXPORT):
        for number in kills[command is EXPORT :]:
            assert run(project, command, number).returncode == -9
        done = run(project, command)
        assert done.returncode == 0, done.stderr
        assert "goes on where an earlier run stopped" in done.stdout
        said += done.stdout
    return said


def check_equal(project: Path, rows: int, uploads: int) -> None:
    before, after = (dump(project / "shop" / "databases" / name) for name in ("storage.sqlite", "back.sqlite"))
    assert after == before
    assert [len(found) for name, found in before.items() if not name.startswith("sqlite_")] == [rows] * 10
    names = sorted(path.relative_to(project / "out") for path in (project / "out").rglob("*") if path.is_file())
    assert len(names) == uploads
    for name in names:
        here, there = project / "shop" / "uploads" / name, project / "out" / name
        assert here.read_bytes() == there.read_bytes()
        assert here.stat().st_mtime_ns == there.stat().st_mtime_ns


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_on_the_way_and_resumed_everything_comes_back_equal(project: Path) -> None:
    said = there_and_back(project, rows=30, uploads=60, kills=[12, 11])
    check_equal(project, 30, 60)
    assert said.count("300 rows of 10 tables: equal") == 2
    assert "NOT" not in said


@pytest.mark.long
def test_thousands_of_rows_and_hundreds_of_uploads_come_back_equal(project: Path) -> None:
    there_and_back(project, rows=400, uploads=120, kills=[30, 60, 70])
    check_equal(project, 400, 120)


def test_uploads_are_read_from_the_mount_afterwards(project: Path) -> None:
    make_application(project / "old", rows=1, uploads=3)
    command = [*IMPORT[:-1], "old", "--uploads-to", "shop/uploads"]
    assert run(project, command).returncode == 0
    listed = run(project, ["fs", "ls", "shop/uploads"])
    assert listed.stdout.split() == ["thing.picture", "thing.picture.000001.txt", "thing.picture.000002.txt"]
    assert not (project / "shop").exists()


def test_uploads_that_lie_in_no_mount_are_refused_with_the_line_that_would_make_one(
    tmp_path: Path, capsys: Any
) -> None:
    settings.configure(data=":memory:", root=str(tmp_path))
    command = [*IMPORT[:-1], str(make_application(tmp_path / "shop", rows=1, uploads=1))]
    assert cli.main(command) == 2
    assert '[[mount]]\npath = "shop/uploads"' in capsys.readouterr().err
    assert cli.main([*command, "--no-uploads"]) == 0


def test_a_function_defines_the_tables(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.configure(data=str(project / "data"), root=str(project))
    monkeypatch.syspath_prepend(str(ROOT))
    make_application(project / "shop", rows=2, uploads=0)
    uri = f"sqlite://{project}/shop/databases/storage.sqlite"
    assert cli.main(["data", "import", "--from", uri, "--app", "tests.dal.transfer_sample:define"]) == 0
    file = str(ROOT / "tests" / "dal" / "transfer_sample.py")
    there = f"sqlite://{project}/copy.sqlite"
    assert cli.main(["data", "export", "--to", there, "--app", f"{file}:define"]) == 0
    with closing(DAL(there, migrate=False)) as db:
        define(db)
        assert db(db.person).count() == 2


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("nothing", "no such folder"),
        ("no.such.module:define", "is not found"),
        ("missing.py:define", "there is no file missing.py"),
        ("tests.dal.transfer_sample:nothing", "has no function 'nothing'"),
        (".", "holds no .table files"),
    ],
)
def test_an_application_that_is_not_there_is_refused(app: str, message: str, capsys: Any) -> None:
    assert cli.main(["data", "import", "--from", "sqlite://x", "--app", app]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "--from", "URI", "--app", "tests.dal.transfer_sample:define"],
        ["export", "--to", "URI", "--app", "tests.dal.transfer_sample:define"],
        ["unique", "person.email"],
    ],
    ids=["import", "export", "unique"],
)
def test_in_production_the_target_is_said_and_an_answer_asked_for(
    tmp_path: Path, arguments: list[str], capsys: Any
) -> None:
    settings.configure(root=str(tmp_path))
    (tmp_path / "x.sqlite").touch()
    given = [item.replace("URI", f"sqlite://{tmp_path}/x.sqlite") for item in arguments]
    assert cli.main(["--project", "shop", "--namespace", "n", "data", *given]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("production, project shop, database (default), namespace n: ")
    assert "--yes answers where nobody can be asked" in said.err


@pytest.mark.parametrize("emulator", ["firestore_emulator", "datastore_emulator"])
def test_on_google_s_emulators_everything_comes_back_equal(
    tmp_path: Path, emulator: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", request.getfixturevalue(emulator))
    settings.configure(root=str(tmp_path), project="moved", namespace=f"n{os.getpid()}")
    app = str(make_application(tmp_path / "shop", rows=12, uploads=0))
    assert cli.main(["data", "import", "--from", "sqlite://storage.sqlite", "--app", app, "--no-uploads"]) == 0
    assert cli.main(["data", "unique", "person.email"]) == 0
    assert cli.main(["data", "export", "--to", "sqlite://back.sqlite", "--app", app, "--no-uploads"]) == 0
    databases = tmp_path / "shop" / "databases"
    assert dump(databases / "back.sqlite") == dump(databases / "storage.sqlite")
