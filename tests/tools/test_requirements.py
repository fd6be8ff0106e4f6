"""requirements.txt and pyproject.toml say the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import requirements
from tools.command import main

CHECKOUT = Path(__file__).parents[2]
PYPROJECT = """
[project]
dependencies = ["zeta>=2", "Alpha>=1"]
[project.optional-dependencies]
gunicorn = ["gunicorn>=23"]
"""


def test_the_checkouts_requirements_agree_with_its_pyproject() -> None:
    assert requirements.is_current(CHECKOUT), "run python -m tools requirements"


def test_requirements_are_the_core_dependencies_and_gunicorn(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    assert requirements.render(tmp_path) == requirements.HEADER + "Alpha>=1\ngunicorn>=23\nzeta>=2\n"


def test_check_finds_a_difference_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "requirements.txt").write_text("other\n")
    assert main(["requirements", "--check", "--root", str(tmp_path)]) == 1
    assert (tmp_path / "requirements.txt").read_text() == "other\n"
    assert "python -m tools requirements" in capsys.readouterr().err


def test_what_was_written_passes_the_check(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    assert main(["requirements", "--root", str(tmp_path)]) == 0
    assert main(["requirements", "--check", "--root", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot be read"), ("[project", "is not TOML"), ("[project]\n", "dependencies")]
)
def test_a_folder_without_a_usable_pyproject_is_named(
    tmp_path: Path, text: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert main(["requirements", "--root", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_the_tools_run_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools", "requirements", "--check"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
