"""What a submission gets: the engine's scores, what people entered, and the penalty for late work.

As nbgrader adds up: a manual score replaces a check's own, extra credit is added, the penalty is
taken off at the end. Left out: storing any of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmbook.grading.course import Course
    from fmbook.grading.ledger import Entry, Ledger

__all__ = ["Entered", "Marks", "collected", "entered", "marks_of"]

Entered = Mapping[str, tuple[float | None, float | None, str | None]]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Points by grade id (None: a person has yet to decide), and by task.

    `counts` says whether there is a score at all: graded, or decided by a person.
    """

    scores: Mapping[str, float | None]
    tasks: Mapping[str, float | None]
    penalty: float
    counts: bool

    @property
    def score(self) -> float:
        """What counts, penalty taken off."""
        return max(0.0, sum(s or 0.0 for s in self.scores.values()) - self.penalty)

    @property
    def waits(self) -> bool:
        """Whether a person has yet to decide on something."""
        return None in self.scores.values()


def marks_of(entry: "Entry", entered: Entered) -> Marks:
    """The marks of a submission that was graded, or could not be read."""
    checks = entry.verdict.checks if entry.verdict else ()
    own = {check.grade_id: check.score for check in checks}
    task_of = {check.grade_id: check.task for check in checks}
    scores: dict[str, float | None] = {}
    tasks: dict[str, float | None] = {}
    for grade_id in [*own, *(g for g in entered if g not in own and entered[g][0] is not None)]:
        manual, extra, _ = entered.get(grade_id, (None, None, None))
        score = own.get(grade_id) if manual is None else manual
        scores[grade_id] = None if score is None else score + (extra or 0.0)
        task = task_of.get(grade_id, grade_id)
        both = (tasks.get(task, 0.0), scores[grade_id])
        tasks[task] = None if None in both else sum(s or 0.0 for s in both)
    by_hand = any(manual is not None for manual, _, _ in entered.values())
    return Marks(
        scores=scores,
        tasks=tasks,
        penalty=entry.late_penalty or 0.0,
        counts=entry.state == "graded" or (entry.state == "unreadable" and by_hand),
    )


def entered(ledger: "Ledger", era: str, stem: str) -> dict[str, dict[str, Any]]:
    """What people entered for a whole class at once: student to what `Ledger.manual` gives."""
    import sqlalchemy as sa

    s, t = ledger.submitted(), ledger.t
    cell, grade, comment = t["base_cell"], t["grade"], t["comment"]
    given = sa.or_(grade.c.manual_score.is_not(None), grade.c.extra_credit.is_not(None))
    grades = sa.select(s.c.student, cell.c.name, grade.c.manual_score, grade.c.extra_credit)
    grades = grades.join(grade, grade.c.notebook_id == s.c.id)
    grades = grades.join(cell, cell.c.id == grade.c.cell_id).where(given)
    words = sa.select(s.c.student, cell.c.name, comment.c.manual_comment)
    words = words.join(comment, comment.c.notebook_id == s.c.id)
    words = words.join(cell, cell.c.id == comment.c.cell_id)
    words = words.where(comment.c.manual_comment.is_not(None))
    found: dict[str, dict[str, Any]] = {}
    with ledger.engine.connect() as db:
        for who, name, score, extra in db.execute(grades.where(s.c.era == era, s.c.stem == stem)):
            found.setdefault(who, {})[name] = (score, extra, None)
        for who, name, said in db.execute(words.where(s.c.era == era, s.c.stem == stem)):
            mine = found.setdefault(who, {})
            mine[name] = (*mine.get(name, (None, None))[:2], said)
    return found


def collected(
    course: "Course", ledger: "Ledger", era: str | None, stem: str | None
) -> dict[tuple[str, str], list["Entry"]]:
    """What was handed in, by era and stem; a stem that nobody handed in is not there.

    Raises:
        CourseError: there is no such era or notebook, or nothing was graded yet.
    """
    from fmbook.grading.course import CourseError

    eras = course.eras()
    if era is not None and era not in eras:
        raise CourseError(f"no era is called {era!r}; there are: {', '.join(eras)}")
    stems = [name for e in eras if era in (None, e) for name in course.stems(e)]
    if stem is not None and stem not in stems:
        raise CourseError(f"no notebook is called {stem!r}; there are: {', '.join(stems)}")
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in ledger.entries(era, stem):
        if entry.state != "missing":
            found.setdefault((entry.era, entry.stem), []).append(entry)
    if not found:
        raise CourseError("nothing has been graded yet: run `fmbook grade`")
    return found
