"""The scale of words: words can be taken away, good ones pasted, and the verdict follows."""

import re
from typing import Any

import pytest

from fmbook.widgets import WordScale
from tests.browser import LOOKS, barriers, sentence, sideways

HOSTILE = "</script><img src=x onerror=alert(1)> $x^2$ \udcff 文"
ALT = "Three words of a mail and what each adds to its score."
WORDS = [("offer", 2, 6.0), (HOSTILE, 1, -1.5), ("you", 1, 0.4)]


def scale(**more: object) -> WordScale:
    good = [("meeting", 1, -3.0), ("wrote", 1, -2.0)]
    return WordScale(WORDS, prior=-0.5, title=HOSTILE, good=good, alt=ALT, **more)


def test_text_from_strangers_stays_text() -> None:
    page = scale().html()
    assert "<img src=x" not in page
    assert scale().html() == page


def test_its_picture_has_a_bar_for_each_word() -> None:
    assert len(scale().picture().patches) == 3


@pytest.mark.parametrize("words", [[], [("a", 1, float("nan"))], [("a", 1, float("inf"))]])
def test_what_cannot_be_weighed_is_refused(words: list[tuple[str, int, float]]) -> None:
    with pytest.raises(ValueError, match=r"at least one word|must be finite"):
        WordScale(words, prior=0.0, title="", alt=ALT)


@pytest.mark.browser
def test_taking_words_away_and_pasting_good_ones_changes_the_verdict(show: Any) -> None:
    page = show(scale())
    assert "3 of 3 words: the log-odds are +4.4" in sentence(page)
    page.get_by_role("checkbox").first.press("Space")
    assert re.search(r"2 of 3 words: the log-odds are −1\.6, .* ham", sentence(page))
    page.get_by_role("checkbox").first.press("Space")
    page.get_by_role("slider").press("ArrowRight")
    page.get_by_role("slider").press("ArrowRight")
    assert "2 good words pasted below: the log-odds are −0.6" in sentence(page)
    assert page.locator(".fm-pasted").inner_text() == "meeting wrote"


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(scale(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
