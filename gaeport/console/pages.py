"""The console's pages, in the order of its navigation. A page is a module, loaded when it is first asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from gaeport.console.web import Request, Response


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the console.

    Attributes:
        path: the first part of its address below /_gaeport/; what follows is the page's own.
        title: its name in the navigation.
        module: where its `answer(request)` is.
    """

    path: str
    title: str
    module: str

    def answer(self, request: Request) -> Response:
        """Answer a request of somebody who has logged in; the token of a form was checked."""
        answer: Callable[[Request], Response] = import_module(self.module).answer
        return answer(request)


PAGES = (
    Page("", "Overview", "gaeport.console.overview"),
    Page("tickets", "Tickets", "gaeport.console.tickets"),
    Page("stats", "Statistics", "gaeport.console.stats"),
)


def find(path: str) -> Page | None:
    """Return the page at the first part of an address, or None."""
    return next((page for page in PAGES if page.path == path), None)
