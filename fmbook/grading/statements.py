"""The statements that every submission needs, built once: building costs more than running them.

Those that write many rows are text for the database's driver, which takes the rows as they are.
Left out: when they are run, and what is asked once a run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["Statements", "insert_of"]

OF: Any = sa.bindparam("of")
FROM: Any = sa.bindparam("source")
ERA: Any = sa.bindparam("era")
WHO: Any = sa.bindparam("who")


def insert_of(dialect: str) -> Any:
    """The `insert` of a dialect, which can say what to do about a row that is there already."""
    return {"sqlite": sqlite, "postgresql": postgresql}[dialect].insert


class Statements:
    """Queries and changes of nbgrader's tables; `of` is the id of what they are about.

    nbgrader's indexes of grades and comments begin with the cell: who asks for the rows of a
    submission by themselves reads those of the whole class. So `source`, the id of the notebook as
    released, says of which cells they are.
    """

    def __init__(self, t: Mapping[str, sa.Table], dialect: sa.Dialect) -> None:
        self._ask(t)
        self._change(t, dialect)
        insert: Any = insert_of(dialect.name)(t["student"]).values(id=WHO)
        self.new_person = insert.on_conflict_do_nothing()
        ids = ("id", "notebook_id", "cell_id")
        whole = ("id", "assignment_id", "student_id")
        mine = ("id", "assignment_id", "notebook_id", "flagged")
        graded, told = (*ids, "auto_score", "needs_manual_grade"), (*ids, "auto_comment")
        self.new_whole = _text(t["submitted_assignment"].insert(), dialect, whole)
        self.new_notebooks = _text(t["submitted_notebook"].insert(), dialect, mine)
        self.new_grades = _text(t["grade"].insert(), dialect, graded)
        self.new_comments = _text(t["comment"].insert(), dialect, told)

    def _ask(self, t: Mapping[str, sa.Table]) -> None:
        assignment, notebook, student = t["assignment"].c, t["notebook"].c, t["student"].c
        whole, mine, grade = t["submitted_assignment"].c, t["submitted_notebook"].c, t["grade"].c
        base, graded, task = t["base_cell"].c, t["grade_cells"].c, t["task_cells"].c

        self.person = sa.select(student.id).where(student.id == WHO).with_for_update()
        of_student = sa.and_(whole.assignment_id == assignment.id, whole.student_id == WHO)
        of_whole = sa.and_(mine.notebook_id == notebook.id, mine.assignment_id == whole.id)
        ids = {"assignment": assignment, "whole": whole, "source": notebook, "mine": mine}
        # SQLite keeps a span of time as a date, and what is reflected cannot tell
        extension = sa.type_coerce(whole.extension, sa.Interval).label("extension")
        dates = (whole.timestamp, extension, assignment.duedate)
        labels = (columns.id.label(name) for name, columns in ids.items())
        self.submission = (
            sa.select(*labels, *dates, notebook.name, mine.late_submission_penalty)
            .select_from(t["assignment"])
            .join(t["notebook"], notebook.assignment_id == assignment.id)
            .outerjoin(t["submitted_assignment"], of_student)
            .outerjoin(t["submitted_notebook"], of_whole)
            .where(assignment.name == ERA)
        )
        points = sa.func.coalesce(graded.max_score, task.max_score)
        self.cells = (
            sa.select(base.name, base.id, points, base.type)
            .outerjoin(t["grade_cells"], graded.id == base.id)
            .outerjoin(t["task_cells"], task.id == base.id)
            .where(base.notebook_id == OF)
        )
        of_source = sa.select(base.id).where(base.notebook_id == FROM)
        of_mine = (grade.cell_id.in_(of_source), grade.notebook_id == OF)
        kept = (grade.id, grade.cell_id, grade.manual_score, grade.auto_score)
        self.grades = (  # held, where the database can: a person may be entering one right now
            sa.select(*kept, grade.needs_manual_grade).where(*of_mine).with_for_update()
        )
        given = sa.func.coalesce(grade.manual_score, grade.auto_score)
        extra = sa.func.coalesce(grade.extra_credit, 0.0)
        worth = sa.case((given.is_(None), 0.0), else_=given + extra)
        self.score = sa.select(sa.func.sum(worth)).where(*of_mine)
        comment = t["comment"].c
        said = sa.select(comment.id, comment.cell_id, comment.auto_comment)
        self.comments = said.where(comment.cell_id.in_(of_source), comment.notebook_id == OF)

    def _change(self, t: Mapping[str, sa.Table], dialect: sa.Dialect) -> None:
        whole, mine = t["submitted_assignment"], t["submitted_notebook"]
        grade, comment = t["grade"], t["comment"]

        handed_in = whole.update().where(whole.c.id == OF)
        self.handed_in = handed_in.values(timestamp=sa.bindparam("when"))
        new: Any = {
            "auto_score": sa.bindparam("score"),
            "needs_manual_grade": sa.bindparam("waits"),
        }
        one = grade.update().where(grade.c.id == sa.bindparam("row")).values(new)
        said = comment.update().where(comment.c.id == sa.bindparam("row"))
        self.grade = _text(one, dialect)
        self.comment = _text(said.values(auto_comment=sa.bindparam("said")), dialect)
        late = mine.update().where(mine.c.id == OF)
        self.penalty = late.values(late_submission_penalty=sa.bindparam("penalty"))


def _text(
    statement: sa.Insert | sa.Update, dialect: sa.Dialect, columns: Sequence[str] | None = None
) -> str:
    """A statement as its driver takes it, with parameters by name (those of `columns`)."""
    return str(statement.compile(dialect=dialect, column_keys=columns))
