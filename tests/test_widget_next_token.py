"""The next token's distribution: the sliders cut as the library does, by mouse and keyboard."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmbook.widgets import NextToken
from tests.browser import barriers, blocked, chromium, complaints, sideways

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


def opened(browser: Any, folder: Path, theme: str = "light", width: int = 760) -> Any:
    file = folder / "page.html"
    ground = {"light": "#ffffff", "dark": "#14181e"}[theme]
    file.write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><title>Widget</title>'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<body style="background:{ground};margin:12px"><main>{next_token().html()}</main></body>',
        "utf8",
    )
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.gone, page.heard = blocked(page), complaints(page)
    page.goto(file.as_uri())
    return page


def sentence(page: Any) -> str:
    return str(page.locator("[aria-live]").inner_text())


@pytest.mark.browser
def test_the_sliders_are_moved_by_keyboard(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, tmp_path)
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
    assert (page.gone, page.heard) == ([], [])
    page.close()


@pytest.mark.browser
def test_the_page_computes_what_python_computes(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, tmp_path)
    for slider, key, times in (("top-p", "ArrowLeft", 4), ("temperature", "ArrowRight", 6)):
        for _ in range(times):
            page.get_by_role("slider", name=slider).press(key)
    chances = next_token(temperature=1.3, p=0.8).chances()
    first = json.loads(page.locator(".fm-token small").first.inner_text().split("\u202f")[0])
    assert abs(first - 100 * chances[0]) <= 0.51
    assert f"{(chances > 0).sum()} of 100" in sentence(page)
    page.close()


@pytest.mark.browser
def test_a_prompt_is_chosen_and_its_tokens_are_text(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, tmp_path)
    page.get_by_role("combobox").select_option(index=1)
    assert page.locator(".fm-token b").first.inner_text().startswith("</script><img")
    assert page.locator(".fm-root img").count() == 0
    assert "↵" in page.locator(".fm-token b").first.inner_text()
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "width"), [("light", 760), ("dark", 760), ("light", 390)])
def test_nobody_is_kept_out(browser: Any, tmp_path: Path, theme: str, width: int) -> None:
    page = opened(browser, tmp_path, theme, width)
    assert barriers(page) == []
    assert sideways(page) <= 0
    page.close()
