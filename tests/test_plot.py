"""One style for all figures: same thing same colour, readable by everyone, alt text always."""

import io
import struct
import subprocess
import sys
from itertools import combinations
from typing import Any

import IPython
import IPython.display
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from fmbook import plot

PALETTE = plot.palette()
ALT = "Loss falls from four to one nat over a hundred steps."
TOGETHER = [  # things that meet in one figure
    ("precision", "recall"),
    ("spam", "ham"),
    ("earlier", "later"),
    ("one_layer", "two_layers"),
    ("attention", "reference"),
    ("rules", "reference"),
    ("scaled", "unscaled"),
    ("previous_token", "induction"),
    ("attention", "average", "window", "matrix"),
    ("previous_token", "induction", "fixed_distance"),
]


def luminance(color: str) -> float:
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What a notebook receives, as (data, metadata)."""
    received: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def display(data: dict[str, Any], *, raw: bool, metadata: dict[str, Any]) -> None:
        assert raw
        received.append((data, metadata))

    monkeypatch.setattr(IPython, "get_ipython", lambda: True)
    monkeypatch.setattr(IPython.display, "display", display)
    return received


def lines(n: int = 100) -> Any:
    """Small multiples as busy as a chapter's."""
    grid = plot.axes(width=1, height=5, rows=2, columns=2)
    draw = np.random.default_rng(0)
    for ax, thing in zip(grid.flat, ("rules", "attention", "recall", "reference"), strict=True):
        plot.curve(ax, range(n), draw.standard_normal((3, n)).cumsum(1), thing, thing)
        ax.set_title("What it shows")
    return grid


# colours


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", *PALETTE["part"]])
def test_text_colours_stand_out_from_their_grounds(name: str, theme: int) -> None:
    color = (PALETTE["ground"] | PALETTE["part"])[name][theme]
    for ground in ("page", "code"):
        assert contrast(color, PALETTE["ground"][ground][theme]) >= 4.5, ground


@pytest.mark.parametrize("thing", PALETTE["thing"])
def test_a_thing_stands_out_from_the_card_in_both_themes(thing: str) -> None:
    for card in PALETTE["ground"]["card"]:
        assert contrast(plot.look(thing)["color"], card) >= 4.5


def test_the_ink_of_figures_stands_out_from_the_card_in_both_themes() -> None:
    for name in ("ink", "muted"):
        for card in PALETTE["ground"]["card"]:
            assert contrast(PALETTE["ground"][name][0], card) >= 4.5


@pytest.mark.parametrize("things", TOGETHER, ids=" ".join)
def test_things_that_meet_differ_by_colour_and_by_dash_or_marker(things: tuple[str, ...]) -> None:
    for one, other in combinations([plot.look(thing) for thing in things], 2):
        assert one["color"] != other["color"]
        assert (one["linestyle"], one["marker"]) != (other["linestyle"], other["marker"])


@pytest.mark.parametrize("thing", PALETTE["thing"])
def test_a_look_is_what_matplotlib_can_draw(thing: str) -> None:
    (line,) = plot.axes().plot([0, 1], [0, 1], **plot.look(thing))
    assert line.get_marker() == PALETTE["thing"][thing][2]


def test_an_unknown_thing_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"no look for 'rulez' .* there are: rules, attention"):
        plot.look("rulez")


def test_the_palette_is_whole() -> None:
    assert set(PALETTE) == {"ground", "part", "era", "thing"}
    assert set(PALETTE["era"].values()) == set(PALETTE["part"])
    for table in ("ground", "part"):
        for pair in PALETTE[table].values():
            assert len(pair) == 2
            assert all(len(color) == 7 and int(color[1:], 16) >= 0 for color in pair)


# drawing


def test_the_style_holds_for_all_that_is_drawn() -> None:
    ax = plot.axes()
    (line,) = ax.plot([0, 1], [1, 0], label="a")
    ax.set_title("On the left")
    ax.set_xlabel("steps")
    assert line.get_linewidth() == 1.8
    assert ax.get_title(loc="left") == "On the left"
    assert not ax.legend().get_frame_on()
    assert ax.xaxis.label.get_color() == PALETTE["ground"]["ink"][0]
    assert not ax.spines["top"].get_visible()


