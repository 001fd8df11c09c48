"""One submission on its way through the grader, and what is made of it in the end.

Left out: reading it, running it, and storing what is made.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fmbook.grading.exercise import Exercise
from fmbook.grading.gradebook import Key
from fmbook.grading.intake import Placed, Submission
from fmbook.grading.ledger import Entry
from fmbook.grading.verdict import Check, Verdict, graded_cells, verdict_of

__all__ = ["GRADED", "Task", "notebook", "untouched", "verdict_on"]

GRADED = ("check", "written", "task")
READABLE = json.JSONEncoder(ensure_ascii=False)


@dataclass(kw_only=True)
class Task:
    """One submission on its way through: read, run (or found among the results), stored."""

    key: Key
    exercise: Exercise
    submission: Submission
    job: bytes = b""
    job_key: str = ""
    seed: str = ""
    problem: str = ""  # why it cannot be read
    missing: bool = False
    timestamp: datetime | None = None
    entry: Entry | None = None
    found: dict[str, Any] | None = field(default=None, repr=False)
    left: str = ""  # `kept` as it is, or `elsewhere`: another process has it

    @property
    def state(self) -> str:
        if self.missing:
            return "missing"
        return "unreadable" if self.problem else "graded"


def verdict_on(task: Task) -> Verdict:
    """What a submission gets; one that could not be read or is not there gets nothing."""
    if task.found is not None:
        return verdict_of(task.exercise, task.submission, task.found)
    why = task.problem or "Nothing was handed in for this chapter."
    zero = tuple(
        Check(
            grade_id=c.grade_id,
            task=task.exercise.task_of(c) if c.kind == "check" else c.grade_id,
            points=c.points,
            score=0.0,
            message=why,
            hidden=c.source != c.released,
        )
        for c in task.exercise.cells
        if c.kind in GRADED
    )
    return Verdict(checks=zero, notes=(why,), unreadable=task.problem)


def untouched(task: Task) -> frozenset[str]:
    """The answers that are as they were released; as for stock, none if nothing was handed in."""
    if task.missing:
        return frozenset()
    return frozenset(
        p.cell.grade_id
        for p in task.submission.cells
        if p.cell and p.cell.kind in ("solution", "written") and p.source == p.cell.released
    )


def _line(known: dict[str, str], placed: Placed, cell: dict[str, Any]) -> str:
    """A cell of a graded notebook as a line; the exercise's own are written once."""
    own = placed.cell is not None and (placed.cell.fixed or placed.cell.kind == "text")
    if not own or cell.get("outputs"):
        return READABLE.encode(cell)
    if cell["id"] not in known:
        known[cell["id"]] = READABLE.encode(cell)
    return known[cell["id"]]


def notebook(task: Task, verdict: Verdict) -> bytes:
    """The notebook that instructors look at."""
    found = task.found or {"steps": {}}
    cells = graded_cells(task.exercise, task.submission, found, verdict)
    lines = []
    for number, note in enumerate(verdict.notes):
        told = {"cell_type": "markdown", "id": f"note-{number}", "metadata": {}, "source": note}
        lines.append(READABLE.encode(told))
    for placed, cell in zip(task.submission.cells, cells, strict=True):
        lines.append(_line(task.exercise.lines, placed, cell))
    kept = {k: v for k, v in task.exercise.metadata.items() if k in ("kernelspec", "language_info")}
    rest = json.dumps({"metadata": kept, "nbformat": 4, "nbformat_minor": 5})
    whole = ",\n".join(lines)
    return f'{{"cells": [\n{whole}\n],\n{rest[1:]}\n'.encode("utf8", "replace")
