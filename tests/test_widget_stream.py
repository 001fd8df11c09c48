"""The widget of the residual stream: a place is picked, and what each stage adds is read there."""

from typing import Any

import pytest

from fmbook.widgets import ResidualStream
from tests.browser import LOOKS, barriers, sentence, sideways

HOSTILE = "</script><img src=x onerror=alert(1)> $x^2$ \udcff 文"
ALT = "What a small model would say next after each thing that it adds."
TEXT, STAGES = ["To", " be", ",", "\n", HOSTILE], ["embedding", "block 1 attention", HOSTILE]
GUESSES = [
    [[(" the", 0.11), (" a", 0.055)]] * 5,
    [[(" be", 0.2), (" a", 0.1)], *[[(",", 0.4), (" or", 0.2)]] * 4],
    [[(" be", 0.9), (HOSTILE, 0.05)], *[[(",", 0.75), ("\n", 0.1)]] * 4],
]
LENGTHS = [[1.0, 2.0, 3.0, 4.0, 5.0]] * 2 + [[0.5] * 5]


def stream(**more: Any) -> ResidualStream:
    return ResidualStream(TEXT, STAGES, GUESSES, LENGTHS, **{"alt": ALT, **more})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ResidualStream([], [], [], [], alt=ALT), "0 stages x 0 tokens"),
        (lambda: ResidualStream(TEXT, STAGES, GUESSES[:2], LENGTHS, alt=ALT), "3 stages x 5"),
        (lambda: ResidualStream(TEXT, STAGES, GUESSES, LENGTHS[:2], alt=ALT), "3 stages x 5"),
        (lambda: ResidualStream(["a"], ["s"], [[[("b", 1.5)]]], [[1.0]], alt=ALT), "got 1.5"),
        (lambda: ResidualStream(["a"], ["s"], [[[("b", 0.5)]]], [[-1.0]], alt=ALT), "got -1.0"),
        (lambda: stream(alt="short"), "alt must say"),
    ],
)
def test_what_cannot_be_shown_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_the_picture_draws_the_best_guess_after_each_stage() -> None:
    bars = stream(place=1).picture().patches
    assert [round(bar.get_width(), 2) for bar in bars] == [0.11, 0.4, 0.75]


@pytest.mark.browser
def test_it_is_read_by_mouse(show: Any) -> None:
    page = show(stream())
    assert sentence(page) == (
        "After “To” the guess is “ be” (90 %), first from block 1 attention on."
        " The text goes on with “ be”."
    )
    page.locator(".fm-word").nth(2).click()
    assert sentence(page).startswith("After “To be,” the guess is “,” (75 %), first from block 1")
    assert sentence(page).endswith("The text goes on with “↵”.")
    assert page.locator("tbody tr").nth(0).inner_text().replace("\xa0", " ").split() == (
        ["embedding", "3.0", "the", "11", "%", "a", "5.5", "%"]
    )


@pytest.mark.browser
def test_it_is_read_by_keyboard(show: Any) -> None:
    page = show(stream())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("slider").get_attribute("aria-valuetext").startswith("token 2 of 5")
    assert sentence(page).startswith("After “To be” the guess is “,”")


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(stream(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
