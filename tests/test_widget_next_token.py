"""The next token's distribution: the sliders cut as the library does, by mouse and keyboard."""

import json
from typing import Any

import numpy as np
import pytest

from fmbook.widgets import NextToken
from tests.browser import LOOKS, barriers, sentence, sideways

ALT = "What may follow two prompts, a bar for each of the likeliest tokens."
HOSTILE = "</script><img src=x onerror=alert(1)> $x^2$ \udcff 文\n"
PIECES = [f" piece{i}" for i in range(99)] + [HOSTILE]
LOGITS = np.random.default_rng(0).normal(0, 3, (2, 100))
LOGITS[1, 99] = 12.0  # the hostile piece is the likeliest there


def next_token(**more: Any) -> NextToken:
    return NextToken(["To be", HOSTILE], PIECES, LOGITS, **{"alt": ALT, **more})


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({}, 0.002),
        ({"temperature": 0.5}, 0.002),
        ({"k": 7}, 0.001),
        ({"p": 0.8}, 0.002),
        ({"temperature": 1.5, "k": 60, "p": 0.9}, 0.005),
    ],
)
def test_it_cuts_as_the_library_does(settings: dict[str, Any], tolerance: float) -> None:
    import torch

    from fmbook.transformers.sampling import Decoding

    decoding = Decoding(**settings)
    want = decoding.probabilities(torch.tensor(LOGITS[:1]), torch.zeros(1, 1).long())[0]
    got = next_token(**settings).chances()
    np.testing.assert_allclose(got, want.sort(descending=True).values, atol=tolerance)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: NextToken(["a"], PIECES, LOGITS, alt=ALT), r"\(1, 100\)"),
        (lambda: NextToken([], [], np.zeros((0, 0)), alt=ALT), r"\(0, 0\)"),
        (lambda: NextToken(["a"], ["b", "c"], [[0.0, float("nan")]], alt=ALT), "finite"),
        (lambda: next_token(alt="short"), "alt must say"),
    ],
)
def test_what_cannot_be_shown_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_text_from_strangers_stays_text() -> None:
    page = next_token(prompt=1).html()
    assert "<img src=x" not in page
    assert next_token(prompt=1).html() == page


def test_its_picture_has_a_bar_for_each_shown_token() -> None:
    assert len(next_token().picture().patches) == 14


@pytest.mark.browser
def test_the_sliders_are_moved_by_keyboard(show: Any) -> None:
    page = show(next_token())
    assert sentence(page).startswith("After “To be”: all 100 tokens can be drawn, “␣piece")
    page.get_by_role("slider", name="top-k").press("ArrowLeft")
    assert "50 of 100 tokens can be drawn" in sentence(page)
    page.get_by_role("slider", name="top-p").press("Home")
    assert sentence(page).endswith("can be drawn; the entropy is 0.0 bits.")
    assert page.locator(".fm-cut").count() == 13
    page.get_by_role("button", name="Reset").press("Enter")
    assert "all 100 tokens" in sentence(page)
    before = page.locator(".fm-token small").first.inner_text()
    for _ in range(6):
        page.get_by_role("slider", name="temperature").press("ArrowLeft")
    assert page.get_by_role("slider", name="temperature").get_attribute("aria-valuetext") == "0.70"
    assert page.locator(".fm-token small").first.inner_text() != before


@pytest.mark.browser
def test_the_page_computes_what_python_computes(show: Any) -> None:
    page = show(next_token())
    for slider, key, times in (("top-p", "ArrowLeft", 4), ("temperature", "ArrowRight", 6)):
        for _ in range(times):
            page.get_by_role("slider", name=slider).press(key)
    chances = next_token(temperature=1.3, p=0.8).chances()
    first = json.loads(page.locator(".fm-token small").first.inner_text().split("\u202f")[0])
    assert abs(first - 100 * chances[0]) <= 0.51
    assert f"{(chances > 0).sum()} of 100" in sentence(page)


@pytest.mark.browser
def test_a_prompt_is_chosen_and_its_tokens_are_text(show: Any) -> None:
    page = show(next_token())
    page.get_by_role("combobox").select_option(index=1)
    assert page.locator(".fm-token b").first.inner_text().startswith("</script><img")
    assert page.locator(".fm-root img").count() == 0
    assert "↵" in page.locator(".fm-token b").first.inner_text()


@pytest.mark.browser
@LOOKS
def test_nobody_is_kept_out(show: Any, theme: str, width: int) -> None:
    page = show(next_token(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
