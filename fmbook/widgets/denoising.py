"""One image on its way from noise, which the reader follows step by step, on several ways.

Left out: the network; what it makes at each step is given.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DenoisingWalk"]

LEVELS = 15  # pixels are kept in half a byte


class DenoisingWalk(BookWidget):
    """Ways from noise to an image: what is there after each step, and what the network guesses.

    `ways` maps a name to pairs (there, guess), each (steps, H, W) from 0 to 1, kept with 16 greys;
    `noise` lists for each way the share of noise after each step, `says` a text about each guess.

    Raises:
        ValueError: shapes do not fit, or values are not from 0 to 1.

    >>> way, alt = ([[[0.0, 1.0]]], [[[0.0, 0.8]]]), "One step from two pixels of noise."
    >>> DenoisingWalk({"one step": way}, [[0.0]], [["dark, light"]], alt=alt)
    DenoisingWalk(ways=1, steps=[1])
    """

    _esm = module("denoising")
    _css = stylesheet("denoising", "making")
    pixels = traitlets.Bytes().tag(**KEPT)  # [way][step][there, guess][pixel], two in a byte
    height = traitlets.Int().tag(**KEPT)
    width = traitlets.Int().tag(**KEPT)
    names = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    noise = traitlets.List(traitlets.List(traitlets.Float())).tag(**KEPT)
    says = traitlets.List(traitlets.List(traitlets.Unicode())).tag(**KEPT)
    way = traitlets.Int(0).tag(**KEPT)
    step = traitlets.Int(0).tag(**KEPT)

    def __init__(
        self,
        ways: Mapping[str, tuple[Any, Any]],
        noise: Sequence[Sequence[float]],
        says: Sequence[Sequence[str]],
        *,
        alt: str,
        **traits: Any,
    ) -> None:
        packed, height, width = _packed(ways, noise, says)
        super().__init__(
            pixels=packed,
            height=height,
            width=width,
            names=[plain(name) for name in ways],
            noise=[[round(float(share), 3) for share in shares] for shares in noise],
            says=[[plain(text) for text in texts] for texts in says],
            alt=alt,
            **traits,
        )

    def __repr__(self) -> str:
        return f"DenoisingWalk(ways={len(self.names)}, steps={list(map(len, self.says))})"

    def picture(self) -> "Axes":
        """Four steps of the chosen way: above what is there, below the guesses."""
        import numpy as np

        both = np.frombuffer(self.pixels, dtype="uint8")
        grey = np.stack((both >> 4, both & LEVELS), 1).reshape(-1)
        grey = grey[: grey.size - grey.size % (2 * self.height * self.width)]
        frames = grey.reshape(-1, 2, self.height, self.width)
        start = sum(map(len, self.says[: self.way]))
        chosen = frames[start : start + len(self.says[self.way])]
        few = np.unique(np.linspace(0, len(chosen) - 1, 4).round().astype(int))
        chosen = chosen[few]
        ax: Axes = plot.axes(width=1 / 2, height=1.9)
        rows = [np.concatenate(list(chosen[:, row]), 1) for row in (0, 1)]
        ax.imshow(np.concatenate(rows), cmap="gray", vmin=0, vmax=LEVELS)
        ax.grid(False)
        ax.set(xticks=[], yticks=[], title=drawable(self.names[self.way], 60))
        return ax


def _packed(ways: Any, noise: Any, says: Any) -> tuple[bytes, int, int]:
    """All pictures in half a byte a pixel, if names, shares and texts fit them."""
    import numpy as np

    pairs = [tuple(np.asarray(part, dtype=float) for part in pair) for pair in ways.values()]
    if not pairs or not len(pairs) == len(noise) == len(says):
        raise ValueError(f"{len(pairs)} ways, noise for {len(noise)}, texts for {len(says)}")
    for (there, guess), shares, texts in zip(pairs, noise, says, strict=True):
        shape = (len(shares), *pairs[0][0].shape[1:])
        if len(shape) != 3 or not there.size or there.shape != shape or guess.shape != shape:
            raise ValueError(f"a way must be (steps, H, W) twice, got {there.shape}, {guess.shape}")
        if len(texts) != len(shares):
            raise ValueError(f"{len(shares)} steps, but {len(texts)} texts")
    grey = np.concatenate([np.stack(pair, 1).reshape(-1) for pair in pairs])
    shares = np.concatenate([np.asarray(one, dtype=float) for one in noise])
    if not all(((x >= 0) & (x <= 1)).all() for x in (grey, shares)):
        raise ValueError("pixels and shares of noise must be from 0 to 1")
    level = np.rint(grey * LEVELS).astype("uint8")
    level = np.append(level, np.zeros(level.size % 2, dtype="uint8"))
    height, width = pairs[0][0].shape[1:]
    return (level[::2] << 4 | level[1::2]).tobytes(), height, width
