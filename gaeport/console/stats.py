"""The page of statistics: /_ah/stats, and stats/ID for one request."""

from gaeport import settings
from gaeport.console import timeline
from gaeport.console.rendering import page
from gaeport.console.web import Request, Response, not_found
from gaeport.stats import analysis, reading
from gaeport.stats.recording import PRODUCTION_SHARE
from gaeport.stats.sample import Sample

PERIODS = {1: "the last hour", 24: "the last day", 168: "the last week"}
_PERIOD = 24  # hours
_TOP = 15  # rows of the slowest and the dearest
_ROUTES = 25
_ROWS = 50  # of patterns, and of requests on one page


def answer(request: Request) -> Response:
    """Return the totals, or one request."""
    if request.method == "POST":
        raise not_found()
    hours = request.number("hours", _PERIOD, 1, 168)
    hours = hours if hours in PERIODS else _PERIOD
    return _one(request, hours) if request.rest else _all(request, hours)


def _all(request: Request, hours: int) -> Response:
    found = reading.read(hours)
    route = request.argument("route")
    samples = [sample for sample in found.samples if not route or sample.route == route]
    routes = analysis.routes(found.samples)
    start = request.number("from", 0, 0, 1_000_000)
    return page(
        request,
        "stats.html",
        title="Statistics",
        hours=hours,
        periods=PERIODS,
        route=route,
        found=found,
        share=_share(),
        samples=samples,
        routes=[row for row in routes if not route or row.route == route][:_ROUTES],
        left_out=max(0, len(routes) - _ROUTES),
        patterns=analysis.patterns(samples)[:_ROWS],
        slowest=analysis.slowest(samples, _TOP),
        dearest=analysis.dearest(samples, _TOP),
        latest=samples[start : start + _ROWS],
        start=start,
        earlier=_page(request, hours, route, start - _ROWS) if start > 0 else "",
        later=_page(request, hours, route, start + _ROWS) if start + _ROWS < len(samples) else "",
    )


def _one(request: Request, hours: int) -> Response:
    sample = reading.find(request.rest, hours)
    if sample is None:
        raise not_found("This request is not among those that were kept: older ones make room for new ones.")
    rows = timeline.rows(sample)
    return page(
        request,
        "stats_request.html",
        title=f"{sample.method} {sample.path}",
        hours=hours,
        sample=sample,
        facts=_facts(sample),
        rows=rows,
        ticks=timeline.ticks(sample),
        repeated=[row for row in rows if row.repeated],
        log=_log_address(sample),
    )


def _facts(sample: Sample) -> dict[str, str]:
    facts = {
        "Route": sample.route,
        "Status": str(sample.status),
        "Instance": sample.instance or "unknown",
        "Version": sample.version or "none",
        "Trace": sample.trace or "none",
    }
    if sample.calls > len(sample.kept):
        facts["Kept"] = f"the first {len(sample.kept):,} of {sample.calls:,} calls"
    return facts


def _log_address(sample: Sample) -> str:
    """Return the address of the request's lines in the Logs Explorer, or "" outside of production."""
    config = settings.current()
    if not sample.trace or config.environment != "production":
        return ""
    query = f'trace%3D"projects/{config.project}/traces/{sample.trace}"'
    return f"https://console.cloud.google.com/logs/query;query={query}?project={config.project}"


def _share() -> float:
    config = settings.current()
    if config.stats.sample is not None:
        return config.stats.sample
    return PRODUCTION_SHARE if config.environment == "production" else 1.0


def _page(request: Request, hours: int, route: str, start: int) -> str:
    return request.url("stats", hours=hours, route=route, **{"from": max(0, start)}) + "#latest"
