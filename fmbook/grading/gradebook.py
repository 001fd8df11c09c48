"""nbgrader's own rows: what it knows of a course, and the grades of one notebook, written at once.

The schema is nbgrader's and is read from the database; nbgrader is not imported. Left out: jobs,
files, and any decision on points.
"""

import secrets
import time
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
Names = dict[str, str]
Marks = dict[str, float | None]  # by the id of a cell; None: a person decides
Words = dict[str, str | None]


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
        self.sql = Statements(self.t, self.engine.dialect)
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

    def write_grades(self, db: sa.Connection, key: Key, record: Record) -> None:
        """Grades, comments and late penalty of one notebook, as nbgrader would store them.

        A manual score is never touched; a cell that has one is marked for another look if the
        submission has changed since. What stands there already is not written again.
        """
        era, stem, student = key
        rows = self._rows(db, era, student)
        whole = rows[0].whole or self._new_submission(db, rows[0].assignment, student)
        when = self._handed_in(db, whole, rows[0].timestamp, record.timestamp)
        at = next(row for row in rows if row.name == stem)
        new = {row.source: _new_id() for row in rows if row.mine is None}
        marks, words = self._marks(db, at.source, record), self._words(db, at.source, record)
        if new:
            self._new_notebooks(db, whole, new, marks, words)
        mine = {"of": at.mine or new[at.source], "source": at.source}
        if at.source not in new:
            self._grade(db, mine, marks, record.changed)
            self._comment(db, mine, words)
        dates, zero = (when, at.extension, at.duedate), record.penalty == "zero"
        self._penalty(db, mine, at.late_submission_penalty, dates, zero)
        for row in rows:  # all of the assignment came at the new time
            if when != row.timestamp and row.mine and row is not at:
                other = {"of": row.mine, "source": row.source}
                self._penalty(db, other, row.late_submission_penalty, dates, zero)

    def _rows(self, db: sa.Connection, era: str, student: str) -> Sequence[Any]:
        """What there is of a student's assignment, a row for each notebook of the era.

        On a server the student's row is held until the transaction ends: two coordinators may
        store two notebooks of the same student.
        """
        names = {"era": era, "who": student}
        if self.server:
            db.execute(self.sql.new_person, names)
            db.execute(self.sql.person, names)
        return db.execute(self.sql.submission, names).all()

    def _new_submission(self, db: sa.Connection, assignment: str, student: str) -> str:
        if not self.server:
            db.execute(self.sql.new_person, {"who": student})
        row = {"id": _new_id(), "assignment_id": assignment, "student_id": student}
        db.exec_driver_sql(self.sql.new_whole, row)
        return row["id"]

    def _handed_in(
        self, db: sa.Connection, whole: str, before: datetime | None, now: datetime | None
    ) -> datetime | None:
        """When the assignment was handed in, noted if that is news."""
        when = now.replace(tzinfo=None) if now else before
        if when != before:
            db.execute(self.sql.handed_in, {"of": whole, "when": when})
        return when

    def _of_source(self, db: sa.Connection, source: str) -> Sequence[Any]:
        """The cells of a notebook as released, asked for once; a written answer is two of them."""
        if source not in self.cells_of:
            self.cells_of[source] = self._cells(db, source)
        return self.cells_of[source]

    def _marks(self, db: sa.Connection, source: str, record: Record) -> Marks:
        """What the graded cells get of which the verdict speaks."""
        scores = {check.grade_id: check.score for check in record.verdict.checks}
        graded = ((n, c) for n, c, points, _ in self._of_source(db, source) if points is not None)
        return {cell: scores[name] for name, cell in graded if name in scores}

    def _words(self, db: sa.Connection, source: str, record: Record) -> Words:
        """What is said of each answer: whether there is none, as nbgrader does."""
        return {
            cell: "No response." if name in record.untouched else None
            for name, cell, _, kind in self._of_source(db, source)
            if kind != "GradeCell"
        }

    def _grade(self, db: sa.Connection, mine: Names, marks: Marks, changed: bool) -> None:
        changes = []
        for row in db.execute(self.sql.grades, mine).all():
            if row.cell_id not in marks:
                continue
            score = marks[row.cell_id]
            waits = score is None
            if row.manual_score is not None:
                waits = changed or row.needs_manual_grade
            if (row.auto_score, row.needs_manual_grade) != (score, waits):
                changes.append({"row": row.id, "score": score, "waits": waits})
        if changes:
            db.exec_driver_sql(self.sql.grade, changes)

    def _comment(self, db: sa.Connection, mine: Names, words: Words) -> None:
        changes = [
            {"row": row.id, "said": words.get(row.cell_id)}
            for row in db.execute(self.sql.comments, mine).all()
            if row.auto_comment != words.get(row.cell_id)
        ]
        if changes:
            db.exec_driver_sql(self.sql.comment, changes)

    def _new_notebooks(
        self, db: sa.Connection, whole: str, new: Names, marks: Marks, words: Words
    ) -> None:
        """The rows of notebooks that have none, by the ids as released: of that which is graded
        now with what it gets, of all others empty, as nbgrader makes them."""
        notebooks, grades, comments = [], list[dict[str, Any]](), list[dict[str, Any]]()
        for source, mine in new.items():
            row = {"id": mine, "assignment_id": whole, "notebook_id": source, "flagged": False}
            notebooks.append(row)
            for _, cell, points, kind in self._of_source(db, source):
                row = {"id": _new_id(), "notebook_id": mine, "cell_id": cell}
                if points is not None:
                    score = marks.get(cell)
                    grades.append(row | {"auto_score": score, "needs_manual_grade": score is None})
                if kind != "GradeCell":
                    comments.append(row | {"auto_comment": words.get(cell)})
        new_rows = {
            self.sql.new_notebooks: notebooks,
            self.sql.new_grades: grades,
            self.sql.new_comments: comments,
        }
        for insert, rows in new_rows.items():
            if rows:
                db.exec_driver_sql(insert, rows)

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
    """An id in the form of nbgrader's that begins with the time.

    Rows that are made together lie together in the database's indexes: half the work of random
    ones.
    """
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"
