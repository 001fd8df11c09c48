"""What one submission asks of the gradebook, and the penalty for late work that it gets there."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from nbgrader.api import Gradebook as Nbgraders

from fmbook.grading.course import Course
from fmbook.grading.grade import Options, grade
from fmbook.grading.gradebook import Gradebook
from tests.grading import course as courses
from tests.grading import small

OF_THE_CLASS = ("grade", "comment", "submitted_notebook", "submitted_assignment", "student")


def test_no_statement_of_a_submission_reads_the_rows_of_the_whole_class(tmp_path: Path) -> None:
    """SQLite says how it would go about each; a table with rows of all students is searched."""
    with closing(Gradebook(small.make(tmp_path / "course").db_url)) as gradebook:
        dialect = gradebook.engine.dialect
        statements = {
            name: s if isinstance(s, str) else str(s.compile(dialect=dialect))
            for name, s in vars(gradebook.sql).items()
        }
        with closing(gradebook.engine.raw_connection()) as db:
            for name, statement in statements.items():
                cursor = db.cursor()
                anything = dict.fromkeys(re.findall(r":(\w+)", statement), "x")
                cursor.execute(f"explain query plan {statement}", anything)
                steps = {" ".join(row[3].split()[:2]) for row in cursor.fetchall()}
                assert not steps & {f"SCAN {table}" for table in OF_THE_CLASS}, name
    assert {"grades", "comments", "score", "submission"} <= statements.keys()


@pytest.mark.parametrize("method", ["none", "zero"])
def test_late_work_is_penalized_as_nbgrader_would(method: str, tmp_path: Path) -> None:
    """With `zero` the penalty is the whole score, of late work only; it is reckoned once."""
    folder = small.make(tmp_path / "course").root
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write(f'\nc.LateSubmissionPlugin.penalty_method = "{method}"\n')
    course = Course.find(folder)
    worth = small.hand_in(course, 3)
    with closing(sqlite3.connect(folder / "gradebook.db")) as db, db:
        db.execute("update assignment set duedate = '2026-01-10 00:00:00.000000'")
    for student, day in (("s0000", 11), ("s0001", 9), ("s0002", 11)):
        place = course.folder("submitted", student, small.ERA)
        (place / "timestamp.txt").write_text(f"2026-01-{day:02} 12:00:00 UTC")
    for again in (False, True):
        assert len(list(grade(course, Options(regrade=again)))) == 3
        with Nbgraders(course.db_url) as gradebook:
            found = {
                student: gradebook.find_submission_notebook(small.NAME, small.ERA, student)
                for student in worth
            }
            assert {student: one.score for student, one in found.items()} == worth
            penalties = {s: one.late_submission_penalty for s, one in found.items()}
        late = {"s0000": worth["s0000"], "s0001": None, "s0002": worth["s0002"]}
        assert penalties == (late if method == "zero" else dict.fromkeys(worth))
    with Nbgraders(course.db_url) as gradebook:
        for student in worth:
            gradebook.grant_extension(small.ERA, student, days=2)
    for again, lost in ((False, penalties), (True, dict.fromkeys(worth))):  # it is not seen at once
        list(grade(course, Options(regrade=again)))
        with Nbgraders(course.db_url) as gradebook:
            for who, penalty in lost.items():
                found_now = gradebook.find_submission_notebook(small.NAME, small.ERA, who)
                assert found_now.late_submission_penalty == penalty


def test_a_submission_that_came_at_another_time_is_graded_again(tmp_path: Path) -> None:
    """The same answers, collected once more: only when they came may have changed, and lateness."""
    course = small.make(tmp_path / "course")
    with (course.root / "nbgrader_config.py").open("a") as config:
        config.write('\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    course = Course.find(course.root)
    worth = small.hand_in(course, 2)
    with closing(sqlite3.connect(course.root / "gradebook.db")) as db, db:
        db.execute("update assignment set duedate = '2026-01-10 00:00:00.000000'")
    stamp = course.folder("submitted", "s0000", small.ERA) / "timestamp.txt"
    found = []
    for said in ("2026-01-09 12:00:00 UTC", "2026-01-11 12:00:00 UTC", "one day", ""):
        stamp.write_text(said)
        for _ in range(2):
            how = {key[2]: what for key, what, _ in grade(course, Options())}
            with Nbgraders(course.db_url) as gradebook:
                mine = gradebook.find_submission_notebook(small.NAME, small.ERA, "s0000")
                found.append((how["s0000"], mine.late_submission_penalty))
            assert how["s0001"] == ("graded" if len(found) == 1 else "kept")
    early, late = None, worth["s0000"]
    first, second = [("graded", early), ("kept", early)], [("graded", late), ("kept", late)]
    assert found == [*first, *second, *4 * [("kept", late)]]


def test_a_new_time_counts_for_every_notebook_of_the_assignment(tmp_path: Path) -> None:
    """They have one timestamp: whichever is graded first must not hide the news from the others."""
    made = courses.make(tmp_path / "course")
    with (made.root / "nbgrader_config.py").open("a") as config:
        config.write('\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    course, era = Course.find(made.root), "features"
    stems = course.stems(era)
    assert len(stems) == 2
    for stem in stems:
        courses.hand_in(course, "ada", f"{era}/{stem}", courses.answered(f"{era}/{stem}"))
    with closing(sqlite3.connect(course.root / "gradebook.db")) as db, db:
        db.execute("update assignment set duedate = '2026-01-10 00:00:00.000000'")
    stamp = course.folder("submitted", "ada", era) / "timestamp.txt"
    for day, late in ((9, False), (11, True), (9, False)):
        stamp.write_text(f"2026-01-{day:02} 12:00:00 UTC")
        list(grade(course, Options(era=era, stem=stems[0])))
        list(grade(course, Options(era=era)))
        with Nbgraders(course.db_url) as gradebook:
            for stem in stems:
                found = gradebook.find_submission_notebook(stem, era, "ada")
                assert found.score > 0
                assert found.late_submission_penalty == (found.score if late else None), (day, stem)
        assert {what for _, what, _ in grade(course, Options(era=era))} == {"kept"}
