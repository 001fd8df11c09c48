"""Labels against accuracy: the reader picks a task, a way to learn it, and a number of labels.

Left out: how the ways work; what each reached is given.
"""

from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LabelCurves"]

LOOKS = ("from_scratch", "frozen", "fine_tuned", "read_on", "lora")  # of the ways in a picture


class LabelCurves(BookWidget):
    """For each task, what each way of learning it reached from so many labels, over seeds.

    `tasks` maps a task's name to its numbers of labels, ascending, as many for each task, and to
    {way: (accuracy, seconds, parameters)}: accuracy [seed][labels] in 0..1, mean CPU-seconds
    [labels], numbers trained.

    Raises:
        ValueError: there is no task, the ways differ, or a row does not fit the labels.

    >>> ways = {"scratch": ([[0.5, 0.8]], [1.0, 2.0], 99)}
    >>> LabelCurves({"mail": ([10, 100], ways)}, alt="One way to learn one task from labels.")
    LabelCurves(tasks=1, ways=1)
    """

    _esm = module("labels")
    _css = stylesheet("labels", "foundation")
    tasks = traitlets.List(traitlets.Dict()).tag(**KEPT)  # name, labels, ways: name, mean, low, ...
    task = traitlets.Int(0).tag(**KEPT)
    way = traitlets.Int(0).tag(**KEPT)
    at = traitlets.Int(0).tag(**KEPT)  # which number of labels

    def __init__(
        self, tasks: dict[str, tuple[list[int], dict[str, Any]]], *, alt: str, **traits: Any
    ) -> None:
        names = {tuple(ways) for _, ways in tasks.values()}
        numbers = [list(labels) for labels, _ in tasks.values()]
        even = all(each and sorted(set(each)) == each for each in numbers)
        if len(names) != 1 or not all(names) or not even:
            raise ValueError("need a task, the same ways for each, and ascending numbers of labels")
        rows: list[dict[str, Any]] = [
            {
                "name": plain(name),
                "labels": list(labels),
                "ways": [_way(way, *found) for way, found in ways.items()],
            }
            for name, (labels, ways) in tasks.items()
        ]
        lengths = {len(way[key]) for row in rows for way in row["ways"] for key in ("mean", "cpu")}
        if lengths | set(map(len, numbers)) != {len(numbers[0])}:
            raise ValueError(f"need {len(numbers[0])} values a row, got {sorted(lengths)}")
        super().__init__(tasks=rows, alt=alt, **traits)

    def __repr__(self) -> str:
        return f"LabelCurves(tasks={len(self.tasks)}, ways={len(self.tasks[0]['ways'])})"

    def picture(self) -> "Axes":
        """Each task's curves, side by side."""
        columns: Any = plot.axes(width=1, height=3.0, columns=len(self.tasks))
        every = list(columns) if len(self.tasks) > 1 else [columns]
        for ax, row in zip(every, self.tasks, strict=True):
            for i, way in enumerate(row["ways"]):
                look = plot.look(LOOKS[i % len(LOOKS)])
                ax.plot(row["labels"], way["mean"], label=drawable(way["name"], 24), **look)
            ax.set(xscale="log", xlabel="labels", ylabel="accuracy")
            ax.set(title=drawable(row["name"], 30))
        every[-1].legend(fontsize=8)
        first: Axes = every[0]
        return first


def _way(name: str, accuracy: Any, seconds: Any, parameters: int) -> dict[str, Any]:
    columns = list(zip(*accuracy, strict=True))
    return {
        "name": plain(name),
        "mean": [round(sum(column) / len(column), 4) for column in columns],
        "low": [round(float(min(column)), 4) for column in columns],
        "high": [round(float(max(column)), 4) for column in columns],
        "cpu": [round(float(value), 2) for value in seconds],
        "parameters": int(parameters),
    }
