"""Takes a submission apart: from bytes that anybody may have written to sources in known places.

Only `grade_id`s, cell ids and sources are read; metadata, tags, types, points and checks are the
exercise's own. Left out: running anything.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fmbook.grading.exercise import Cell, Exercise

__all__ = ["Placed", "Submission", "Unreadable", "blank", "read_submission"]

SIZE, NODES, CELLS, SOURCE = 64 << 20, 1_500_000, 2_000, 1 << 20
CODE, NOTES = 300_000, 10  # characters of code in all, and odd cells that are told of
SAID = "Save the notebook again from Jupyter or Colab (File > Download > .ipynb) and hand that in."


class Unreadable(ValueError):
    """A submission cannot be read; the message is a sentence for the student."""


@dataclass(frozen=True)
class Placed:
    """A cell as it will run: the exercise's cell that it fills (None: the student's own)."""

    cell: Cell | None
    cell_type: str
    source: str


@dataclass(frozen=True)
class Submission:
    """A submission put into the exercise's order, with what was noticed on the way."""

    cells: tuple[Placed, ...]
    notes: tuple[str, ...]


def blank(exercise: Exercise) -> Submission:
    """An exercise as it was released, in place of what was not handed in or cannot be read."""
    cells = (
        Placed(cell, cell.cell_type, cell.source if cell.fixed else cell.released)
        for cell in exercise.cells
    )
    return Submission(tuple(cells), ())


@dataclass
class Raw:
    """A cell as it was handed in."""

    id: str
    grade_id: str
    cell_type: str
    source: str
    place: int | None = None  # of the exercise's cells


def read_submission(data: bytes, exercise: Exercise) -> Submission:
    """Match a submission's cells with the exercise's, and put those in order.

    Raises:
        Unreadable: it is no notebook of format 4, or too large.
    """
    raw, notes = _raw_cells(data)
    _match(raw, exercise)
    return Submission(*_in_order(raw, exercise, notes))


def _raw_cells(data: bytes) -> tuple[list[Raw], list[str]]:
    cells, notes = [], []
    for number, cell in enumerate(_parts(data), 1):
        try:
            cells.append(_raw_cell(cell))
        except (TypeError, AttributeError, ValueError):
            notes.append(f"Cell {number} is not in the form of a notebook's cell and was left out.")
    if sum(len(c.source) for c in cells if c.cell_type == "code") > CODE:
        raise Unreadable(
            f"The notebook has more than {CODE} characters of code. Put data into a file beside it."
        )
    return cells, notes[:NOTES]


def _parts(data: bytes) -> list[Any]:
    """The cells of a notebook, whatever is in them."""
    if len(data) > SIZE:
        raise Unreadable(
            f"The file has {len(data) / 1e6:.0f} MB; at most {SIZE / 1e6:.0f} MB are read. Clear "
            f"the outputs (Edit > Clear All Outputs). {SAID}"
        )
    if data.count(b",") + data.count(b"[") + data.count(b"{") > NODES:
        raise Unreadable(
            f"The file holds too many parts to be a notebook. Clear the outputs. {SAID}"
        )
    try:
        notebook = json.loads(_text(data))
    except (ValueError, RecursionError, MemoryError):
        raise Unreadable(f"The file is no readable notebook (its JSON is broken). {SAID}") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        old = isinstance(notebook, dict) and "worksheets" in notebook
        why = "is of an old format (3 or before)" if old else "is no notebook"
        raise Unreadable(f"The file {why}. {SAID}")
    if len(notebook["cells"]) > CELLS:
        raise Unreadable(f"The notebook has more than {CELLS} cells. Remove those not yours.")
    return list(notebook["cells"])


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _raw_cell(cell: Any) -> Raw:
    source = cell.get("source", "")
    source = "".join(source) if isinstance(source, list) else source
    if not isinstance(source, str) or len(source) > SOURCE:
        raise ValueError("no source, or too long")
    if "\r" in source:
        source = source.replace("\r\n", "\n").replace("\r", "\n")
    if not source.isascii():  # lone surrogates would break every reader
        source = source.encode("utf-8", "replace").decode()
    own = cell.get("metadata")
    meta = own.get("nbgrader") if isinstance(own, dict) else None
    grade_id = meta.get("grade_id") if isinstance(meta, dict) else None
    kind = cell.get("cell_type")
    if kind not in ("code", "markdown", "raw"):
        raise ValueError("no known type")
    ident = cell.get("id")
    return Raw(
        ident if isinstance(ident, str) else "",
        grade_id if isinstance(grade_id, str) else "",
        kind,
        source,
    )


