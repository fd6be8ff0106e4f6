"""Error tickets: `TicketMiddleware` around an application, `record` for exceptions that it handles itself."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaeport.tickets.logs import setup_logging
    from gaeport.tickets.middleware import TicketMiddleware
    from gaeport.tickets.reporting import record

__all__ = ["TicketMiddleware", "record", "setup_logging"]

_HOMES = {"TicketMiddleware": "middleware", "record": "reporting", "setup_logging": "logs"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"gaeport.tickets.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'gaeport.tickets' has no attribute {name!r}")
