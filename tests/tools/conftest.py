"""Commands that read gaeport.toml themselves, and Google's SDK where it is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gaeport import settings

NEEDED = "needs Google's Cloud SDK (gcloud): https://cloud.google.com/sdk/docs/install"


@pytest.fixture(scope="session")
def sdk() -> Path:
    """The folder of the installed SDK."""
    command = shutil.which("gcloud")
    if command is None:
        if os.environ.get("GAEPORT_REQUIRE_SERVERS"):
            pytest.fail(NEEDED)
        pytest.skip(NEEDED)
    done = subprocess.run(
        [command, "info", "--format=value(installation.sdk_root)"], capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


@pytest.fixture(autouse=True)
def _nothing_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests of the process configured is not what a command finds when it starts."""
    monkeypatch.setattr(settings, "_current", None)
