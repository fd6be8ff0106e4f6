"""`[tickets]`: what becomes of unhandled exceptions."""

from dataclasses import dataclass
from typing import Annotated, Literal

from gaeport.errors import ConfigurationError
from gaeport.settings.checking import as_table, check

LineStyle = Literal["auto", "json", "text", "off"]
LEAST = {"per_minute": 1, "keep_days": 1, "wait_ms": 0}


@dataclass(frozen=True, slots=True)
class TicketSettings:
    """The `[tickets]` table of gaeport.toml.

    Attributes:
        enabled: whether `gaeport.wrap` makes tickets at all.
        line: what standard output gets: "json", Cloud Logging's structured line; "text" for people; "auto": text on a
            terminal, json elsewhere; "off": nothing, unless the ticket could be kept nowhere else.
        entity: whether tickets are kept in Datastore, for the console and `gaeport tickets`.
        api: whether tickets are also sent to Cloud Logging's API.
        log_name: the log that the API writes to.
        logging: whether standard logging writes structured lines with their request's trace. None: in production.
        page: a file with the visitor's page, in which {ticket} stands for the number; "" for the built-in one.
        locals: whether tickets show the values of local variables.
        redact: names whose values are secret, besides those that are known.
        per_minute: tickets of one group that one process keeps in a minute; more are counted.
        keep_days: days after which a ticket may be removed (by a TTL policy on `expires`, or `gaeport tickets clear`).
        wait_ms: milliseconds that a failed request waits for its ticket to be written; it is written in any case.
    """

    enabled: bool = True
    line: LineStyle = "auto"
    entity: bool = True
    api: bool = False
    log_name: str = "gaeport"
    logging: bool | None = None
    page: str = ""
    locals: bool = True
    redact: tuple[str, ...] = ()
    per_minute: Annotated[int, "of tickets"] = 10
    keep_days: Annotated[int, "of days"] = 90
    wait_ms: Annotated[int, "of milliseconds"] = 1_000


def ticket_settings(table: object, place: str) -> TicketSettings:
    """Check a `[tickets]` table and return it frozen. Raises ConfigurationError."""
    given = dict(as_table(table, "tickets", place))
    check(given, TicketSettings, place, "[tickets]")
    names = given.get("redact", ())
    if not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{place}: [tickets]: redact = {names!r} must be a list of strings")
    settings = TicketSettings(**{**given, "redact": tuple(names)})
    for name, least in LEAST.items():
        if getattr(settings, name) < least:
            raise ConfigurationError(f"{place}: [tickets]: {name} = {getattr(settings, name)} must be at least {least}")
    return settings
