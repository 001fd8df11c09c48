"""The words of one mail on a scale: what each adds to the log-odds of spam, and what they sum to.

Left out: how the weights were found; they are given.
"""

from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["WordScale"]


class WordScale(BookWidget):
    """One mail's words, each of which the reader may take away, and good words to paste below it.

    `words` are tuples (word, how often, what it adds in nats), as `NaiveBayes.evidence` returns
    them; `prior` is the score without any word, `good` more such tuples, pasted in their order.
    `noun` is what they are called if they are not words.

    Raises:
        ValueError: there are no words, or a weight is not finite.

    >>> words = [("free", 2, 2.2), ("lunch", 1, -0.4)]
    >>> WordScale(words, prior=-0.5, title="Hi", alt="Two words of a mail and what each adds.")
    WordScale(words=2, good=0)
    """

    _esm = module("scale")
    _css = stylesheet("scale", "hand")
    title = traitlets.Unicode().tag(**KEPT)
    noun = traitlets.Unicode("word").tag(**KEPT)  # what one of them is called
    words = traitlets.List(traitlets.Dict()).tag(**KEPT)
    good = traitlets.List(traitlets.Dict()).tag(**KEPT)
    prior = traitlets.Float().tag(**KEPT)
    off = traitlets.List(traitlets.Int()).tag(**KEPT)  # indices of words taken away
    pasted = traitlets.Int(0).tag(**KEPT)  # so many good words are below the mail

    def __init__(
        self,
        words: list[tuple[str, int, float]],
        *,
        prior: float,
        title: str,
        alt: str,
        good: list[tuple[str, int, float]] | None = None,
        **traits: Any,
    ) -> None:
        if not words:
            raise ValueError("a scale needs at least one word")
        both = [[_checked(word) for word in each] for each in (words, good or [])]
        texts = {"title": plain(title), "alt": alt}
        super().__init__(words=both[0], good=both[1], prior=float(prior), **texts, **traits)

    def __repr__(self) -> str:
        return f"WordScale(words={len(self.words)}, good={len(self.good)})"

    def picture(self) -> "Axes":
        """What each word of the mail adds, as a bar to the right (spam) or to the left (ham)."""
        rows = range(len(self.words))
        ax: Axes = plot.axes(width=1, height=0.9 + 0.22 * len(rows))
        adds = [word["adds"] for word in self.words]
        kinds = [plot.look("spam" if value > 0 else "ham")["color"] for value in adds]
        ax.barh(rows, adds, color=kinds, height=0.65)
        ax.set_yticks(rows, [f"{drawable(w['word'], 30)} x {w['count']}" for w in self.words])
        ax.invert_yaxis()
        ax.set(xlabel="adds to the log-odds of spam (nats)", title=drawable(self.title, 60))
        return ax


def _checked(word: tuple[str, int, float]) -> dict[str, Any]:
    text, count, adds = word
    if not abs(adds) < float("inf"):
        raise ValueError(f"what a word adds must be finite, got {adds} for {text!r}")
    return {"word": plain(text), "count": int(count), "adds": round(float(adds), 3)}
