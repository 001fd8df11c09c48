"""What goes on inside a network while it reads: a number for each character, drawn over the text.

Left out: more than one number at a time (the reader chooses which), and training.
"""

from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["StateReader"]


class StateReader(BookWidget):
    """A text that the reader walks through, with a bar over each token for one chosen track.

    `tracks` has shape (tracks, T): a state, a gate, a gradient at each token, from `low` to `high`.
    They are kept as bytes, so exact to 0.4 % of that range.

    Raises:
        ValueError: shapes do not fit, a value is out of range, or there is nothing to show.

    >>> tracks = [[-1.0, 0.5, 1.0]]
    >>> StateReader(list("To "), tracks, ["unit 3"], alt="A unit while it reads three characters.")
    StateReader(tracks=1, tokens=3)
    """

    _esm = module("reading")
    _css = stylesheet("reading", "learned")
    tokens = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    names = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    values = traitlets.Bytes().tag(**KEPT)  # [track][token], 0 is low and 255 is high
    low = traitlets.Float(-1.0).tag(**KEPT)
    high = traitlets.Float(1.0).tag(**KEPT)
    track = traitlets.Int(0).tag(**KEPT)
    place = traitlets.Int(0).tag(**KEPT)

    def __init__(
        self,
        tokens: list[str],
        tracks: Any,
        names: list[str],
        *,
        low: float = -1.0,
        high: float = 1.0,
        alt: str,
        **traits: Any,
    ) -> None:
        shape = (len(names), len(tokens))
        super().__init__(
            tokens=[plain(token) for token in tokens],
            names=[plain(name) for name in names],
            values=_bytes(tracks, shape, low, high),
            low=float(low),
            high=float(high),
            alt=alt,
            **traits,
        )

    def __repr__(self) -> str:
        return f"StateReader(tracks={len(self.names)}, tokens={len(self.tokens)})"

    def picture(self) -> "Axes":
        """The chosen track over the text: a bar a token."""
        import numpy as np

        n = len(self.tokens)
        shares = np.frombuffer(self.values, dtype="uint8").reshape(-1, n)[self.track] / 255
        heights = self.low + shares * (self.high - self.low)
        ax: Axes = plot.axes(width=1, height=2)
        ax.bar(range(n), heights, color=plot.palette()["part"]["learned"][0], width=0.7)
        if n <= 90:
            labels = ["↵" if t == "\n" else drawable(t, 6) for t in self.tokens]
            ax.set_xticks(range(n), labels)
        ax.set(ylim=(self.low, self.high), xlim=(-0.6, n - 0.4))
        ax.set_title(drawable(self.names[self.track], 60))
        return ax


def _bytes(tracks: Any, shape: tuple[int, int], low: float, high: float) -> bytes:
    """Values from low to high as one byte each, track after track."""
    import numpy as np

    table = np.asarray(tracks, dtype=float)
    if 0 in shape or table.shape != shape:
        raise ValueError(f"tracks must be {shape}, a name for each, got {table.shape}")
    if not (low < high and np.all((table >= low) & (table <= high))):
        raise ValueError(f"values must lie between low and high, {low} and {high}")
    return bytes(np.rint((table - low) / (high - low) * 255).astype("uint8").tobytes())
