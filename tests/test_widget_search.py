"""The search by words: words are chosen, pictures sorted, and a picture tells its words."""

import re
from typing import Any

import numpy as np
import pytest

from fmbook.widgets import WordSearch
from tests.browser import LOOKS, barriers, sentence, sideways

HOSTILE = "</script><img src=x onerror=alert(1)> $x^2$ \udcff 文"
ALT = "Three pictures, sorted by how near they lie to chosen words."
NAMES = ["red heart", HOSTILE, "blue square"]
IMAGES = [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.2, 0.1]]
TEXTS = [[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0]]


def pictures() -> np.ndarray:
    table = np.ones((3, 3, 8, 8))
    for colour in range(3):
        table[colour, (colour + 1) % 3, 2:6, 2:6] = 0
    return table


def search(**more: object) -> WordSearch:
    return WordSearch(pictures(), NAMES, IMAGES, ["red", "heart", HOSTILE], TEXTS, alt=ALT, **more)


def test_text_from_strangers_stays_text() -> None:
    page = search().html()
    assert "<img src=x" not in page
    assert search().html() == page


def test_directions_are_kept_and_lengths_are_not() -> None:
    widget = search()
    assert np.frombuffer(widget.texts, dtype="int8").reshape(3, 3).tolist() == [
        [127, 0, 0], [0, 127, 0], [0, 0, 127]]  # fmt: skip
    assert len(search(chosen=[0, 1]).picture().images) == 1


def test_what_does_not_fit_is_refused() -> None:
    for images, texts in ((IMAGES[:2], TEXTS), (IMAGES, TEXTS[:2]), (IMAGES, [[1.0]] * 3)):
        with pytest.raises(ValueError, match=r"a row each|differ in width"):
            WordSearch(pictures(), NAMES, images, ["a", "b", "c"], texts, alt=ALT)
    with pytest.raises(ValueError, match="without a direction"):
        WordSearch(pictures(), NAMES, IMAGES, ["a"], [[0.0, 0.0, 0.0]], alt=ALT)
    for wrong in (pictures()[:2], pictures() * 2, np.ones((3, 8, 8))):
        with pytest.raises(ValueError, match=r"pictures must be"):
            WordSearch(wrong, NAMES, IMAGES, ["a"], TEXTS[:1], alt=ALT)


@pytest.mark.browser
def test_words_find_pictures_and_a_picture_finds_words(show: Any) -> None:
    page = show(search(), width=390)
    assert sentence(page).startswith("No word is chosen")
    page.get_by_role("checkbox").first.press("Space")
    assert "Nearest to “red”: “red heart” (0.71)" in sentence(page)
    page.get_by_role("checkbox").nth(1).press("Space")
    assert re.search(r"Nearest to “red” and “heart”: “red heart” \(1\.00\)", sentence(page))
    first = page.get_by_role("listitem").first.get_by_role("button")
    shown = first.locator("img").evaluate("i => [i.naturalWidth, i.style.objectPosition]")
    assert shown == [24, "0px 0px"]
    first.press("Enter")
    assert "“red heart” lies nearest to the words “red” (0.71)" in sentence(page)
    assert first.get_attribute("aria-pressed") == "true"
    assert barriers(page) == []
    assert sideways(page) <= 0
    page.get_by_role("button", name="Clear").click()
    assert sentence(page).startswith("No word is chosen")


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(search(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
