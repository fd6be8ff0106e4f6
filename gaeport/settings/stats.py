"""`[stats]`: which requests are recorded call by call; `[limits]`: what is warned of."""

from dataclasses import dataclass
from typing import Annotated

from gaeport.errors import ConfigurationError
from gaeport.settings.checking import as_table, check


@dataclass(frozen=True, slots=True)
class StatsSettings:
    """The `[stats]` table of gaeport.toml.

    Attributes:
        sample: the share of requests that are recorded call by call, 0.0 to 1.0. None: one in a hundred in production,
            every one elsewhere.
        per_minute: the most that one process records in a minute, so that what the log costs is bounded.
        keep: how many samples the data folder keeps, where there is one; in production the log keeps them.
    """

    sample: Annotated[float | None, "from 0.0 to 1.0"] = None
    per_minute: int = 600
    keep: int = 10_000


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """The `[limits]` table of gaeport.toml.

    Attributes:
        calls_per_request: a request that makes more calls than this is warned of in the log; 0 for never.
    """

    calls_per_request: Annotated[int, "of calls"] = 100


def stats_settings(table: object, place: str) -> StatsSettings:
    """Check a `[stats]` table and return it frozen. Raises ConfigurationError."""
    given = as_table(table, "stats", place)
    check(given, StatsSettings, place, "[stats]")
    settings = StatsSettings(**given)
    if settings.sample is not None and not 0 <= settings.sample <= 1:
        raise ConfigurationError(f"{place}: [stats]: sample = {settings.sample} must be from 0.0 (none) to 1.0 (all)")
    for name, least in (("per_minute", 1), ("keep", 1)):
        if getattr(settings, name) < least:
            raise ConfigurationError(f"{place}: [stats]: {name} = {getattr(settings, name)} must be at least {least}")
    return settings


def limits_settings(table: object, place: str) -> LimitsSettings:
    """Check a `[limits]` table and return it frozen. Raises ConfigurationError."""
    given = as_table(table, "limits", place)
    check(given, LimitsSettings, place, "[limits]")
    settings = LimitsSettings(**given)
    if settings.calls_per_request < 0:
        raise ConfigurationError(
            f"{place}: [limits]: calls_per_request = {settings.calls_per_request} must be 0 (no warning) or more"
        )
    return settings
