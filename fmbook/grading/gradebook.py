"""nbgrader's own rows: what it knows of a course, and the grades of one notebook, written at once.

The schema is nbgrader's and is read from the database; nbgrader is not imported. Left out: jobs,
files, and any decision on points.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fmbook.grading.course import CourseError
from fmbook.grading.verdict import Verdict

__all__ = ["Gradebook", "Key", "Record"]

TABLES = [
    *("assignment", "notebook", "base_cell", "grade_cells", "solution_cells", "task_cells"),
    *("source_cell", "student", "submitted_assignment", "submitted_notebook", "grade", "comment"),
]
Key = tuple[str, str, str]  # era, stem, student
BUSY = 30  # seconds that a writer waits for another


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
    """nbgrader's database behind an engine of SQLAlchemy; one thread writes."""

    def __init__(self, db_url: str) -> None:
        self.engine = sa.create_engine(db_url)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _sqlite)
            sa.event.listen(self.engine, "begin", _begin)
        metadata = sa.MetaData()
        try:
            metadata.reflect(self.engine, only=TABLES)
        except sa.exc.InvalidRequestError:
            raise CourseError(
                "the gradebook does not know this course yet: run `fmbook release` first"
            ) from None
        except sa.exc.DBAPIError as error:
            raise CourseError(f"the gradebook cannot be opened: {error.orig}") from None
        self.t = metadata.tables

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction: all of it, or nothing.

        Raises:
            CourseError: the database is locked by another program, or the disk is full.
        """
        try:
            with self.engine.execution_options(writes=True).begin() as db:
                yield db
        except sa.exc.OperationalError as error:
            raise CourseError(
                f"the gradebook could not be written ({error.orig}); nothing was changed. Close "
                "other programs that use it, make room on the disk, and run the command again."
            ) from None

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

    def _cells(self, db: sa.Connection, notebook: str | None) -> list[Any]:
        """Name, id, points (None: not graded) and kind of the cells of a notebook."""
        base, grade, task = (self.t[n] for n in ("base_cell", "grade_cells", "task_cells"))
        query = (
            sa.select(
                base.c.name,
                base.c.id,
                sa.func.coalesce(grade.c.max_score, task.c.max_score),
                base.c.type,
            )
            .outerjoin(grade, grade.c.id == base.c.id)
            .outerjoin(task, task.c.id == base.c.id)
            .where(base.c.notebook_id == notebook)
        )
        return list(db.execute(query))

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
        submission has changed since.
        """
        era, stem, student = key
        submission = self._submission(db, era, student, record.timestamp)
        notebook = self._notebooks(db, submission, era)[stem]
        cells = self._cells(db, self._source_of(db, notebook))  # a written answer is two of them
        graded = {name: cell for name, cell, points, _ in cells if points is not None}
        told = {name: cell for name, cell, _, kind in cells if kind != "GradeCell"}
        grade, comment = self.t["grade"], self.t["comment"]
        held = {
            row.cell_id: row
            for row in db.execute(sa.select(grade).where(grade.c.notebook_id == notebook))
        }
        changes = []
        for check in record.verdict.checks:
            before = held[graded[check.grade_id]]
            wanted = check.score is None
            if before.manual_score is not None:
                wanted = record.changed or before.needs_manual_grade
            changes.append({"row": before.id, "score": check.score, "waits": wanted})
        mine = grade.update().where(grade.c.id == sa.bindparam("row"))
        new: dict[str, Any] = {"auto_score": sa.bindparam("score")}
        new["needs_manual_grade"] = sa.bindparam("waits")
        db.execute(mine.values(new), changes)
        said = [
            {"cell": c, "said": "No response."} for n, c in told.items() if n in record.untouched
        ]
        of_notebook = comment.c.notebook_id == notebook
        db.execute(comment.update().where(of_notebook).values(auto_comment=None))
        if said:
            mine = comment.update().where(of_notebook, comment.c.cell_id == sa.bindparam("cell"))
            db.execute(mine.values(auto_comment=sa.bindparam("said")), said)
        self._penalty(db, submission, notebook, record.penalty)

    def _source_of(self, db: sa.Connection, notebook: str) -> str:
        mine = self.t["submitted_notebook"]
        query = sa.select(mine.c.notebook_id).where(mine.c.id == notebook)
        return str(db.execute(query).scalar_one())

    def _submission(
        self, db: sa.Connection, era: str, student: str, timestamp: datetime | None
    ) -> str:
        """The id of a student's assignment; made with all its rows if it is the first."""
        t, whole = self.t, self.t["submitted_assignment"]
        person = sa.select(t["student"].c.id).where(t["student"].c.id == student)
        if db.execute(person).scalar() is None:
            db.execute(t["student"].insert().values(id=student))
        names = t["assignment"].c.name == era
        assignment = str(db.execute(sa.select(t["assignment"].c.id).where(names)).scalar_one())
        mine = sa.and_(whole.c.assignment_id == assignment, whole.c.student_id == student)
        found = db.execute(sa.select(whole.c.id).where(mine)).scalar()
        if found is None:
            found = _new_id()
            row = {"id": found, "assignment_id": assignment, "student_id": student}
            db.execute(whole.insert().values(row))
        if timestamp is not None:
            db.execute(whole.update().where(mine).values(timestamp=timestamp.replace(tzinfo=None)))
        return str(found)

    def _notebooks(self, db: sa.Connection, submission: str, era: str) -> dict[str, str]:
        """The ids of a submission's notebooks; those that lack their rows get them."""
        t, mine = self.t, self.t["submitted_notebook"]
        every = (
            sa.select(t["notebook"].c.id, t["notebook"].c.name, mine.c.id.label("mine"))
            .join(t["assignment"], t["assignment"].c.id == t["notebook"].c.assignment_id)
            .outerjoin(
                mine,
                sa.and_(
                    mine.c.notebook_id == t["notebook"].c.id, mine.c.assignment_id == submission
                ),
            )
            .where(t["assignment"].c.name == era)
        )
        found = {}
        for row in list(db.execute(every)):
            found[row.name] = row.mine or self._new_notebook(db, submission, row.id)
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

    def _penalty(self, db: sa.Connection, submission: str, notebook: str, method: str) -> None:
        """nbgrader's penalty for late work: none, or all of the score."""
        t, whole = self.t, self.t["submitted_assignment"]
        dates = (
            sa.select(whole.c.timestamp, whole.c.extension, t["assignment"].c.duedate)
            .join(t["assignment"], t["assignment"].c.id == whole.c.assignment_id)
            .where(whole.c.id == submission)
        )
        handed_in, extension, due = db.execute(dates).one()
        late = due is not None and handed_in is not None
        late = late and handed_in > (due + extension if extension else due)
        penalty = self._score(db, notebook) if late and method == "zero" else None
        mine = t["submitted_notebook"]
        change = mine.update().where(mine.c.id == notebook)
        db.execute(change.values(late_submission_penalty=penalty))

    def _score(self, db: sa.Connection, notebook: str) -> float:
        grade = self.t["grade"]
        score = sa.func.coalesce(grade.c.manual_score, grade.c.auto_score, 0.0)
        extra = sa.case(
            (sa.func.coalesce(grade.c.manual_score, grade.c.auto_score).is_(None), 0.0),
            else_=sa.func.coalesce(grade.c.extra_credit, 0.0),
        )
        query = sa.select(sa.func.sum(score + extra)).where(grade.c.notebook_id == notebook)
        return float(db.execute(query).scalar() or 0.0)


def _new_id() -> str:
    return uuid.uuid4().hex


def _sqlite(connection: Any, _record: Any) -> None:
    """Wait for other writers, and survive being killed; transactions begin where we say."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(db: sa.Connection) -> None:
    """Take SQLite's lock at a writing transaction's start, where waiting for it is possible."""
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writes") else "BEGIN")
