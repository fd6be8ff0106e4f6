"""Runs `gaeport serve` as a user does, in a process of its own, and reads what it says."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path

WAIT = 60.0  # seconds; far more than a busy machine needs


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Served:
    """A running `gaeport serve` whose output can be waited for."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.url = ""
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the next match of `pattern` in a line of the output; fail if the output ends before."""
        deadline = time.monotonic() + WAIT
        while True:
            line = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            if line is None:
                raise AssertionError(f"no {pattern!r} in:\n" + "\n".join(self.lines))
            self.lines.append(line)
            found = re.search(pattern, line)
            if found:
                return found

    def wait_until_ready(self) -> None:
        self.url = self.wait_for(r"serving on (http://\S+)")[1]

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """Make one request; an error status is an answer like any other."""
        request = urllib.request.Request(self.url + path, headers=dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(WAIT)
        self._reader.join(WAIT)
        while not self._queue.empty():
            line = self._queue.get()
            if line is not None:
                self.lines.append(line)
        return code

    @property
    def output(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def serving(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    ready: bool = True,
    command: Sequence[str] = (sys.executable, "-m", "gaeport"),
) -> Iterator[Served]:
    """Run `gaeport serve --port 0 ARGUMENTS` in a folder, and stop it at the end."""
    process = subprocess.Popen(
        [*command, "serve", "--port", "0", *arguments],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    served = Served(process)
    try:
        if ready:
            served.wait_until_ready()
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            served.end()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            served.end()
        assert process.stdout is not None
        process.stdout.close()


def write_app(folder: Path, source: str, *, toml: str = "", yaml: str = "") -> Path:
    """Write an application `shop:app` with its gaeport.toml (and app.yaml) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shop.py").write_text(source)
    (folder / "gaeport.toml").write_text(f'app = "shop:app"\n{toml}')
    if yaml:
        (folder / "app.yaml").write_text(yaml)
    return folder


def run(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `gaeport ARGUMENTS` in a folder to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gaeport", *arguments],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
