"""`gaeport plan` tells people and pipelines what a deployment would do, and changes nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gaeport import cli
from tests.tools.check.broken import SOUND
from tests.tools.plan.test_deploy import alive, program, snapshot, write

MANY = {
    **SOUND,
    "queue.yaml": "queue:\n- name: mail\n  rate: 5/s\n",
    "cron.yaml": "cron:\n- url: /a\n  schedule: every 5 minutes\n- url: /b\n  schedule: every 5 minutes\n",
    "index.yaml": "indexes:\n- kind: A\n  properties:\n  - name: x\n  - name: z\n    direction: desc\n",
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that can be deployed, as the current one."""
    root = tmp_path / "app"
    write(root, MANY)
    monkeypatch.chdir(root)
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    return root


@pytest.fixture
def no_gcloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.mark.usefixtures("no_gcloud")
def test_without_gcloud_it_says_how_to_get_it_and_prints_the_commands(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", "--release", "v1"]) == 2
    captured = capsys.readouterr()
    assert "https://cloud.google.com/sdk/docs/install" in captured.err
    assert "gcloud app deploy app.yaml --no-promote --version=v1" in captured.out
    assert cli.main(["--project", "notes-1", "plan", "--json"]) == 2
    found = json.loads(told(capsys))
    assert (found["gcloud"], found["plan"]) == (False, None)
    assert "PROJECT" not in json.dumps(found["steps"])


@pytest.mark.usefixtures("no_gcloud")
@pytest.mark.parametrize("text", ["{", '{"format": 99}', '{"format": 1}', "[]", '{"format": 1, "files": []}'])
def test_a_state_that_is_none_is_refused(app: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (app / "s.json").write_text(text)
    assert cli.main(["plan", "--state", "s.json"]) == 2
    assert "s.json" in capsys.readouterr().err


@pytest.mark.usefixtures("no_gcloud")
def test_a_state_that_is_missing_is_refused(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--state", "none.json"]) == 2
    assert "gaeport plan --save" in capsys.readouterr().err


def test_a_folder_without_app_yaml_is_refused(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (app / "app.yaml").unlink()
    assert cli.main(["plan"]) == 2
    assert "there is no app.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--release=A", "--release=-a", "--limit=0", "--limit=x"])
def test_wrong_options_are_refused(app: Path, option: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["plan", option])


def test_a_gcloud_that_hangs_is_told(
    app: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(program(app.parent, "exec sleep 600")).parent
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert cli.main(["plan", "--limit", "0.5", "--save"]) == 1
    captured = capsys.readouterr()
    assert "gcloud had not ended after 0.5 seconds" in captured.out
    assert "is as it was" in captured.err
    assert not (app / ".gaeport").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_running(app: Path, number: signal.Signals) -> None:
    pids = app.parent / "pids"
    os.mkfifo(pids)
    folder = Path(program(app.parent, f"sleep 600 & echo $$ $! > {pids}; wait")).parent
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(app.parent)}
    command = [sys.executable, "-m", "gaeport", "plan"]
    with subprocess.Popen(command, cwd=app, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as plan:
        running = [int(pid) for pid in pids.read_text().split()]
        plan.send_signal(number)
        _, err = plan.communicate(timeout=60)
    assert plan.returncode == 130
    assert b"Traceback" not in err
    assert not any(alive(pid) for pid in running)
    assert not list(app.parent.glob("gaeport-plan-*"))


@pytest.mark.long
def test_a_plan_is_saved_and_the_next_one_told_against_it(
    sdk: Path, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(app)
    assert cli.main(["plan"]) == 0
    first = told(capsys)
    assert snapshot(app) == before
    assert "9 files would be uploaded" in first
    assert "create   index          A (x, -z)\n" in first
    assert "create   cron job       /b: every 5 minutes\n" in first
    assert cli.main(["plan", "--save"]) == 0
    told(capsys)
    write(
        app,
        {
            "queue.yaml": "queue:\n- name: other\n  rate: 5/s\n",
            "cron.yaml": "cron:\n- url: /a\n  schedule: every 6 minutes\n",
            "index.yaml": "indexes:\n",
            "main.py": "app = 1\n",
        },
    )
    assert cli.main(["plan"]) == 1
    second = told(capsys)
    for line in (
        "pause    queue          mail\n",
        "change   cron job       /a: every 6 minutes\n",
        "delete   cron job       /b\n",
        "leave    index          A (x, -z): not in index.yaml",
        "  changed         8 B  main.py\n",
        "gcloud tasks queues resume mail",
    ):
        assert line in second, line
    assert cli.main(["plan", "--accept", "--json"]) == 0
    found = json.loads(told(capsys))
    assert found["compared_with"].endswith(".gaeport/plan.json")
    assert {one["path"] for one in found["plan"]["uploaded"] if one["change"] == "changed"} == {
        "cron.yaml",
        "index.yaml",
        "main.py",
        "queue.yaml",
    }


@pytest.mark.long
def test_each_file_that_gcloud_refuses_is_named_with_its_words(
    sdk: Path, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        app,
        {
            "queue.yaml": "queue:\n- name: mail\n  rate: 600/s\n",
            "cron.yaml": "cron:\n- url: a\n  schedule: every 5 minutes\n",
            "dispatch.yaml": "dispatch: []\n",
        },
    )
    assert cli.main(["plan", "--json"]) == 1
    found = json.loads(told(capsys))["plan"]
    refused = {one["file"]: one["message"] for one in found["refused"]}
    assert set(refused) == {"queue.yaml", "cron.yaml"}
    assert "Refill rate must not exceed 500 per second (is 600.0)" in refused["queue.yaml"]
    assert "[cron.yaml]" in refused["cron.yaml"]
    assert str(app) not in json.dumps(refused)
    assert found["uploaded"]
    assert [one["what"] for one in found["changes"]] == ["index"]
    assert shutil.which("gcloud")
