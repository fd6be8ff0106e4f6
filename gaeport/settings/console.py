"""`[console]`: the admin pages under /_gaeport/."""

import os
import re
from dataclasses import dataclass, field
from typing import Annotated

from gaeport.errors import ConfigurationError
from gaeport.settings.checking import as_table, check

PASSWORD_VARIABLE = "GAEPORT_CONSOLE_PASSWORD_HASH"

# The PHC string format. The costs are bounded: a hash must not be able to ask for more memory than an instance has.
PASSWORD_HASH = re.compile(
    r"\$scrypt\$ln=(1[0-7]),r=([1-9]|1[0-6]),p=([1-8])\$([\w+/]{20,90})\$([\w+/]{40,90})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """The `[console]` table of gaeport.toml.

    Attributes:
        password_hash: what `gaeport console password` printed; None: there is no console. Never shown.
        idle: seconds without a request after which a login ends.
        lifetime: seconds after which a login ends in any case.
    """

    password_hash: str | None = field(default=None, repr=False)
    idle: Annotated[int, "of seconds"] = 3_600
    lifetime: Annotated[int, "of seconds"] = 43_200


def console_settings(table: object, place: str) -> ConsoleSettings:
    """Check a `[console]` table and return it frozen; $GAEPORT_CONSOLE_PASSWORD_HASH comes first.

    Raises:
        ConfigurationError: naming place, key and what is valid.
    """
    given = dict(as_table(table, "console", place))
    check(given, ConsoleSettings, place, "[console]")
    if PASSWORD_VARIABLE in os.environ:
        given["password_hash"] = os.environ[PASSWORD_VARIABLE]
    settings = ConsoleSettings(**{**given, "password_hash": given.get("password_hash") or None})
    if settings.password_hash is not None and not PASSWORD_HASH.fullmatch(settings.password_hash):
        raise ConfigurationError(
            f"{place}: [console]: password_hash is not a hash; make one with `gaeport console password` "
            "(a password itself must not stand here)"
        )
    for name in ("idle", "lifetime"):
        if getattr(settings, name) < 1:
            raise ConfigurationError(
                f"{place}: [console]: {name} = {getattr(settings, name)} must be at least 1 second"
            )
    return settings
