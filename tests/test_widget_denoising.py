"""The widget that follows one image from noise: by mouse, by keyboard, no kernel."""

from typing import Any

import numpy as np
import pytest

from fmbook.widgets import DenoisingWalk
from tests.browser import LOOKS, barriers, sentence, sideways

ALT = "One image of nine pixels on two ways from noise."
HOSTILE = "</script><img src=x onerror=alert(1)> $x^2$"


def frames(steps: int) -> tuple[Any, Any]:
    ramp = np.linspace(0, 1, steps * 9).reshape(steps, 3, 3)
    return ramp, 1 - ramp


def denoising(**more: Any) -> DenoisingWalk:
    ways = {"slow": frames(3), HOSTILE: frames(1)}
    noise = [[0.9, 0.5, 0.0], [0.0]]
    says = [["it guesses a 3", "it guesses an 8", HOSTILE], ["all at once"]]
    return DenoisingWalk(ways, noise, says, **{"alt": ALT, **more})


def test_pixels_are_kept_in_half_a_byte() -> None:
    widget = DenoisingWalk(
        {"a": ([[[0.0, 1.0, 0.2]]], [[[1.0, 0.0, 1.0]]])}, [[0.5]], [["x"]], alt=ALT
    )
    assert widget.pixels == bytes([0x0F, 0x3F, 0x0F])
    assert len(denoising().pixels) == 4 * 2 * 9 // 2
    assert denoising().picture().images[0].get_array().shape == (6, 9)
    assert denoising(way=1).picture().images[0].get_array().shape == (6, 3)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: DenoisingWalk({}, [], [], alt=ALT), "0 ways"),
        (lambda: DenoisingWalk({"a": frames(2)}, [[0.5]], [["x"]], alt=ALT), "steps, H, W"),
        (lambda: DenoisingWalk({"a": frames(1)}, [[0.5]], [[]], alt=ALT), "1 steps, but 0 texts"),
        (lambda: DenoisingWalk({"a": frames(1)}, [[1.5]], [["x"]], alt=ALT), "from 0 to 1"),
        (lambda: DenoisingWalk({"a": ([[[2.0]]], [[[0.0]]])}, [[0]], [["x"]], alt=ALT), "from 0"),
        (lambda: denoising(alt="short"), "alt must say"),
    ],
)
def test_what_cannot_be_shown_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.browser
def test_it_is_followed_by_mouse(show: Any) -> None:
    page = show(denoising())
    assert sentence(page) == "slow, step 1 of 3: 90 % noise is left; it guesses a 3."
    page.locator(".fm-film canvas").nth(2).click()
    assert sentence(page).startswith("slow, step 3 of 3: 0 % noise is left; </script>")
    page.locator("select").select_option(index=1)
    assert sentence(page).endswith("step 1 of 1: 0 % noise is left; all at once.")
    assert page.locator(".fm-film canvas").count() == 1
    assert page.locator(".fm-root img").count() == 0


@pytest.mark.browser
def test_it_is_followed_by_keyboard_and_paints_both_pictures(show: Any) -> None:
    page = show(denoising())
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert sentence(page).startswith("slow, step 2 of 3: 50 % noise is left")
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == "step 2 of 3"
    read = "c => [...c.getContext('2d').getImageData(0, 0, 3, 3).data].filter((_, i) => i % 4 == 0)"
    shown = [page.locator(".fm-shown canvas").nth(i).evaluate(read) for i in (0, 1)]
    want = np.rint(np.linspace(0, 1, 27)[9:18] * 15) * 17
    assert shown[0] == want.tolist()
    assert max(abs(np.array(shown[1]) - (255 - want))) <= 17


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(denoising(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
