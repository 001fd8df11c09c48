"""One visit of a page by a reader who looks at it in every way: what the tests of the site ask."""

from dataclasses import dataclass, field
from typing import Any

from tests.browser import barriers, blocked, complaints, sideways

SHIFTS = """
window.shifted = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""
READ_THROUGH = """async () => {
  await document.fonts.ready;
  for (let y = 0; y < document.body.scrollHeight; y += 700) {
    window.scrollTo(0, y);
    await new Promise(requestAnimationFrame);
  }
  await Promise.all([...document.images].map(i => i.decode().catch(() => 0)));
  window.scrollTo(0, 0);
  await new Promise(requestAnimationFrame);
}"""
# axe-core takes 8 CPU-seconds a chapter for the colours of code and formulas: a few stand for all
MARK_ALIKE = """() => ["pre", "math"].forEach(name => document.querySelectorAll(`article ${name}`)
  .forEach((found, number) => found.toggleAttribute("data-alike", number > 2)))"""
SAMPLE: Any = {"exclude": [["[data-alike]"]]}
UNREACHABLE = """() => [...document.querySelectorAll("article *")]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && e.tabIndex < 0
    && /auto|scroll/.test(getComputedStyle(e).overflowX) && !e.querySelector("a, button, input"))
  .map(e => e.outerHTML.slice(0, 120))"""
WEIGHT = """() => [...performance.getEntriesByType("navigation"),
  ...performance.getEntriesByType("resource")].reduce((sum, e) => sum + e.encodedBodySize, 0)"""
CUT = """() => [...document.querySelectorAll("article *")]
  .filter(e => !e.closest("math, svg, .fm-widget") && e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).overflowX !== "visible" && e.clientWidth > 0)
  .map(e => e.outerHTML.slice(0, 120))"""
WIDE_CODE = """() => [...document.querySelectorAll("article pre")]
  .filter(e => e.scrollWidth > e.clientWidth + 1)
  .filter(e => Math.max(...e.textContent.split("\\n").map(l => [...l.trimEnd()].length)) <= 72)
  .map(e => e.textContent.slice(0, 80))"""
NO_MOTION = "*, *::before, *::after { transition: none !important; animation: none !important; }"


@dataclass
class Visit:
    """What one page did in the browser."""

    weight: int = 0
    gone: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    light: list[str] = field(default_factory=list)
    dark: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    wide_code: list[str] = field(default_factory=list)
    cut_on_paper: list[str] = field(default_factory=list)
    shifted: float = 0.0
    over: dict[int, int] = field(default_factory=dict)


def visit(browser: Any, site: str, page: str) -> Visit:
    """Open a page as a newcomer, scroll through it, then look at it in every way a reader may."""
    seen = Visit()
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.add_init_script(SHIFTS)
    tab = context.new_page()
    seen.gone, seen.heard = blocked(tab, site), complaints(tab)

    def note(response: Any) -> None:
        if response.status >= 400:
            seen.failed.append(response.url)

    tab.on("response", note)
    tab.goto(f"{site}{page}.html")
    tab.evaluate(READ_THROUGH)
    seen.shifted = tab.evaluate("window.shifted")
    seen.weight = tab.evaluate(WEIGHT)
    heard = list(seen.heard)  # axe-core fetches stylesheets anew, from the wrong folder
    failed = list(seen.failed)
    tab.add_style_tag(content=NO_MOTION)
    seen.unreachable = tab.evaluate(UNREACHABLE)
    tab.evaluate(MARK_ALIKE)
    seen.wide_code = tab.evaluate(WIDE_CODE)
    seen.light = barriers(tab, SAMPLE)
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    seen.dark = barriers(tab, SAMPLE)
    tab.emulate_media(media="print", color_scheme="light")
    for width in (390, 718):  # a phone; A4 between its margins
        tab.set_viewport_size({"width": width, "height": 844})
        tab.emulate_media(media="print" if width == 718 else "screen")
        seen.over[width] = sideways(tab)
    seen.cut_on_paper = tab.evaluate(CUT)
    seen.heard, seen.failed = heard, failed
    context.close()
    return seen
