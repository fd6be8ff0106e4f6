"""cron.yaml: what App Engine calls by the clock.

gcloud checks little of it for Python 3; the server refuses the rest when the version is live already.
Source: "cron.yaml reference".
"""

from collections.abc import Iterator
from zoneinfo import available_timezones

from ..findings import Finding
from . import schedule
from .documents import Document, Node
from .queue_yaml import backoff
from .rules import List, Map, Number, Text, suggestion

_MOST = 250  # jobs of an application with billing; 20 without

_RETRY = Map(
    {
        "job_retry_limit": Number(0, 5),
        "job_age_limit": Text(r"\d+(\.\d*)?[smhd]", 'a time such as "2d" or "30m"'),
        "min_backoff_seconds": Number(whole=False),
        "max_backoff_seconds": Number(whole=False),
        "max_doublings": Number(),
    }
)
_JOB = Map(
    {
        "url": Text("/.*", "a path that begins with /"),
        "schedule": Text(),
        "description": Text("(?s).{0,499}", "a text of at most 499 characters"),
        "timezone": Text(".{0,100}", "the name of a time zone"),
        "target": Text(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})?", "a service, or version.service"),
        "retry_parameters": _RETRY,
        "attempt_deadline": Text(r"\d+(\.\d*)?s", 'a time such as "180s"'),
    },
    needed=("url", "schedule"),
)
_FILE = Map({"cron": List(_JOB, _MOST, "a job"), "application": Text()})


def check(document: Document) -> Iterator[Finding]:
    """Yield what is wrong with a cron.yaml."""
    yield from document.problems
    if document.root is None:
        if not document.problems:
            yield document.finding("cron.empty", "it is empty", "write `cron: []`, which removes every job")
        return
    yield from _FILE.check(document.root, "cron.yaml", document, "cron")
    jobs = document.root.get("cron")
    seen: dict[tuple[str, str, str], int] = {}
    for job in jobs.items if jobs is not None and jobs.kind == "list" else []:
        yield from _check_job(job, document)
        key = (job.text_of("url"), job.text_of("schedule"), job.text_of("target"))
        if key in seen:
            message = f"the job {key[0]} {key[1]} stands in line {seen[key]} already: it would run twice"
            yield document.warning("cron.twice", message, "remove one", at=job)
        seen.setdefault(key, job.line)


def _check_job(job: Node, document: Document) -> Iterator[Finding]:
    when = job.get("schedule")
    if when is not None and when.kind not in ("map", "list"):
        try:
            schedule.check(when.text)
        except schedule.ScheduleError as error:
            yield document.finding("cron.schedule", str(error), at=when)
    zone = job.get("timezone")
    if zone is not None and zone.text not in available_timezones():
        names = available_timezones()
        message = f"timezone: {zone.text!r} is no time zone of the tz database"
        yield document.finding("cron.timezone", message, suggestion(zone.text, names), at=zone)
    retry = job.get("retry_parameters")
    if retry is not None and retry.kind == "map":
        yield from backoff(retry, job.text_of("url"), document, "cron")
