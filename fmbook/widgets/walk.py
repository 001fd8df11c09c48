"""A walk through a generator's latent space, which the reader takes step by step.

Left out: the generator itself; the pictures on the way are given.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LatentWalk"]


class LatentWalk(BookWidget):
    """Walks of equally many steps, each step a grey picture and what is said of it.

    `pictures` is (walks, steps, H, W), from 0 to 1, kept as bytes; `says` is a list of texts for
    each walk.

    Raises:
        ValueError: shapes do not fit, or values are not from 0 to 1.

    >>> pictures, alt = [[[[0.0]], [[1.0]]]], "From dark to bright in two steps."
    >>> LatentWalk(pictures, ["up"], [["dark", "bright"]], alt=alt)
    LatentWalk(walks=1, steps=2)
    """

    _esm = module("walk")
    _css = stylesheet("walk", "learned")
    pixels = traitlets.Bytes().tag(**KEPT)
    height = traitlets.Int().tag(**KEPT)
    width = traitlets.Int().tag(**KEPT)
    names = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    says = traitlets.List(traitlets.List(traitlets.Unicode())).tag(**KEPT)
    walk = traitlets.Int(0).tag(**KEPT)
    step = traitlets.Int(0).tag(**KEPT)

    def __init__(
        self,
        pictures: Any,
        names: Sequence[str],
        says: Sequence[Sequence[str]],
        *,
        alt: str,
        **traits: Any,
    ) -> None:
        grey = _greys(pictures, names, says)
        super().__init__(
            pixels=grey.tobytes(),
            height=grey.shape[2],
            width=grey.shape[3],
            names=[plain(name) for name in names],
            says=[[plain(text) for text in texts] for texts in says],
            alt=alt,
            **traits,
        )

    def __repr__(self) -> str:
        return f"LatentWalk(walks={len(self.names)}, steps={len(self.says[0])})"

    def picture(self) -> "Axes":
        """All steps of the chosen walk, side by side."""
        import numpy as np

        shape = len(self.names), len(self.says[0]), self.height, self.width
        grey = np.frombuffer(self.pixels, dtype="uint8").reshape(shape)
        ax: Axes = plot.axes(width=1, height=1.1)
        ax.imshow(np.concatenate(list(grey[self.walk]), 1), cmap="gray", vmin=0, vmax=255)
        ax.grid(False)
        ax.set(xticks=[], yticks=[], title=drawable(self.names[self.walk], 60))
        return ax


def _greys(pictures: Any, names: Sequence[str], says: Sequence[Sequence[str]]) -> Any:
    """The pictures as bytes (walks, steps, H, W), if names and texts fit them."""
    import numpy as np

    grey = np.asarray(pictures, dtype=float)
    said = [len(texts) for texts in says]
    if grey.ndim != 4 or not grey.size or said != [grey.shape[1]] * len(names) != []:
        raise ValueError(f"pictures must be (walks, steps, H, W), a text each, got {grey.shape}")
    if len(grey) != len(names) or not ((grey >= 0) & (grey <= 1)).all():
        raise ValueError(f"{len(names)} names, {len(grey)} walks; values must be from 0 to 1")
    return np.rint(grey * 255).astype("uint8")
