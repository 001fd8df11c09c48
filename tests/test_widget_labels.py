"""The curves of labels against accuracy: task, way and number of labels decide what is said."""

import re
from typing import Any

import pytest

from fmbook.widgets import LabelCurves
from tests.browser import LOOKS, barriers, sideways

HOSTILE = "</script><img src=x onerror=alert(1)> $x^2$ \udcff 文"
ALT = "Two tasks, and what two ways to learn them reach from labels."
WAYS = {
    "scratch": ([[0.5, 0.6], [0.5, 0.7]], [1.0, 2.0], 1_234_567),
    HOSTILE: ([[0.7, 0.8], [0.8, 0.9]], [0.1, 0.2], 99),
}


def labels() -> LabelCurves:
    return LabelCurves({"mail": ([10, 1000], WAYS), HOSTILE: ([10, 700], WAYS)}, alt=ALT)


def test_text_from_strangers_stays_text() -> None:
    assert "<img src=x" not in labels().html()
    assert labels().html() == labels().html()


def test_mean_and_spread_are_those_over_seeds() -> None:
    way = labels().tasks[0]["ways"][0]
    assert way["mean"] == [0.5, 0.65]
    assert (way["low"], way["high"]) == ([0.5, 0.6], [0.5, 0.7])


@pytest.mark.parametrize(
    "tasks",
    [
        {},
        {"mail": ([10, 1000], {})},
        {"mail": ([1000, 10], WAYS)},
        {"mail": ([], WAYS)},
        {"mail": ([10, 1000], WAYS), "topics": ([10, 1000], {"scratch": WAYS["scratch"]})},
        {"mail": ([10, 100, 1000], WAYS)},
        {"mail": ([10, 1000], WAYS), "topics": ([10, 100, 1000], WAYS)},
    ],
)
def test_what_does_not_fit_is_refused(tasks: dict) -> None:
    with pytest.raises(ValueError, match=r"need a task|need \d values a row"):
        LabelCurves(tasks, alt=ALT)


def test_each_task_is_drawn_over_its_own_numbers_of_labels() -> None:
    figure = labels().picture().figure
    assert [ax.lines[0].get_xdata().tolist() for ax in figure.axes] == [[10, 1000], [10, 700]]


@pytest.mark.browser
def test_the_sentence_follows_task_way_and_labels(show: Any) -> None:
    page = show(labels())
    said = page.locator("[aria-live=polite]")
    assert "mail, 10 labels, scratch: 50\u202f% right" in said.inner_text()
    assert "1,234,567 numbers trained" in said.inner_text()
    page.get_by_role("slider").press("ArrowRight")
    assert "1,000 labels, scratch: 65\u202f% right (60\u202f% to 70" in said.inner_text()
    page.get_by_role("radio").nth(2).press("ArrowRight")
    assert re.search(r"1,000 labels, .* 85\u202f% right", said.inner_text())
    assert "No way is better here" in said.inner_text()
    assert page.locator(".fm-ticks").inner_text().split() == ["10", "1,000"]
    page.get_by_role("radio").nth(0).press("ArrowRight")
    assert "700 labels" in said.inner_text()
    assert page.locator(".fm-ticks").inner_text().split() == ["10", "700"]
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == "700 labels"


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(labels(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
