"""A real headless Chromium for the tests of widgets and site, and what they ask of every page.

Tests ask for the fixtures `browser` and `show` of conftest.py. A test module has one browser:
Playwright's synchronous interface cannot run twice at the same time in one process.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from fmbook.widgets.base import BookWidget

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
MISSING = (
    "NOT TESTED IN A BROWSER: no Chromium found; install one (Debian: `apt-get install chromium`), "
    "or name an executable in FMBOOK_CHROMIUM"
)
LOOKS = pytest.mark.parametrize(("theme", "width"), [("light", 760), ("dark", 760), ("light", 360)])


def executable() -> str | None:
    """The Chromium to drive: FMBOOK_CHROMIUM, or the first on the PATH."""
    named = os.environ.get("FMBOOK_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; where there is none, the test is skipped loudly, and fails in CI."""
    path = executable()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def blocked(page: Any, home: str = "") -> list[str]:
    """Stop every request that leaves the page's own home, and return the growing list of them.

    What stays is file:, data:, blob: and, for a site that is served, the host of the URL `home`.
    Call it before `page.goto`.
    """
    gone: list[str] = []
    host = urlsplit(home).netloc

    def leaves(url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme not in ("file", "data", "blob", "about") and parts.netloc != host

    def stop(route: Any) -> None:
        gone.append(route.request.url)
        route.abort()

    page.route(leaves, stop)
    return gone


def complaints(page: Any) -> list[str]:
    """The growing list of errors, warnings and uncaught exceptions in the page's console."""
    heard: list[str] = []

    def listen(message: Any) -> None:
        if message.type in ("error", "warning"):
            heard.append(f"{message.type}: {message.text}")

    page.on("console", listen)
    page.on("pageerror", lambda error: heard.append(f"exception: {error}"))
    return heard


def barriers(page: Any, within: str | None = None) -> list[str]:
    """What axe-core finds wrong under the WCAG 2.2 AA tags: a line a rule, with first targets."""
    from axe_playwright_python.sync_playwright import Axe

    only = {"type": "tag", "values": TAGS}
    results = Axe().run(
        page, context=within, options={"runOnly": only, "resultTypes": ["violations", "incomplete"]}
    )
    # of text in the colour of its ground axe is not sure that it is meant to be read
    unseen = [
        found | {"nodes": nodes}
        for found in results.response["incomplete"]
        if (nodes := [n for n in found["nodes"] if "equalRatio" in str(n["any"])])
    ]
    return [
        f"{found['id']} ({found['impact']}): {[node['target'] for node in found['nodes'][:3]]}"
        for found in [*results.response["violations"], *unseen]
    ]


def sideways(page: Any) -> int:
    """By how many pixels the page is wider than its window (0: nothing scrolls sideways)."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


PAGES: dict[tuple[type, str], str] = {}


def html(widget: "BookWidget") -> str:
    """What `widget.html()` says, drawn once for each state."""
    key = (type(widget).__bases__[0], widget._state())
    return PAGES.get(key) or PAGES.setdefault(key, widget.html())


def page_of(*widgets: "BookWidget", theme: str = "light", body: str = "") -> str:
    """A page of widgets in a theme ("": the system's), its body with more attributes."""
    attribute = f' data-theme="{theme}"' if theme else ""
    ground, ink = ("#14181e", "#e6e9ee") if theme == "dark" else ("#ffffff", "#1d2430")
    return (
        f'<!doctype html><html lang="en"{attribute}><title>Widgets</title>'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<body {body} style="background:{ground};color:{ink};margin:12px"><main>'
        f"{''.join(map(html, widgets))}<p>After.</p></main></body></html>"
    )


def sentence(within: Any) -> str:
    """What the only live region of a page, or of a part of it, says, with plain spaces."""
    said = within.locator("[aria-live=polite]").inner_text()
    return str(said).replace("\xa0", " ").replace("\u202f", " ")
