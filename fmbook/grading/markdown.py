"""Markdown that anybody may have written, as HTML that can do nothing.

No raw HTML, no links, no pictures: their words stay as text. What is rendered is cleaned once more
by a list of harmless tags. Mathematics stays as TeX. Left out: numbering, footnotes, highlighting.
"""

import html
import re
from functools import cache
from typing import Any

import bleach
import mistune

from fmbook.grading.verdict import text

__all__ = ["folds", "render"]

LONGEST = 20_000  # characters; what is longer stays as it was typed
TAGS = {
    *("p", "br", "em", "strong", "del", "code", "pre", "blockquote", "ul", "ol", "li", "hr"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
MATH = {"code": ["class"], "pre": ["class"]}
FOLD = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.S)


class _Harmless(mistune.HTMLRenderer):
    """HTML without addresses; headings become bold lines, so that the page's own stand out."""

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return f"{text} ({html.escape(url)})" if html.escape(url) not in text else text

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return f"[picture: {text}]"

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        return f"<p><strong>{text}</strong></p>\n"

    def block_code(self, code: str, info: str | None = None) -> str:
        return f"<pre>{html.escape(code)}</pre>\n"

    def list(self, text: str, ordered: bool, **attrs: Any) -> str:
        tag = "ol" if ordered else "ul"
        return f"<{tag}>{text}</{tag}>\n"


@cache
def _parser() -> mistune.Markdown:
    renderer = _Harmless(escape=True)
    made = mistune.create_markdown(renderer=renderer, plugins=["table", "strikethrough", "math"])
    renderer.register("inline_math", lambda _, tex: _tex("code", f"${tex}$"))
    renderer.register("block_math", lambda _, tex: _tex("pre", f"$${tex}$$"))
    return made


def _tex(tag: str, tex: str) -> str:
    return f'<{tag} class="math">{html.escape(tex)}</{tag}>'


def render(words: str) -> str:
    """Markdown as HTML of the tags above; what cannot be rendered is shown as it was typed.

    >>> render("*good* <b>[x](javascript:y)</b>")
    '<p><em>good</em> &lt;b&gt;x (javascript:y)&lt;/b&gt;</p>'
    """
    plain = text(words)
    if len(words) <= LONGEST:
        try:
            rendered = str(_parser()(plain))
            return str(bleach.clean(rendered, tags=TAGS, attributes=MATH)).strip()
        except (RecursionError, ValueError, IndexError, KeyError, AssertionError):
            pass
    return f"<pre>{html.escape(plain)}</pre>"


def folds(markdown: str) -> tuple[str, list[tuple[str, str]]]:
    """Markdown without its folds, and these: summary and content, as Markdown still."""
    found = [(summary.strip(), content.strip()) for summary, content in FOLD.findall(markdown)]
    return FOLD.sub("", markdown), found
