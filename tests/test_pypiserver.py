"""The main job, end to end: pypiserver, as it comes from PyPI, served by two processes from Datastore."""

import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SETTINGS = """\
app = "pypiserver:app(roots=['packages'], password_file='.', authenticate=[], disable_fallback=True)"
namespace = "{namespace}"

[[mount]]
path = "packages"
inline_limit = 65536
"""
MODULE = "def greet():\n    return 'hello from a mount'\n"
PATIENCE = 60.0  # seconds for a server to start or answer on a busy machine


class Server:
    """`gaeport serve` with two workers, as its own process."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.log = folder.parent / f"serve-{uuid.uuid4().hex}.log"
        command = [sys.executable, "-m", "gaeport", "serve", "--workers", "2", "--port", "0"]
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.url = self._await_url()

    def _await_url(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(r"serving on (http://\S+)", self.log.read_text())
            if found:
                return found[1]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"no server after {PATIENCE} s: {self.log.read_text()}")

    def workers(self) -> list[int]:
        """The ids of the worker processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def get(self, path: str) -> str:
        """Return a page, waiting while killed workers are being replaced."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
                    return str(answer.read().decode())
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 404:
                    return ""
                raise
            except (ConnectionError, urllib.error.URLError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def remove(self, name: str, version: str) -> None:
        """Delete a release by pypiserver's API."""
        form = urllib.parse.urlencode({":action": "remove_pkg", "name": name, "version": version}).encode()
        urllib.request.urlopen(urllib.request.Request(self.url, form), timeout=PATIENCE).close()

    def kill(self) -> None:
        """Kill the server and its workers as a crash would."""
        for pid in [self.process.pid, *self.workers()]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Stop as Ctrl-C does; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@pytest.fixture
def environment(each_datastore: str) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "GAEPORT_"))}
    if each_datastore:
        variables["DATASTORE_EMULATOR_HOST"] = each_datastore
    return variables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    application = tmp_path / "application"
    (application / "packages").mkdir(parents=True)
    (application / "gaeport.toml").write_text(SETTINGS.format(namespace=f"t{uuid.uuid4().hex}"))
    return application


@pytest.fixture
def servers(folder: Path, environment: dict[str, str]) -> Iterator[list[Server]]:
    started = [Server(folder, environment)]
    yield started
    for server in started:
        if server.process.poll() is None:
            server.kill()


def test_pypiserver_keeps_its_packages_in_datastore(
    servers: list[Server], folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    before = _tree(folder)
    small, large = _wheel(tmp_path, "tinypkg", 1), _wheel(tmp_path, "largepkg", 1_500_000)
    server = servers[0]
    assert "serving 0 packages" in server.get("/")

    _upload(server.url, environment, small, large)
    assert "serving 2 packages" in server.get("/")
    assert large.name in server.get("/simple/largepkg/")

    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
    assert _installed(server.url, environment, tmp_path / "one", "tinypkg") == "hello from a mount"

    server.kill()
    server = Server(folder, environment)
    servers.append(server)
    assert "serving 2 packages" in server.get("/")
    assert _installed(server.url, environment, tmp_path / "two", "largepkg") == "hello from a mount"

    server.remove("tinypkg", "1.0")
    assert "serving 1 packages" in server.get("/")
    assert server.get("/simple/tinypkg/") == ""
    assert "tinypkg" not in server.get("/simple/")
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
    assert _tree(folder) == before


def _wheel(folder: Path, name: str, padding: int) -> Path:
    """Build a wheel with one module and so many bytes that do not compress."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": MODULE.encode(),
        f"{name}.bin": os.urandom(padding),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nSummary: a test\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _upload(url: str, environment: dict[str, str], *wheels: Path) -> None:
    command = [sys.executable, "-m", "twine", "upload", "--non-interactive", "--disable-progress-bar"]
    command += ["--repository-url", url, "-u", "someone", "-p", "anything", *map(str, wheels)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _installed(url: str, environment: dict[str, str], place: Path, name: str) -> str:
    """Install a package into a fresh virtual environment with pip, and return what its module says."""
    venv.create(place)
    pip = [sys.executable, "-m", "pip", "--python", str(place), "--isolated", "install", "--no-cache-dir", "--no-deps"]
    pip += ["--disable-pip-version-check", "--index-url", f"{url}/simple/", name]
    variables = environment | {"PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(pip, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    script = f"import {name}; print({name}.greet())"
    return subprocess.check_output([str(place / "bin" / "python"), "-c", script], text=True).strip()


def _tree(folder: Path) -> dict[str, bytes]:
    """What lies in the application's folder on disk, its data folder left out."""
    files = (path for path in folder.rglob("*") if ".gaeport" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in files}
