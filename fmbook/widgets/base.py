"""One widget in three homes: live in Jupyter, alive on a static page, a picture anywhere else.

In a notebook with a kernel it is an ordinary anywidget. On a page without one the same JavaScript
runs on a small model of its own (static/page.js), fed with the state the widget had. Where no
JavaScript runs there is a picture, and its text. Left out: whatever needs a kernel to answer.
"""

import base64
import hashlib
import html
import io
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from fmbook import plot

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError("the book's widgets need: pip install 'fmbook[notebook]'") from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BookWidget"]

KEPT = {"sync": True, "page": True}  # tags of the traits that go to the kernel's page and to ours


@cache
def module(name: str) -> str:
    """The ES module of a widget: static/<name>.js after the helpers that all widgets share."""
    return _static("shared.js") + _static(f"{name}.js")


@cache
def stylesheet(name: str, part: str) -> str:
    """The CSS of a widget, its colours from the palette, its accent that of a part of the book."""
    table = plot.palette()
    pairs = {key: table["ground"][key] for key in ("page", "ink", "muted", "line", "code")}
    pairs["hue"] = table["part"][part]
    dark = dict(table["part"].values())  # a thing has its part's light colour, so also its dark one
    for thing in ("spam", "ham"):
        light = table["thing"][thing][0]
        pairs[thing] = [light, dark[light]]
    colours = "".join(f"--fm-{k}:light-dark({day},{night});" for k, (day, night) in pairs.items())
    return f".fm-{name}{{{colours}}}\n" + _static("shared.css") + _static(f"{name}.css")


class BookWidget(anywidget.AnyWidget):
    """A widget that stays alive on the static page; subclass it with a script, a style, a picture.

    A subclass sets `_esm = module(name)` and `_css = stylesheet(name, part)`, tags the traits that
    its script reads with `**KEPT` (JSON values, or bytes, which the script sees as a DataView), and
    draws `picture`.

    Raises:
        ValueError: `alt` says too little to stand for the widget.
    """

    alt = traitlets.Unicode().tag(**KEPT)
    _ipython_display_ = None  # ipywidgets 7 has one, which would hide the page and the picture

    def __init__(self, *, alt: str, **traits: Any) -> None:
        if len(alt.split()) < 5:
            raise ValueError(f"alt must say in a sentence what the widget shows, got {alt!r}")
        super().__init__(alt=plain(alt), **traits)

    def picture(self) -> "Axes | None":
        """The Axes of a picture that stands for the widget in print; None if there is none."""
        return None

    def html(self) -> str:
        """The widget as HTML that needs no kernel, no network and nothing else on its page.

        It is the same text for the same state. Of equal widgets on one page each wakes itself.
        """
        return self._page(self._png())

    def _page(self, png: tuple[bytes, int, int] | None) -> str:
        state, code = self._state(), f"{self._esm}{_static('page.js')}"
        key = hashlib.sha256(f"{type(self).__name__} {state}".encode()).hexdigest()[:12]
        code = squeezed(code.replace("export default", "const widget ="))
        return (
            f'<div class="fm-widget" data-fm="{key}"><style>{squeezed(str(self._css))}</style>'
            f'<div class="fm-still">{self._still(png)}</div>'
            f'<script type="application/json">{state}</script>'
            f'<script>(() => {{\n"use strict";\n{code}wake("{key}", widget);\n}})();</script></div>'
        )

    def _state(self) -> str:
        """The state as JSON that is safe within HTML: it holds no `<`."""
        values = {name: getattr(self, name) for name in sorted(self.trait_names(page=True))}
        raw = {k: v for k, v in values.items() if isinstance(v, bytes)}
        kept = {k: v for k, v in values.items() if k not in raw}
        packed = {k: _base64(v) for k, v in raw.items()}
        both = {"state": kept, "bytes": packed}
        text = json.dumps(both, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.replace("<", "\\u003c")

    def _png(self) -> tuple[bytes, int, int] | None:
        ax = self.picture()
        return None if ax is None else plot.picture(ax.figure)

    def _still(self, png: tuple[bytes, int, int] | None) -> str:
        alt = html.escape(self.alt)
        if png is None:
            return f"<p>{alt}</p>"
        data, width, height = png
        return (
            f'<img src="data:image/png;base64,{_base64(_small(data))}" alt="{alt}"'
            f' width="{width}" height="{height}" style="max-width:100%;height:auto">'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live view, and for where it cannot live: the page's HTML, the picture, the text."""
        live: Any = super()._repr_mimebundle_(**kwargs) or {}
        data, metadata = live if isinstance(live, tuple) else (live, {})
        png = self._png()
        data = {**data, "text/plain": self.alt, "text/html": self._page(png)}
        metadata = {**metadata, "alt": self.alt}
        if png is not None:
            data["image/png"] = _base64(png[0])
            metadata["image/png"] = {"width": png[1], "height": png[2], "alt": self.alt}
        return data, metadata


def plain(text: Any) -> str:
    """Text that every encoder takes: what is no valid Unicode (mail has such) becomes U+FFFD."""
    if not isinstance(text, str):
        raise TypeError(f"expected text, got {text!r}")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def drawable(text: str, width: int) -> str:
    """A text for a figure's labels: one line, no mathematics, only glyphs that every font has."""
    line = " ".join(text.split())
    line = line if len(line) <= width else line[: width - 1] + "…"
    known = (c if (c.isprintable() and c < "ƀ") or c in "–—‘’“”…" else "·" for c in line)
    return "".join(known).replace("$", r"\$")


def squeezed(code: str) -> str:
    """JavaScript or CSS without the lines that are only comment, and without indentation."""
    lines = [line.strip() for line in code.splitlines()]
    return "".join(f"{line}\n" for line in lines if line and not line.startswith(("//", "/*")))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _small(png: bytes) -> bytes:
    """The picture at one pixel a CSS pixel: on a page it is only seen where no script runs."""
    from PIL import Image

    image, small = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    colours = image.reduce(plot.SCALE).quantize(32, dither=Image.Dither.NONE)
    colours.save(small, format="png", optimize=True)
    return small.getvalue()


@cache
def _static(name: str) -> str:
    return (resources.files("fmbook.widgets") / "static" / name).read_text("utf8")
