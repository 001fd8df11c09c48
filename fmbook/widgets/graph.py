"""A computation as a graph that the reader walks: values there, gradients back.

Left out: graphs too wide to draw; a node shows one number.
"""

from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ComputationGraph"]


class ComputationGraph(BookWidget):
    """Numbers computed from numbers, and what each of them is to blame for.

    A node is a dict: `id`, `text` (how it is made), `value`, `gradient` and `passes`: the ids of
    what it was made from, each with the gradient that it hands back; and, if it is to stand at a
    certain height, `y` from 0 (top) to 1. Nodes stand in the order of their computation; the last
    one is the result.

    Raises:
        ValueError: an id comes twice, a node is made from one that does not come before it, or
            what is handed back to a node does not add up to its gradient.

    >>> x = {"id": "x", "text": "x", "value": 3.0, "gradient": 6.0, "passes": {}}
    >>> y = {"id": "y", "text": "x squared", "value": 9.0, "gradient": 1.0, "passes": {"x": 6.0}}
    >>> ComputationGraph([x, y], title="A square", alt="A square and its gradient in two nodes.")
    ComputationGraph(nodes=2, columns=2)
    """

    _esm = module("graph")
    _css = stylesheet("graph", "learned")
    title = traitlets.Unicode().tag(**KEPT)
    nodes = traitlets.List(traitlets.Dict()).tag(**KEPT)  # with `column` and `y` of each
    step = traitlets.Int(0).tag(**KEPT)  # so many nodes were visited, there and back

    def __init__(self, nodes: list[dict[str, Any]], *, title: str, alt: str, **traits: Any) -> None:
        placed: list[dict[str, Any]] = []
        for node in nodes:
            placed.append(_checked(node, placed))
        if not placed:
            raise ValueError("a graph needs at least one node")
        for node in placed:
            column = [other for other in placed if other["column"] == node["column"]]
            if node["y"] is None:
                node["y"] = (column.index(node) + 0.5) / len(column)
            name, whole = node["id"], node["gradient"]
            handed = [other["passes"][name] for other in placed if name in other["passes"]]
            if handed and abs(sum(handed) - whole) > 1e-6 * (1 + abs(whole)):
                raise ValueError(f"{handed} do not add up to the gradient of {name!r}")
        super().__init__(nodes=placed, title=plain(title), alt=alt, **traits)

    def __repr__(self) -> str:
        columns = 1 + max(node["column"] for node in self.nodes)
        return f"ComputationGraph(nodes={len(self.nodes)}, columns={columns})"

    def picture(self) -> "Axes":
        """All nodes with their values and gradients."""
        place = {node["id"]: (node["column"], node["y"]) for node in self.nodes}
        ax: Axes = plot.axes(width=1, height=2.6)
        hue, muted = plot.look("value")["color"], plot.look("reference")["color"]
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": hue}
        for node in self.nodes:
            for before in node["passes"]:
                ax.plot(*zip(place[before], place[node["id"]], strict=True), color=muted, zorder=1)
            said = f"{drawable(node['text'], 16)}\nvalue {node['value']:.4g}"
            said += f"\ngradient {node['gradient']:.4g}"
            ax.text(*place[node["id"]], said, ha="center", va="center", bbox=box, zorder=2)
        ax.set(xlim=(-0.5, max(x for x, _ in place.values()) + 0.5), ylim=(1, 0))
        ax.set_title(drawable(self.title, 60))
        ax.axis("off")
        return ax


def _checked(node: dict[str, Any], earlier: list[dict[str, Any]]) -> dict[str, Any]:
    name, known = node["id"], {other["id"]: other for other in earlier}
    if name in known:
        raise ValueError(f"the node {name!r} comes twice")
    strange = [other for other in node["passes"] if other not in known]
    if strange:
        raise ValueError(f"{name!r} is made from what does not come before it: {strange}")
    return {
        "id": plain(name),
        "text": plain(node["text"]),
        "value": float(node["value"]),
        "gradient": float(node["gradient"]),
        "passes": {plain(other): float(part) for other, part in node["passes"].items()},
        "y": None if node.get("y") is None else float(node["y"]),
        "column": 1 + max((known[other]["column"] for other in node["passes"]), default=-1),
    }
