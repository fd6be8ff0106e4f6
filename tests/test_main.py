"""main.py, as a developer and as App Engine start it."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.devserver.serving import Served, write_app

CHECKOUT = Path(__file__).parent.parent
APP = """
import os

def app(environ, start_response):
    with open("uploads/list.txt", "a") as file:
        file.write("line\\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{open('uploads/list.txt').read()}{os.getpid()}".encode()]
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = write_app(tmp_path / "app", APP, toml='[[mount]]\npath = "uploads"\n')
    shutil.copy(CHECKOUT / "main.py", folder)
    return folder


@contextmanager
def started(command: list[str], folder: Path, **variables: str) -> Iterator[Served]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    served = Served(process)
    try:
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
        served.end()
        assert process.stdout is not None
        process.stdout.close()


def test_it_serves_from_any_folder_in_one_process(app: Path, tmp_path: Path) -> None:
    with started([sys.executable, "app/main.py", "--port", "0"], tmp_path) as served:
        served.wait_until_ready()
        assert served.get("/").text == f"line\n{served.process.pid}"
        assert served.get("/").text == f"line\nline\n{served.process.pid}"
        assert served.stop() == 0
    assert (app / ".gaeport").is_dir()
    assert not (app / "uploads").exists()


def test_it_runs_under_app_engines_entrypoint(app: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "main:app"]
    with started(command, app) as served:
        served.wait_for("Booting worker")
        served.url = f"http://127.0.0.1:{port}"
        assert served.get("/").text.startswith("line\n")
        assert served.get("/").text.startswith("line\nline\n")
        assert served.stop() == 0


def test_it_serves_the_application_that_gaeport_toml_names(app: Path) -> None:
    (app / "gaeport.toml").write_text('app = "nowhere:app"\n')
    done = subprocess.run([sys.executable, "main.py"], cwd=app, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("gaeport: the application 'nowhere:app': there is no module 'nowhere'")
