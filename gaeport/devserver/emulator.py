"""Google's own emulators, started from an installed Cloud SDK and stopped again."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from gaeport.errors import ConfigurationError, EmulatorError

Kind = Literal["firestore", "datastore"]

START_SECONDS = 60.0  # a cold JVM on a busy laptop takes about ten
STOP_SECONDS = 10.0  # between SIGTERM and SIGKILL
_ATTEMPTS = 3  # another process may take the free port between finding and using it
_JAVA_OPTIONS = "-Xmx512m -XX:+UseSerialGC"  # it runs beside the application, on the same laptop
_COMPONENTS = {"firestore": "cloud-firestore-emulator", "datastore": "cloud-datastore-emulator"}
_FLAGS = {
    "firestore": ["--database-mode=datastore-mode"],
    "datastore": ["--firestore_in_datastore_mode"],  # every query strongly consistent, as in production
}
# The emulator takes the shell's place; a second shell ends the group when our end of its standard input closes, so
# that not even kill -9 of this process leaves a JVM behind.
_WATCHED = 'exec 3<&0; (read -r _; kill 0) <&3 & exec "$@" </dev/null 3<&-'
_PROBE = """
import sys
from gaeport.devserver.emulator import probe
from gaeport.errors import DatastoreError
try:
    probe(*sys.argv[1:])
except DatastoreError as error:
    sys.exit(str(error))
