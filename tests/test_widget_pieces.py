"""The widget that cuts a reader's text into pieces: typed or picked, no kernel, as the library."""

from typing import Any

import pytest

from fmbook import data
from fmbook.transformers.tokenizer import Tokenizer, learn_merges
from fmbook.widgets import PieceReader
from tests.browser import LOOKS, barriers, sentence, sideways

ALT = "A text cut into pieces by the first merges learned on a play."
MERGES = learn_merges(data.shakespeare()["macbeth"][:100_000], 300)
HOSTILE = "</script><img src=x onerror=alert(1)><!-- $x^2$ \udcff \u202e 文 \x00 &amp; \"'"
TEXTS = ["To be, or not to be", "naïve 人 42", HOSTILE]


def pieces(**more: Any) -> PieceReader:
    return PieceReader(MERGES, TEXTS, **{"steps": [0, 10, 300], "alt": ALT, **more})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PieceReader(MERGES, [], steps=[0], alt=ALT), "give a text"),
        (lambda: pieces(steps=[]), "rising steps"),
        (lambda: pieces(steps=[5, 5]), "rising steps"),
        (lambda: pieces(steps=[-1, 5]), "rising steps"),
        (lambda: pieces(steps=[0, 301]), "rising steps from 0 to 300"),
        (lambda: PieceReader([(b"ab", b"c")], ["x"], steps=[0], alt=ALT), "merge 0"),
        (lambda: pieces(alt="short"), "alt must say"),
    ],
)
def test_what_cannot_be_shown_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_the_picture_has_a_box_for_each_piece() -> None:
    want = sum(len(Tokenizer(MERGES[:n]).encode(TEXTS[0])) for n in (0, 10, 300))
    assert len(pieces().picture().patches) == want


def test_a_thousand_merges_weigh_little() -> None:
    text = data.shakespeare()["hamlet"]
    many = PieceReader(learn_merges(text, 1_000), TEXTS, steps=[0, 10, 100, 1_000], alt=ALT)
    assert len(many.html().encode()) <= 45_000


@pytest.mark.browser
def test_it_cuts_as_the_library_does_whatever_is_typed(show: Any) -> None:
    page = show(pieces())
    for typed in ("Tomorrow, and tomorrow", "it's 1234½ 'tis", "ééé 人人 🎉", " a  b ", "aaaaaaa"):
        page.get_by_role("textbox").fill(typed)
        for place, count in enumerate((0, 10, 300)):
            page.get_by_role("radio").nth(place).check()
            n = len(Tokenizer(MERGES[:count]).encode(typed))
            assert page.locator(".fm-cut span").count() == n
            assert f"{len(typed)} characters are {n} piece" in sentence(page)
    page.get_by_role("textbox").fill("")
    assert sentence(page) == "There is no text to cut."


@pytest.mark.browser
def test_it_is_used_by_keyboard(show: Any) -> None:
    page = show(pieces())
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("the")
    assert sentence(page).startswith("With 300 merges, 3 characters are 2 pieces")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert sentence(page).startswith("With 10 merges, ")


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(pieces(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
