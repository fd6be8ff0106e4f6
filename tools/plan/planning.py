"""A plan: what gcloud refuses, what it would upload and change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gaeport.datastore import index_yaml
from gaeport.datastore.indexes import Index
from gaeport.errors import ConfigurationError

from .changes import REMOVALS, Change, index_name
from .deploy import LIMIT, Deployment, Upload, deploy, files_of
from .state import State

_ERROR = "ERROR: "
_PROJECT = "gaeport-plan"  # what gcloud is told where no project is known
_USELESS = "If you would like to report this issue"


@dataclass(frozen=True, slots=True)
class Refused:
    """What gcloud does not take: the file (None where it is none of them), and gcloud's own words."""

    file: str | None
    message: str


@dataclass(slots=True)
class Plan:
    """What a deployment would do.

    Attributes:
        files: what is deployed, of app.yaml and the configurations.
        refused: what gcloud does not take.
        uploaded: the version's files; None where there would be no version.
        changes: what is changed beside the version.
        left: indexes that are there and not in index.yaml; gcloud leaves them.
        before: what it is compared with.
        after: what the project would hold.
        strange: requests that the stand-in refused or does not play.
    """

    files: list[str]
    before: State
    after: State
    refused: list[Refused] = field(default_factory=list)
    uploaded: tuple[Upload, ...] | None = None
    changes: list[Change] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    @property
    def removals(self) -> list[Change]:
        """What works now and would not afterwards."""
        return [one for one in self.changes if one.action in REMOVALS]

    def known(self) -> dict[str, str]:
        """Return the SHA-1 by path of the files of the service's former version."""
        if self.uploaded is None:
            return {}
        made = {one.path: one.sha1 for one in self.uploaded}
        service = next((name for name, files in self.after.files.items() if files == made), "")
        return self.before.files.get(service, {})


def make(root: Path, before: State, *, project: str = _PROJECT, gcloud: str = "gcloud", limit: float = LIMIT) -> Plan:
    """Return what a deployment of a folder would do. Nothing leaves this machine.

    Args:
        root: app.yaml's folder.
        before: what the project holds.
        project: its id, for gcloud's messages.
        gcloud: the program.
        limit: seconds for each run of it.

    Raises:
        FileNotFoundError: there is no gcloud.
        ConfigurationError: there is no app.yaml.
    """
    files = files_of(root)
    if "app.yaml" not in files:
        raise ConfigurationError(f"there is no app.yaml in {root}: `gaeport new` makes one")

    def run(names: Sequence[str], state: State) -> Deployment:
        return deploy(root, files=names, before=state, project=project, gcloud=gcloud, limit=limit)

    whole = run(files, before)
    plan = Plan(files, before, whole.state)
    if whole.code == 0 or whole.ended:
        _take(plan, whole)
        if whole.ended:
            plan.refused.append(Refused(None, f"gcloud had not ended after {limit:g} seconds, and was ended"))
    else:
        _one_by_one(plan, whole, run)
    plan.left = _left(root, before)
    return plan


def message(output: str) -> str:
    """Return what gcloud says is wrong: its output from "ERROR:" on, without advice on reporting it."""
    _, found, rest = output.rpartition(f"\n{_ERROR}") if f"\n{_ERROR}" in output else output.partition(_ERROR)
    return (rest if found else output).partition(_USELESS)[0].strip()


def _one_by_one(plan: Plan, whole: Deployment, run: Callable[[Sequence[str], State], Deployment]) -> None:
    """Deploy each file on its own: gcloud names the first mistake only, and often not the file."""
    plan.after = plan.before
    for name in plan.files:
        done = run([name], plan.after)
        plan.after = done.state
        _take(plan, done)
        if done.code:
            plan.refused.append(Refused(name, message(done.output)))
    if not plan.refused:
        plan.refused.append(Refused(None, message(whole.output)))


def _take(plan: Plan, done: Deployment) -> None:
    if done.version:
        plan.uploaded = done.uploaded
    plan.changes += done.changes
    plan.strange += [*done.traffic.outside, *done.traffic.unknown]


def _left(root: Path, before: State) -> list[str]:
    path = root / "index.yaml"
    try:
        listed = index_yaml.parse(path.read_text("utf-8"), path.name)
    except FileNotFoundError:
        return []
    except (ConfigurationError, UnicodeDecodeError):
        return []  # gcloud says what is wrong with it
    wanted = {_name(index) for index in listed}
    return [name for name in map(index_name, before.indexes) if name not in wanted]


def _name(index: Index) -> str:
    """Return an index of index.yaml in index_name()'s words, as Datastore keeps it: without a last `__key__`."""
    properties = list(index.properties)
    if properties and properties[-1] == ("__key__", "asc"):
        properties.pop()
    directions = {"asc": "ASCENDING", "desc": "DESCENDING"}
    made = [{"name": name, "direction": directions[direction]} for name, direction in properties]
    return index_name(
        {"kind": index.kind, "ancestor": "ALL_ANCESTORS" if index.ancestor else "NONE", "properties": made}
    )
