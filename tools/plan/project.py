"""A pretended project: the answers of Google's APIs to `gcloud app deploy`, and what it changed.

Played: App Engine Admin v1, the metadata of Cloud Storage v1, Datastore Admin v1, Cloud Tasks v2 and v2beta3, Cloud
Scheduler v1beta1, Service Usage v1, as far as gcloud 528 calls them for app.yaml, index.yaml, queue.yaml, cron.yaml and
dispatch.yaml.
"""

import copy
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from .changes import Change, index_name, job_name, joined, queue_change, rule_changes
from .state import State

REGION = "us-central1"
MAX_FILES = 10_000  # of one version ("Quotas and limits")

Query = dict[str, str]
Answer = dict[str, Any]
_Played = Callable[["Project", re.Match[str], Query, Answer], Answer]


class Refusal(Exception):
    """What the real API would refuse: an HTTP status, Google's name for it, and a message."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Project:
    """A project's state, changed by requests.

    Args:
        name: the project's id.
        state: what it holds; a copy is changed.
    """

    def __init__(self, name: str, state: State) -> None:
        self.name = name
        self.state = copy.deepcopy(state)
        # gcloud refuses any service before the default one; that this is there is not this folder's matter
        self.services = dict.fromkeys(("default", *state.files), "before")
        self._changes: list[Change] = []
        self._versions: dict[str, Answer] = {}
        self.deployed: str | None = None  # the service that got a version

    @property
    def bucket(self) -> str:
        """The bucket that gcloud uploads to."""
        return f"staging.{self.name}.appspot.com"

    @property
    def changes(self) -> list[Change]:
        """What was changed so far."""
        return joined(self._changes)

    def answer(self, method: str, path: str, query: Query, body: Answer) -> Answer | None:
        """Return the answer to a request; None for one that is not played.

        Raises:
            Refusal: the real API would refuse it.
        """
        for played_method, pattern, play in _ROUTES:
            found = pattern.fullmatch(path) if method == played_method else None
            if found is not None:
                return play(self, found, query, body)
        return None

    def _app(self, *_: Any) -> Answer:
        return {
            "name": f"apps/{self.name}",
            "id": self.name,
            "locationId": "us-central",
            "codeBucket": self.bucket,
            "defaultHostname": f"{self.name}.uc.r.appspot.com",
            "servingStatus": "SERVING",
            "databaseType": "CLOUD_DATASTORE_COMPATIBILITY",
            "featureSettings": {"splitHealthChecks": True},
        }

    def _change_app(self, _: re.Match[str], query: Query, body: Answer) -> Answer:
        if "dispatchRules" in query.get("updateMask", "").split(","):
            rules = body.get("dispatchRules", [])
            self._changes += rule_changes(self.state.dispatch, rules)
            self.state.dispatch = rules
        return _done("UpdateApplication", f"apps/{self.name}", body)

    def _list_services(self, *_: Any) -> Answer:
        return {"services": [self._service(name) for name in sorted(self.services)]}

    def _get_service(self, found: re.Match[str], *_: Any) -> Answer:
        return self._service(found["service"])

    def _service(self, name: str) -> Answer:
        if name not in self.services:
            raise Refusal(404, "NOT_FOUND", f"Could not find service [{name}].")
        return {
            "name": f"apps/{self.name}/services/{name}",
            "id": name,
            "split": {"allocations": {self.services[name]: 1}},
        }

    def _change_service(self, found: re.Match[str], _: Query, __: Answer) -> Answer:
        service = self._service(found["service"])
        return _done("UpdateService", service["name"], service)

    def _list_versions(self, found: re.Match[str], *_: Any) -> Answer:
        above = f"apps/{self.name}/services/{found['service']}/versions/"
        return {"versions": [one for name, one in self._versions.items() if name.startswith(above)]}

    def _get_version(self, found: re.Match[str], *_: Any) -> Answer:
        name = f"apps/{self.name}/services/{found['service']}/versions/{found['version']}"
        if name not in self._versions:
            raise Refusal(404, "NOT_FOUND", f"Version [{found['version']}] not found.")
        return self._versions[name]

    def _create_version(self, found: re.Match[str], _: Query, body: Answer) -> Answer:
        service, files = found["service"], body.get("deployment", {}).get("files", {})
        if len(files) > MAX_FILES:
            message = f"This deployment has too many files. New versions are limited to {MAX_FILES} files for this app."
            raise Refusal(400, "INVALID_ARGUMENT", message)
        name = f"apps/{self.name}/services/{service}/versions/{body['id']}"
        kept: Answer = {key: value for key, value in body.items() if key != "deployment"}
        host = f"{body['id']}-dot-{self.name}.uc.r.appspot.com"
        self._versions[name] = {**kept, "name": name, "servingStatus": "SERVING", "versionUrl": f"https://{host}"}
        self.services.setdefault(service, body["id"])
        self.deployed = service
        self.state.files[service] = {path: one.get("sha1Sum", "") for path, one in files.items()}
        return _done("CreateVersion", name, self._versions[name])

    def _get_bucket(self, found: re.Match[str], *_: Any) -> Answer:
        if unquote(found["bucket"]) != self.bucket:
            raise Refusal(404, "NOT_FOUND", "The specified bucket does not exist.")
        age = {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 15}}]}
        return {"kind": "storage#bucket", "id": self.bucket, "name": self.bucket, "lifecycle": age}

    def _list_objects(self, *_: Any) -> Answer:
        return {"kind": "storage#objects", "items": []}

    def _get_object(self, *_: Any) -> Answer:
        raise Refusal(404, "NOT_FOUND", "No such object")

    def _list_indexes(self, *_: Any) -> Answer:
        return {"indexes": self.state.indexes}

    def _create_index(self, _: re.Match[str], __: Query, body: Answer) -> Answer:
        kept: Answer = {key: body[key] for key in ("kind", "ancestor", "properties") if key in body}
        number = len(self.state.indexes) + 1
        self.state.indexes.append({**kept, "indexId": f"index-{number}", "state": "READY"})
        self._changes.append(Change("create", "index", index_name(kept)))
        return {"name": f"projects/{self.name}/operations/index-{number}", "done": True}

    def _list_locations(self, *_: Any) -> Answer:
        region = {"name": f"projects/{self.name}/locations/{REGION}", "locationId": REGION}
        return {"locations": [{**region, "labels": {"cloud.googleapis.com/region": REGION}}]}

    def _list_queues(self, *_: Any) -> Answer:
        return {"queues": [{**queue, "name": self._path("queues", name)} for name, queue in self.state.queues.items()]}

    def _change_queue(self, found: re.Match[str], query: Query, body: Answer) -> Answer:
        name, kept = found["queue"], {key: value for key, value in body.items() if key != "name"}
        old = self.state.queues.get(name)
        self.state.queues[name] = _merged(old or {"state": "RUNNING"}, kept, query.get("updateMask", ""))
        self._changes.append(queue_change(name, old, self.state.queues[name]))
        return {**self.state.queues[name], "name": self._path("queues", name)}

    def _act_on_queue(self, found: re.Match[str], *_: Any) -> Answer:
        name = found["queue"]
        if name not in self.state.queues:
            raise Refusal(404, "NOT_FOUND", "Queue does not exist.")
        pause = found["action"] == "pause"
        self.state.queues[name]["state"] = "PAUSED" if pause else "RUNNING"
        self._changes.append(Change("pause" if pause else "resume", "queue", name))
        return {**self.state.queues[name], "name": self._path("queues", name)}

    def _list_jobs(self, *_: Any) -> Answer:
        return {"jobs": [{**job, "name": self._path("jobs", name)} for name, job in self.state.jobs.items()]}

    def _create_job(self, _: re.Match[str], __: Query, body: Answer) -> Answer:
        number = next(n for n in range(1, len(self.state.jobs) + 2) if f"cron-{n}" not in self.state.jobs)
        name = f"cron-{number}"
        self.state.jobs[name] = {**body, "state": "ENABLED"}
        self._changes.append(Change("create", "cron job", job_name(body), str(body.get("schedule", ""))))
        return {**self.state.jobs[name], "name": self._path("jobs", name)}

    def _delete_job(self, found: re.Match[str], *_: Any) -> Answer:
        job = self.state.jobs.pop(found["job"], None)
        if job is None:
            raise Refusal(404, "NOT_FOUND", "Job not found.")
        self._changes.append(Change("delete", "cron job", job_name(job)))
        return {}

    def _get_api(self, found: re.Match[str], *_: Any) -> Answer:
        name = f"projects/{self.name}/services/{found['api']}"
        return {"name": name, "config": {"name": found["api"]}, "state": "ENABLED"}

    def _get_metadata(self, *_: Any) -> Answer:
        raise Refusal(404, "NOT_FOUND", "this is no machine of Google's")

    def _path(self, kind: str, name: str) -> str:
        return f"projects/{self.name}/locations/{REGION}/{kind}/{name}"


def _done(method: str, target: str, response: Answer) -> Answer:
    """Return a long-running operation that has ended already."""
    metadata = {
        "@type": "type.googleapis.com/google.appengine.v1.OperationMetadataV1",
        "method": f"google.appengine.v1.{method}",
        "target": target,
    }
    return {"name": f"{target.split('/services')[0]}/operations/1", "done": True, "metadata": metadata} | {
        "response": response
    }


def _merged(old: Answer, new: Answer, mask: str) -> Answer:
    """Return a resource with the fields of an update mask taken from a new one, or taken out where it has none."""
    made = copy.deepcopy(old)
    for path in filter(None, mask.split(",")):
        *above, last = path.split(".")
        target, source = made, new
        for key in above:
            target, source = target.setdefault(key, {}), source.get(key) or {}
        if last in source:
            target[last] = source[last]
        else:
            target.pop(last, None)
    return made


_APP = "/v1/apps/[^/:]+"
_SERVICE = f"{_APP}/services/(?P<service>[^/:]+)"
_QUEUES = "/v2(?:beta3)?/projects/[^/]+/locations/[^/]+/queues"
_JOBS = "/v1beta1/projects/[^/]+/locations/[^/]+/jobs"
_BUCKET = "/storage/v1/b/(?P<bucket>[^/]+)"
_ROUTES: list[tuple[str, re.Pattern[str], _Played]] = [
    (method, re.compile(pattern), play)
    for method, pattern, play in (
        ("GET", _APP, Project._app),
        ("PATCH", _APP, Project._change_app),
        ("GET", f"{_APP}/services", Project._list_services),
        ("GET", _SERVICE, Project._get_service),
        ("PATCH", _SERVICE, Project._change_service),
        ("GET", f"{_SERVICE}/versions", Project._list_versions),
        ("POST", f"{_SERVICE}/versions", Project._create_version),
        ("GET", f"{_SERVICE}/versions/(?P<version>[^/:]+)", Project._get_version),
        ("GET", _BUCKET, Project._get_bucket),
        ("GET", f"{_BUCKET}/o", Project._list_objects),
        ("GET", f"{_BUCKET}/o/.+", Project._get_object),
        ("GET", "/v1/projects/[^/]+/indexes", Project._list_indexes),
        ("POST", "/v1/projects/[^/]+/indexes", Project._create_index),
        ("GET", "/(?:v2|v2beta3|v1beta1)/projects/[^/]+/locations", Project._list_locations),
        ("GET", _QUEUES, Project._list_queues),
        ("PATCH", f"{_QUEUES}/(?P<queue>[^/:]+)", Project._change_queue),
        ("POST", f"{_QUEUES}/(?P<queue>[^/:]+):(?P<action>pause|resume)", Project._act_on_queue),
        ("GET", _JOBS, Project._list_jobs),
        ("POST", _JOBS, Project._create_job),
        ("DELETE", f"{_JOBS}/(?P<job>[^/:]+)", Project._delete_job),
        ("GET", "/v1/projects/[^/]+/services/(?P<api>[^/:]+)", Project._get_api),
        ("GET", "/computeMetadata/.*", Project._get_metadata),
    )
]
