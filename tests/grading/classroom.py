"""A course with a class in it, made of the real thing: nbgrader's gradebook, our ledger, verdicts.

Nothing is run: a submission's findings are given. Names and messages may be as hostile as wanted.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fmbook.grading.course import Course
from fmbook.grading.exercise import Cell
from fmbook.grading.gradebook import Record
from fmbook.grading.intake import read_submission
from fmbook.grading.ledger import Ledger
from fmbook.grading.verdict import Check, Flag, Verdict, graded_cells, verdict_of
from tests.grading.course import make

EVIL = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
)
ANSI = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\u202e"


class Classroom:
    """A course folder on disk with both exercises released, and nobody in it yet."""

    def __init__(self, folder: Path) -> None:
        self.course: Course = make(folder)
        self.ledger = Ledger(self.course.db_url)
        self.exercises = {
            (era, stem): self.course.exercise(era, stem, self.ledger.stored(era, stem))
            for era in self.course.eras()
            for stem in self.course.stems(era)
        }

    def hand_in(
        self,
        student: str,
        era: str,
        stem: str,
        *,
        says: Mapping[str, str] = {},
        answers: Mapping[str, str] = {},
        outputs: Mapping[str, list[dict[str, Any]]] = {},
        flags: tuple[Flag, ...] = (),
        notes: tuple[str, ...] = (),
        seconds: float = 0.5,
    ) -> Verdict:
        """Record a submission. `says`: check to the message with which it fails; others pass.

        `answers` and `outputs`: grade id of a solution cell to its source, to its outputs.
        """
        exercise = self.exercises[era, stem]
        notebook = json.loads((self.course.release / era / f"{stem}.ipynb").read_text("utf8"))
        for cell in notebook["cells"]:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id")
            cell["source"] = answers.get(name, cell["source"])
        submission = read_submission(json.dumps(notebook).encode(), exercise)
        found = {"steps": {c.id: _step(c, says, outputs, seconds) for c in exercise.cells}}
        verdict = verdict_of(exercise, submission, found)
        verdict = replace(verdict, flags=flags, notes=verdict.notes + notes, seconds=seconds)
        page = {
            "cells": graded_cells(exercise, submission, found, verdict),
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        folder = self.course.folder("autograded", student, era)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.ipynb").write_text(json.dumps(page), "utf8")
        (folder / "timestamp.txt").write_text("2026-01-05 10:00:00 UTC")
        (folder / "submission_secret.txt").write_text("0" * 64)
        self.record(student, era, stem, "graded", verdict)
        return verdict

    def refuse(self, student: str, era: str, stem: str, why: str) -> None:
        """Record a submission that could not be read."""
        checks = tuple(
            Check(grade_id=c.grade_id, task=c.grade_id, points=c.points, score=0.0, message=why)
            for c in self.exercises[era, stem].cells
            if c.kind in ("check", "written")
        )
        verdict = Verdict(checks=checks, notes=(why,), unreadable=why)
        self.record(student, era, stem, "unreadable", verdict)

    def record(self, student: str, era: str, stem: str, state: str, verdict: Verdict) -> None:
        key = (era, stem, student)
        assert self.ledger.claim([key], 60)
        record = Record(state=state, verdict=verdict, key="k", seed="5eed" * 8, file="")
        assert self.ledger.record({key: record}) == {key}

    def crowd(self, count: int) -> None:
        """Put a large class into the table of jobs, two exercises, without nbgrader's rows."""
        two = [("rules", "expert_system"), ("transformers", "attention")]
        pattern = {key: self._failing(key) for key in two}
        rows = []
        for n in range(count):
            for (era, stem), verdicts in pattern.items():
                said = json.dumps(verdicts[n % len(verdicts)]).replace("0.1234", f"0.{n:04}")
                seed, done = f"{n:032x}", datetime.now(UTC).isoformat()
                names = {"era": era, "stem": stem, "student": f"student-{n:04}"}
                more = {"state": "graded", "verdict": said, "seed": seed, "finished": done}
                rows.append(names | more)
        with self.ledger.write() as db:
            db.execute(self.ledger.jobs.insert(), rows)

    def _failing(self, key: tuple[str, str]) -> list[dict[str, Any]]:
        checks = [c for c in self.exercises[key].cells if c.kind == "check"]
        message = "q (3, 4), k (5, 4): at [1, 2]: got 0.1234, expected 1.5 (7 of 12 values differ)"
        made = []
        for n in range(7):
            says = {c.grade_id: message for i, c in enumerate(checks) if (i + n) % (n + 2) == 0}
            found = {"steps": {c.id: _step(c, says, {}, 0.1 * n) for c in checks}}
            exercise = self.exercises[key]
            released = (self.course.release / key[0] / f"{key[1]}.ipynb").read_bytes()
            submission = read_submission(released, exercise)
            made.append(verdict_of(exercise, submission, found).as_json())
        return made


def _step(
    cell: Cell, says: Mapping[str, str], outputs: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    step: dict[str, Any] = {"id": cell.id, "seconds": seconds / 100, "score": None}
    if cell.grade_id in says:
        step = {"id": cell.id, "error": ["Wrong", says[cell.grade_id]]}
    if cell.grade_id in outputs:
        step["outputs"] = outputs[cell.grade_id]
    return step
