"""The commands of a deployment in the order in which they are safe, and those that take it back."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gaeport.sessions import ttl
from gaeport.settings import Settings

from ..check.documents import load

UNNAMED = "PROJECT"  # stands in the commands where no project is known
_LOCAL = "gaeport-local"  # the settings' default
_APP_ENGINE_REGIONS = {"us-central1": "us-central", "europe-west1": "europe-west"}  # older than the other names


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        title: what it does.
        commands: for a shell, in order.
        note: what to know; "" for nothing.
    """

    title: str
    commands: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where and what is deployed.

    Attributes:
        config: the settings.
        files: what gcloud deploys, of app.yaml and the configurations.
        service: app.yaml's service.
        account: the service account that the application runs as.
        region: of the database, the bucket and the application, such as "us-central1".
        version: the new version's name.
        paused: queues that the deployment pauses.
    """

    config: Settings
    files: tuple[str, ...]
    service: str
    account: str
    region: str
    version: str
    paused: tuple[str, ...] = ()

    @property
    def project(self) -> str:
        """The project's id, or UNNAMED."""
        return project_of(self.config)

    def gcloud(self, *words: str) -> str:
        """Return a gcloud command for the project, quoted for a shell."""
        return quoted("gcloud", *words, f"--project={self.project}")


def quoted(*words: str) -> str:
    """Return words as a shell takes them, an option's value quoted and not the option: --format='value(id)'."""
    found = []
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        found.append(f"{option}{equals}{shlex.quote(value)}" if value else word)
    return " ".join(found)


def project_of(config: Settings) -> str:
    """Return the settings' project, or UNNAMED where none is set."""
    return UNNAMED if config.project == _LOCAL else config.project


def target(config: Settings, files: Sequence[str], region: str, version: str, paused: Sequence[str] = ()) -> Target:
    """Return where and what is deployed, by the settings and app.yaml."""
    app = load(Path(config.root) / "app.yaml", "app")
    root = app.root if app is not None else None
    service = (root.text_of("service") if root is not None else "") or "default"
    account = root.text_of("service_account") if root is not None else ""
    account = account or f"{project_of(config)}@appspot.gserviceaccount.com"
    return Target(config, tuple(files), service, account, region, version, tuple(paused))


def forward(to: Target) -> list[Step]:
    """Return the steps of a deployment."""
    steps = [_apis(to), _application(to), _database(to), _bucket(to), _roles(to), _policies(to), _indexes(to)]
    steps += [_version(to), _smoke_test(to), _traffic(to)]
    steps += [_configuration(to, name, title) for name, title in _CONFIGURED]
    return [step for step in steps if step.commands]


def back(to: Target) -> list[Step]:
    """Return the steps that take a deployment back."""
    former = to.gcloud("app", "services", "set-traffic", to.service, "--quiet") + ' --splits="$FORMER=1"'
    steps = [Step("all traffic to the version that had it", (former,), "takes effect within a minute; nothing is lost")]
    configured = [name for name, _ in _CONFIGURED if name in to.files]
    if configured:
        deploy = to.gcloud("app", "deploy", *configured, "--quiet")
        note = "each file replaces all of its kind: take them back to the former commit first"
        steps.append(Step("the former queues, cron jobs and dispatch rules", (deploy,), note))
    if to.paused:
        resumed = tuple(
            to.gcloud("tasks", "queues", "resume", name, f"--location={to.region}", "--quiet") for name in to.paused
        )
        steps.append(Step("queues that were paused", resumed, "their tasks are still there"))
    note = "only when nobody needs it to look at; indexes can stay, and data is never taken back"
    removed = to.gcloud("app", "versions", "delete", to.version, f"--service={to.service}", "--quiet")
    return [*steps, Step("the new version removed", (removed,), note)]


def _apis(to: Target) -> Step:
    kv_urls = [to.config.cache.url, (to.config.sessions.url if to.config.sessions else None) or ""]
    names = ["appengine", "artifactregistry", "cloudbuild", "datastore", "firestore", "logging", "storage"]
    names += ["cloudtasks"] if "queue.yaml" in to.files else []
    names += ["cloudscheduler"] if "cron.yaml" in to.files else []
    names += ["redis", "vpcaccess"] if any(url.startswith(("redis:", "rediss:")) for url in kv_urls) else []
    names += ["memcache", "vpcaccess"] if any(url.startswith("memcache") for url in kv_urls) else []
    unique = sorted({f"{name}.googleapis.com" for name in names})
    return Step("APIs", (to.gcloud("services", "enable", *unique),))


def _application(to: Target) -> Step:
    region = _APP_ENGINE_REGIONS.get(to.region, to.region)
    there = to.gcloud("app", "describe", "--format=none")
    create = to.gcloud("app", "create", f"--region={region}", "--quiet")
    return Step("App Engine in the project", (f"{there} || {create}",), "its region can never be changed")


