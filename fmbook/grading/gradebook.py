"""nbgrader's own rows: what it knows of a course, and the grades of one notebook, written at once.

The schema is nbgrader's and is read from the database; nbgrader is not imported. Left out: jobs,
files, and any decision on points.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fmbook.grading.course import CourseError
from fmbook.grading.database import engine_of
from fmbook.grading.statements import Statements
from fmbook.grading.verdict import Verdict

__all__ = ["OLDER", "Gradebook", "Key", "Record"]

TABLES = [
    *("assignment", "notebook", "base_cell", "grade_cells", "solution_cells", "task_cells"),
    *("source_cell", "student", "submitted_assignment", "submitted_notebook", "grade", "comment"),
]
ADDED = (("grade", "extra_credit"), ("student", "lms_user_id"))  # by nbgrader, over the years
OLDER = "the gradebook is of an older nbgrader: make a copy of it, then run `nbgrader db upgrade`"
Key = tuple[str, str, str]  # era, stem, student
Dates = tuple[Any, Any, Any]  # handed in, extension, due
Names = dict[str, str]  # the parameters of a statement


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is to be stored of one submission; `state` as in `ledger.Entry`."""

    state: str
    verdict: Verdict
    key: str
    seed: str
    file: str  # sha256 of the notebook in autograded/, or ""
    timestamp: datetime | None = None  # when it was handed in, UTC
    untouched: frozenset[str] = frozenset()  # answers that are as they were released
    penalty: str = "none"  # nbgrader's method for late work
    changed: bool = True  # since it was graded before


