"""A kernel that the reader slides over an image, patch by patch, while a map fills with answers.

Left out: several channels, strides and padding.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KernelSlider"]


class KernelSlider(BookWidget):
    """One grey image, and kernels by name, each a square table of weights.

    `image` is (H, W), from 0 to 1; it is kept as bytes, so exact to 0.2 percent points.

    Raises:
        ValueError: the image is no grey image, or a kernel is not square or larger than it.

    >>> image, edge = [[0.0, 1.0], [0.0, 1.0]], [[-1, 1], [-1, 1]]
    >>> KernelSlider(image, {"edge": edge}, alt="A kernel on four pixels.")
    KernelSlider(image=2 x 2, kernels=1)
    """

    _esm = module("kernel")
    _css = stylesheet("kernel", "learned")
    pixels = traitlets.Bytes().tag(**KEPT)
    width = traitlets.Int().tag(**KEPT)
    names = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    kernels = traitlets.List(traitlets.List()).tag(**KEPT)
    kernel = traitlets.Int(0).tag(**KEPT)
    row = traitlets.Int(0).tag(**KEPT)
    column = traitlets.Int(0).tag(**KEPT)

    def __init__(self, image: Any, kernels: Mapping[str, Any], *, alt: str, **traits: Any) -> None:
        import numpy as np

        grey = np.asarray(image, dtype=float)
        if grey.ndim != 2 or not grey.size or not ((grey >= 0) & (grey <= 1)).all():
            raise ValueError(f"image must be (H, W) with values from 0 to 1, got {grey.shape}")
        tables = [np.asarray(table, dtype=float) for table in kernels.values()]
        for name, table in zip(kernels, tables, strict=True):
            square = table.ndim == 2 and table.shape[0] == table.shape[1] > 0
            if not square or len(table) > min(grey.shape) or not np.isfinite(table).all():
                raise ValueError(f"kernel {name!r} must be a square that fits, got {table.shape}")
        if not tables:
            raise ValueError("a slider needs at least one kernel")
        traits.setdefault("row", (grey.shape[0] - len(tables[0])) // 2)
        traits.setdefault("column", (grey.shape[1] - len(tables[0])) // 2)
        super().__init__(
            pixels=np.rint(grey * 255).astype("uint8").tobytes(),
            width=grey.shape[1],
            names=[plain(name) for name in kernels],
            kernels=[table.round(3).tolist() for table in tables],
            alt=alt,
            **traits,
        )

    def __repr__(self) -> str:
        size = f"{len(self.pixels) // self.width} x {self.width}"
        return f"KernelSlider(image={size}, kernels={len(self.names)})"

    def picture(self) -> "Axes":
        """The image, and the chosen kernel's map."""
        import numpy as np

        grey = np.frombuffer(self.pixels, dtype="uint8").reshape(-1, self.width) / 255
        table = np.array(self.kernels[self.kernel])
        windows = np.lib.stride_tricks.sliding_window_view(grey, table.shape)
        axes = plot.axes(width=2 / 3, height=2.6, columns=2)
        answers = (windows * table).sum((2, 3))
        titles = "image", drawable(self.names[self.kernel], 40)
        for ax, values, title in zip(axes, (grey, answers), titles, strict=True):
            ax.imshow(values, cmap="gray")
            ax.set(xticks=[], yticks=[], title=title)
        first: Axes = axes[0]
        return first
