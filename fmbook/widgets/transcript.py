"""A chat in which every token that a model said can be opened: what else it might have said.

Left out: letting the model go on from another token, which would need the model on the page.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ChatTranscript"]

Choices = Sequence[tuple[str, float]]


class ChatTranscript(BookWidget):
    """Turns of a chat: what people said, and what a model said token by token.

    `turns` is a list of (who, what). `what` is a text, or for a model's turn a list of tokens, each
    a list of choices (text, probability): the first is the one that was said, the others are the
    likeliest ones beside it, in any order.

    Raises:
        ValueError: nobody's tokens can be opened, or a probability is none.

    >>> said = [[(" Paris", 0.9), (" the", 0.05)], [(".", 0.8), (",", 0.1)]]
    >>> chat = [("you", "What is the capital of France?"), ("model", said)]
    >>> ChatTranscript(chat, alt="A question and an answer of two tokens.")
    ChatTranscript(turns=2, tokens=2)
    """

    _esm = module("transcript")
    _css = stylesheet("transcript", "transformers")
    who = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    what: Any = traitlets.List().tag(**KEPT)  # a text, or [[text, thousandths], ...] for each token
    token = traitlets.Int(0).tag(**KEPT)  # counted over all turns of the model

    def __init__(
        self, turns: Sequence[tuple[str, str | Sequence[Choices]]], *, alt: str, **traits: Any
    ) -> None:
        what = [said if isinstance(said, str) else self._told(said) for _, said in turns]
        if not any(isinstance(said, list) for said in what):
            raise ValueError("no turn has tokens that could be opened")
        super().__init__(
            who=[plain(name) for name, _ in turns],
            what=[plain(said) if isinstance(said, str) else said for said in what],
            alt=alt,
            **traits,
        )

    @staticmethod
    def _told(said: Sequence[Choices]) -> list[list[list[Any]]]:
        tokens = []
        for choices in said:
            if not choices or not all(0 <= chance <= 1 for _, chance in choices):
                raise ValueError(f"a token needs choices with probabilities, got {choices!r}")
            first, *others = choices
            kept = [first, *sorted(others, key=lambda choice: -choice[1])]
            tokens.append([[plain(text), round(1000 * chance)] for text, chance in kept])
        return tokens

    @property
    def tokens(self) -> list[list[list[Any]]]:
        """All of the model's tokens, each with its choices."""
        return [token for said in self.what if not isinstance(said, str) for token in said]

    def __repr__(self) -> str:
        return f"ChatTranscript(turns={len(self.who)}, tokens={len(self.tokens)})"

    def picture(self) -> "Axes":
        """How likely each token was that was said."""
        tokens = self.tokens[:40]
        ax: Axes = plot.axes(width=1, height=2.6)
        hue = plot.palette()["part"]["transformers"][0]
        ax.bar(range(len(tokens)), [token[0][1] / 1000 for token in tokens], color=hue, width=0.7)
        labels = [drawable(token[0][0].replace("\n", "↵"), 12) or "␣" for token in tokens]
        ax.set_xticks(range(len(tokens)), labels, rotation=70)
        ax.set(ylabel="probability", ylim=(0, 1))
        return ax
