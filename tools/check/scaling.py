"""app.yaml's scaling: settings that contradict one another, or the instance class.

Source: "How instances are managed" and "app.yaml reference", scaling elements.
"""

from collections.abc import Iterator

from ..findings import Finding
from .documents import Document, Node

_WAYS = ("automatic_scaling", "basic_scaling", "manual_scaling")
_PAIRS = (
    ("min_instances", "max_instances"),
    ("min_idle_instances", "max_idle_instances"),
    ("min_idle_instances", "max_instances"),
    ("min_pending_latency", "max_pending_latency"),
)


def check(document: Document) -> Iterator[Finding]:
    """Yield what contradicts."""
    root = document.root
    if root is None:
        return
    given = [name for name in _WAYS if root.get(name) is not None]
    if len(given) > 1:
        message = f"{' and '.join(given)} contradict each other: a version scales in one way"
        yield document.finding("app.scaling", message, "keep one", at=root.line_of(given[1]))
    yield from _class(document, root, given)
    if any(name != "automatic_scaling" for name in given):
        warm = root.get("inbound_services")
        if warm is not None and any(item.text == "warmup" for item in warm.items):
            message = f"warmup is for automatic scaling; with {given[0]} App Engine asks /_ah/start"
            yield document.warning("app.warmup", message, "remove warmup", at=root.line_of("inbound_services"))
    automatic = root.get("automatic_scaling")
    if automatic is not None:
        yield from _bounds(document, automatic)


def _class(document: Document, root: Node, given: list[str]) -> Iterator[Finding]:
    name = root.text_of("instance_class")
    basic = [way for way in given if way != "automatic_scaling"]
    line = root.line_of("instance_class")
    if name.startswith("B") and not basic:
        message = f"instance_class {name} needs basic_scaling or manual_scaling; without them scaling is automatic"
        yield document.finding(
            "app.instance-class", message, f"instance_class: F{name[1:].replace('8', '4_1G')}", at=line
        )
    elif name.startswith("F") and basic:
        message = f"instance_class {name} is for automatic scaling, not {basic[0]}"
        yield document.finding("app.instance-class", message, f"instance_class: B{name[1:]}", at=line)


def _bounds(document: Document, automatic: Node) -> Iterator[Finding]:
    for low, high in _PAIRS:
        least, most = _number(automatic.get(low)), _number(automatic.get(high))
        if least is not None and most is not None and least > most:
            message = f"{low} {automatic.text_of(low)} is over {high} {automatic.text_of(high)}"
            yield document.finding("app.scaling", message, at=automatic.line_of(low))
    if automatic.get("max_instances") is None:
        message = "max_instances is not set: a wave of requests may start, and bill, any number of instances"
        yield document.warning("app.no-ceiling", message, "write for example max_instances: 4", at=automatic.line)


def _number(node: Node | None) -> float | None:
    """Return an instance count, or seconds of a time; None for automatic and what is wrong."""
    if node is None:
        return None
    text = node.text
    scale = 0.001 if text.endswith("ms") else 1.0
    try:
        return float(text.removesuffix("ms").removesuffix("s")) * scale
    except ValueError:
        return None
