"""The first request after the start of a process, and the memory of serving processes."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.benchmarks import memory
from tests.benchmarks.options import ROOT, Options
from tests.benchmarks.report import Section
from tests.benchmarks.timing import compare_programs, python

RATIO_BUDGET = 1.3
MEMORY_BUDGET = 284 * memory.MIB  # an F1 instance has 384 MB, of which 100 are to spare

_FIRST_REQUEST = """
from wsgiref.util import setup_testing_defaults
import main
environ = {}
setup_testing_defaults(environ)
status = []
body = b"".join(main.app(environ, lambda line, headers, *rest: status.append(line)))
assert status[0].startswith("200") and body, status
"""
_NDB_GET = """
import gaeport
from google.cloud import ndb
class Note(ndb.Model):
    pass
with gaeport.datastore.ndb_client().context():
    Note.get_by_id(1)
"""
# What production loads on top of what an embedded first request does.
_PRODUCTION = """
import google.auth.transport.grpc, google.auth.transport.requests, google.cloud.logging, google.cloud.ndb
import google.cloud.storage, grpc
from main import app
"""


def measure(options: Options) -> Section:
    """Time the first request by turns with an import of ndb and a get, and measure the workers' memory."""
    section = Section("Start and memory", ("", "value", "beside", "ratio"))
    with tempfile.TemporaryDirectory(prefix="gaeport-bench-") as folder:
        data = str(Path(folder, "data"))
        found = compare_programs(
            lambda: python(_NDB_GET, folder=ROOT, GAEPORT_DATA=data),
            lambda: python(_FIRST_REQUEST, folder=ROOT, GAEPORT_DATA=data),
            rounds=7,
        )
        section.add(
            "first request of main.py, whole process, beside import of ndb and a get",
            f"{found.other / 1e6:.0f} ms",
            f"{found.base / 1e6:.0f} ms",
            f"{found.ratio:.2f}",
            budget=f"≤ {RATIO_BUDGET}",
            kept=found.ratio <= RATIO_BUDGET,
        )
        if memory.LINUX:
            _add_serve(section, data)
            _add_production(section, folder, data)
    return section


def _add_serve(section: Section, data: str) -> None:
    command = [sys.executable, "-m", "gaeport", "serve", "--workers", "2", "--port", "0"]
    with _Server(command, ROOT, data) as server:
        peaks = server.worker_peaks()
        value = ", ".join(f"{peak / memory.MIB:.0f} MiB" for peak in peaks)
        section.add("gaeport serve, peak resident memory of each of two workers", value, "", "")


def _add_production(section: Section, folder: str, data: str) -> None:
    Path(folder, "production.py").write_text(_PRODUCTION)
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "8"]
    with _Server([*command, "--pythonpath", folder, "production:app"], ROOT, data) as server:
        share = server.total_share()
    section.add(
        "gunicorn and two workers after their first requests, production's libraries loaded",
        f"{share / memory.MIB:.0f} MiB",
        "",
        "",
        budget=f"≤ {MEMORY_BUDGET / memory.MIB:.0f} MiB",
        kept=share <= MEMORY_BUDGET,
    )


class _Server:
    """A server process with two workers, each of which has answered."""

    def __init__(self, command: list[str], folder: Path, data: str) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "GAEPORT_DATA": data, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._url = ""

    def __enter__(self) -> "_Server":
        try:
            self._wait_for_address()
            self._ask()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    def _wait_for_address(self) -> None:
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                self._url = found[0]
                return
        raise RuntimeError(f"the server did not start:\n{''.join(lines)}")

    def _ask(self) -> None:
        for _ in range(40):  # both workers get some
            with urllib.request.urlopen(self._url, timeout=30) as response:
                response.read()

    def worker_peaks(self) -> list[int]:
        """Return the peak resident memory of each worker, in bytes."""
        return [memory.peak_of(pid) for pid in memory.children_of(self._process.pid)]

    def total_share(self) -> int:
        """Return the resident bytes of server and workers together, shared pages counted once."""
        family = [self._process.pid, *memory.children_of(self._process.pid)]
        return sum(memory.share_of(pid) for pid in family)

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
