"""The built site in a real browser: complete, alone, light, accessible, readable everywhere.

Each page is visited once; the tests ask what was seen. Run `make book` first.
"""

import functools
import gzip
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from tests.browser import blocked, complaints
from tests.house import ROOT, stems
from tests.site_visit import visit
from tools import repository
from tools.book import HTML, pages

PAGES = pages()
CHAPTERS = [f"chapters/{stem}" for stem in stems()]
ALL = [*PAGES, "search"]
TEXTS = (".html", ".js", ".css", ".txt", ".json", ".ipynb", ".md", ".svg", ".inv", ".py", "")
SECRETS = ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "### BEGIN", "### END", "grade_id")
LEFTOVERS = ("thebe", "require.js", "requirejs", "html-manager", "mathjax@", "MathJax-script")
FIRST_PAGE, LATER_PAGE = 1_500_000, 150_000  # bytes


class Quiet(SimpleHTTPRequestHandler):
    """A file server that keeps its log to itself."""

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(HTML))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def visits(browser: Any, site: str) -> Any:
    return functools.cache(functools.partial(visit, browser, site))


@functools.cache
def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup((HTML / f"{page}.html").read_text("utf8"), "html.parser")


@pytest.mark.parametrize("page", PAGES)
def test_each_page_of_the_toc_is_built_with_its_title_and_its_place(page: str) -> None:
    assert soup(page).select_one("article h1"), "no title"
    marked = soup(page).select_one("nav.bd-links .current")
    assert marked or page == PAGES[0], "not marked in the contents"
    assert soup(page).html["lang"] == "en"


def test_nothing_but_the_toc_is_published() -> None:
    built = {f.relative_to(HTML).with_suffix("").as_posix() for f in HTML.rglob("*.html")}
    built = {name for name in built if not name.startswith("_static/")}
    assert built == {*ALL, "index"}
    assert not (HTML / "_sources").exists()


@pytest.mark.parametrize("page", ALL)
def test_a_page_asks_no_third_party_and_complains_of_nothing(visits: Any, page: str) -> None:
    seen = visits(page)
    assert (seen.gone, seen.failed, seen.heard) == ([], [], [])