class Gradebook:
    """nbgrader's database behind an engine of SQLAlchemy; one thread writes.

    What the database cannot do becomes a CourseError (see `database`).
    """

    def __init__(self, db_url: str) -> None:
        self.engine = engine_of(db_url)
        self.server = self.engine.dialect.name == "postgresql"
        self.writer = self.engine.execution_options(writes=True)
        metadata = sa.MetaData()
        try:
            metadata.reflect(self.engine, only=TABLES)
        except sa.exc.InvalidRequestError:
            self.engine.dispose()
            raise CourseError(
                "the gradebook does not know this course yet: run `fmbook release` first"
            ) from None
        self.t = metadata.tables
        if any(column not in self.t[table].c for table, column in ADDED):
            self.engine.dispose()
            raise CourseError(OLDER)
        self.sql = Statements(self.t, self.engine.dialect.name)
        self.cells_of: dict[str, Sequence[Any]] = {}  # while grades are written: as released

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction: all of it, or nothing."""
        with self.writer.begin() as db:
            yield db

    def notebook_id(self, era: str, stem: str) -> str | None:
        """nbgrader's id of a notebook, or None if it was never released."""
        notebook, assignment = self.t["notebook"], self.t["assignment"]
        query = (
            sa.select(notebook.c.id)
            .join(assignment, assignment.c.id == notebook.c.assignment_id)
            .where(assignment.c.name == era, notebook.c.name == stem)
        )
        with self.engine.connect() as db:
            return db.execute(query).scalar()

    def stored(self, era: str, stem: str) -> dict[str, tuple[str, str | None]]:
        """The source and checksum of each cell that the gradebook keeps of a notebook."""
        cell = self.t["source_cell"]
        query = sa.select(cell.c.name, cell.c.source, cell.c.checksum)
        query = query.where(cell.c.notebook_id == self.notebook_id(era, stem))
        with self.engine.connect() as db:
            return {name: (source, checksum) for name, source, checksum in db.execute(query)}

    def points(self, era: str, stem: str) -> dict[str, float]:
        """The points of each graded cell of a notebook."""
        with self.engine.connect() as db:
            cells = self._cells(db, self.notebook_id(era, stem))
        return {name: points for name, _, points, _ in cells if points is not None}

    def _cells(self, db: sa.Connection, notebook: str | None) -> Sequence[Any]:
        """Name, id, points (None: not graded) and kind of the cells of a notebook."""
        return db.execute(self.sql.cells, {"of": notebook}).all()

    def submitted(self) -> Any:
        """A subquery: submitted notebooks with the names of era, stem and student."""
        t = self.t
        mine, whole = t["submitted_notebook"], t["submitted_assignment"]
        return (
            sa.select(
                mine.c.id,
                mine.c.late_submission_penalty,
                t["assignment"].c.name.label("era"),
                t["notebook"].c.name.label("stem"),
                whole.c.student_id.label("student"),
            )
            .join(whole, whole.c.id == mine.c.assignment_id)
            .join(t["notebook"], t["notebook"].c.id == mine.c.notebook_id)
            .join(t["assignment"], t["assignment"].c.id == t["notebook"].c.assignment_id)
            .subquery()
        )

    def manual(
        self, era: str, stem: str, student: str
    ) -> dict[str, tuple[float | None, float | None, str | None]]:
        """What people entered: grade id to manual score, extra credit, comment."""
        s, t = self.submitted(), self.t
        mine = sa.select(s.c.id).where(s.c.era == era, s.c.stem == stem, s.c.student == student)
        cell, grade, comment = t["base_cell"], t["grade"], t["comment"]
        grades = sa.select(cell.c.name, grade.c.manual_score, grade.c.extra_credit)
        grades = grades.join(grade, grade.c.cell_id == cell.c.id)
        words = sa.select(cell.c.name, comment.c.manual_comment)
        words = words.join(comment, comment.c.cell_id == cell.c.id)
        found: dict[str, tuple[float | None, float | None, str | None]] = {}
        with self.engine.connect() as db:
            for name, score, extra in db.execute(grades.where(grade.c.notebook_id.in_(mine))):
                found[name] = (score, extra, None)
            for name, said in db.execute(words.where(comment.c.notebook_id.in_(mine))):
                found[name] = (*found.get(name, (None, None))[:2], said)
        return found

    def write_grades(self, db: sa.Connection, key: Key, record: Record) -> None:
        """Grades, comments and late penalty of one notebook, as nbgrader would store them.

        A manual score is never touched; a cell that has one is marked for another look if the
        submission has changed since. What stands there already is not written again.
        """
        era, stem, student = key
        submission, dates = self._submission(db, era, student, record.timestamp)
        source, notebook, penalty = self._notebooks(db, submission, era)[stem]
        if source not in self.cells_of:
            self.cells_of[source] = self._cells(db, source)  # a written answer is two of them
        cells = self.cells_of[source]
        graded = {name: cell for name, cell, points, _ in cells if points is not None}
        mine = {"of": notebook, "source": source}
        held = {row.cell_id: row for row in db.execute(self.sql.grades, mine).all()}
        changes = []
        for check in record.verdict.checks:
            before = held[graded[check.grade_id]]
            wanted = check.score is None
            if before.manual_score is not None:
                wanted = record.changed or before.needs_manual_grade
            if (before.auto_score, before.needs_manual_grade) != (check.score, wanted):
                changes.append({"row": before.id, "score": check.score, "waits": wanted})
        if changes:
            db.execute(self.sql.grade, changes)
        self._comment(db, mine, cells, record.untouched)
        self._penalty(db, mine, penalty, dates, record.penalty == "zero")

    def _comment(
        self, db: sa.Connection, mine: Names, cells: Sequence[Any], untouched: frozenset[str]
    ) -> None:
        """Say of each answer whether there is none, as nbgrader does."""
        wanted = {
            cell: "No response." if name in untouched else None
            for name, cell, _, kind in cells
            if kind != "GradeCell"
        }
        held = db.execute(self.sql.comments, mine).all()
        changes = [
            {"row": row.id, "said": wanted.get(row.cell_id)}
            for row in held
            if row.auto_comment != wanted.get(row.cell_id)
        ]
        if changes:
            db.execute(self.sql.comment, changes)

    def _submission(
        self, db: sa.Connection, era: str, student: str, timestamp: datetime | None
    ) -> tuple[str, Dates]:
        """The id of a student's assignment, made with all its rows if it is the first; its dates.

        On a server the student's row is held until the transaction ends: two coordinators may
        store two notebooks of the same student.
        """
        t, names = self.t, {"era": era, "who": student}
        if self.server:
            db.execute(self.sql.new_person, names)
            db.execute(self.sql.person, names)
        assignment, found, before, extension, due = db.execute(self.sql.submission, names).one()
        if found is None:
            if not self.server:
                db.execute(self.sql.new_person, names)
            found = _new_id()
            row = {"id": found, "assignment_id": assignment, "student_id": student}
            db.execute(t["submitted_assignment"].insert().values(row))
        when = timestamp.replace(tzinfo=None) if timestamp else before
        if when != before:
            db.execute(self.sql.handed_in, {"of": found, "when": when})
        return str(found), (when, extension, due)

    def _notebooks(
        self, db: sa.Connection, submission: str, era: str
    ) -> dict[str, tuple[str, str, float | None]]:
        """By name the ids of an era's notebooks and a submission's, with the penalty for late work.

        Those that lack rows get them.
        """
        found, of_era = {}, {"era": era, "of": submission}
        for name, source, mine, penalty in db.execute(self.sql.notebooks, of_era).all():
            found[name] = (source, mine or self._new_notebook(db, submission, source), penalty)
        return found

    def _new_notebook(self, db: sa.Connection, submission: str, notebook: str) -> str:
        t, new = self.t, _new_id()
        row = {"id": new, "assignment_id": submission, "notebook_id": notebook, "flagged": False}
        db.execute(t["submitted_notebook"].insert().values(row))
        cells = self._cells(db, notebook)
        owners = [{"id": _new_id(), "notebook_id": new, "cell_id": cell} for _, cell, *_ in cells]
        graded = [o for o, c in zip(owners, cells, strict=True) if c[2] is not None]
        told = [
            o for o, c in zip(owners, cells, strict=True) if c[3] in ("SolutionCell", "TaskCell")
        ]
        if graded:
            db.execute(t["grade"].insert().values(needs_manual_grade=True), graded)
        if told:
            db.execute(t["comment"].insert(), told)
        return new

    def _penalty(
        self, db: sa.Connection, mine: Names, before: float | None, dates: Dates, zero: bool
    ) -> None:
        """nbgrader's penalty for late work: none, or all of the score (`zero`)."""
        handed_in, extension, due = dates
        late = due is not None and handed_in is not None
        late = late and handed_in > (due + extension if extension else due)
        penalty = db.execute(self.sql.score, mine).scalar() or 0.0 if late and zero else None
        if penalty != before:
            db.execute(self.sql.penalty, {"of": mine["of"], "penalty": penalty})


def _new_id() -> str:
    return uuid.uuid4().hex
