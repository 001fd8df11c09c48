"""A chain of inference that the reader steps through: what was given, what follows, by which rule.

Left out: the search that found the chain.
"""

from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["InferenceChain"]


class InferenceChain(BookWidget):
    """The derivation of a conclusion, fact by fact; each derived fact tells how it came about.

    A fact is a dict: `id`, `text`, `rule` (None: given), `because` (ids of its premises) and
    `certainty` (from -1 to 1, or None). Facts stand in the order of their derivation.

    Raises:
        ValueError: no fact is derived, an id comes twice, a premise does not come before its
            conclusion, or a certainty is out of range.

    >>> given = {"id": "a", "text": "it says free", "rule": None, "because": [], "certainty": 1.0}
    >>> so = {"id": "b", "text": "it is spam", "rule": "offer", "because": ["a"], "certainty": 0.6}
    >>> InferenceChain([given, so], title="One mail", alt="From one word to a verdict in one step.")
    InferenceChain(given=1, derived=1)
    """

    _esm = module("inference")
    _css = stylesheet("inference", "hand")
    title = traitlets.Unicode().tag(**KEPT)
    facts = traitlets.List(traitlets.Dict()).tag(**KEPT)  # the given ones first
    step = traitlets.Int(0).tag(**KEPT)  # so many facts have been derived
    chosen = traitlets.Int(-1).tag(**KEPT)  # index of the fact that is explained, -1: none

    def __init__(self, facts: list[dict[str, Any]], *, title: str, alt: str, **traits: Any) -> None:
        checked = [_checked(fact, facts[:place]) for place, fact in enumerate(facts)]
        checked.sort(key=lambda fact: fact["rule"] is not None)
        if not checked or checked[-1]["rule"] is None:
            raise ValueError("a chain needs at least one derived fact: one whose rule is not None")
        super().__init__(facts=checked, title=plain(title), alt=alt, **traits)

    def __repr__(self) -> str:
        derived = sum(fact["rule"] is not None for fact in self.facts)
        return f"InferenceChain(given={len(self.facts) - derived}, derived={derived})"

    def picture(self) -> "Axes":
        """All facts with their certainties, the given ones on top."""
        facts = self.facts
        ax: Axes = plot.axes(width=1, height=0.7 + 0.27 * len(facts))
        rows = range(len(facts))
        known = [1.0 if fact["certainty"] is None else fact["certainty"] for fact in facts]
        looks = [plot.look("rules" if fact["rule"] else "reference")["color"] for fact in facts]
        ax.barh(rows, known, color=looks, height=0.6)
        ax.set_yticks(rows, [drawable(fact["text"], 44) for fact in facts])
        ax.invert_yaxis()
        ax.grid(False)
        ax.set(xlim=(min(0, *known), 1), xlabel="certainty", title=drawable(self.title, 60))
        return ax


def _checked(fact: dict[str, Any], earlier: list[dict[str, Any]]) -> dict[str, Any]:
    name, known = fact["id"], {other["id"] for other in earlier}
    if name in known:
        raise ValueError(f"the fact {name!r} comes twice")
    strange = [other for other in fact["because"] if other not in known]
    if strange:
        raise ValueError(f"premises of {name!r} that do not come before it: {strange}")
    if fact["rule"] is None and fact["because"]:
        raise ValueError(f"the fact {name!r} has premises but no rule")
    certainty = fact.get("certainty")
    if certainty is not None and not -1 <= certainty <= 1:
        raise ValueError(f"the certainty of {name!r} must be from -1 to 1, got {certainty}")
    return {
        "id": plain(name),
        "text": plain(fact["text"]),
        "rule": None if fact["rule"] is None else plain(fact["rule"]),
        "because": list(fact["because"]),
        "certainty": None if certainty is None else round(float(certainty), 4),
    }
