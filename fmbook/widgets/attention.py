"""A map of attention weights that the reader walks through: head by head, query by query.

Left out: cross-attention (queries and keys are the same tokens here).
"""

from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AttentionExplorer"]


class AttentionExplorer(BookWidget):
    """Who attends to whom, in each head.

    `weights` has shape (N, T, T): head, query, key; each query's weights sum to 1. They are kept as
    bytes, so exact to 0.2 percent points.

    Raises:
        ValueError: shapes do not fit, or weights are no weights.

    >>> weights = [[[1.0, 0.0], [0.25, 0.75]]]
    >>> AttentionExplorer(["to", "be"], weights, ["head 1"], alt="Two words and one head.")
    AttentionExplorer(heads=1, tokens=2)
    """

    _esm = module("attention")
    _css = stylesheet("attention", "transformers")
    tokens = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    head_names = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    weights = traitlets.Bytes().tag(**KEPT)
    head = traitlets.Int(0).tag(**KEPT)
    query = traitlets.Int(0).tag(**KEPT)

    def __init__(
        self, tokens: list[str], weights: Any, head_names: list[str], *, alt: str, **traits: Any
    ) -> None:
        import numpy as np

        table = np.asarray(weights, dtype=float)
        shape = (len(head_names), len(tokens), len(tokens))
        if table.shape != shape or not table.size:
            raise ValueError(f"weights must be (heads, queries, keys) {shape}, got {table.shape}")
        if not (table >= 0).all() or not np.allclose(table.sum(-1), 1, atol=1e-3):
            raise ValueError("each query's weights must be 0 or more and sum to 1")
        traits.setdefault("query", len(tokens) - 1)
        super().__init__(
            tokens=[plain(token) for token in tokens],
            head_names=[plain(name) for name in head_names],
            weights=np.rint(table * 255).astype("uint8").tobytes(),
            alt=alt,
            **traits,
        )

    def __repr__(self) -> str:
        heads, tokens = len(self.head_names), len(self.tokens)
        return f"AttentionExplorer(heads={heads}, tokens={tokens})"

    def picture(self) -> "Axes":
        """The chosen head's map."""
        import numpy as np

        n = len(self.tokens)
        maps = np.frombuffer(self.weights, dtype="uint8").reshape(-1, n, n) / 255
        labels = [drawable(token, 10) for token in self.tokens] if n <= 32 else []
        ax: Axes = plot.axes(width=0.6, height=3.6)
        plot.heatmap(ax, maps[self.head], rows=labels, columns=labels, unit="weight", limits=(0, 1))
        for label in ax.get_xticklabels():
            label.set(rotation=60, ha="right", rotation_mode="anchor")
        ax.set(xlabel="key", ylabel="query", title=drawable(self.head_names[self.head], 40))
        return ax
