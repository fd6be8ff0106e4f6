"""The wheel, installed alone in an empty environment outside the checkout, does all that the checkout does."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from gaeport import __version__
from tests.devserver.serving import serving, write_app
from tests.test_cli import commands

CHECKOUT = Path(__file__).parent.parent
PARTS = ("gaeport", "tools", "pyproject.toml", "README.md", "LICENSE")
APP = """
from pathlib import Path

def app(environ, start_response):
    with open("uploads/list.txt", "a") as file:
        file.write("line\\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [Path("uploads/list.txt").read_bytes()]
"""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]  # one worker builds the wheel, once


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs; it holds the wheel, and sees this one's packages for dependencies."""
    folder = tmp_path_factory.mktemp("packaging")
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    programs = environment / "bin"
    python = str(programs / "python")
    _run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", str(_wheel(folder))])
    site = _run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    # A .pth file adds the folder, but not what its own .pth files add: the checkout installed there stays invisible.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def _wheel(folder: Path) -> Path:
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        if (CHECKOUT / part).is_dir():
            shutil.copytree(CHECKOUT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / part, source / part)
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)])
    return next(folder.glob("*.whl"))


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_lists_every_package_of_the_checkout() -> None:
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [*CHECKOUT.glob("gaeport/**/__init__.py"), *CHECKOUT.glob("tools/**/__init__.py")]
    present = {".".join(path.parent.relative_to(CHECKOUT).parts) for path in found}
    assert set(listed) == {re.sub(r"^tools\b", "gaeport_tools", name) for name in present}


def test_the_installed_package_is_the_wheels_own(installed: Path, tmp_path: Path) -> None:
    script = "import gaeport, gaeport_tools; print(gaeport.__file__, gaeport_tools.__file__)"
    for path in _run([str(installed / "python"), "-c", script], tmp_path).split():
        assert path.startswith(str(installed.parent))


def test_every_command_has_its_help(installed: Path, tmp_path: Path) -> None:
    program = str(installed / "gaeport")
    assert _run([program, "--version"], tmp_path) == f"gaeport {__version__}\n"
    assert "COMMAND" in _run([program, "--help"], tmp_path)
    for name in commands():
        assert f"usage: gaeport {name}" in _run([program, name, "--help"], tmp_path)


def test_the_deploy_time_tools_come_along_under_their_own_name(installed: Path, tmp_path: Path) -> None:
    python = str(installed / "python")
    assert "requirements" in _run([python, "-m", "gaeport_tools", "--help"], tmp_path)
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    _run([python, "-m", "gaeport_tools", "requirements"], tmp_path)
    assert (tmp_path / "requirements.txt").read_text() == (CHECKOUT / "requirements.txt").read_text()
    done = subprocess.run([python, "-c", "import tools"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 1


def test_it_serves_an_application_with_a_mount(installed: Path, tmp_path: Path) -> None:
    write_app(tmp_path, APP, toml='[[mount]]\npath = "uploads"\n')
    with serving(tmp_path, "--workers", "2", command=[str(installed / "gaeport")]) as served:
        assert served.get("/").text == "line\n"
        assert served.get("/").text == "line\nline\n"
        assert served.stop() == 0


def test_it_serves_the_welcome_application_where_there_is_none(installed: Path, tmp_path: Path) -> None:
    with serving(tmp_path, command=[str(installed / "gaeport")], environment={"GAEPORT_DATA": ":memory:"}) as served:
        answer = served.get("/")
    assert answer.status == 200
    assert "<html" in answer.text


def test_it_runs_a_program_with_the_mounts(installed: Path, tmp_path: Path) -> None:
    write_app(tmp_path, APP, toml='[[mount]]\npath = "uploads"\n')
    program = str(installed / "gaeport")
    _run([program, "run", "--", "python", "-c", "open('uploads/a', 'w').write('kept')"], tmp_path)
    assert _run([program, "run", "--", "python", "-c", "print(open('uploads/a').read())"], tmp_path) == "kept\n"
