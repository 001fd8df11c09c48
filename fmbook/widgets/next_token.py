"""What a model may say next, while temperature, top-k and top-p cut at it.

Left out: the model itself (its logits after some prompts are given), and any draw.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["NextToken"]

NAMED, SHOWN, STEP = 40, 14, 0.1  # tokens with names, rows on the page, nats a unit of the tail


class NextToken(BookWidget):
    """The distribution over the next token after some prompts, with three sliders.

    `logits` is (prompts, V), `pieces` are the V tokens as text. The likeliest 40 are kept with
    their names to a thousandth of a nat, the others without, to a tenth. With `k` = 0 all may stay.

    Raises:
        ValueError: shapes do not fit, logits are not finite, or a setting is out of its range.

    >>> logits, alt = [[2.0, 1.0, 0.0]], "What may follow the word to, of three tokens."
    >>> NextToken(["to"], [" be", " do", " go"], logits, alt=alt)
    NextToken(prompts=1, tokens=3)
    """

    _esm = module("next_token")
    _css = stylesheet("next_token", "transformers")
    prompts = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    names = traitlets.List(traitlets.List(traitlets.Unicode())).tag(**KEPT)
    nats = traitlets.List(traitlets.List(traitlets.Float())).tag(**KEPT)  # below the likeliest
    tails = traitlets.Bytes().tag(**KEPT)  # of the others, in tenths of a nat
    prompt = traitlets.Int(0).tag(**KEPT)
    temperature = traitlets.Float(1.0, min=0.05, max=2.0).tag(**KEPT)
    k = traitlets.Int(0, min=0).tag(**KEPT)
    p = traitlets.Float(1.0, min=0.01, max=1.0).tag(**KEPT)

    def __init__(
        self, prompts: Sequence[str], pieces: Sequence[str], logits: Any, *, alt: str, **traits: Any
    ) -> None:
        import numpy as np

        table = np.asarray(logits, dtype=float)
        if table.shape != (len(prompts), len(pieces)) or not table.size:
            shape = (len(prompts), len(pieces))
            raise ValueError(f"logits must be (prompts, tokens) {shape}, got {table.shape}")
        if not np.isfinite(table).all():
            raise ValueError("logits must be finite")
        order = np.argsort(-table, axis=1, kind="stable")
        below = np.take_along_axis(table, order, 1)
        below = below[:, :1] - below
        tails = np.clip(np.rint(below[:, NAMED:] / STEP), 0, 255).astype("uint8")
        super().__init__(
            prompts=[plain(prompt) for prompt in prompts],
            names=[[plain(pieces[i]) for i in row[:NAMED]] for row in order],
            nats=[[round(float(x), 3) for x in row[:NAMED]] for row in below],
            tails=tails.tobytes(),
            alt=alt,
            **traits,
        )

    def __repr__(self) -> str:
        return f"NextToken(prompts={len(self.prompts)}, tokens={len(self._below())})"

    def _below(self) -> Any:
        """By how much each token's logit is below the likeliest's, for the chosen prompt: (V,)."""
        import numpy as np

        tails = np.frombuffer(self.tails, dtype="uint8").reshape(len(self.prompts), -1)
        return np.concatenate([self.nats[self.prompt], STEP * tails[self.prompt]])

    def chances(self) -> Any:
        """What the sliders leave of the chosen prompt's distribution, likeliest first: (V,)."""
        import numpy as np

        chances = np.exp(-self._below() / self.temperature)
        if self.k:
            chances[self.k :] = 0
        chances /= chances.sum()
        if self.p < 1:
            chances[np.cumsum(chances) - chances >= self.p] = 0
        return chances / chances.sum()

    def picture(self) -> "Axes":
        """The likeliest tokens of the chosen prompt."""
        chances, names = self.chances()[:SHOWN], self.names[self.prompt][:SHOWN]
        ax: Axes = plot.axes(width=0.6, height=3.4)
        ax.barh(
            range(len(names)), 100 * chances[: len(names)], color=plot.look("attention")["color"]
        )
        ax.set_yticks(range(len(names)), [drawable(repr(name), 16) for name in names])
        ax.invert_yaxis()
        ax.set(xlabel="chance (%)", title=drawable(self.prompts[self.prompt], 46))
        return ax
