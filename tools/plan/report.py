"""A plan for people and for machines."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from ..bundle.command import size
from .changes import Change
from .planning import Plan
from .steps import UNNAMED, Step

_SHOWN = 40  # files; `gaeport bundle list` names all


def as_json(plan: Plan | None, steps: Sequence[Step], way_back: Sequence[Step], **more: object) -> str:
    """Return a plan as a JSON object; without gcloud, `plan` is None and only the steps are told."""
    found: dict[str, object] = {**more, "plan": None if plan is None else _described(plan)}
    found["steps"] = [asdict(step) for step in steps]
    found["back"] = [asdict(step) for step in way_back]
    return f"{json.dumps(found, indent=2)}\n"


def as_text(plan: Plan, compared_with: str) -> str:
    """Return what a deployment would do.

    Args:
        plan: the plan.
        compared_with: what the state came from, in words.
    """
    return "".join(
        f"{line}\n" for part in (_refused(plan), _files(plan), _changes(plan, compared_with)) for line in part
    )


def commands(steps: Sequence[Step], way_back: Sequence[Step]) -> str:
    """Return the steps as a shell script that can be read, copied and run."""
    lines = ["", "# The deployment, step by step. What is there already is left as it is."]
    if any(UNNAMED in command for step in steps for command in step.commands):
        lines.append(f"# Put your project's id for {UNNAMED}, or name it: gaeport --project ID plan")
    for number, step in enumerate(steps, 1):
        lines += _step(f"{number}. {step.title}", step)
    lines += ["", "# And back."]
    for step in way_back:
        lines += _step(step.title, step)
    return "".join(f"{line}\n" for line in lines)


def _step(title: str, step: Step) -> list[str]:
    return ["", f"# {title}{f' ({step.note})' if step.note else ''}", *step.commands]


def _described(plan: Plan) -> dict[str, object]:
    marks = {path: mark for mark, path, _ in _marked(plan)}
    uploaded = None
    if plan.uploaded is not None:
        uploaded = [{**asdict(one), "change": marks[one.path]} for one in plan.uploaded]
    return {
        "refused": [asdict(one) for one in plan.refused],
        "uploaded": uploaded,
        "gone": [path for path, mark in marks.items() if mark == "gone"],
        "changes": [asdict(one) for one in plan.changes],
        "left": plan.left,
        "strange": plan.strange,
    }


def _refused(plan: Plan) -> Iterator[str]:
    for one in plan.refused:
        first, *rest = one.message.splitlines() or ["gcloud says nothing"]
        yield f"gcloud refuses {one.file}: {first}" if one.file else first
        yield from (f"    {line}" for line in rest)
    for request in plan.strange:
        yield f"gcloud also asked for {request}; nothing left this machine, but the plan may lack something"


def _marked(plan: Plan) -> list[tuple[str, str, int]]:
    """Return (new, changed, same or gone; path; size) of each file."""
    known = plan.known()
    found = []
    for one in plan.uploaded or ():
        mark = "new" if one.path not in known else "same" if known[one.path] == one.sha1 else "changed"
        found.append((mark, one.path, one.size))
    there = {path for _, path, _ in found}
    return [*found, *(("gone", path, 0) for path in sorted(known.keys() - there))]


def _files(plan: Plan) -> Iterator[str]:
    if plan.uploaded is None:
        yield "no version would be made"
        return
    marked = _marked(plan)
    counts = {mark: sum(one[0] == mark for one in marked) for mark in ("new", "changed", "same", "gone")}
    told = ", ".join(f"{count:,} {mark}" for mark, count in counts.items() if count)
    yield f"{len(plan.uploaded):,} files would be uploaded, {size(sum(one.size for one in plan.uploaded))} ({told})"
    differ = [one for one in marked if one[0] != "same"]
    for mark, path, count in differ[:_SHOWN]:
        yield f"  {mark:<8} {size(count):>10}  {path}" if mark != "gone" else f"  {mark:<8} {'':>10}  {path}"
    if len(differ) > _SHOWN:
        yield f"  and {len(differ) - _SHOWN:,} more: gaeport bundle list"


def _changes(plan: Plan, compared_with: str) -> Iterator[str]:
    yield ""
    yield f"Compared with {compared_with}:"
    for one in plan.changes:
        yield f"  {one.action:<8} {one.what:<14} {_named(one)}"
    for name in plan.left:
        yield f"  leave    index          {name}: not in index.yaml, and gcloud app deploy deletes no index"
    if not plan.changes and not plan.left:
        yield "  no index, queue, cron job or dispatch rule changes"


def _named(change: Change) -> str:
    return f"{change.name}: {change.detail}" if change.detail else change.name