def _database(to: Target) -> Step:
    name = f"--database={to.config.database or '(default)'}"
    there = to.gcloud("firestore", "databases", "describe", name, "--format=none")
    made = to.gcloud(
        "firestore", "databases", "create", name, f"--location={to.region}", "--type=datastore-mode", "--quiet"
    )
    return Step("a database in Datastore mode", (f"{there} || {made}",), "its mode and place can hardly be changed")


def _bucket(to: Target) -> Step:
    commands = []
    for name in _buckets(to):
        url = f"gs://{name}"
        there = to.gcloud("storage", "buckets", "describe", url, "--format=none")
        made = to.gcloud(
            "storage", "buckets", "create", url, f"--location={to.region}", "--uniform-bucket-level-access"
        )
        commands.append(f"{there} || {made}")
    if not commands:
        return Step("bucket", ())
    return Step("the bucket for large files" if len(commands) == 1 else "the buckets for files", tuple(commands))


def _buckets(to: Target) -> list[str]:
    """Return the buckets that the settings name, each once."""
    named = [to.config.bucket, *(mount.bucket for mount in to.config.mounts)]
    return list(dict.fromkeys(name for name in named if name is not None))


def _roles(to: Target) -> Step:
    member = f"--member=serviceAccount:{to.account}"
    names = ["datastore.user", "logging.logWriter", "artifactregistry.createOnPushWriter", "storage.objectViewer"]
    names += ["cloudtasks.enqueuer"] if "queue.yaml" in to.files else []
    commands = [
        to.gcloud(
            "projects",
            "add-iam-policy-binding",
            to.project,
            member,
            f"--role=roles/{name}",
            "--condition=None",
            "--format=none",
        )
        for name in names
    ]
    for bucket in _buckets(to):
        bound = ("storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}")
        commands.append(to.gcloud(*bound, member, "--role=roles/storage.objectUser", "--format=none"))
    note = "the account that the application is built and runs as; an Editor, as it is in older projects, needs none"
    return Step("roles", tuple(commands), note)


def _policies(to: Target) -> Step:
    found = ttl.policies(to.config)
    made = [one.command(project=to.project, database=to.config.database) for one in found]
    commands = tuple(quoted(*shlex.split(command)) for command in made)
    what = " and ".join(one.what for one in found)
    return Step("TTL policies", commands, f"Datastore removes {what} within a day or so")


def _indexes(to: Target) -> Step:
    if "index.yaml" not in to.files:
        return Step("indexes", ())
    named = to.config.database
    if named:  # `gcloud app deploy` knows the default database alone
        made = to.gcloud("datastore", "indexes", "create", "index.yaml", f"--database={named}", "--quiet")
        shown = ["firestore", "indexes", "composite", "list", f"--database={named}", "--format=value(name)"]
    else:
        made = to.gcloud("app", "deploy", "index.yaml", "--quiet")
        shown = ["datastore", "indexes", "list", "--format=value(indexId)"]
    left = to.gcloud(*shown, "--filter=state!=READY")
    wait = f'while LEFT=$({left}) && [ -n "$LEFT" ]; do sleep 10; done'
    return Step("indexes, and wait until they are READY", (made, wait), "a query fails while its index is being built")


def _version(to: Target) -> Step:
    deploy = to.gcloud("app", "deploy", "app.yaml", "--no-promote", f"--version={to.version}", "--quiet")
    note = "the first version of a service gets all traffic at once"
    if to.service != "default":
        note += "; the service default must be there before any other"
    return Step("the version, without traffic", (deploy,), note)


def _smoke_test(to: Target) -> Step:
    asked = ("app", "versions", "describe", to.version, f"--service={to.service}", "--format=value(versionUrl)")
    curl = f'curl --fail --silent --show-error --output /dev/null "$({to.gcloud(*asked)})"'
    return Step("a smoke test", (curl,), "exit code 22 where the first page is an error; add what your users need most")


def _traffic(to: Target) -> Step:
    shown = ("app", "versions", "list", f"--service={to.service}", "--hide-no-traffic", "--format=value(id)")
    moved = to.gcloud("app", "services", "set-traffic", to.service, f"--splits={to.version}=1", "--quiet")
    return Step(
        "traffic",
        (f"FORMER=$({to.gcloud(*shown)})", moved),
        "FORMER is for the way back: ask for it before the traffic moves",
    )


_CONFIGURED = (("queue.yaml", "queues"), ("cron.yaml", "cron jobs"), ("dispatch.yaml", "dispatch rules"))


def _configuration(to: Target, name: str, title: str) -> Step:
    if name not in to.files:
        return Step(title, ())
    return Step(title, (to.gcloud("app", "deploy", name, "--quiet"),), f"what {name} leaves out is {_LOST[name]}")


_LOST = {"queue.yaml": "paused", "cron.yaml": "deleted", "dispatch.yaml": "deleted"}
