"""The console in a real browser: layout, keyboard, contrast, and that the browser has nothing to complain of."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport.stats.sample import encode
from tests.console.chromium import Tab, browser
from tests.console.conftest import PASSWORD, hashed
from tests.devserver.serving import serving
from tests.stats.build import make

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("chromium")]

WIDTHS = (400, 1200)
LONG = "a-very-long-path-without-any-place-to-break-" * 8

# Each text's contrast with what is behind it (source: WCAG 2.2, 1.4.3: 4.5, and 3 for large text).
CONTRAST = """
(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const bad = new Set();
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!text || box.width <= 1 || element.closest('.skip, .hidden, title')) continue;
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    const [one, two] = [light(parse(ink)), light(behind(element))].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24;
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < (large ? 3 : 4.5)) bad.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...bad].join('; ');
})()
"""

# What a screen reader and a keyboard need.
STRUCTURE = """
(() => {
  const bad = [];
  const all = selector => [...document.querySelectorAll(selector)];
  const check = (good, problem) => good || bad.push(problem);
  for (const name of ['main', 'h1', 'header']) check(all(name).length === 1, `one ${name}`);
  check(document.documentElement.lang && document.title, 'language and title');
  for (const table of all('table')) {
    check(table.caption || table.closest('figure'), 'table without caption');
    check(table.querySelector('th[scope]'), 'table without headers');
  }
  for (const field of all('input:not([type=hidden]), select, textarea'))
    check(field.labels.length, `label of ${field.name}`);
  for (const picture of all('svg'))
    check(picture.getAttribute('role') === 'img' && picture.getAttribute('aria-label'), 'picture without words');
  for (const picture of all('img')) check(picture.hasAttribute('alt'), 'image without alt');
  for (const part of all('nav, section')) {
    const named = document.getElementById(part.getAttribute('aria-labelledby'));
    check(part.getAttribute('aria-label') || named, `${part.tagName} without name`);
  }
  for (const box of all('.scroll')) check(box.tabIndex === 0, 'scrolls for a mouse only');
  const ids = all('[id]').map(element => element.id);
  check(new Set(ids).size === ids.length, 'an id twice');
  return bad.join('; ');
})()
"""

# What reaches beyond the window, outside of what scrolls within itself.
WIDE = """
[...document.querySelectorAll('body *')]
  .filter(element => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest('.scroll, .hidden'))
  .slice(0, 5).map(element => element.outerHTML.slice(0, 100)).join(' | ')
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an application with 10,000 samples, some of them with values that are hard to show."""
    folder = tmp_path_factory.mktemp("console")
    (folder / "uploads").mkdir()
    (folder / "shop.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [b'shop']\n"
    )
    (folder / "gaeport.toml").write_text(
        f'app = "shop:app"\n[[mount]]\npath = "uploads"\n[console]\npassword_hash = "{hashed()}"\n'
    )
    stats = folder / ".gaeport" / "stats"
    stats.mkdir(parents=True)
    shuffled = random.Random(7)
    now = time.time()
    samples = []
    for number in range(9_997):
        path = f"/route{number % 70}"
        samples.append(make(shuffled.randrange(12), route=path, path=f"{path}/{number}", at=now - number))
    long = {"route": f"/{LONG}", "path": f"/{LONG}", "kind": LONG, "lines": [(f"{LONG}.py", 99_999, LONG)] * 3}
    samples += [
        make(300, id="1" * 16, at=now, **long),
        make(0, id="2" * 16, route="/nothing", path="/nothing", at=now),
        make(1_000, id="3" * 16, calls=5_000_000, seconds=36_000.0, price=12_345.6, status=500, at=now),
    ]
    (stats / "samples.jsonl").write_bytes(b"".join(encode(sample) + b"\n" for sample in samples))
    with serving(folder) as served:
        yield served.url.replace("127.0.0.1", "localhost").rstrip("/")


@pytest.fixture(scope="module")
def tab(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser in which somebody has logged in, by the keyboard alone."""
    with browser(tmp_path_factory.mktemp("profile")) as made:
        made.size(1200)
        made.send("Emulation.setScriptExecutionDisabled", value=True)  # nothing of the pages needs scripts
        made.open(f"{site}/_ah/stats")
        assert made.evaluate("document.activeElement.id") == "password"
        made.type("wrong")
        made.press("Enter")
        made.wait_for_load()
        assert "not the password" in made.evaluate("document.querySelector('[role=alert]').textContent")
        made.type(PASSWORD)
        made.press("Enter")
        made.wait_for_load()
        assert made.evaluate("document.querySelector('h1').textContent") == "Statistics"
        assert [text for text in made.complaints if "403" not in text] == []
        made.complaints.clear()
        yield made


PAGES = {
    "overview": "/_gaeport/",
    "stats": "/_ah/stats",
    "stats-long": f"/_ah/stats/{'1' * 16}",
    "stats-empty": f"/_ah/stats/{'2' * 16}",
    "stats-large": f"/_ah/stats/{'3' * 16}",
    "stats-none": "/_ah/stats?route=/none",
    "not-found": "/_gaeport/nothing",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_right_at_both_widths_light_and_dark(tab: Tab, site: str, tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("GAEPORT_SCREENSHOTS", tmp_path))
    tab.open(site + PAGES[name])
    for scheme in ("light", "dark"):
        tab.scheme(scheme)
        for width in WIDTHS:
            tab.size(width)
            tab.screenshot(folder / f"{name}-{scheme}-{width}.png")
            assert tab.evaluate(WIDE) == ""
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate(CONTRAST) == ""
            assert tab.evaluate(STRUCTURE) == ""
    assert [text for text in tab.complaints if "404" not in text] == []
    tab.complaints.clear()


def test_the_keyboard_reaches_everything_and_shows_where_it_is(tab: Tab, site: str) -> None:
    tab.open(f"{site}/_gaeport/")
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    reached = []
    while True:
        tab.press("Tab")
        if tab.evaluate("document.activeElement === document.body"):
            break
        reached.append(tab.evaluate("document.activeElement.textContent.trim()"))
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert {"gaeport console", "Log out", "Overview", "Statistics"} <= set(reached)


def test_with_scripts_switched_on_none_that_was_slipped_in_would_run(tab: Tab, site: str) -> None:
    tab.send("Emulation.setScriptExecutionDisabled", value=False)
    tab.open(f"{site}/_gaeport/")
    planted = "<img src=x onerror='window.ran = true'><p style='color: red'>"
    tab.evaluate(f'document.querySelector("main").innerHTML = "{planted}"')
    script = "Object.assign(document.createElement('script'), {textContent: 'window.ran = true'})"
    tab.evaluate(f"document.head.append({script})")
    assert tab.evaluate("window.ran === undefined")
    assert any("Content Security Policy" in text for text in tab.complaints)
    tab.complaints.clear()
