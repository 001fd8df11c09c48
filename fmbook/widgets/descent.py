"""A ball in a narrow valley: the reader picks a rule and its rate, and walks the path step by step.

Left out: valleys that are no ellipses, and noise.
"""

from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DescentExplorer"]

REACH = 1e4  # where a path is farther out than this, it is cut


class DescentExplorer(BookWidget):
    """Paths over the loss (a x^2 + b y^2) / 2, one for each rule and each of its rates.

    `curvature` is (a, b); `paths` maps the name of a rule to {rate: [(x, y), ...]}, of one length,
    the first place being the start. Places are kept to three digits.

    Raises:
        ValueError: there is no path, or paths differ in their length.

    >>> paths = {"SGD": {0.1: [(1.0, 1.0), (0.9, 0.5)]}}
    >>> DescentExplorer((1.0, 5.0), paths, alt="One step of one rule in a narrow valley.")
    DescentExplorer(rules=1, steps=1)
    """

    _esm = module("descent")
    _css = stylesheet("descent", "learned")
    curvature = traitlets.List(traitlets.Float()).tag(**KEPT)
    rules = traitlets.List(traitlets.Dict()).tag(**KEPT)  # name, rates, paths [rate][step] of x, y
    rule = traitlets.Int(0).tag(**KEPT)
    rate = traitlets.Int(0).tag(**KEPT)  # which of the rule's rates
    step = traitlets.Int(0).tag(**KEPT)

    def __init__(
        self,
        curvature: tuple[float, float],
        paths: dict[str, dict[float, Any]],
        *,
        alt: str,
        **traits: Any,
    ) -> None:
        lengths = {len(path) for rates in paths.values() for path in rates.values()}
        if len(lengths) != 1 or not all(paths.values()) or 0 in lengths:
            raise ValueError(f"need paths of one length, got lengths {sorted(lengths)}")
        rules = [
            {
                "name": plain(name),
                "rates": [float(rate) for rate in rates],
                "paths": [[_place(*place) for place in path] for path in rates.values()],
            }
            for name, rates in paths.items()
        ]
        traits.setdefault("step", lengths.pop() - 1)
        super().__init__(curvature=list(map(float, curvature)), rules=rules, alt=alt, **traits)

    def __repr__(self) -> str:
        return (
            f"DescentExplorer(rules={len(self.rules)}, steps={len(self.rules[0]['paths'][0]) - 1})"
        )

    def picture(self) -> "Axes":
        """The path of each rule at one of its rates, over the valley's levels."""
        import numpy as np

        a, b = self.curvature
        x0, y0 = (abs(v) * 1.25 for v in self.rules[0]["paths"][0][0])
        columns: Any = plot.axes(width=1, height=2.4, columns=len(self.rules))
        across, down = np.meshgrid(np.linspace(-x0, x0, 120), np.linspace(-y0, y0, 80))
        every: list[Axes] = list(np.atleast_1d(columns))
        for ax, rule in zip(every, self.rules, strict=True):
            chosen = min(self.rate, len(rule["rates"]) - 1)
            ax.contour(across, down, (a * across**2 + b * down**2) / 2, 8, colors="#c9d0da")
            ax.plot(*np.array(rule["paths"][chosen]).T, color=plot.look("value")["color"])
            ax.set(title=f"{rule['name']}, rate {rule['rates'][chosen]:g}")
            ax.set(xlim=(-x0, x0), ylim=(-y0, y0))
        return every[0]


def _place(x: float, y: float) -> list[float]:
    return [float(f"{max(-REACH, min(REACH, v)):.3g}") for v in (float(x), float(y))]
