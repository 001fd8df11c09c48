"""The widget that shows what goes on while a network reads: by mouse, by keyboard, no kernel."""

from typing import Any

import pytest

from fmbook.widgets import StateReader
from tests.browser import LOOKS, barriers, sentence, sideways

ALT = "Two units while they read six characters, a bar for each."
TEXT = ["T", "o", " ", "b", "e", "\n"]
TRACKS = [[-1.0, -0.5, 0.0, 0.5, 1.0, 0.2], [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]]


def reader(**more: Any) -> StateReader:
    return StateReader(TEXT, TRACKS, ["unit 3", "<b>unit 5</b>"], **{"alt": ALT, **more})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: StateReader(TEXT, TRACKS[:1], ["a", "b"], alt=ALT), r"\(2, 6\)"),
        (lambda: StateReader([], [[]], ["a"], alt=ALT), "tracks must be"),
        (lambda: StateReader(TEXT, [[2.0] * 6], ["a"], alt=ALT), "between low and high"),
        (lambda: StateReader(TEXT, [[float("nan")] * 6], ["a"], alt=ALT), "between low and high"),
        (lambda: reader(low=1.0, high=-1.0), "between low and high"),
        (lambda: reader(alt="short"), "alt must say"),
    ],
)
def test_what_cannot_be_shown_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_the_bundle_has_the_page_and_the_picture() -> None:
    data, metadata = reader()._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "image/png"} <= set(data)
    assert data["text/plain"] == ALT == metadata["alt"]


def test_the_picture_draws_the_chosen_track() -> None:
    bars = reader(track=1).picture().patches
    assert [round(bar.get_height(), 1) for bar in bars] == TRACKS[1]


@pytest.mark.browser
def test_it_is_read_by_mouse(show: Any) -> None:
    page = show(reader())
    assert sentence(page) == "Token 1 of 6, “T”: unit 3 is −1.00."
    page.locator(".fm-column").nth(4).hover()
    assert sentence(page) == "Token 5 of 6, “e”, after “To b”: unit 3 is 1.00."
    page.locator(".fm-column").nth(5).hover()
    page.locator("select").select_option("<b>unit 5</b>")
    assert sentence(page).startswith("Token 6 of 6, the line break")
    assert sentence(page).endswith("<b>unit 5</b> is −1.00.")


@pytest.mark.browser
def test_it_is_read_by_keyboard(show: Any) -> None:
    page = show(reader())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert sentence(page) == "Token 3 of 6, the space, after “To”: <b>unit 5</b> is 0.00."
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == "token 3 of 6"


@pytest.mark.browser
def test_bars_stand_on_zero_and_go_both_ways(show: Any) -> None:
    page = show(reader())
    boxes = [page.locator(".fm-track i").nth(i).bounding_box() for i in (0, 4)]
    tracks = [page.locator(".fm-track").nth(i).bounding_box() for i in (0, 4)]
    middle = tracks[0]["y"] + 17
    assert abs(boxes[0]["y"] - middle) < 2, "the lowest value hangs from the middle"
    assert abs(boxes[1]["y"] + boxes[1]["height"] - middle) < 2, "the highest stands on it"


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(reader(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