def test_pyplot_and_its_settings_know_nothing_of_the_figures() -> None:
    code = """
import sys
import matplotlib
from fmbook import plot
before = list(dict.items(matplotlib.rcParams))  # reading them singly loads pyplot
ax = plot.axes()
plot.curve(ax, [0, 1], [[0, 1], [1, 2]], "rules", "rules")
plot.show(ax, alt="A line that rises from zero to one and a half.")
assert "matplotlib.pyplot" not in sys.modules
assert list(dict.items(matplotlib.rcParams)) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("width", [0, -1, 1.01, 7.5])
def test_a_width_that_is_no_share_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match=r"width is a share of the column, in \(0, 1\]"):
        plot.axes(width=width)


@pytest.mark.parametrize(("width", "pixels"), [(1 / 3, 240), (2 / 3, 480), (1, 720)])
def test_a_width_is_a_share_of_the_sites_column(width: float, pixels: int) -> None:
    _, wide, high = plot.picture(plot.axes(width=width).figure)
    assert (wide, high) == (pixels, 288)


def test_a_curve_is_the_mean_with_the_range_of_the_seeds() -> None:
    ax = plot.curve(plot.axes(), [0, 1, 2], [[0, 1, 2], [2, 3, 4], [1, 2, 9]], "rules", "rules")
    (line,) = ax.get_lines()
    assert line.get_ydata().tolist() == [1, 2, 5]
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == 0
    assert corners[:, 1].max() == 9
    assert line.get_color() == plot.look("rules")["color"]
    assert [text.get_text() for text in ax.texts] == ["rules"]


def test_one_run_has_no_band_and_without_a_label_there_is_no_text() -> None:
    ax = plot.curve(plot.axes(), [0, 1], [1.0, 2.0], "rules")
    assert not ax.collections
    assert not ax.texts


@pytest.mark.parametrize("runs", [[1.0], [[1.0, 2.0, 3.0]], [[[1.0, 2.0]]], 1.0])
def test_runs_that_do_not_fit_are_refused(runs: Any) -> None:
    with pytest.raises(ValueError, match=r"runs must be \(seeds, 2\), got shape"):
        plot.curve(plot.axes(), [0, 1], runs, "rules")


def test_a_label_at_the_end_of_a_line_is_not_cut_off() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    ax = plot.axes(width=1 / 3)
    plot.curve(ax, [0, 1], [0, 1], "reference", "the reference")
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    box = ax.texts[0].get_window_extent(canvas.get_renderer())
    assert box.x1 <= ax.figure.bbox.width


def test_a_heat_map_names_its_rows_columns_and_unit() -> None:
    ax = plot.heatmap(
        plot.axes(), np.eye(3), rows="abc", columns=np.array(["x", "y", "z"]), unit="weight",
        limits=(0, 2),
    )  # fmt: skip
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y", "z"]
    assert ax.figure.axes[1].get_ylabel() == "weight"
    (image,) = ax.get_images()
    assert (image.get_clim(), image.get_cmap().name) == ((0, 2), plot.SEQUENTIAL)


def test_the_map_for_heat_maps_is_even_in_lightness() -> None:
    colors = mpl.colormaps[plot.SEQUENTIAL](np.linspace(0, 1, 32))
    steps = np.diff([luminance(mpl.colors.to_hex(color)) ** (1 / 2.2) for color in colors])
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.min()


# showing


def test_show_returns_its_axes_and_puts_the_text_where_the_site_looks(outputs: Any) -> None:
    ax = plot.axes()
    assert plot.show(ax, alt=ALT) is ax
    ((data, metadata),) = outputs
    assert metadata["alt"] == metadata["image/png"]["alt"] == ALT
    assert ALT in data["text/plain"]
    assert (metadata["image/png"]["width"], metadata["image/png"]["height"]) == (480, 288)


def test_small_multiples_are_one_figure(outputs: Any) -> None:
    grid, row = plot.axes(rows=2, columns=2), plot.axes(columns=2)
    for shown in (grid, row, list(row), grid[1, 1]):
        assert plot.show(shown, alt=ALT) is shown
    assert len(outputs) == 4
    assert outputs[0] == outputs[3]


def test_outside_a_notebook_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    ax = plot.axes()
    assert plot.show(ax, alt=ALT) is ax
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("alt", ["", "a plot", "loss over many steps", "    ", "x" * 100, None, 7])
def test_a_text_that_says_too_little_is_refused(alt: Any) -> None:
    with pytest.raises(ValueError, match="alt must say in a sentence what the figure shows"):
        plot.show(plot.axes(), alt=alt)
    with pytest.raises(TypeError):
        plot.show(plot.axes())  # type: ignore[call-arg]


def test_the_picture_is_small_sharp_and_on_a_light_card(outputs: Any) -> None:
    plot.show(lines(), alt=ALT)
    ((data, metadata),) = outputs
    png = data["image/png"]
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    size = struct.unpack(">II", png[16:24])
    shape = metadata["image/png"]
    assert size == (2 * shape["width"], 2 * shape["height"]) == (1440, 960)
    assert len(png) < 80_000
    assert Image.open(io.BytesIO(png)).convert("RGB").getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.parametrize("first", range(0, len(PALETTE["thing"]), 12))
def test_few_colours_still_show_every_thing_in_its_own(first: int) -> None:
    things = list(PALETTE["thing"])[first : first + 12]
    ax = plot.axes()
    draw = np.random.default_rng(0)
    for i, thing in enumerate(things):
        plot.curve(ax, range(30), draw.standard_normal((3, 30)) + 4 * i, thing)
    png, _, _ = plot.picture(ax.figure)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3).astype(int)
    for thing in things:
        color = plot.look(thing)["color"]
        wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
        assert np.abs(pixels - wanted).max(1).min() <= 12, thing


def test_a_heat_map_keeps_its_shades() -> None:
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    png, _, _ = plot.picture(plot.heatmap(plot.axes(), ramp).figure)
    assert len(png) < 30_000
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3).astype(int)
    for value in np.linspace(0, 1, 9):
        wanted = np.array(mpl.colormaps[plot.SEQUENTIAL](value)[:3]) * 255
        assert np.abs(pixels - wanted).max(1).min() <= 12


def test_the_same_figure_is_the_same_bytes() -> None:
    one, same = (plot.curve(plot.axes(), [0, 1], [0, 1], "rules", "rules") for _ in range(2))
    assert plot.picture(one.figure) == plot.picture(same.figure)
