"""What a project holds: what a deployment is compared with, and what it leaves behind."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gaeport.errors import ConfigurationError
from gaeport.settings import Settings

FORMAT = 1
FILE = "plan.json"


@dataclass(slots=True)
class State:
    """Everything of a project that `gcloud app deploy` changes, as Google's APIs show it.

    Attributes:
        files: of each service, the SHA-1 of every file of its newest version by path.
        indexes: the composite indexes, as the Datastore Admin API has them.
        queues: the queues of Cloud Tasks by name.
        jobs: the cron jobs of Cloud Scheduler by name.
        dispatch: the dispatch rules.
    """

    files: dict[str, dict[str, str]] = field(default_factory=dict)
    indexes: list[dict[str, Any]] = field(default_factory=list)
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    dispatch: list[dict[str, Any]] = field(default_factory=list)


def path_of(config: Settings) -> Path:
    """Return where an application's state is kept unless it is said otherwise."""
    return (Path(config.root) / ".gaeport" if config.in_memory else config.data_path) / FILE


def read(path: Path) -> State:
    """Return a saved state.

    Raises:
        ConfigurationError: there is no such file, or it is none that write() made.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; `gaeport plan --save` makes it") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: not a state that `gaeport plan --save` wrote: {error}") from error
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise ConfigurationError(f"{path}: not a state that this gaeport's `gaeport plan --save` wrote")
    empty = asdict(State())
    if found.keys() != empty.keys() or any(type(found[name]) is not type(empty[name]) for name in empty):
        raise ConfigurationError(f"{path}: it must hold {', '.join(empty)}, and nothing else")
    return State(**found)


def write(path: Path, state: State) -> None:
    """Keep a state in a file, which is replaced as a whole; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(f"{json.dumps({'format': FORMAT, **asdict(state)}, indent=2, sort_keys=True)}\n", "utf-8")
    beside.replace(path)
