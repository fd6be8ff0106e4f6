"""`gcloud app deploy` of a folder, offline. Tests of what is uploaded and refused use deploy() too."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .changes import Change
from .copying import link_tree
from .process import TIMED_OUT, environment, run
from .project import Project
from .stand_in import Traffic, running
from .state import State

#: What gcloud deploys beside the application itself, in the order in which it is safe.
CONFIGURATIONS = ("index.yaml", "queue.yaml", "cron.yaml", "dispatch.yaml")
LIMIT = 600.0  # seconds; gcloud took 64 for 3,000 files on two busy cores, and a version may have 10,000


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a version: its path with slashes, its size in bytes, its SHA-1."""

    path: str
    size: int
    sha1: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """What gcloud did.

    Attributes:
        code: its exit code; 124 where it took too long and was ended.
        output: what it wrote; paths are the application's own.
        version: whether a version was made.
        uploaded: its files, by path.
        changes: what it changed beside the version.
        state: what the project holds afterwards.
        traffic: the requests that it made.
    """

    code: int
    output: str
    version: bool
    uploaded: tuple[Upload, ...]
    changes: tuple[Change, ...]
    state: State
    traffic: Traffic

    @property
    def ended(self) -> bool:
        """Whether it took too long and was ended."""
        return self.code == TIMED_OUT


def files_of(folder: Path) -> list[str]:
    """Return which of the files that gcloud deploys are in a folder, app.yaml first."""
    return [name for name in ("app.yaml", *CONFIGURATIONS) if (folder / name).is_file()]


def deploy(
    folder: Path,
    *,
    files: Sequence[str] | None = None,
    before: State | None = None,
    project: str = "gaeport-local",
    gcloud: str = "gcloud",
    limit: float = LIMIT,
) -> Deployment:
    """Deploy a folder with the installed gcloud to a stand-in for Google on this machine. Nothing leaves it.

    gcloud sees a tree of links, so that the folder itself is not written to; it has no account, no settings, and no way
    to any other host.

    Args:
        folder: app.yaml's folder.
        files: what to deploy, of app.yaml and CONFIGURATIONS; by default each that is there.
        before: what the project holds; by default nothing.
        project: the project's id, for gcloud's messages.
        gcloud: the program.
        limit: seconds after which it is ended.

    Returns:
        What would have happened.

    Raises:
        FileNotFoundError: there is no such program.
    """
    program = shutil.which(gcloud)
    if program is None:
        raise FileNotFoundError(f"{gcloud} is not on the PATH")
    pretended = Project(project, before or State())
    with tempfile.TemporaryDirectory(prefix="gaeport-plan-", ignore_cleanup_errors=True) as made:
        home = Path(os.path.realpath(made))
        app = home / "app" / folder.absolute().name
        link_tree(folder, app)
        command = [program, "app", "deploy", *(files_of(folder) if files is None else files)]
        command += ["--quiet", "--no-promote", "--no-cache", f"--project={project}", "--version=gaeport-plan"]
        with running(pretended) as (url, traffic):
            code, output = run(command, app, environment(home, url, project, folder), limit)
        uploaded = _uploaded(pretended, app)
    return Deployment(
        code,
        output.replace(f"{app}/", "").replace(str(app), str(folder.absolute())),
        pretended.deployed is not None,
        uploaded,
        tuple(pretended.changes),
        pretended.state,
        traffic,
    )


def _uploaded(project: Project, app: Path) -> tuple[Upload, ...]:
    files = {} if project.deployed is None else project.state.files[project.deployed]
    return tuple(Upload(path, _size(app / path), sha1) for path, sha1 in sorted(files.items()))


def _size(path: Path) -> int:
    """Return a file's size; 0 for source-context.json, which gcloud makes while it uploads."""
    return path.stat().st_size if path.exists() else 0
