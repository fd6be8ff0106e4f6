"""The page of tickets in a real browser: 10,000 tickets, long values, empty states, light and dark."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.chromium import Tab, browser
from tests.console.conftest import PASSWORD, hashed
from tests.console.test_browser import CONTRAST, STRUCTURE, WIDE, WIDTHS
from tests.devserver.serving import serving

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("chromium")]

# Makes the tickets in a process of its own, which leaves the data folder to the server.
FILL = """
import random, sys, time
import gaeport
from gaeport.tickets import context, record, reporting
from gaeport.tickets.number import new_number
from gaeport.tickets.store import Count, TicketStore, hour_of

sys.path.insert(0, sys.argv[1])
from tests.tickets.failing import caught, deep, with_cause

gaeport.configure(tickets={"line": "off", "entity": True})
shuffled, now, store = random.Random(7), time.time(), TicketStore()
for group in range(97):
    title = f"ValueError: problem {group} of the shop (shop/views.py, in view{group})"
    store.write([
        {"number": new_number(f"{group:06}", now - shuffled.expovariate(1 / 200_000)), "title": title, "time": now}
        for _ in range(103)
    ])
store.write_counts([Count("000001", hour_of(now - 3_600 * hour), "p", 10_000 // (hour + 1), "t") for hour in range(20)])
long = "a-very-long-value-without-any-place-to-break" * 12
context.begin({"REQUEST_METHOD": "GET", "PATH_INFO": "/" + long, "HTTP_HOST": "shop.example", "HTTP_X_LONG": long,
    "HTTP_USER_AGENT": "Mozilla/5.0 " * 20, "QUERY_STRING": "page=2"})

def fail(value):
    names = {long: [value] * 30}
    try:
        deep()
    except RecursionError as error:
        error.add_note(long)
        raise LookupError(value + " \\n" * 30 + "end", len(names)) from error

print(record(caught(lambda: fail(long))))
context.resume(None)
print(record(caught(with_cause)))
print(record(KeyError("never raised")))
assert reporting.flush()
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """The address of an application with 10,000 tickets, and the numbers of three that are worth a look."""
    folder = tmp_path_factory.mktemp("tickets")
    (folder / "shop.py").write_text("def app(environ, start_response):\n    raise ValueError\n")
    (folder / "gaeport.toml").write_text(f'app = "shop:app"\n[console]\npassword_hash = "{hashed()}"\n')
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-W", "ignore", "-c", FILL, root]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with serving(folder) as found:
        yield found.url.replace("127.0.0.1", "localhost").rstrip("/"), done.stdout.split()


@pytest.fixture(scope="module")
def tab(served: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser in which somebody has logged in; scripts are off."""
    with browser(tmp_path_factory.mktemp("profile")) as made:
        made.size(1200)
        made.send("Emulation.setScriptExecutionDisabled", value=True)
        made.open(f"{served[0]}/_gaeport/tickets")
        made.type(PASSWORD)
        made.press("Enter")
        made.wait_for_load()
        assert made.evaluate("document.querySelector('h1').textContent") == "Tickets"
        made.complaints.clear()
        yield made


PAGES = {
    "tickets": "",
    "tickets-day": "?hours=24",
    "tickets-month": "?hours=720&from=50",
    "group": "/000001",
    "group-long": "/{0:.6}",
    "ticket-long": "/{0}",
    "ticket": "/{1}",
    "ticket-without-frames": "/{2}",
    "no-ticket": "/ZZZZZZ",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_right_at_both_widths_light_and_dark(
    tab: Tab, served: tuple[str, list[str]], tmp_path: Path, name: str
) -> None:
    folder = Path(os.environ.get("GAEPORT_SCREENSHOTS", tmp_path))
    tab.open(f"{served[0]}/_gaeport/tickets{PAGES[name].format(*served[1])}")
    tab.evaluate("[...document.querySelectorAll('details')].slice(0, 8).forEach(part => part.open = true)")
    for scheme in ("light", "dark"):
        tab.scheme(scheme)
        for width in WIDTHS:
            tab.size(width)
            tab.screenshot(folder / f"{name}-{scheme}-{width}.png")
            assert tab.evaluate(WIDE.replace(".scroll, .hidden", ".scroll, .hidden, pre")) == ""
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate(CONTRAST) == ""
            assert tab.evaluate(STRUCTURE) == ""
    assert [text for text in tab.complaints if "404" not in text] == []
    tab.complaints.clear()


def test_frames_unfold_by_the_keyboard(tab: Tab, served: tuple[str, list[str]]) -> None:
    tab.open(f"{served[0]}/_gaeport/tickets/{served[1][1]}")
    folded = "document.querySelectorAll('.frame:not([open])').length"
    before = tab.evaluate(folded)
    assert before
    while not tab.evaluate("document.activeElement.closest('.frame:not([open])')?.tagName === 'DETAILS'"):
        tab.press("Tab")
        assert not tab.evaluate("document.activeElement === document.body")
    tab.press("Enter")
    assert tab.evaluate(folded) == before - 1
