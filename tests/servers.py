"""Fixtures with real memcached and Redis servers, started on free ports of 127.0.0.1 and ended by their process.

`memcached_server` and `redis_server` are shared by all tests of one process; a `Server` of its own is for a test that
stops or kills it.
Where the programs are missing the tests are skipped, except when GAEPORT_REQUIRE_SERVERS=1.
GAEPORT_REDIS_SERVER names a program to run in the place of redis-server: Valkey's, for one.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

_START = 15.0  # seconds that a server may take to answer
_PACKAGES = {"memcached": "memcached", "redis-server": "redis-server"}


class Server:
    """One memcached or Redis server."""

    def __init__(self, program: str) -> None:
        """Start it and wait until it answers.

        Args:
            program: "memcached" or "redis-server".
        """
        self.program = program
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="gaeport-test-")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """What `gaeport.kv.connect` takes."""
        return f"{'memcached' if self.program == 'memcached' else 'redis'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it (again, empty) on its port."""
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + _START
        while not self._answers():
            assert self._process.poll() is None, f"{self.program} ended"
            assert time.monotonic() < end, f"{self.program} does not answer"
            time.sleep(0.02)

    def pause(self) -> None:
        """Stop it in its tracks: the system accepts connections for it, and it never answers."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitpid(self._process.pid, os.WUNTRACED)  # every thread of it stands still now

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _command(self) -> list[str]:
        path = program(self.program)
        if self.program == "memcached":
            user = ["-u", "root"] if os.getuid() == 0 else []
            return [path, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "64", *user]
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        return [path, *options, "--dir", self.folder, "--loglevel", "warning"]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"version\r\n" if self.program == "memcached" else b"PING\r\n")
                return connection.recv(10).startswith((b"VERSION", b"+PONG"))
        except OSError:
            return False


def program(name: str) -> str:
    """Return the path of a server's program; skip the test, or fail it, where there is none."""
    wanted = os.environ.get("GAEPORT_REDIS_SERVER", name) if name == "redis-server" else name
    path = shutil.which(wanted) or shutil.which(wanted, path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if path is not None:
        return path
    message = f"{wanted} is not installed: apt-get install {_PACKAGES[name]} (or brew install {name.split('-')[0]})"
    if os.environ.get("GAEPORT_REQUIRE_SERVERS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Server]:
    """A memcached server, shared by all tests of one process: `.url`, `.port`."""
    server = Server("memcached")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A Redis server, shared by all tests of one process: `.url`, `.port`."""
    server = Server("redis-server")
    yield server
    server.remove()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
