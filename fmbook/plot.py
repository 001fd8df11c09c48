"""The book's one figure style: colour-blind-safe, same thing same colour, alt text always.

Left out: everything matplotlib already does well. Draw on the Axes that `axes` returns.
"""

import io
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from importlib import resources
from inspect import isfunction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SEQUENTIAL", "axes", "curve", "heatmap", "look", "palette", "show"]

COLUMN = 7.5  # inches; one column of the site is 720 CSS pixels wide
SEQUENTIAL = "cividis"  # the one map for heat maps: even in lightness, safe for colour-blind eyes
SCALE = 2  # image pixels a CSS pixel


@cache
def palette() -> dict[str, dict[str, Any]]:
    """The book's colours as tables `ground`, `part`, `era`, `thing` (palette.toml).

    >>> palette()["part"]["hand"][0]
    '#8a5a00'
    """
    return tomllib.loads((resources.files("fmbook") / "palette.toml").read_text("utf8"))


def look(thing: str) -> dict[str, Any]:
    """Colour, dash and marker of a thing, as keyword arguments for `Axes.plot`.

    Raises:
        ValueError: the palette has no such thing.

    >>> look("rules")["color"]
    '#8a5a00'
    """
    things = palette()["thing"]
    if thing not in things:
        raise ValueError(f"no look for {thing!r} in palette.toml; there are: {', '.join(things)}")
    color, dash, marker = things[thing]
    return {"color": color, "linestyle": dash, "marker": marker}


def _style() -> dict[str, Any]:
    ink, muted, line = (palette()["ground"][name][0] for name in ("ink", "muted", "line"))
    return {
        "figure.dpi": 96,
        "figure.constrained_layout.use": True,
        "font.family": "sans-serif",
        "font.size": 10.5,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": muted,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": line,
        "grid.linewidth": 0.5,
        "xtick.color": muted,
        "ytick.color": muted,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.5,
        "legend.frameon": False,
        "image.cmap": SEQUENTIAL,
    }


@contextmanager
def _styled() -> Iterator[None]:
    import matplotlib as mpl

    settings: Any = _style()
    with mpl.rc_context(settings):
        yield


@cache
def _axes_class() -> type:
    """Axes that draw in the book's style wherever they are used, and leave matplotlib's alone."""
    from matplotlib.axes import Axes

    def styled(method: Any) -> Any:
        @wraps(method)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with _styled():
                return method(*args, **kwargs)

        return inner

    draws = {
        n: f for n, f in vars(Axes).items() if isfunction(f) and not n.startswith(("_", "get"))
    }
    return type("BookAxes", (Axes,), {name: styled(method) for name, method in draws.items()})


def axes(*, width: float = 2 / 3, height: float = 3.0, rows: int = 1, columns: int = 1) -> Any:
    """New Axes in the book's style: one, or an array of them for small multiples.

    `width` is a share of the text column (1/3, 2/3 or 1), `height` in inches for all rows together.
    The figure is not shown before `show`.

    Raises:
        ValueError: `width` is no share of the column.
    """
    if not 0 < width <= 1:
        raise ValueError(f"width is a share of the column, in (0, 1]; got {width}")
    from matplotlib.figure import Figure

    with _styled():
        figure = Figure(figsize=(COLUMN * width, height))
        return figure.subplots(rows, columns, subplot_kw={"axes_class": _axes_class()})


def curve(ax: "Axes", x: Sequence[float], runs: Any, thing: str, label: str = "") -> "Axes":
    """Draw the mean over seeds as a line and the range over seeds as a band.

    `runs` has shape (seeds, len(x)), or (len(x),) for one run. A label is written at the end of
    the line, which reads better than a legend.

    Raises:
        ValueError: `runs` does not fit `x`.
    """
    import numpy as np

    table = np.atleast_2d(np.asarray(runs, dtype=float))
    if table.ndim != 2 or table.shape[1] != len(x):
        raise ValueError(f"runs must be (seeds, {len(x)}), got shape {np.shape(runs)}")
    style = look(thing)
    ax.plot(x, table.mean(0), label=label or thing, markevery=max(1, len(x) // 8), **style)
    if len(table) > 1:
        ax.fill_between(
            x, table.min(0), table.max(0), color=style["color"], alpha=0.15, linewidth=0
        )
    if label:
        end = (x[-1], float(table[:, -1].mean()))
        ax.annotate(
            label, end, (6, 0), textcoords="offset points", va="center", color=style["color"]
        )
    return ax


def heatmap(
    ax: "Axes",
    values: Any,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    unit: str = "",
    limits: tuple[float, float] | None = None,
) -> "Axes":
    """Draw a matrix (rows, columns) in the sequential map, with a bar that names its unit."""
    low, high = limits or (None, None)
    image = ax.imshow(values, cmap=SEQUENTIAL, vmin=low, vmax=high, aspect="auto")
    ax.grid(False)
    if len(rows):
        ax.set_yticks(range(len(rows)), rows)
    if len(columns):
        ax.set_xticks(range(len(columns)), columns, rotation=60 if len(columns) > 6 else 0)
    if unit:
        with _styled():
            ax.figure.colorbar(image, ax=ax, label=unit, shrink=0.9).outline.set_visible(False)
    return ax


def show(ax: Any, *, alt: str) -> Any:
    """Show the figure of `ax` with a text that says what it shows, and return `ax`.

    The picture is a PNG of twice the shown size on a light card; `alt` goes into the output's
    metadata, from where the site takes it.

    Raises:
        ValueError: `alt` says too little to stand for the figure.
    """
    if not isinstance(alt, str) or len(alt.split()) < 5:
        raise ValueError(f"alt must say in a sentence what the figure shows, got {alt!r}")
    first = ax
    while not hasattr(first, "figure"):  # an array or a list of Axes
        first = first[0]
    png, width, height = picture(first.figure)
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:  # outside notebooks it is drawn, no more
        return ax
    data = {"image/png": png, "text/plain": f"[figure: {alt}]"}
    shape = {"width": width, "height": height, "alt": alt}
    ipython.display.display(data, raw=True, metadata={"image/png": shape, "alt": alt})
    return ax


def picture(figure: Any) -> tuple[bytes, int, int]:
    """A figure as (PNG, width, height), the sizes in CSS pixels; 64 colours keep it small."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    figure.set_facecolor(palette()["ground"]["card"][0])
    raw = io.BytesIO()
    with _styled():
        canvas.print_figure(raw, format="png", dpi=96 * SCALE)
    image = Image.open(raw).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, format="png", optimize=True)
    return small.getvalue(), image.width // SCALE, image.height // SCALE
