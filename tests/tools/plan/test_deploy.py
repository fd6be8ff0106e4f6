"""gcloud deploys to the stand-in what it would deploy to Google, and reaches nothing else."""

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.emulators import required
from tests.tools.bundle import trees
from tests.tools.check.broken import SOUND
from tools.bundle.patterns import load
from tools.bundle.tree import uploaded
from tools.plan.changes import Change
from tools.plan.deploy import Deployment, deploy
from tools.plan.process import TIMED_OUT

LONG = os.environ.get("GAEPORT_LONG") == "1"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder that can be deployed."""
    root = tmp_path / "app"
    write(root, SOUND)
    return root


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def program(tmp_path: Path, text: str) -> str:
    """Return a program that stands for gcloud."""
    path = tmp_path / "gcloud"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in [root, *root.rglob("*")]}


def names(deployment: Deployment) -> list[str]:
    return [one.path for one in deployment.uploaded]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.long
def test_everything_is_new_in_an_empty_project_and_nothing_in_one_that_has_it(sdk: Path, app: Path) -> None:
    (app / "index.yaml").write_text("indexes:\n- kind: A\n  ancestor: yes\n  properties:\n  - name: x\n")
    before = snapshot(app)
    first = deploy(app)
    assert first.code == 0, first.output
    assert snapshot(app) == before
    assert first.changes[0] == Change("create", "index", "A (x), with ancestor")
    assert [(one.action, one.what, one.name) for one in first.changes[1:]] == [
        ("create", "queue", "default"),
        ("create", "cron job", "/a"),
        ("create", "dispatch rule", "*/a/*"),
    ]
    assert {one.path: one.size for one in first.uploaded} == {
        name: len((app / name).read_text()) for name in names(first)
    }
    assert names(first) == [entry.path for entry in uploaded(app, load(app))]
    again = deploy(app, before=first.state)
    assert (again.code, again.changes, again.state) == (0, (), first.state)
    assert first.traffic.unknown == first.traffic.outside == []


@pytest.mark.long
def test_what_leaves_a_file_is_paused_deleted_or_changed(sdk: Path, app: Path) -> None:
    write(
        app,
        {
            "queue.yaml": "queue:\n- name: mail\n  rate: 5/s\n- name: work\n  rate: 5/s\n- name: idle\n  rate: 5/s\n",
            "cron.yaml": "cron:\n- url: /a\n  schedule: every 5 minutes\n- url: /b\n  schedule: every 5 minutes\n",
        },
    )
    parts = ["queue.yaml", "cron.yaml", "dispatch.yaml"]
    first = deploy(app, files=parts)
    assert first.code == 0, first.output
    assert first.uploaded == ()
    first.state.queues["idle"]["state"] = "PAUSED"
    write(
        app,
        {
            "queue.yaml": "queue:\n- name: work\n  rate: 7/s\n  bucket_size: 7\n- name: idle\n  rate: 5/s\n",
            "cron.yaml": "cron:\n- url: /a\n  schedule: every 6 minutes\n",
            "dispatch.yaml": "dispatch: []\n",
        },
    )
    second = deploy(app, files=parts, before=first.state)
    assert second.code == 0, second.output
    found = {(one.action, one.what, one.name) for one in second.changes}
    assert found == {
        ("change", "queue", "work"),
        ("resume", "queue", "idle"),
        ("pause", "queue", "mail"),
        ("change", "cron job", "/a"),
        ("delete", "cron job", "/b"),
        ("delete", "dispatch rule", "*/a/*"),
    }
    assert [one.detail for one in second.changes if one.name == "work"] == [
        "rateLimits.maxBurstSize=5 -> 7, rateLimits.maxDispatchesPerSecond=5.0 -> 7.0"
    ]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(300 if LONG else 10))
def test_the_files_uploaded_are_those_that_bundle_lists(sdk: Path, tmp_path: Path, seed: int) -> None:
    """GAEPORT_LONG=1 deploys 300 trees, and asks `gcloud meta list-files-for-upload` too."""
    chance = random.Random(seed)
    root = tmp_path / "app"
    root.mkdir()
    trees.grow(root, chance)
    (root / "app.yaml").write_text(SOUND["app.yaml"])
    (root / ".gcloudignore").write_text(trees.lines(chance))
    (root / "link").symlink_to("app.yaml")
    done = deploy(root)
    assert done.code == 0, done.output
    wanted = {entry.path for entry in uploaded(root, load(root))}
    assert set(names(done)) == wanted
    if LONG:
        command = [str(sdk / "bin" / "gcloud"), "meta", "list-files-for-upload", str(root)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert set(listed.split("\n")[:-1]) == wanted


@pytest.mark.long
def test_gcloud_refuses_a_link_in_a_circle_as_it_does_in_the_folder_itself(sdk: Path, app: Path) -> None:
    (app / "static" / "up").symlink_to(app, target_is_directory=True)
    done = deploy(app, files=["app.yaml"])
    assert done.code == 1
    assert done.uploaded == ()


@pytest.mark.long
def test_the_git_remote_that_gcloud_sends_is_uploaded_and_the_repository_untouched(sdk: Path, app: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for line in ("init -q", "add .", "remote add origin https://git.example/notes.git"):
        subprocess.run(["git", *line.split()], cwd=app, check=True)
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *author, "commit", "-qm", "first"], cwd=app, check=True)
    (app / ".gcloudignore").write_text(".git\n")
    before = snapshot(app)
    assert "source-context.json" in names(deploy(app, files=["app.yaml"]))
    assert snapshot(app) == before


@pytest.mark.long
def test_every_connection_that_gcloud_makes_is_to_the_stand_in(sdk: Path, app: Path, tmp_path: Path) -> None:
    strace, gcloud = shutil.which("strace"), shutil.which("gcloud")
    if strace is None:
        needed = "needs strace (Linux: apt-get install strace), which tells of connections that no proxy sees"
        if required():
            pytest.fail(needed, pytrace=False)
        pytest.skip(needed)
    log = tmp_path / "connections"
    traced = program(tmp_path, f'exec {strace} -f -qq -e trace=connect,sendto,sendmsg,sendmmsg -o {log} {gcloud} "$@"')
    done = deploy(app, gcloud=traced)
    assert done.code == 0, done.output
    calls = log.read_text()
    assert (done.traffic.outside, done.traffic.unknown) == ([], [])
    ports = re.findall(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([\d.]+)"\)', calls)
    assert len(set(ports)) == 1, set(ports)
    assert ports[0][1] == "127.0.0.1"
    assert "AF_INET6" not in calls
    assert "sendmmsg" not in calls  # by which names are looked up


def test_a_request_to_anywhere_else_is_refused_and_told(app: Path, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl")
    asked = f"{curl} -sS http://example.com/a; {curl} -sS https://example.com/b; {curl} -sS $http_proxy/v1/unheard?a=1"
    done = deploy(app, gcloud=program(tmp_path, asked))
    assert done.traffic.outside == ["GET http://example.com/a", "CONNECT example.com:443"]
    assert done.traffic.unknown == ["GET /v1/unheard?a=1"]
    assert "nothing leaves this machine" in done.output


def test_gcloud_gets_no_setting_of_its_user(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSDK_CORE_ACCOUNT", "someone@example.com")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/secret.json")
    done = deploy(app, gcloud=program(tmp_path, "env; pwd"))
    assert "someone" not in done.output
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in done.output
    assert f"HOME={os.path.expanduser('~')}\n" not in done.output
    assert done.output.endswith(f"{app}\n")


def test_a_gcloud_that_hangs_is_ended_with_what_it_started(app: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    done = deploy(app, gcloud=program(tmp_path, f"sleep 600 & echo $$ $! > {pids}; echo hanging; wait"), limit=2)
    assert done.code == TIMED_OUT
    assert done.ended
    assert done.output == "hanging\n"
    assert not any(alive(int(pid)) for pid in pids.read_text().split())


def test_no_gcloud_is_an_error_of_its_own(app: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not on the PATH"):
        deploy(app, gcloud=str(tmp_path / "none"))