"""


class Emulator:
    """One of Google's emulators, on 127.0.0.1 and a free port.

    A context manager; `start` and `stop` do the same. It is stopped at the end of the interpreter too.

    Attributes:
        kind: "firestore" (Firestore in Datastore mode: what production runs) or "datastore" (the older one).
        project: the project to address; the emulators accept any.
        host: "127.0.0.1:PORT" while it runs, as DATASTORE_EMULATOR_HOST wants it.
    """

    def __init__(self, kind: Kind = "firestore", *, data_dir: Path | None = None, project: str = "gaeport-local"):
        """Prepare; nothing is started yet.

        Args:
            kind: which emulator.
            data_dir: where the Datastore emulator keeps its data; None keeps nothing.
            project: the project id that clients will use.

        Raises:
            ConfigurationError: an unknown kind, or a data_dir for the Firestore emulator, which has no storage.
        """
        if kind not in _COMPONENTS:
            raise ConfigurationError(f"emulator {kind!r} is unknown; valid: {', '.join(sorted(_COMPONENTS))}")
        if data_dir is not None and kind == "firestore":
            raise ConfigurationError("the Firestore emulator keeps its data in memory only; use kind datastore")
        self.kind = kind
        self.project = project
        self.host = ""
        self._data_dir = data_dir
        self._folder: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the emulator and wait until it answers a Lookup.

        Raises:
            ConfigurationError: the Cloud SDK, the emulator in it, or Java is missing; the message says how to get it.
            EmulatorError: it died or did not answer in time.
        """
        if self._process is not None:
            return self
        launcher = find_launcher(self.kind)
        environment = _java_environment()
        self._folder = tempfile.mkdtemp(prefix="gaeport-emulator-")
        atexit.register(self.stop)
        try:
            if self.kind == "datastore":
                self._create_project(launcher, environment)
            self._start_on_free_port(launcher, environment)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the emulator and all its processes, and remove what it left in the temporary folder."""
        atexit.unregister(self.stop)
        process, self._process, self.host = self._process, None, ""
        if process is not None:
            _end(process)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return Path(self._folder or "", "emulator.log")

    @property
    def _project_folder(self) -> Path:
        return self._data_dir or Path(self._folder or "", "data")

    def _create_project(self, launcher: Path, environment: dict[str, str]) -> None:
        folder = self._project_folder
        if folder.is_dir() and any(folder.iterdir()):
            return
        command = [str(launcher), "create", str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=START_SECONDS, check=False)
        if done.returncode:
            output = (done.stdout + done.stderr).decode(errors="replace")
            raise EmulatorError(f"the {self.kind} emulator cannot use {folder}:\n{output}")

    def _start_on_free_port(self, launcher: Path, environment: dict[str, str]) -> None:
        for attempt in range(_ATTEMPTS):
            port = _free_port()
            with open(self._log, "wb") as log:
                self._process = self._spawn([str(launcher), *self._arguments(port)], environment, log)
            try:
                self._wait_until_it_answers(port)
            except EmulatorError as error:
                _end(self._process)
                if attempt == _ATTEMPTS - 1 or "already in use" not in str(error):
                    raise
            else:
                self.host = f"127.0.0.1:{port}"
                return

    def _arguments(self, port: int) -> list[str]:
        arguments = ["start", "--host=127.0.0.1", f"--port={port}", *_FLAGS[self.kind]]
        if self.kind == "datastore":
            arguments += [f"--store_on_disk={self._data_dir is not None}", str(self._project_folder)]
        return arguments

    def _spawn(self, command: list[str], environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCHED, "sh", *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _wait_until_it_answers(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            assert self._process is not None
            if self._process.poll() is not None:
                raise EmulatorError(f"the {self.kind} emulator ended:\n{self._last_lines()}")
            if time.monotonic() > deadline:
                raise EmulatorError(f"no answer within {START_SECONDS:.0f} s:\n{self._last_lines()}")
            time.sleep(0.05)  # the emulators tell nobody when they are ready
        self._look_something_up(port)

    def _look_something_up(self, port: int) -> None:
        # In a process of its own: a process that has used gRPC cannot fork workers that use it too; they hang.
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, f"127.0.0.1:{port}", self.project],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise EmulatorError(f"the {self.kind} emulator answers {done.stderr.strip()}:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


def probe(host: str, project: str) -> None:
    """Look something up in an emulator, once.

    Raises:
        DatastoreError: the emulator does not answer as one.
    """
    import grpc

    from gaeport.datastore.client import Client
    from gaeport.datastore.transport import GrpcTransport

    with grpc.insecure_channel(host) as channel:
        client = Client(GrpcTransport(channel), project=project)
        client.lookup([client.key("Probe", "probe")])


def find_launcher(kind: Kind) -> Path:
    """Return the program in the Cloud SDK that starts an emulator.

    Raises:
        ConfigurationError: there is no Cloud SDK on the PATH, or it lacks the emulator.
    """
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        raise ConfigurationError(
            "Google's emulators come with the Cloud SDK, and there is no gcloud on the PATH: "
            f"install it (https://cloud.google.com/sdk/docs/install) and run: {_install(kind)}"
        )
    component = _COMPONENTS[kind]
    inside = Path("platform", component, component.replace("-", "_"))
    for root in (Path(gcloud).resolve().parent.parent, _sdk_root(gcloud)):
        if root is not None and (root / inside).is_file():
            return root / inside
    raise ConfigurationError(f"the Cloud SDK of {gcloud} has no {kind} emulator; run: {_install(kind)}")


def _install(kind: Kind) -> str:
    return f"gcloud components install {_COMPONENTS[kind]} (or apt-get install google-cloud-cli-{kind}-emulator)"


def _sdk_root(gcloud: str) -> Path | None:
    # Slow (a second), so it is asked only when gcloud is a wrapper that lies outside the SDK. A folder of its own
    # keeps gcloud from writing into the user's settings.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [gcloud, "info", "--format=value(installation.sdk_root)"],
            env={**os.environ, "CLOUDSDK_CONFIG": folder, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
    text = os.fsdecode(done.stdout).strip()
    return Path(text) if done.returncode == 0 and text else None


def _java_environment() -> dict[str, str]:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        raise ConfigurationError("Google's emulators need Java 21 or newer, and there is no java on the PATH")
    # The SDK's launchers run $JAVA; with exec in it no shell stands between us and the JVM.
    return {**os.environ, "JAVA": f"exec {java} {_JAVA_OPTIONS}"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: SIGTERM, then SIGKILL."""
    assert process.stdin is not None
    _signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
    process.stdin.close()  # ends the watching shell where a signal did not


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass
