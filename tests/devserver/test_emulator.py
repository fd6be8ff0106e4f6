"""Google's emulators are started, waited for, and leave nothing behind."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gaeport.devserver import emulator
from gaeport.devserver.emulator import Emulator
from gaeport.errors import ConfigurationError, EmulatorError

# Plays an emulator: its launcher is started with the same arguments, and it prints, listens or ends as told.
_STUBBORN = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
port = next(a.split("=")[1] for a in sys.argv if a.startswith("--port="))
server = socket.create_server(("127.0.0.1", int(port)))
while True:
    time.sleep(60)
"""


def _fake_sdk(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a Cloud SDK on the PATH whose Firestore emulator is `script`."""
    home = folder / "sdk" / "platform" / "cloud-firestore-emulator"
    home.mkdir(parents=True)
    (folder / "sdk" / "bin").mkdir()
    for path, text in (
        (folder / "sdk" / "bin" / "gcloud", "#!/bin/sh\nexit 1\n"),
        (folder / "sdk" / "bin" / "java", "#!/bin/sh\nexit 1\n"),
        (home / "cloud_firestore_emulator", script),
    ):
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder / 'sdk' / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while _alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def test_without_gcloud_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="gcloud components install cloud-firestore-emulator"):
        Emulator("firestore").start()


def test_an_sdk_without_the_emulator_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_sdk(tmp_path, monkeypatch, "#!/bin/sh\n")
    with pytest.raises(ConfigurationError, match="has no datastore emulator; run: gcloud components install"):
        Emulator("datastore").start()


def test_an_emulator_that_dies_gives_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_sdk(tmp_path, monkeypatch, "#!/bin/sh\necho UnsupportedClassVersionError: wants Java 99 >&2\nexit 1\n")
    with pytest.raises(EmulatorError, match="wants Java 99"):
        Emulator().start()


def test_an_emulator_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_sdk(tmp_path, monkeypatch, "#!/bin/sh\necho thinking\nexec sleep 60\n")
    monkeypatch.setattr(emulator, "START_SECONDS", 0.3)
    with pytest.raises(EmulatorError, match="no answer within"):
        Emulator().start()


def test_a_process_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(_STUBBORN)
    _fake_sdk(tmp_path, monkeypatch, f'#!/bin/sh\nexec {sys.executable} {program} "$@"\n')
    monkeypatch.setattr(emulator, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(Emulator, "_look_something_up", lambda self, port: None)
    running = Emulator().start()
    assert running._process is not None
    pid = running._process.pid
    assert _alive(pid)
    running.stop()
    assert not _alive(pid)


def test_a_killed_parent_leaves_no_emulator_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_sdk(tmp_path, monkeypatch, "#!/bin/sh\nexec sleep 60\n")
    code = (
        "import sys\nfrom gaeport.devserver.emulator import Emulator\n"
        "Emulator._wait_until_it_answers = lambda self, port: None\n"
        "print(Emulator().start()._process.pid, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
        _wait_until_gone(pid)


def test_the_firestore_emulator_takes_no_data_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="memory only"):
        Emulator("firestore", data_dir=tmp_path)


def test_an_unknown_kind_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigurationError, match="valid: datastore, firestore"):
        Emulator("bigtable")  # type: ignore[arg-type]  # what a command line may bring


@pytest.mark.parametrize("server", ["firestore_emulator", "datastore_emulator"])
def test_a_started_emulator_stores_and_finds(server: str, request: pytest.FixtureRequest) -> None:
    import grpc

    from gaeport.datastore import wire
    from gaeport.datastore.client import Client
    from gaeport.datastore.transport import GrpcTransport

    with grpc.insecure_channel(request.getfixturevalue(server)) as channel:
        client = Client(GrpcTransport(channel), project="gaeport-local", namespace="emulator-test")
        key = client.key("Note", "one")
        client.commit([wire.Mutation(upsert=wire.Entity(key=key))])
        assert client.lookup([key])[0] is not None


def test_stop_frees_the_port_and_ends_the_process(firestore_emulator: str) -> None:
    with Emulator("firestore") as running:
        port = int(running.host.rpartition(":")[2])
        assert running._process is not None
        pid, folder = running._process.pid, running._folder
        assert running.host != firestore_emulator
    assert not _alive(pid)
    assert folder is not None
    assert not os.path.exists(folder)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
