"""gaeport audit names what App Engine would refuse, with the line that does it and the cure."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gaeport import cli
from tests.devserver.serving import run
from tools.audit.source import scan

PROGRAM = """\
import os, shelve, sqlite3, subprocess, sys, tempfile, threading
from logging.handlers import RotatingFileHandler
from pathlib import Path

def work(name):
    Path("reports").mkdir(exist_ok=True)
    Path("reports/a.txt").write_text("a")
    with open("reports/" + name, "w") as file:
        file.write("b")
    open("top.log", "a").close()
    open("uploads/mounted.txt", "w").close()
    with tempfile.TemporaryFile() as file:
        file.write(b"c")
    open("program.py").close()
    connection = sqlite3.connect("shop.sqlite3")
    connection.execute("create table a (b)")
    connection.close()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    thread = threading.Thread(target=print)
    thread.start()
    thread.join()

if __name__ == "__main__":
    os.makedirs("uploads", exist_ok=True)
    work("b.txt")
"""
TOML = '[[mount]]\npath = "uploads"\n'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application that does everything that it should not."""
    (tmp_path / "gaeport.toml").write_text(TOML)
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audited(root: Path, *arguments: str) -> list[dict[str, Any]]:
    """Return the findings of a run of its own: what watches a process cannot be taken away again."""
    done = run(root, "audit", "--json", *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_run_tells_each_refusal_once_with_its_line_and_the_cure(root: Path) -> None:
    check(root, audited(root, "--", "python", "program.py"))


def check(root: Path, found: list[dict[str, Any]]) -> None:
    writes = {item["message"].split(":")[0]: item for item in found if item["code"] == "audit.write"}
    assert set(writes) == {"./", "reports/"}
    assert "a.txt, b.txt" in writes["reports/"]["message"]
    assert writes["reports/"]["fix"] == '[[mount]]\npath = "reports"'
    assert writes["reports/"]["file"] == "program.py"
    assert "top.log" in writes["./"]["message"]
    others = {(item["code"], item["line"]) for item in found if item["code"] != "audit.write"}
    assert others == {("audit.sqlite", 15), ("audit.process", 18), ("audit.thread", 20)}


def test_everything_happened_while_it_was_watched(root: Path) -> None:
    found = audited(root, "--", "python", "program.py")
    assert (root / "reports" / "b.txt").read_text() == "b"
    assert (root / "shop.sqlite3").exists()
    assert not (root / "uploads").exists()  # that one is a mount
    assert {item["code"] for item in found} >= {"audit.process", "audit.thread"}


def test_a_response_that_is_too_large_is_told(root: Path) -> None:
    (root / "big.py").write_text(
        "import gaeport\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'x' * 1024 * 1024] * 33\n"
        "def ask():\n"
        "    sum(map(len, gaeport.wrap(app)({'PATH_INFO': '/big', 'REQUEST_METHOD': 'GET'}, lambda *_: None)))\n"
    )
    found = audited(root, "--", "python", "-c", "import big; big.ask()")
    assert [(item["code"], item["message"]) for item in found] == [
        ("audit.response", "a response is over 32 MiB: /big")
    ]


def test_a_program_that_does_nothing_wrong_has_no_findings(root: Path) -> None:
    done = run(root, "audit", "--", "python", "-c", "open('uploads', 'rb') if 0 else print('fine')")
    assert (done.returncode, done.stdout) == (0, "fine\nnothing found\n"), done.stderr


def test_with_json_nothing_else_is_on_standard_output(root: Path) -> None:
    (root / "speaks.py").write_text(
        "import os, subprocess, sys\nprint('mine')\nos.write(1, b'raw\\n')\nsubprocess.run(['echo', 'child'])\n"
    )
    done = run(root, "audit", "--json", "--", "python", "speaks.py")
    assert [found["code"] for found in json.loads(done.stdout)] == ["audit.process"]
    assert {"mine", "raw", "child"} <= set(done.stderr.split())
    assert "mine" in run(root, "audit", "--", "python", "speaks.py").stdout


def test_the_programs_own_failure_is_told(root: Path) -> None:
    done = run(root, "audit", "--", "python", "-c", "raise SystemExit(3)")
    assert done.returncode == 1
    assert "ended with 3" in done.stderr


def test_the_source_tells_most_of_it_without_running(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "--static", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    writes = [item for item in found if item["code"] == "audit.write" and item["severity"] == "error"]
    assert {item["message"].split(":")[0] for item in writes} == {"./", "reports/"}
    others = {(item["code"], item["line"]) for item in found if item["code"] != "audit.write"}
    assert others == {("audit.sqlite", 15), ("audit.process", 18), ("audit.thread", 19)}
    assert not (root / "reports").exists()


@pytest.mark.parametrize(
    ("line", "code", "what"),
    [
        ("open('a/b', mode='x')", "audit.write", "a/b"),
        ("Path('a', 'b').open('w')", "audit.write", "a"),
        ("open(os.path.join('a', name), 'wb')", "audit.write", "a/?"),
        ("open(f'a/{name}.txt', 'w')", "audit.write", "a/?"),
        ("open(name, 'w')", "audit.write", "?"),
        ("open(NOTES, 'w')", "audit.write", "notes/n.txt"),
        ("NOTES.parent.mkdir()", "audit.write", "notes"),
        ("(FOLDER / 'x' / name).write_text('')", "audit.write", "notes/x/?"),
        ("RotatingFileHandler('logs/a.log')", "audit.write", "logs/a.log"),
        ("import apscheduler.schedulers.background", "audit.scheduler", "apscheduler"),
        ("from celery import Celery", "audit.scheduler", "celery"),
        ("os.system('convert a b')", "audit.process", "convert a b"),
        ("subprocess.run(['ffmpeg', '-i', name])", "audit.process", "ffmpeg"),
        ("threading.Timer(5, print).start()", "audit.thread", "Timer"),
        ("sqlite3.connect('shop.db')", "audit.sqlite", "shop.db"),
    ],
)
def test_what_the_source_tells(tmp_path: Path, line: str, code: str, what: str) -> None:
    (tmp_path / "a.py").write_text(f"FOLDER = Path('notes'); NOTES = FOLDER / 'n.txt'\n{line}\n")
    ((matter, name, place),) = scan(tmp_path)
    assert (matter.code, name.removeprefix(f"{tmp_path}/"), place) == (code, what, f"{tmp_path / 'a.py'}:2")


@pytest.mark.parametrize("line", ["open('a')", "open('a', 'rb')", "sqlite3.connect(':memory:')", "path.read_text()"])
def test_what_only_reads_is_nothing(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.py").write_text(line)
    assert scan(tmp_path) == {}


def test_either_a_command_or_the_source_has_to_be_said(root: Path) -> None:
    for arguments in ([], ["--static", "--", sys.executable]):
        with pytest.raises(SystemExit):
            cli.main(["audit", *arguments])
