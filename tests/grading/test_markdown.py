"""Markdown of strangers becomes harmless HTML, soon."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbook.grading import markdown
from fmbook.grading.markdown import TAGS, folds, render

ATTACKS = [
    "<script>x</script>",
    "<img src=x onerror=y>",
    "[a](javascript:x)",
    "[a](data:text/html,x)",
    "![a](https://example.org/a.png)",
    "<https://example.org>",
    '[a](x "onload=y")',
    '![" onerror="x](y)',
    "`<script>`",
    "```html onload=x\n<script>\n```",
    "$<script>$",
    "$$\n</pre><script>\n$$",
    "&lt;script&gt;",
    "[a]: javascript:x\n\n[a]",
    "| <b> | [x](javascript:y) |\n|---|---|\n| <i> | `<u>` |",
    "<div\nonclick=x>",
    "<!--\n-->\n<style>*{}</style>",
]
SLOW = ["[" * 20000, "*a " * 6600, "> " * 10000, "_a" * 10000, "![](" * 5000, "*_" * 10000]
SLOW += [
    "".join("  " * i + "- a\n" for i in range(130)),
    "**a*b" * 4000,
    "|a" * 9000 + "\n" + "|-" * 900,
]


def tags(html: str) -> set[str]:
    from html.parser import HTMLParser

    found: set[str] = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update([tag, *(f"{name}={value}" for name, value in attrs)])

    Parser().feed(html)
    return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_leaves_more_than_words(attack: str) -> None:
    assert tags(render(attack)) <= TAGS | {"class=math"}


@pytest.mark.parametrize("wall", ["rendering", "cleaning"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_each_of_the_two_walls_holds_alone(
    attack: str, wall: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wall == "rendering":
        monkeypatch.setattr(markdown.bleach, "clean", lambda html, **_: html)
    else:
        monkeypatch.setattr(markdown, "_parser", lambda: str)
    assert tags(render(attack)) <= TAGS | {"class=math"}


def test_what_is_very_long_stays_as_it_was_typed() -> None:
    assert render("*a* " * 6000).startswith("<pre>*a* ")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab<>/!-[]()*_`$|#\n =\"':&;~\\1.", max_size=60))
def test_no_text_leaves_more_than_words(words: str) -> None:
    assert tags(render(words)) <= TAGS | {"class=math"}


@pytest.mark.parametrize("words", SLOW)
def test_nothing_takes_long(words: str) -> None:
    before = time.process_time()
    assert render(words)
    assert time.process_time() - before < 3


def test_what_people_write_looks_as_they_meant() -> None:
    html = render("# A\n\n*b* **c** `d`\n\n- e\n\n1. f\n\n$x_1*y$ and $$z_2$$\n\n```python\ng\n```")
    for part in (
        "<strong>A</strong>",
        "<em>b</em>",
        "<strong>c</strong>",
        "<code>d</code>",
        "<li>e",
    ):
        assert part in html
    assert '<code class="math">$x_1*y$</code>' in html
    assert "$$z_2$$" in html
    assert "<pre>g\n</pre>" in html


def test_folds_are_taken_out() -> None:
    rest, found = folds("a\n<details><summary>Hint 1: b</summary>\n\nc\n\n</details>\nd")
    assert rest.split() == ["a", "d"]
    assert found == [("Hint 1: b", "c")]
