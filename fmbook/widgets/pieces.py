"""A text of the reader's own, cut into pieces by the first merges of a tokenizer.

Left out: learning the merges, which are given; other ways to cut words out of a text.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PieceReader"]


class PieceReader(BookWidget):
    """A text in pieces under as many merges as the reader chooses; the text may be typed anew.

    `merges` are pairs of bytes in their order, as `learn_merges` returns them; `texts` are offered,
    the first is shown; `steps` are the numbers of merges to choose from.

    Raises:
        ValueError: no text, steps that are not from 0 to the number of merges and rising, or a
            merge that uses a piece that is not there yet.

    >>> PieceReader([(b"l", b"o")], ["low"], steps=[0, 1], alt="The word low in two pieces or so.")
    PieceReader(merges=1, texts=1)
    """

    _esm = module("pieces")
    _css = stylesheet("pieces", "transformers")
    merges = traitlets.List(traitlets.List(traitlets.Int())).tag(**KEPT)  # [a, b]: joined 256 + i
    texts = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    steps = traitlets.List(traitlets.Int()).tag(**KEPT)
    text = traitlets.Unicode().tag(**KEPT)
    step = traitlets.Int(0).tag(**KEPT)  # the place in `steps`

    def __init__(
        self,
        merges: Sequence[tuple[bytes, bytes]],
        texts: Sequence[str],
        *,
        steps: Sequence[int],
        alt: str,
        **traits: object,
    ) -> None:
        rising = list(steps) == sorted(set(steps)) and bool(steps)
        if not texts or not rising or steps[0] < 0 or steps[-1] > len(merges):
            raise ValueError(f"give a text, and rising steps from 0 to {len(merges)}: got {steps}")
        said = [plain(text) for text in texts]
        chosen: dict[str, object] = {"text": said[0], "step": len(steps) - 1, **traits}
        numbers = _numbers(merges)
        super().__init__(merges=numbers, texts=said, steps=list(steps), alt=alt, **chosen)
        self._pairs = list(merges)

    def __repr__(self) -> str:
        return f"PieceReader(merges={len(self.merges)}, texts={len(self.texts)})"

    def picture(self) -> "Axes":
        """The text once for each step, every piece a box as wide as its bytes."""
        from fmbook.transformers.tokenizer import Tokenizer

        ax: Axes = plot.axes(width=1, height=0.9 + 0.45 * len(self.steps))
        colour = plot.palette()["part"]["transformers"][0]
        for row, count in enumerate(self.steps):
            tokenizer, left = Tokenizer(self._pairs[:count]), 0
            for id in tokenizer.encode(self.text):
                piece = tokenizer.pieces[id]
                ax.barh(row, len(piece), left=left, color=colour, alpha=0.25, edgecolor=colour)
                label = drawable(piece.decode(errors="replace").replace(" ", "·"), 20)
                ax.text(left + len(piece) / 2, row, label, ha="center", va="center", fontsize=9)
                left += len(piece)
        ax.set_yticks(range(len(self.steps)), [f"{count:,} merges" for count in self.steps])
        ax.set(xlabel="bytes of the text")
        ax.set_xticks(range(0, len(self.text.encode()) + 1, 5))
        ax.invert_yaxis()
        ax.grid(False)
        return ax


def _numbers(merges: Sequence[tuple[bytes, bytes]]) -> list[list[int]]:
    """Each merge as the numbers of its two pieces: bytes are 0 to 255, merge i makes 256 + i."""
    number = {bytes([byte]): byte for byte in range(256)}
    found = []
    for i, (a, b) in enumerate(merges):
        if a not in number or b not in number:
            raise ValueError(f"merge {i}, {a!r} + {b!r}, uses a piece that is not there yet")
        found.append([number[a], number[b]])
        number.setdefault(a + b, 256 + i)
    return found
