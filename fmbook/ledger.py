"""The book's ledger: what each method reached on the same tasks, from the recorded runs.

A recipe that trains a filter, a reader or a generator stores rows under "ledger"; this room gathers
them and counts the rest. Left out: measuring anything, which the recipes do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from fmbook import records
from fmbook.plot import palette
from fmbook.source import without_docstrings

__all__ = ["Row", "Table", "by_hand", "rows", "table"]


@dataclass(frozen=True)
class Row:
    """What one method reached on one task, and what that took."""

    task: str
    method: str
    module: str  # dotted name of the library's module that does it
    quality: Mapping[str, float]  # by the name of the measure
    cpu_seconds: float  # of training, on one thread
    parameters: int  # numbers that were learned, or written by hand
    decisions: Sequence[str]  # what a person decided
    failures: Sequence[str]  # typical ones, a sentence each

    @property
    def era(self) -> str:
        return self.module.split(".")[1]

    @property
    def lines(self) -> int:
        """Lines of code of the module: without blank lines, comments and docstrings."""
        path = self.module.split(".")[1:]
        text = (resources.files("fmbook").joinpath(*path[:-1]) / f"{path[-1]}.py").read_text("utf8")
        lines = (line.strip() for line in without_docstrings(text).splitlines())
        return sum(bool(line) and not line.startswith("#") for line in lines)


class Table:
    """Rows of text under headings, shown as a table in a notebook and on the site."""

    def __init__(
        self, headings: Sequence[str], cells: Sequence[Sequence[str]], *, texts: bool = False
    ) -> None:
        """`texts`: the columns hold sentences and not numbers, and stand on the left."""
        self.headings, self.cells, self.texts = headings, cells, texts

    def __repr__(self) -> str:
        return "\n".join("\t".join(line) for line in [self.headings, *self.cells])

    def _repr_html_(self) -> str:
        side = ["left", *["left" if self.texts else "right"] * (len(self.headings) - 1)]

        def line(tag: str, words: Sequence[str]) -> str:
            pairs = zip(words, side, strict=True)
            row = "".join(
                f'<{tag} style="text-align:{at}">{escape(said)}</{tag}>' for said, at in pairs
            )
            return f"<tr>{row}</tr>"

        body = "".join(line("td", cells) for cells in self.cells)
        return f'<table class="table"><thead>{line("th", self.headings)}</thead>{body}</table>'


def rows(task: str, measure: str) -> list[Row]:
    """The rows of a task that were judged by this measure, by era, and in an era by their cost.

    Raises:
        ValueError: no recorded run has such a row.

    >>> [row.method for row in rows("spam", "recall")][:2]
    ['rules', 'naive Bayes']
    """
    stored = [row for stem in records.recipes() for row in records.load(stem).get("ledger", [])]
    names = Row.__dataclass_fields__
    every = [Row(**{name: row[name] for name in names}) for row in stored]
    found = [row for row in every if row.task == task and measure in row.quality]
    if not found:
        known = sorted({f"{row.task} ({name})" for row in every for name in row.quality})
        raise ValueError(f"the ledger has no {task!r} by {measure!r}; it has: {', '.join(known)}")
    eras = list(palette()["era"])
    return sorted(found, key=lambda row: (eras.index(row.era), row.cpu_seconds))


def table(found: Sequence[Row]) -> Table:
    """What the rows reached and took, side by side.

    >>> table(rows("spam", "recall")).headings[:3]
    ['method', 'precision', 'recall']
    """
    measures = list(found[0].quality)
    headings = [
        "method",
        *(name.replace("_", " ").replace("frechet", "Fréchet") for name in measures),
    ]
    headings += ["CPU-seconds", "parameters", "lines of code"]
    columns = [
        _names(found),
        *(_even([row.quality[name] for row in found], 3) for name in measures),
        _even([row.cpu_seconds for row in found], 1),
        [f"{row.parameters:,}" for row in found],
        [str(row.lines) for row in found],
    ]
    return Table(headings, list(zip(*columns, strict=True)))


def by_hand(found: Sequence[Row]) -> Table:
    """What a person decided for each row, and how it typically fails.

    >>> by_hand(rows("spam", "recall")).headings
    ['method', 'what a person decided', 'typical failures']
    """
    headings = ["method", "what a person decided", "typical failures"]
    return Table(
        headings,
        [
            [name, "; ".join(row.decisions), _sentences(row.failures)]
            for name, row in zip(_names(found), found, strict=True)
        ],
        texts=True,
    )


def _names(found: Sequence[Row]) -> list[str]:
    """The rows' methods; of one method with two sizes, the size as well."""
    methods = [row.method for row in found]
    sizes = [f", {row.parameters:,} parameters" for row in found]
    return [
        name + size * (methods.count(name) > 1) for name, size in zip(methods, sizes, strict=True)
    ]


def _even(numbers: Sequence[float], limit: int) -> list[str]:
    """Numbers with equally many decimals: as many as the finest of them needs, up to a limit."""
    needed = (f"{number:.{limit}f}".rstrip("0").partition(".")[2] for number in numbers)
    decimals = max(map(len, needed))
    return [f"{number:,.{decimals}f}" for number in numbers]


def _sentences(words: Sequence[str]) -> str:
    return " ".join(f"{said[0].upper()}{said[1:].rstrip('.')}." for said in words)
