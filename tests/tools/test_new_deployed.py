"""What `gaeport new` makes is taken by the deploy client, and what was uploaded starts on its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
import yaml

from gaeport import cli
from tools.new import wheel
from tools.plan.deploy import deploy

WAIT = 60.0  # seconds; far more than a busy machine needs
PAGES = {
    "--flask": "<h1>Notes</h1>",
    "--bottle": "<h1>Notes</h1>",
    "--django": "<h1>Notes</h1>",
    "--py4web": "It works.",
    "--wsgi": "<h1>Notes</h1>",
}


def deployed(root: Path, folder: Path) -> Path:
    """Deploy to the stand-in, and return a copy of the files that it received, and of nothing else."""
    done = deploy(root)
    assert done.code == 0, done.output
    assert (done.traffic.unknown, done.traffic.outside) == ([], [])
    for one in done.uploaded:
        (folder / one.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / one.path, folder / one.path)
    return folder


def installed(root: Path, folder: Path) -> Path:
    """Install the wheel that travels with an application, alone; what it needs is here already."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(root / "vendor" / wheel.file_name())], check=True)
    return folder


@contextmanager
def started(root: Path, packages: Path, data: Path) -> Iterator[str]:
    """Run app.yaml's entrypoint in a folder as App Engine does, with the packages of its own wheel; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = yaml.safe_load((root / "app.yaml").read_text())
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(packages),
        "PORT": str(port),
        "GAEPORT_DATA": str(data),
        **{name: str(value) for name, value in app.get("env_variables", {}).items()},
    }
    command = ["sh", "-c", f"exec {app['entrypoint']}"]
    with subprocess.Popen(
        command, cwd=root, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        try:
            yield _answering(server, f"http://127.0.0.1:{port}/")
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=WAIT)


def _answering(server: "subprocess.Popen[bytes]", url: str) -> str:
    deadline = time.monotonic() + WAIT
    while True:
        try:
            urllib.request.urlopen(url, timeout=WAIT).close()
        except HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except (URLError, ConnectionError) as error:
            assert server.poll() is None, server.communicate()[0].decode()
            if time.monotonic() > deadline:
                raise AssertionError("no answer") from error
            time.sleep(0.1)
        else:
            return url


@pytest.mark.long
@pytest.mark.parametrize("kind", PAGES)
def test_the_deploy_client_takes_it_and_the_uploaded_tree_starts(sdk: Path, tmp_path: Path, kind: str) -> None:
    assert cli.main(["new", str(tmp_path / "site"), kind]) == 0
    root = deployed(tmp_path / "site", tmp_path / "uploaded")
    assert not (root / "tests").exists()
    packages = installed(root, tmp_path / "packages")
    with started(root, packages, tmp_path / "data") as url:
        page = urllib.request.urlopen(url, timeout=WAIT).read().decode()
    assert PAGES[kind] in page
