"""Runs the standard library's own tests of files with the working and the temporary folder in a mount.

    python -m tests.fs.stdlib_suites            every suite, a table, and what fails; exit code 1 below 97 %
    python -m tests.fs.stdlib_suites test_os    some

Each suite runs in two processes: on the disk and in a mount on the embedded Datastore. Of the tests that reached a
mounted path and started no process, those count that pass on the disk. An interpreter that carries the package `test`
is needed (python.org's and pyenv's do). What a Python lacks is passed over. Not among them are the suites of what
cannot work in a mount: test_sqlite3, test_zipimport, and test_importlib's of the disk's own finders.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEAST = 0.97
SECONDS = 900  # for one suite
TEST_SECONDS = 40  # for one test
SUITES = (
    *("test_os", "test_posix", "test_io", "test_fileio", "test_file", "test_bufio", "test_shutil", "test_pathlib"),
    *("test_tempfile", "test_zipfile", "test_tarfile", "test_mailbox", "test_shelve", "test_logging", "test_glob"),
    *("test_dbm_dumb", "test_fileinput", "test_posixpath", "test_genericpath", "test_gzip", "test_bz2", "test_lzma"),
    *("test_mmap", "test_fcntl", "test_filecmp", "test_linecache", "test_configparser", "test_univnewlines"),
    *("test_stat", "test_netrc", "test_unicode_file", "test_unicode_file_functions", "test_zipapp", "test_wave"),
    *("test_plistlib", "test_mimetypes", "test_http_cookiejar", "test_csv", "test_tokenize", "test_py_compile"),
    *("test_codecs", "test_ntpath", "test_pkgutil", "test_urllib", "test_array", "test_httpservers", "test_hashlib"),
    *("test_compileall", "test_dbm", "test_gettext", "test_xml_etree", "test_sax", "test_tomllib", "test_urllib2"),
    *("test_aifc", "test_sunau", "test_imghdr", "test_uu", "test_cgi", "test_email", "test_trace", "test_profile"),
    *("test_cprofile", "test_doctest", "test_modulefinder", "test_traceback", "test_tracemalloc", "test_largefile"),
    *(
        "test_threadedtempfile",
        "test_fileutils",
        "test_support",
        "test_unittest",
        "test_bdb",
        "test_pdb",
        "test_pickle",
    ),
    *(
        "test_pickle",
        "test_asyncio.test_sendfile",
        "test_inspect",
        "test_pipes",
        "test_builtin",
        "test_sysconfig",
        "test_argparse",
    ),
    *("test_optparse", "test_pydoc", "test_tabnanny", "test_runpy", "test_marshal", "test_readline", "test_contextlib"),
)


@dataclass(slots=True)
class Ran:
    """One test.

    Attributes:
        outcome: "ok", "fail" or "skip".
        touched: whether it reached a mounted path.
        process: whether it started a process.
        reason: the last line of the failure.
    """

    outcome: str = "ok"
    touched: bool = False
    process: bool = False
    reason: str = ""


class Recorder(unittest.TestResult):
    """Keeps what became of each test, written after each in case that the process dies."""

    def __init__(self, path: Path, touches: list[int], processes: list[int]) -> None:
        super().__init__()
        self._path = path
        self._touches, self._processes = touches, processes
        self._before = (0, 0)
        self._now = Ran()

    def startTest(self, test: unittest.TestCase) -> None:
        """Begin to watch."""
        super().startTest(test)
        self._now, self._before = Ran(), (self._touches[0], self._processes[0])
        signal.signal(signal.SIGALRM, _too_slow)
        signal.alarm(TEST_SECONDS)

    def stopTest(self, test: unittest.TestCase) -> None:
        """Write down what was seen."""
        super().stopTest(test)
        signal.alarm(0)
        ran = self._now
        ran.touched, ran.process = self._touches[0] > self._before[0], self._processes[0] > self._before[1]
        line = json.dumps([test.id(), ran.outcome, ran.touched, ran.process, ran.reason])
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, line.encode() + b"\n")
        os.close(fd)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        """Note it."""
        self._fail(err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        """Note it."""
        self._fail(err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        """Note it."""
        if err is not None:
            self._fail(err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """Note it."""
        self._now.outcome = "skip"

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        """Count it as passed."""

    def _fail(self, err: Any) -> None:
        import traceback

        last = traceback.extract_tb(err[2])[-1]
        self._now.outcome = "fail"
        self._now.reason = f"{err[0].__name__}: {str(err[1])[:200]} ({os.path.basename(last.filename)}:{last.lineno})"


def _too_slow(number: int, frame: object) -> None:
    raise TimeoutError(f"took over {TEST_SECONDS} s")


def run_here(suite: str, record: Path, *, mounted: bool) -> None:
    """Run one suite in this process, in a new folder."""
    touches, processes = [0], [0]
    folder = record.parent.resolve() / "work"
    folder.mkdir()
    if mounted:
        _mount(folder, touches)
    _watch_processes(processes)
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    from test import support

    support.use_resources = {}  # nothing that takes long or much room
    loaded = unittest.defaultTestLoader.loadTestsFromName(f"test.{suite}")
    loaded.run(Recorder(record, touches, processes))
    os._exit(0)  # what tests left behind must not hold it up


def _mount(folder: Path, touches: list[int]) -> None:
    import gaeport
    from gaeport.fs.places import Place

    gaeport.configure(root=folder.parent, data=":memory:")
    gaeport.mount(folder, import_=True)
    original = Place.__init__

    def counting(self: Place, *args: Any, **kwargs: Any) -> None:
        touches[0] += 1
        original(self, *args, **kwargs)

    Place.__init__ = counting  # type: ignore[method-assign]


def _watch_processes(processes: list[int]) -> None:
    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"):
            processes[0] += 1

    sys.addaudithook(watch)


def run(suite: str, *, mounted: bool) -> dict[str, Ran]:
    """Run one suite in a process of its own; returns what became of each test."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        command = [sys.executable, "-W", "ignore", "-m", "tests.fs.stdlib_suites", "--record", str(record), suite]
        command += ["--mounted"] if mounted else []
        try:
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            say(f"{suite}: ended after {SECONDS} s")
        rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    return {name: Ran(*values) for name, *values in rows}


def compare(suite: str) -> tuple[int, dict[str, str]]:
    """Return how many tests of a suite count, and those that fail in the mount with the reason."""
    disk, mounted = run(suite, mounted=False), run(suite, mounted=True)
    counted = 0
    failing = {}
    for name, ran in mounted.items():
        on_disk = disk.get(name)
        if on_disk is None or on_disk.outcome != "ok" or ran.process or on_disk.process or not ran.touched:
            continue
        counted += 1
        if ran.outcome == "fail":
            failing[name.removeprefix("test.")] = ran.reason
    missing = sorted(name for name in disk.keys() - mounted.keys() if disk[name].outcome == "ok")
    failing |= {name.removeprefix("test."): "did not run" for name in missing}
    return counted + len(missing), failing


def say(line: str) -> None:
    """Tell at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the suites and print a table. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", default=SUITES)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--mounted", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.record:
        run_here(arguments.suites[0], arguments.record, mounted=arguments.mounted)
    total = failed = 0
    for suite in arguments.suites:
        counted, failing = compare(suite)
        total, failed = total + counted, failed + len(failing)
        say(f"{suite:30} {counted - len(failing):5} of {counted:5}")
        for name, reason in sorted(failing.items()):
            say(f"    {name}: {reason}")
    share = (total - failed) / max(total, 1)
    say(f"{'in all':30} {total - failed:5} of {total:5}: {share:.1%}")
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
