"""gcloud as a process: with an environment of its own, ended with all that it started."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_APIS = ("APPENGINE", "STORAGE", "DATASTORE", "FIRESTORE", "CLOUDTASKS", "CLOUDSCHEDULER", "SERVICEUSAGE")
_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
TIMED_OUT = 124  # as timeout(1) has it


def environment(home: Path, url: str, project: str, source: Path) -> dict[str, str]:
    """Return an environment in which gcloud knows no account and no settings, and has no way out but the stand-in.

    Args:
        home: a folder of its own, for its settings and logs.
        url: the stand-in's.
        project: the project's id.
        source: the application's own folder, whose git repository gcloud describes to App Engine.
    """
    token = home / "token"
    token.write_text("made-up\n")
    (home / "config").mkdir()
    (home / "config" / "gce").write_text("False")  # where gcloud remembers whether it is on one of Google's machines
    found = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",  # the SDK's folder may be writable
        "GIT_OPTIONAL_LOCKS": "0",  # `git status` writes nothing either
        "CLOUDSDK_CONFIG": str(home / "config"),
        "CLOUDSDK_CORE_PROJECT": project,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        "GCE_METADATA_ROOT": url.removeprefix("http://"),  # asked for past the proxy, whatever CHECK_GCE_METADATA says
        "no_proxy": "127.0.0.1",
        **{f"{scheme}_proxy": url for scheme in ("http", "https", "all")},
        **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{url}/" for api in _APIS},
    }
    if "CLOUDSDK_PYTHON" in os.environ:
        found["CLOUDSDK_PYTHON"] = os.environ["CLOUDSDK_PYTHON"]
    return {**found, **_repository(source, home)}


def _repository(source: Path, home: Path) -> dict[str, str]:
    """Return what makes git, run in the copy, speak of the folder's own repository, or of none."""
    git = shutil.which("git")
    if git is not None:
        asked = [git, "-C", str(source), "rev-parse", "--absolute-git-dir"]
        done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return {"GIT_DIR": done.stdout.strip()}
    return {"GIT_CEILING_DIRECTORIES": str(home)}


def run(command: list[str], folder: Path, env: dict[str, str], limit: float) -> tuple[int, str]:
    """Run a program to its end, or to a limit; whatever happens, neither it nor what it started is left running.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        env: its whole environment.
        limit: seconds.

    Returns:
        Its exit code (TIMED_OUT where it was ended), and all that it wrote.
    """
    process: subprocess.Popen[bytes] | None = None
    timed_out = False
    try:
        with _signals_wait():
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            timed_out = True
            _end(process)
            output, _ = process.communicate()
    finally:
        if process is not None:
            _end(process)
    return TIMED_OUT if timed_out else process.returncode, output.decode("utf-8", "replace")


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let an interruption wait until a program that is being started is known, or nothing could end it."""
    came: list[int] = []
    numbers = _INTERRUPTIONS if threading.current_thread() is threading.main_thread() else ()
    former = {number: signal.signal(number, lambda sent, _: came.append(sent)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process's whole session; it began one of its own, so that it is nobody else's."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    if process.stdout is not None and not process.stdout.closed and process.returncode is None:
        process.stdout.close()
