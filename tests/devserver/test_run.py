"""`gaeport run`: programs with the mounts in place."""

from pathlib import Path

import pytest

from tests.devserver.serving import run

WRITER = """
import sys
from pathlib import Path
with open("uploads/note.txt", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
print(Path("uploads/note.txt").read_text(), end="")
print(__name__)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gaeport.toml").write_text('[[mount]]\npath = "uploads"\n')
    (tmp_path / "writer.py").write_text(WRITER)
    return tmp_path


@pytest.mark.parametrize("command", [["python", "writer.py"], ["python", "-m", "writer"], ["writer.py"]])
def test_a_program_reads_and_writes_in_the_mounts(folder: Path, command: list[str]) -> None:
    assert run(folder, "run", "--", *command, "first", "--flag").stdout == "first --flag\n__main__\n"
    assert run(folder, "run", *command, "second").stdout == "first --flag\nsecond\n__main__\n"
    assert not (folder / "uploads").exists()


def test_code_on_the_command_line_runs(folder: Path) -> None:
    code = "import sys; open('uploads/a', 'w').write(sys.argv[1])"
    assert run(folder, "run", "--", "python", "-W", "x").returncode == 2
    assert run(folder, "run", "--", "python", "-c", code, "x").returncode == 0
    assert run(folder, "run", "--", "python", "-c", "print(open('uploads/a').read())").stdout == "x\n"


def test_an_installed_command_runs(folder: Path) -> None:
    (folder / "test_mount.py").write_text("def test(): open('uploads/x', 'w').close()\n")
    done = run(folder, "run", "--", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert run(folder, "run", "python", "-c", "import os; print(os.listdir('uploads'))").stdout == "['x']\n"


@pytest.mark.parametrize(("code", "status"), [("sys.exit(7)", 7), ("sys.exit('no')", 1), ("sys.exit()", 0), ("1/0", 1)])
def test_the_exit_code_is_the_programs_own(folder: Path, code: str, status: int) -> None:
    done = run(folder, "run", "--", "python", "-c", f"import sys; {code}")
    assert done.returncode == status
    assert (done.stderr == "no\n") == ("no" in code)


def test_a_programs_traceback_begins_with_the_program(folder: Path) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    done = run(folder, "run", "broken.py")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[1].strip() == 'File "broken.py", line 1, in <module>'
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_what_a_program_left_open_is_saved(folder: Path) -> None:
    run(folder, "run", "--", "python", "-c", "f = open('uploads/a', 'w'); f.write('kept')")
    assert run(folder, "run", "--", "python", "-c", "print(open('uploads/a').read())").stdout == "kept\n"


def test_a_program_may_write_outside_the_mounts(folder: Path) -> None:
    run(folder, "run", "--", "python", "-c", "open('plain.txt', 'w').write('on the disk')")
    assert (folder / "plain.txt").read_text() == "on the disk"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["no-such-command"], "there is no such command"),
        (["missing.py"], "there is no such file"),
        (["sh", "-c", "true"], "is not written in Python"),
        (["python", "-m"], "needs an argument"),
    ],
)
def test_what_cannot_be_run_is_a_clear_line(folder: Path, command: list[str], words: str) -> None:
    done = run(folder, "run", "--", *command)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("gaeport: ")
    assert done.stderr.count("\n") == 1
