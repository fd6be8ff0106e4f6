"""A real browser for tests: Chromium without a window, driven over two pipes by its own protocol.

Source: "Chrome DevTools Protocol" (Page, Runtime, Emulation, Input, Log); --remote-debugging-pipe, which sends messages
that end with a NUL over the file descriptors 3 and 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import required

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT = 60.0  # seconds for one command; a busy machine takes its time to start a renderer
_ARGUMENTS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-sandbox",  # continuous integration runs as root; the pages are this project's own
)

_FOCUSED = "[null, document.activeElement].includes(document.querySelector('[autofocus]'))"

# Makes two descriptors the browser's 3 and 4, whatever they are here, and becomes the browser.
_START = """
import fcntl, os, sys
pair = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 10) for text in sys.argv[1:3]]
for target, source in zip((3, 4), pair):
    os.dup2(source, target)
os.execv(sys.argv[3], sys.argv[3:])
"""


def program() -> str:
    """Return the browser's path; skips the test, or fails where continuous integration must have one."""
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return found
    reason = "needs Chromium: apt-get install chromium"
    if required():
        pytest.fail(reason)
    pytest.skip(reason)


class Tab:
    """A tab of the browser.

    Attributes:
        complaints: what the browser said was wrong: errors of the page's policy, missing files, exceptions.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", to: int, fro: int) -> None:
        self._process, self._to, self._from = process, to, fro
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        self._loaded = False
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == message["id"]:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def size(self, width: int, height: int = 900) -> None:
        """Give the window a size, in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str) -> None:
        """Have the visitor prefer "light" or "dark"."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        self._loaded = False
        self.send("Page.navigate", url=url)
        self.wait_for_load()

    def wait_for_load(self) -> None:
        """Wait until the next page is loaded, and has put the cursor where it wants it."""
        while not self._loaded:
            self._read()
        self._loaded = False
        deadline = time.monotonic() + _TIMEOUT
        while not self.evaluate(_FOCUSED):
            assert time.monotonic() < deadline, "the field with autofocus has no focus"
            time.sleep(0.02)  # it gets it with the first picture, for which there is no event

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press "Tab" or "Enter"."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r")}[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._loaded = False
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _read(self) -> Any:
        deadline = time.monotonic() + _TIMEOUT
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._from, 1 << 20)
            assert data, f"the browser ended with code {self._process.wait()}"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: Any) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """Start a browser and give its one tab.

    Args:
        profile: an empty folder for what it keeps.
    """
    path = program()
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    command = [sys.executable, "-c", _START, str(their_in), str(their_out), path, *_ARGUMENTS]
    command.append(f"--user-data-dir={profile}")
    process = subprocess.Popen(
        command, pass_fds=(their_in, their_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(their_in)
    os.close(their_out)
    try:
        yield Tab(process, our_out, our_in)
    finally:
        os.close(our_out)  # which ends it
        os.close(our_in)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
