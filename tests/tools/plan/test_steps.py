"""The commands fit gaeport.toml and the files that are there, and gcloud knows each of them."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gaeport.settings import CacheSettings, MountSettings, SessionSettings, Settings
from tools.plan.steps import Step, Target, back, forward, target

FILES = ("app.yaml", "index.yaml", "queue.yaml", "cron.yaml", "dispatch.yaml")


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    """The settings of an application with everything."""
    (tmp_path / "app.yaml").write_text("runtime: python313\n")
    sessions = SessionSettings(store="datastore")
    return Settings(root=tmp_path, project="notes-1", bucket="notes-files", sessions=sessions)


def to(config: Settings, files: tuple[str, ...] = FILES) -> Target:
    return target(config, files, "us-central1", "v1", ["mail"])


def text(steps: list[Step]) -> str:
    return "\n".join(command for step in steps for command in step.commands)


def test_everything_comes_in_the_order_in_which_it_is_safe(config: Settings) -> None:
    assert [step.title for step in forward(to(config))] == [
        "APIs",
        "App Engine in the project",
        "a database in Datastore mode",
        "the bucket for large files",
        "roles",
        "TTL policies",
        "indexes, and wait until they are READY",
        "the version, without traffic",
        "a smoke test",
        "traffic",
        "queues",
        "cron jobs",
        "dispatch rules",
    ]


def test_buckets_of_mounts_are_made_too(config: Settings) -> None:
    media = MountSettings("media", store="gcs", bucket="notes-media")
    told = text(forward(to(replace(config, mounts=(media, replace(media, path="more"))))))
    assert told.count("buckets create gs://notes-media") == 1
    assert told.count("buckets create gs://notes-files") == 1
    assert told.count("add-iam-policy-binding gs://notes-media") == 1


def test_an_application_with_nothing_has_the_fewest_steps(config: Settings) -> None:
    plain = replace(config, bucket=None, sessions=None)
    found = forward(to(plain, ("app.yaml",)))
    assert len(found) == 7
    for word in ("bucket", "ttls", "indexes", "queue", "cron", "cloudtasks", "cloudscheduler"):
        assert word not in text(found), word
    assert "queue.yaml" not in text(back(target(plain, ["app.yaml"], "us-central1", "v1")))


def test_settings_are_in_the_commands(config: Settings, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("runtime: python313\nservice: api\nservice_account: me@x.example\n")
    cache = CacheSettings(url="redis://10.0.0.3")
    found = text(forward(to(replace(config, database="second", cache=cache))))
    assert "set-traffic api --splits=v1=1" in found
    assert "serviceAccount:me@x.example" in found
    assert "gcloud datastore indexes create index.yaml --database=second" in found
    assert "ttls update expires" in found
    assert "--database=second" in found
    assert "redis.googleapis.com" in found
    assert "vpcaccess.googleapis.com" in found
    assert "(default)" not in found


def test_every_gcloud_command_names_the_project(config: Settings) -> None:
    for step in (*forward(to(config)), *back(to(config))):
        for command in step.commands:
            assert command.count("--project=notes-1") == len(re.findall(r"\bgcloud\b", command)), command


def test_a_paused_queue_has_its_way_back(config: Settings) -> None:
    assert "gcloud tasks queues resume mail --location=us-central1" in text(back(to(config)))


def test_the_commands_are_sh(config: Settings) -> None:
    script = text([*forward(to(config)), *back(to(config))])
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


@pytest.mark.long
def test_gcloud_knows_every_command_and_option(sdk: Path, config: Settings, tmp_path: Path) -> None:
    named = replace(config, database="second")
    script = text([*forward(to(config)), *back(to(config)), *forward(to(named))])
    found = re.findall(r"gcloud [^|&;\n]*?(?=\)\"|\) &&|\)$|\|\||\n|$)", script)
    commands = sorted({part.strip().removesuffix(")") for part in found})
    assert len(commands) > 20
    listed = tmp_path / "commands.json"
    listed.write_text(json.dumps([{"command_string": command} for command in commands]))
    gcloud = shutil.which("gcloud")
    assert gcloud is not None
    linted = [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={listed}"]
    done = subprocess.run(linted, capture_output=True, text=True, check=False)
    judged, _ = json.JSONDecoder().raw_decode(done.stdout)
    wrong = [(one["command_string"], one["error_message"]) for one in judged if not one["success"]]
    assert wrong == []
    assert len(judged) == len(commands)