@pytest.mark.parametrize("page", ALL)
def test_a_page_works_from_a_folder(browser: Any, page: str) -> None:
    tab = browser.new_page()
    gone, heard = blocked(tab), complaints(tab)
    tab.goto((HTML / f"{page}.html").as_uri())
    assert tab.evaluate("document.documentElement.dataset.theme") in ("light", "dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (gone, heard) == ([], [])
    tab.close()


@pytest.mark.parametrize("page", ALL)
def test_a_page_is_light(visits: Any, page: str) -> None:
    own = len(gzip.compress((HTML / f"{page}.html").read_bytes()))  # as hosts of pages send text
    images = {unquote(img["src"]) for img in soup(page).select("img[src]")}
    own += sum(((HTML / page).parent / name).stat().st_size for name in images if ":" not in name)
    assert visits(page).weight < FIRST_PAGE, "as the first page: nothing cached or compressed"
    assert own < LATER_PAGE, "as a later page: what pages share is cached"


@pytest.mark.parametrize("page", ALL)
def test_a_page_carries_no_script_twice_and_none_of_what_it_does_not_use(page: str) -> None:
    scripts = [tag["src"].split("?")[0] for tag in soup(page).select("script[src]")]
    assert len(scripts) == len(set(scripts))
    text = str(soup(page).head) + " ".join(scripts)
    assert not [word for word in (*LEFTOVERS, "fontawesome") if word.lower() in text.lower()]


@pytest.mark.parametrize("page", ALL)
def test_no_page_shows_what_a_semicolon_hides(page: str) -> None:
    assert "BookAxes" not in soup(page).text


@pytest.mark.parametrize("page", ALL)
def test_every_picture_says_what_it_shows_and_keeps_its_place(page: str) -> None:
    for image in soup(page).select("img"):
        alt = image.get("alt", "")
        assert len(alt.split()) >= 3, f"no real text: {image['src'][:60]}"
        assert not re.search(r"\.(png|svg|jpe?g)$", alt)
        assert image.get("width", "").isdigit(), image["src"][:60]
        assert image.get("height", "").isdigit(), image["src"][:60]


@pytest.mark.parametrize("page", ALL)
def test_a_page_has_no_barriers_in_light_and_in_dark(visits: Any, page: str) -> None:
    assert visits(page).light == []
    assert visits(page).dark == []
    assert visits(page).unreachable == [], "scrolls, but not by keyboard"


@pytest.mark.parametrize("page", ALL)
def test_a_page_fits_a_phone_and_paper(visits: Any, page: str) -> None:
    assert visits(page).over == {390: 0, 718: 0}
    assert visits(page).cut_on_paper == []


@pytest.mark.parametrize("page", ALL)
def test_nothing_moves_the_text_while_it_loads(visits: Any, page: str) -> None:
    assert visits(page).shifted < 0.01


@pytest.mark.parametrize("page", PAGES)
def test_code_of_72_columns_never_scrolls(visits: Any, page: str) -> None:
    assert visits(page).wide_code == []


@pytest.mark.parametrize("page", PAGES)
def test_mathematics_is_set_when_the_book_is_built(page: str) -> None:
    assert not soup(page).select("merror, .math.notranslate, script[type='math/tex']")
    words = " ".join(
        text
        for text in soup(page).article.find_all(string=True)
        if not text.find_parents(["code", "pre", "math", "script", "style"])
    )
    assert not re.search(r"\$[^$\s][^$]*\$|\\(?:frac|sqrt|mathbb|sum)\b", words)


@pytest.mark.parametrize("page", ALL)
def test_every_link_within_the_book_leads_somewhere(page: str) -> None:
    for link in soup(page).select("a[href]"):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        target = ((HTML / page).parent / unquote(parts.path)).resolve() if parts.path else None
        name = target.relative_to(HTML.resolve()).with_suffix("").as_posix() if target else page
        assert target is None or target.is_file(), link["href"]
        if parts.fragment and (target is None or target.suffix == ".html"):
            assert soup(name).find(id=unquote(parts.fragment)), link["href"]


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_opens_in_colab_at_the_configured_address(page: str) -> None:
    home = repository.address().removeprefix("https://github.com/")
    link = soup(page).select_one("a.header-link")
    wanted = f"https://colab.research.google.com/github/{home}/blob/main/{page}.ipynb"
    assert link
    assert link["href"] == wanted
    assert link.text == "Open in Colab"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_leads_to_colab_if_it_installs_the_library_there(page: str) -> None:
    file = ROOT / f"{page}.ipynb"
    installs = file.exists() and "google.colab" in file.read_text("utf8")
    assert bool(soup(page).select_one("a.header-link")) == installs


def test_no_solution_and_no_hidden_check_is_published() -> None:
    files = [file for file in HTML.rglob("*") if file.is_file() and file.suffix in TEXTS]
    assert len(files) > len(PAGES)
    for file in files:
        text = file.read_text("utf8", errors="replace")
        assert not [word for word in SECRETS if word in text], file


def test_the_readers_choice_of_colours_is_kept(browser: Any, site: str) -> None:
    context = browser.new_context(color_scheme="light")
    tab = context.new_page()
    tab.goto(f"{site}{PAGES[0]}.html")
    tab.click(".theme-switch-button")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 30)"
    tab.goto(f"{site}{PAGES[-1]}.html")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    context.close()


def test_links_and_rules_carry_the_hue_of_their_part(browser: Any, site: str) -> None:
    tab = browser.new_page()
    hues = set()
    style = "getComputedStyle(document.querySelector('{}')).{}"
    for page in ("chapters/rules/index", "chapters/vision/index"):
        tab.goto(f"{site}{page}.html")
        mark = tab.evaluate(style.format("article h1", "borderLeftColor"))
        link = tab.evaluate(style.format(".prev-next a", "color"))
        rule = tab.evaluate(style.format("thead tr", "borderBottomColor"))
        assert (link, rule) == (mark, mark)
        hues.add(mark)
    assert len(hues) == 2
    tab.close()


@pytest.mark.parametrize("home", ["http", "file"])
def test_search_finds_a_chapter_by_a_word(browser: Any, site: str, home: str) -> None:
    context = browser.new_context()
    tab = context.new_page()
    heard = complaints(tab)
    start = site if home == "http" else HTML.as_uri() + "/"
    tab.goto(f"{start}{PAGES[0]}.html")
    assert tab.locator("input[type=search]").count() == 1
    tab.keyboard.press("/")
    tab.keyboard.type("batch")
    tab.keyboard.press("Enter")
    tab.wait_for_selector('#search-results li a[href*="chapters/notation.html"]')  # one by one
    assert heard == []
    context.close()


def test_a_page_prints(browser: Any, site: str) -> None:
    tab = browser.new_page()
    tab.goto(f"{site}{CHAPTERS[0]}.html")
    assert tab.pdf(format="A4").startswith(b"%PDF")
    tab.close()
