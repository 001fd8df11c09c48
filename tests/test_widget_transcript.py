"""The chat whose tokens can be opened: by mouse, by keyboard, no kernel."""

from typing import Any

import pytest

from fmbook.widgets import ChatTranscript
from tests.browser import LOOKS, barriers, sentence, sideways

ALT = "A question and an answer of three tokens."
SAID = [
    [("It", 0.5), ("The", 0.375), ("<b>", 0.001)],
    [(" is", 0.25), (" was", 0.5), (" has", 0.125)],
    [("\n", 1.0)],
]
TURNS = [("you", "Is it?\n<i>So?</i>"), ("model", SAID)]


def transcript(**more: Any) -> ChatTranscript:
    return ChatTranscript(TURNS, **{"alt": ALT, **more})


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        ([("you", "Hello?")], "no turn has tokens"),
        ([], "no turn has tokens"),
        ([("model", [[]])], "needs choices"),
        ([("model", [[("a", 1.5)]])], "needs choices"),
        ([("model", [[("a", float("nan"))]])], "needs choices"),
    ],
)
def test_what_cannot_be_shown_is_refused(turns: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ChatTranscript(turns, alt=ALT)


def test_the_bundle_has_the_page_and_the_picture() -> None:
    data, metadata = transcript()._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "image/png"} <= set(data)
    assert data["text/plain"] == ALT == metadata["alt"]


def test_the_picture_draws_what_was_said() -> None:
    bars = transcript().picture().patches
    assert [bar.get_height() for bar in bars] == [0.5, 0.25, 1.0]


FIRST = "Token 1 of 3: “It” had 50 %; beside it “The” with 38 % and “<b>” with under 1 %."


@pytest.mark.browser
def test_it_is_read_by_mouse(show: Any) -> None:
    page = show(transcript())
    assert sentence(page) == FIRST
    page.locator(".fm-choice").nth(1).hover()
    assert sentence(page) == (
        "Token 2 of 3: “␣is” had 25 %; beside it “␣was” with 50 % and “␣has” with 13 %."
    )
    assert page.locator(".fm-rows b").all_inner_texts() == ["␣was", "␣is", "␣has"]
    assert "is" in page.locator(".fm-rows .fm-top").inner_text()


@pytest.mark.browser
def test_it_is_read_by_keyboard(show: Any) -> None:
    page = show(transcript())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert sentence(page) == "Token 3 of 3: “↵” had 100 %."


@pytest.mark.browser
def test_opening_a_token_moves_nothing(show: Any) -> None:
    page = show(transcript())
    before = page.locator(".fm-root").bounding_box()
    page.locator(".fm-choice").nth(2).hover()
    assert page.locator(".fm-root").bounding_box() == before


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(transcript(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
