"""What is watched, and what to do instead."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Matter:
    """One kind of thing that App Engine does not take.

    Attributes:
        code: of its findings.
        what: what happened, for messages.
        remedy: what to do instead.
    """

    code: str
    what: str
    remedy: str


WRITE = Matter("audit.write", "files are written", "")
DATABASE = Matter(
    "audit.sqlite",
    "an SQLite database is opened",
    "keep the data in Datastore (docs/dal.md, docs/models.md); a mount cannot hold it: SQLite opens its files itself",
)
PROCESS = Matter(
    "audit.process",
    "another program is started",
    "it sees no mount, and mostly is not there: do the work in Python, or in Cloud Run",
)
THREAD = Matter(
    "audit.thread",
    "a thread is started",
    "it must end before the response does: afterwards the instance may get no processor, or end. Use Cloud Tasks",
)
SCHEDULER = Matter(
    "audit.scheduler",
    "a scheduler is used",
    "instances come and go, and there may be several: write the job into cron.yaml",
)
RESPONSE = Matter(
    "audit.response",
    "a response is over 32 MiB",
    "App Engine cuts it off: let the visitor fetch it from Cloud Storage by a signed URL",
)

#: Libraries that run jobs by the clock in a process that stays.
SCHEDULERS = ("apscheduler", "celery", "huey", "rq_scheduler", "schedule", "dramatiq", "rocketry")
MAX_RESPONSE = 32 * 1024 * 1024  # bytes; "Quotas and limits" of App Engine
