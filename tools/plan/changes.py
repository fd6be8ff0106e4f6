"""One change that a deployment makes, and the words for what it is made to."""

from dataclasses import dataclass
from typing import Any, Literal

Action = Literal["create", "change", "pause", "resume", "delete"]

#: What takes something away that works now.
REMOVALS: tuple[Action, ...] = ("pause", "delete")


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        action: what happens.
        what: "index", "queue", "cron job" or "dispatch rule".
        name: which, in words.
        detail: the values that are set; "" where the name says all.
    """

    action: Action
    what: str
    name: str
    detail: str = ""


def index_name(index: dict[str, Any]) -> str:
    """Return an index as people say it: "Note (owner, -written), with ancestor"."""
    properties = ", ".join(
        f"{'-' if one.get('direction') == 'DESCENDING' else ''}{one['name']}" for one in index.get("properties", [])
    )
    return f"{index['kind']} ({properties}){', with ancestor' if index.get('ancestor') == 'ALL_ANCESTORS' else ''}"


def job_name(job: dict[str, Any]) -> str:
    """Return a cron job's URL, with its service where it is not the default one."""
    target = job.get("appEngineHttpTarget", {})
    service = target.get("appEngineRouting", {}).get("service")
    uri = str(target.get("relativeUri", "/"))
    return f"{uri} on {service}" if service else uri


def rule_name(rule: dict[str, Any]) -> str:
    """Return a dispatch rule's URL pattern."""
    return f"{rule.get('domain') or '*'}{rule.get('path', '/*')}"


def values(resource: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return a queue's values by path ("rateLimits.maxBurstSize"), its name and state left out."""
    found: dict[str, Any] = {}
    for key, value in sorted(resource.items()):
        path = f"{above}{key}"
        if isinstance(value, dict):
            found |= values(value, f"{path}.")
        elif path not in ("name", "state"):
            found[path] = value
    return found


def queue_change(name: str, before: dict[str, Any] | None, after: dict[str, Any]) -> Change:
    """Return what happens to a queue that has other values afterwards, or is new."""
    new = values(after)
    if before is None:
        return Change("create", "queue", name, ", ".join(f"{path}={value}" for path, value in new.items()))
    old = values(before)
    differ = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    detail = ", ".join(f"{path}={old.get(path, 'unset')} -> {new.get(path, 'unset')}" for path in differ)
    return Change("change", "queue", name, detail)


def rule_changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[Change]:
    """Return what a new list of dispatch rules changes in an old one."""
    old, new = ({rule_name(rule): rule.get("service", "default") for rule in rules} for rules in (before, after))
    found = [Change("delete", "dispatch rule", name, f"to {old[name]}") for name in old if name not in new]
    for name, service in new.items():
        if old.get(name) != service:
            action: Action = "change" if name in old else "create"
            found.append(Change(action, "dispatch rule", name, f"to {service}"))
    if not found and list(old) != list(new):
        found.append(Change("change", "dispatch rule", "the order of rules", "the first that fits counts"))
    return found


def joined(changes: list[Change]) -> list[Change]:
    """Return changes with a cron job that is created anew and deleted as one that is changed, as gcloud does it."""
    deleted = [one.name for one in changes if one.what == "cron job" and one.action == "delete"]
    found = []
    for one in changes:
        if one.what == "cron job" and one.action == "create" and one.name in deleted:
            deleted.remove(one.name)
            found.append(Change("change", one.what, one.name, one.detail))
        else:
            found.append(one)
    left = [one for one in found if (one.what, one.action) != ("cron job", "delete")]
    return [*left, *(Change("delete", "cron job", name) for name in deleted)]
