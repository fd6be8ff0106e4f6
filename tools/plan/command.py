"""`gaeport plan`."""

import argparse
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaeport.cli.command import FAILED, OK, USAGE, add_command, read_settings

if TYPE_CHECKING:
    from .planning import Plan
    from .state import State

GET_GCLOUD = """\
There is no gcloud on the PATH, so what it would upload, change and refuse is not known. It comes with Google's Cloud
SDK: https://cloud.google.com/sdk/docs/install (the plan needs no account). gaeport check and gaeport bundle list do
without it.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = add_command(
        commands,
        "plan",
        "what gcloud app deploy would upload, change and refuse; and the commands to run",
        """
        Runs the installed gcloud's own `app deploy` of app.yaml, index.yaml, queue.yaml, cron.yaml and dispatch.yaml
        against a stand-in for Google's APIs on this machine. gcloud gets no account, none of your settings and no way
        to anywhere else, and works on links to the files: nothing leaves the machine, and the folder is only read.

        It then prints the commands of the real deployment, in order, by gaeport.toml and the files that are there,
        and those that take it back. No command is run.

        The changes are against what --save kept after the last deployment, in .gaeport/plan.json; without one,
        everything is new.
        """,
        """
        examples:
          gaeport plan
          gaeport plan --save                         after a deployment: what is there now
          gaeport plan --state deployed.json --json   in a pipeline, the state kept with the source
          gaeport --project my-notes-1234 plan        commands with the project's name in them

        The exit code is 1 where gcloud refuses something, and where a queue would be paused, or a cron job or a
        dispatch rule deleted (--accept: that is meant); 2 without gcloud, where the commands are printed all the same.
        """,
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="compare with this state (default: .gaeport/plan.json)"
    )
    parser.add_argument("--save", action="store_true", help="keep the state that the project has once this is deployed")
    parser.add_argument("--accept", action="store_true", help="exit with 0 also where something is paused or deleted")
    parser.add_argument(
        "--region", default="us-central1", metavar="R", help="region in the commands (default: us-central1)"
    )
    parser.add_argument("--release", type=_release, metavar="V", help="name of the new version (default: the time)")
    parser.add_argument("--limit", type=_seconds, default=600.0, metavar="S", help="seconds for gcloud (default: 600)")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=_plan)


def _plan(args: argparse.Namespace) -> int:
    from . import planning, report, state, steps
    from .deploy import files_of

    config = read_settings(args)
    path = args.state or state.path_of(config)
    before, compared_with = _before(args, path)
    plan: Plan | None = None
    project = steps.project_of(config)
    with _ended_by_sigterm():
        try:
            named = {} if project == steps.UNNAMED else {"project": project}
            plan = planning.make(Path(config.root), before, limit=args.limit, **named)
        except FileNotFoundError:
            sys.stderr.write(GET_GCLOUD)
    files = files_of(Path(config.root)) if plan is None else plan.files
    paused = [one.name for one in plan.changes if one.action == "pause"] if plan is not None else []
    to = steps.target(config, files, args.region, args.release or _now(), paused)
    saved = _save(args, plan, path, state.write)
    if args.json:
        told = {"gcloud": plan is not None, "compared_with": str(path) if compared_with else None, "saved": saved}
        sys.stdout.write(report.as_json(plan, steps.forward(to), steps.back(to), **told))
    else:
        if plan is not None:
            sys.stdout.write(report.as_text(plan, compared_with or "an empty project (gaeport plan --save keeps one)"))
        sys.stdout.write(report.commands(steps.forward(to), steps.back(to)))
    return _code(plan, accept=args.accept)


def _code(plan: "Plan | None", *, accept: bool) -> int:
    if plan is None:
        return USAGE
    return FAILED if plan.refused or (plan.removals and not accept) else OK


def _before(args: argparse.Namespace, path: Path) -> tuple["State", str]:
    """Return the state to compare with, and its file's name; "" where there is none."""
    from . import state

    if path.exists() or (args.state is not None and not args.save):
        return state.read(path), str(path)
    return state.State(), ""


def _save(args: argparse.Namespace, plan: "Plan | None", path: Path, write: Any) -> bool:
    if not args.save or plan is None:
        return False
    if plan.refused:
        sys.stderr.write(f"gaeport plan: {path} is as it was: gcloud would not deploy this\n")
        return False
    write(path, plan.after)
    sys.stderr.write(f"wrote {path}\n")
    return True


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y%m%dt%H%M%S")  # as gcloud names versions


def _release(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text) or text.startswith("ah-"):
        raise argparse.ArgumentTypeError("must be at most 63 small letters, digits and hyphens, none at an end")
    return text


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 86_400:
        raise argparse.ArgumentTypeError("must be seconds, more than 0 and less than a day")
    return number


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process as Ctrl-C does, so that gcloud is ended first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
