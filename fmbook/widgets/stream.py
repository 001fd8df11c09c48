"""The residual stream of a transformer: what the model would say next after each thing it adds.

Left out: running the model; the words, their chances and the lengths are given.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ResidualStream"]

Guess = tuple[str, float]


class ResidualStream(BookWidget):
    """A text in which the reader picks a place, and sees the guesses there after each stage.

    `guesses[stage][place]` are the likeliest next tokens with their chances, best first;
    `lengths[stage][place]` is how long a vector the stage added to the stream.

    Raises:
        ValueError: shapes do not fit, a chance is no share, a length is not finite and positive.

    >>> guesses = [[[("be", 0.2)]], [[("be", 0.9)]]]
    >>> stages = ["embedding", "block 1"]
    >>> ResidualStream(["to"], stages, guesses, [[1.0], [2.0]], alt="What is guessed after to.")
    ResidualStream(stages=2, tokens=1)
    """

    _esm = module("stream")
    _css = stylesheet("stream", "transformers")
    tokens = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    stages = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    guesses = traitlets.List().tag(**KEPT)  # [stage][place] -> [[token, percent], ...]
    lengths = traitlets.List().tag(**KEPT)
    place = traitlets.Int(0).tag(**KEPT)

    def __init__(
        self,
        tokens: Sequence[str],
        stages: Sequence[str],
        guesses: Sequence[Sequence[Sequence[Guess]]],
        lengths: Sequence[Sequence[float]],
        *,
        alt: str,
        **traits: Any,
    ) -> None:
        shape = [len(tokens)] * len(stages)
        if (
            not shape
            or not tokens
            or [list(map(len, t)) for t in (guesses, lengths)] != [shape] * 2
        ):
            raise ValueError(
                f"expected guesses and lengths for {len(stages)} stages x {len(tokens)} tokens"
            )
        super().__init__(
            tokens=[plain(token) for token in tokens],
            stages=[plain(stage) for stage in stages],
            guesses=[[[_checked(guess) for guess in at] for at in stage] for stage in guesses],
            lengths=[[_length(length) for length in stage] for stage in lengths],
            alt=alt,
            **traits,
        )

    def __repr__(self) -> str:
        return f"ResidualStream(stages={len(self.stages)}, tokens={len(self.tokens)})"

    def picture(self) -> "Axes":
        """The best guess after each stage at the chosen place, a bar for its chance."""
        best = [stage[self.place][0] for stage in self.guesses]
        ax: Axes = plot.axes(width=1, height=0.9 + 0.24 * len(best))
        ax.barh(range(len(best)), [chance / 100 for _, chance in best], height=0.65)
        words = [drawable(word, 14) for word, _ in best]
        ax.set_yticks(
            range(len(best)),
            [f"{drawable(s, 30)}: {w}" for s, w in zip(self.stages, words, strict=True)],
        )
        ax.invert_yaxis()
        read = drawable("".join(self.tokens[max(0, self.place - 9) : self.place + 1]), 50)
        most = max(chance for _, chance in best) / 100
        ax.set(
            xlim=(0, min(1, 1.1 * most) or 1),
            xlabel="chance of the best guess",
            title=f"after: {read}",
        )
        return ax


def _checked(guess: Guess) -> list[Any]:
    token, chance = guess
    if not 0 <= chance <= 1:
        raise ValueError(f"a chance is a share of 1, got {chance} for {token!r}")
    return [plain(token), round(100 * float(chance), 1)]


def _length(length: float) -> float:
    if not 0 <= length < float("inf"):
        raise ValueError(f"a length must be finite and not negative, got {length}")
    return round(float(length), 2)
