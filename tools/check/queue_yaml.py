"""queue.yaml: the queues of Cloud Tasks, as `gcloud app deploy queue.yaml` sends them.

Source: "queue.yaml reference"; what gcloud 528 does with each mistake was tried.
"""

import re
from collections.abc import Iterable, Iterator

from ..findings import Finding
from .documents import Document, Node
from .rules import Choice, List, Map, Number, Text

_RATE = re.compile(r"(\d+(?:\.\d*)?)/([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MOST = 500  # tasks a second of one queue

_RETRY = Map(
    {
        "task_retry_limit": Number(),
        "task_age_limit": Text(r"\d+(\.\d*)?[smhd]", 'a time such as "2d" or "30m"'),
        "min_backoff_seconds": Number(whole=False),
        "max_backoff_seconds": Number(whole=False),
        "max_doublings": Number(),
    }
)
_QUEUE = Map(
    {
        "name": Text("[A-Za-z0-9-]{1,100}", "a name of at most 100 letters, digits and hyphens"),
        "rate": Text(r"0|\d+(\.\d*)?/[smhd]", 'a rate such as "5/s" or "30/m"'),
        "mode": Choice(("push", "pull")),
        "bucket_size": Number(1, _MOST),
        "max_concurrent_requests": Number(1, 5_000),
        "retry_parameters": _RETRY,
        "target": Text(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})?", "a service, or version.service"),
        "acl": List(Map({"user_email": Text(), "writer_email": Text()})),
    },
    needed=("name",),
)
_FILE = Map(
    {
        "queue": List(_QUEUE, one="a queue"),
        "total_storage_limit": Text(r"\d+(\.\d*)?[BKMGT]?", 'a size such as "120M"'),
        "application": Text(),
    }
)


def check(document: Document) -> Iterator[Finding]:
    """Yield what is wrong with a queue.yaml."""
    yield from document.problems
    if document.root is None:
        if not document.problems:
            yield document.finding(
                "queue.empty", "it is empty, at which gcloud crashes", "write `queue: []`, or remove it"
            )
        return
    yield from _FILE.check(document.root, "queue.yaml", document, "queue")
    queues = document.root.get("queue")
    named: dict[str, int] = {}
    for queue in queues.items if queues is not None else []:
        yield from _check_queue(queue, document)
        name = queue.text_of("name")
        if name and name in named:
            message = f"the queue {name} stands in line {named[name]} already"
            yield document.finding("queue.twice", message, "remove one", at=queue)
        named.setdefault(name, queue.line)


def left_out(document: Document, running: Iterable[str]) -> Iterator[Finding]:
    """Yield the queues that the file leaves out although they run: its upload pauses each but `default`.

    Args:
        document: queue.yaml.
        running: the names of the project's queues that are not paused.
    """
    queues = document.root.get("queue") if document.root is not None else None
    named = {queue.text_of("name") for queue in (queues.items if queues is not None else [])}
    for name in sorted(set(running) - named - {"default"}):
        message = f"the queue {name} runs, and is not named here: the upload pauses it, and its tasks wait"
        fix = "name it; where it is to go, deploy and run gaeport plan --save"
        yield document.warning("queue.left-out", message, fix)


def _check_queue(queue: Node, document: Document) -> Iterator[Finding]:
    name, rate = queue.text_of("name"), queue.text_of("rate")
    pull = queue.text_of("mode") == "pull"
    if pull:
        message = f"{name}: pull queues are not for Python 3; Cloud Tasks has none"
        yield document.finding("queue.pull", message, "remove it, or take Pub/Sub", at=queue.line_of("mode"))
    elif queue.kind == "map" and not rate:
        yield document.finding("queue.rate", f"{name}: rate is missing", 'write for example: rate: "5/s"', at=queue)
    if rate == "0":
        message = f"{name}: rate 0, at which gcloud crashes"
        yield document.finding("queue.rate", message, "pause it: gcloud tasks queues pause", at=queue.line_of("rate"))
    found = _RATE.fullmatch(rate)
    if found is not None:
        a_second = float(found[1]) / _SECONDS[found[2]]
        if a_second > _MOST:
            message = f"{name}: rate {rate} is over {_MOST} a second"
            yield document.finding("queue.rate", message, at=queue.line_of("rate"))
        elif not a_second:
            yield document.finding("queue.rate", f"{name}: rate {rate} never sends a task", at=queue.line_of("rate"))
    retry = queue.get("retry_parameters")
    if retry is not None and retry.kind == "map":
        yield from backoff(retry, name, document, "queue")


def backoff(retry: Node, name: str, document: Document, code: str) -> Iterator[Finding]:
    """Yield a finding where the smallest waiting time of retries is longer than the longest."""
    least, most = retry.get("min_backoff_seconds"), retry.get("max_backoff_seconds")
    if least is not None and most is not None and least.kind == most.kind == "number" and least.value > most.value:
        message = f"{name}: min_backoff_seconds {least.text} is over max_backoff_seconds {most.text}"
        yield document.finding(f"{code}.backoff", message, at=least)
