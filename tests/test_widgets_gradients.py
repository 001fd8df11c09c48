"""The two widgets of the era gradients in a real browser: by mouse, by keyboard, for everybody."""

from collections.abc import Callable
from typing import Any

import pytest

from fmbook.gradients.autograd import Variable
from fmbook.records.autograd import graph_nodes
from fmbook.widgets import BookWidget, ComputationGraph, DescentExplorer
from tests.browser import barriers, sentence, sideways

ALT = "What the widget shows, said in a sentence."


def graph() -> ComputationGraph:
    w, x = Variable(-2.0), Variable(3.0)
    p = w * x
    s = p + x
    loss = s**2
    named = {"w": (w, 0.8), "x": (x, 0.2), "p": (p, 0.8), "s": (s, 0.5), "L": (loss, 0.5)}
    return ComputationGraph(graph_nodes(loss, named), title="A square", alt=ALT)


def valley() -> DescentExplorer:
    plain = {
        0.1: [(-4.0, 1.0), (-3.6, 0.5), (-3.2, -0.2)],
        9.0: [(-4.0, 1.0), (9.0, 99.0), (1e4, -1e4)],
    }
    adam = {0.3: [(-4.0, 1.0), (-3.7, 0.7), (-3.4, 0.4)]}
    return DescentExplorer((1.0, 5.0), {"SGD": plain, "Adam": adam}, alt=ALT)


@pytest.mark.browser
def test_a_graph_is_walked_there_and_back(show: Any) -> None:
    page = show(graph())
    assert "5 nodes" in sentence(page)
    for _ in range(5):
        page.get_by_role("button", name="Next").click()
    assert sentence(page).startswith("Forward, 5 of 5: “L” is 9")
    for _ in range(3):
        page.get_by_role("button", name="Next").click()
    assert "“p” has the gradient −6 and hands back" in sentence(page)
    assert "12 to “x”" in sentence(page)
    assert "gradient 6" in page.locator("li", has_text="value 3").inner_text()
    page.get_by_role("button", name="Back").click()
    assert "gradient −6" in page.locator("li", has_text="value 3").inner_text()  # one path so far


@pytest.mark.browser
def test_a_graph_is_walked_by_keyboard(show: Any) -> None:
    page = show(graph())
    page.locator("input").focus()
    page.keyboard.press("End")
    assert "is an input: this is its gradient" in sentence(page)
    page.keyboard.press("Home")
    assert "nothing" not in sentence(page)
    assert "Next computes the first value" in sentence(page)


@pytest.mark.browser
def test_a_valley_tells_where_each_rule_gets(show: Any) -> None:
    page = show(valley())
    assert "After 2 steps of SGD at rate 0.1" in sentence(page)
    assert "crossed the bottom of the valley 1 time" in sentence(page)
    page.locator("input").first.focus()
    page.keyboard.press("ArrowRight")
    assert "it flies out of the valley" in sentence(page)
    page.locator("select").select_option("Adam")
    assert "After 2 steps of Adam at rate 0.3" in sentence(page)
    page.locator("input").last.focus()
    page.keyboard.press("Home")
    assert "After 0 steps of Adam" in sentence(page)


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [760, 360])
@pytest.mark.parametrize("make", [graph, valley])
def test_no_barriers_and_no_sideways_scrolling(
    show: Any, make: Callable[[], BookWidget], width: int, theme: str
) -> None:
    page = show(make(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