def _match(raw: list[Raw], exercise: Exercise) -> None:
    """Find each cell's place: by grade id, cell id, content, name of the task, header."""
    for ways in (_by_grade_id, _by_id, _by_content, _by_name, _by_header):
        taken = {r.place for r in raw}
        found: dict[int, Raw] = {}
        for cell, place in ways(raw, exercise):
            if cell.place is None and place not in taken:
                found[place] = cell  # the last one counts
        for place, cell in found.items():
            cell.place = place


Pairs = Iterable[tuple[Raw, int]]


def _by_grade_id(raw: list[Raw], exercise: Exercise) -> Pairs:
    return (
        (r, exercise.by_grade_id[r.grade_id]) for r in raw if r.grade_id in exercise.by_grade_id
    )


def _by_id(raw: list[Raw], exercise: Exercise) -> Pairs:
    places = exercise.places
    return ((r, places[r.id]) for r in raw if r.id in places and not r.grade_id)


def _by_content(raw: list[Raw], exercise: Exercise) -> Pairs:
    places = exercise.released
    keys = ((r, (r.cell_type, _bare(r.source))) for r in raw if r.place is None)
    return ((r, places[key]) for r, key in keys if key in places)


def _bare(source: str) -> str:
    """As `exercise.bare`, for what may be written to make its search take hours."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _by_name(raw: list[Raw], exercise: Exercise) -> Pairs:
    for r in raw:
        if r.cell_type == "code" and r.place is None:
            for name in _defined_in(r.source) & exercise.defined.keys():
                yield r, exercise.defined[name]


def _defined_in(source: str) -> set[str]:
    """The names that a cell defines at its top level; its syntax is not looked at (it may bite)."""
    return set(
        re.findall(r"^(?:(?:async +)?def +|class +)?([^\W\d]\w*)\s*(?:[(:]|=(?!=))", source, re.M)
    )


def _by_header(raw: list[Raw], exercise: Exercise) -> Pairs:
    """The first free cell of its type behind the header that stands before a task's cell."""
    taken = {r.place for r in raw}
    for place, cell in enumerate(exercise.cells):
        if cell.kind not in ("solution", "written") or place in taken:
            continue
        headers = [c.released for c in exercise.cells[:place] if c.kind == "text"]
        header = next((h for h in reversed(headers) if _title(h)), None)
        at = [i for i, r in enumerate(raw) if header and _title(r.source) == _title(header)]
        for r in raw[at[-1] + 1 :] if at else []:
            if r.cell_type == "markdown" and _title(r.source):
                break
            if r.place is None and r.cell_type == cell.cell_type and r.source.strip():
                yield r, place
                break


def _title(source: str) -> str:
    first = source.strip().split("\n", 1)[0]
    return first.strip() if first.startswith("#") else ""


def _in_order(
    raw: list[Raw], exercise: Exercise, notes: list[str]
) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
    """The exercise's cells in the exercise's order, each with the student's own behind it."""
    groups: dict[int, list[Raw]] = {-1: []}
    last, ordered = -1, True
    for cell in raw:
        if cell.place is not None:
            ordered, last = ordered and cell.place > last, cell.place
            groups[last] = []
        groups[last].append(cell)
    if not ordered:
        notes.append("The cells were not in the order of the exercise; they were put back into it.")
    lost = []
    placed = [_own(cell) for cell in groups[-1]]
    for place, own in enumerate(exercise.cells):
        group = groups.get(place, [])
        source = own.source if own.fixed else own.released
        if group and not own.fixed and own.kind != "text":
            source = group[0].source
        elif not group and own.kind in ("solution", "written"):
            lost.append(own.grade_id)
        placed.append(Placed(own, own.cell_type, source))
        placed += [_own(cell) for cell in group[1:]]
    if lost:
        notes.append(
            f"No cell was found for: {', '.join(lost)}. Put the answer back under the task's "
            "header in the notebook as it was released, and hand in again."
        )
    return tuple(placed), tuple(notes)


def _own(cell: Raw) -> Placed:
    return Placed(None, cell.cell_type, cell.source)
