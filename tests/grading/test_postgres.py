"""A gradebook in PostgreSQL: the grades of SQLite, two coordinators, nbgrader's own tools."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook as Nbgraders

from fmbook.grading.course import Course, CourseError
from fmbook.grading.database import engine_of
from fmbook.grading.gradebook import Record
from fmbook.grading.ledger import Ledger
from fmbook.grading.verdict import Verdict
from tests.browser import chromium
from tests.grading import course as courses
from tests.grading import test_formgrader as formgrader
from tests.grading.postgres import Postgres, empty, filled, stock
from tests.grading.test_crash import FMBOOK, finished, grading, state

STEM = "rules/expert_system"
STUDENTS = [f"s{n:02}" for n in range(12)]
KEY = ("rules", "expert_system", "s00")
AUDIT = """
CREATE TABLE audit (student text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO audit VALUES (NEW.student); RETURN NULL; END $$;
CREATE TRIGGER note AFTER UPDATE ON fmbook_job FOR EACH ROW
  WHEN (NEW.finished <> OLD.finished) EXECUTE FUNCTION note();
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    try:
        filled(server, "released", courses.template())
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course whose grading secret is known: copies draw the same inputs in any database."""
    course = courses.make(tmp_path_factory.mktemp("postgres") / "handed-in")
    for n, student in enumerate(STUDENTS):
        wrong = {"combine": f"def combine(a, b):\n    return a + b - {n}"}
        courses.hand_in(course, student, STEM, courses.answered(STEM, wrong if n % 2 else {}))
    return course


def book(server: Postgres, name: str, course: Course) -> str:
    """A new gradebook on the server, with the secret of another: it draws the same inputs."""
    url = server.database(name, like="released")
    with closing(Ledger(course.db_url)) as old, closing(Ledger(url)) as new:
        secret = {"name": "secret", "value": old.secret()}
        with new.write() as db:
            db.execute(new.meta.insert().values(secret))
    return url


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [str(FMBOOK), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def sql(url: str, statement: str) -> list[Any]:
    engine = engine_of(url)
    try:
        with engine.begin() as db:
            found = db.exec_driver_sql(statement)
            return list(found.all()) if found.returns_rows else []
    finally:
        engine.dispose()


def test_the_same_grades_rows_and_files_as_in_sqlite(
    server: Postgres, handed_in: Course, tmp_path: Path
) -> None:
    url = book(server, "same", handed_in)
    found = []
    for name, db in (("sqlite", ""), ("postgres", url)):
        shutil.copytree(handed_in.root, tmp_path / name)
        end = finished(grading(tmp_path / name, "rules", *(["--db", db] if db else [])))
        assert end[0] == 0, end
        found.append(state(tmp_path / name, db))
    assert len(found[0]["jobs"]) == len(STUDENTS)
    assert found[0] == found[1]


def test_an_older_gradebook_is_refused_and_nbgraders_own_migrations_mend_it(
    server: Postgres, handed_in: Course, tmp_path: Path
) -> None:
    url, folder = empty(server, "older"), tmp_path / "course"
    shutil.copytree(handed_in.root, folder)
    for statement in (  # as before nbgrader 0.6
        "ALTER TABLE assignment DROP COLUMN course_id",
        "DROP TABLE course",
        "ALTER TABLE student DROP COLUMN lms_user_id",
        "UPDATE alembic_version SET version_num = '167914646830'",
    ):
        sql(url, statement)
    for command in ("grade", "release", "report"):
        said = run(folder, command, "--db", url)
        assert said.returncode == 2
        assert "of an older nbgrader: make a copy of it, then run `nbgrader db upgrade`" in (
            " ".join((said.stdout + said.stderr).split())
        )
    stock("-m", "nbgrader", "db", "upgrade", f"--CourseDirectory.db_url={url}")
    said = run(folder, "release", "rules", "--db", url, "--new-gradebook")
    assert said.returncode == 0, said
    said = run(folder, "grade", "rules", "--db", url)
    assert said.returncode == 0, said
    assert ("default_course",) in sql(url, "SELECT id FROM course")  # by the last migration


def test_two_coordinators_at_once_grade_each_submission_once(
    server: Postgres, handed_in: Course, tmp_path: Path
) -> None:
    url, folder = book(server, "two", handed_in), tmp_path / "course"
    sql(url, AUDIT)
    shutil.copytree(handed_in.root, folder)
    both = [grading(folder, "rules", "--json", "--db", url) for _ in range(2)]
    ends = [finished(process) for process in both]
    assert {code for code, _ in ends} <= {0, 1}, ends  # 1: the other has not ended with some yet
    told = [json.loads(out)["submissions"] for _, (out, _) in ends]
    graded = [row["student"] for rows in told for row in rows if row["outcome"] == "graded"]
    assert sorted(graded) == STUDENTS
    assert all(any(row["outcome"] == "graded" for row in rows) for rows in told)  # both had work
    assert sorted(row[0] for row in sql(url, "SELECT student FROM audit")) == STUDENTS


def test_what_another_is_reserving_is_skipped_and_not_waited_for(
    server: Postgres, handed_in: Course
) -> None:
    url = book(server, "skip", handed_in)
    keys = [("rules", "expert_system", student) for student in ("a", "b")]
    with closing(Ledger(f"{url}?options=-c%20lock_timeout%3D2000")) as ledger:
        assert set(ledger.claim(keys, 60)) == set(keys)
        ledger.let_go()
        with closing(Ledger(url)) as other, other.engine.begin() as held:
            row = other.jobs.select().where(other.jobs.c.student == "a").with_for_update()
            assert held.execute(row).all()
            assert set(ledger.claim(keys, 60)) == {keys[1]}


def test_a_claim_that_was_lost_writes_nothing(server: Postgres, handed_in: Course) -> None:
    url = book(server, "lost", handed_in)
    record = Record(state="graded", verdict=Verdict(), key="k", seed="s", file="")
    mine = (*KEY[:2], "s01")
    with closing(Ledger(url)) as ledger:
        assert ledger.claim([KEY, mine], 60)
        assert not ledger.claim([KEY], 60)  # a living process has it: this one
        sql(url, f"UPDATE fmbook_job SET lease_owner = 'elsewhere/1/1' WHERE student = '{KEY[2]}'")
        assert ledger.record({KEY: record, mine: record}) == {mine}
        ledger.fail(KEY, "nor that")
        entry = ledger.entry(KEY)
    assert entry is not None
    assert (entry.state, entry.error) == ("waiting", "")
    assert sql(url, "SELECT student_id FROM submitted_assignment") == [("s01",)]


def test_two_notebooks_of_one_student_stored_at_once(server: Postgres, handed_in: Course) -> None:
    """Both want to make the student's rows: the second waits for the first, and finds them."""
    url = book(server, "at_once", handed_in)
    record = "Record(state='graded', verdict=Verdict(), key='k', seed='s', file='')"
    program = (
        "import sys, time; from fmbook.grading.ledger import Ledger; "
        "from fmbook.grading.gradebook import Record; from fmbook.grading.verdict import Verdict; "
        "ledger, key = Ledger(sys.argv[1]), ('features', sys.argv[2], 'ada'); "
        "[ledger.claim([(*key[:2], f'ada{n}')], 60) for n in range(20)]; "
        "time.sleep(max(0, float(sys.argv[3]) - time.time())); "
        f"[ledger.record({{(*key[:2], f'ada{{n}}'): {record}}}) for n in range(20)]"
    )
    when = str(time.time() + 6)
    stems = ("naive_bayes", "logistic_regression")
    both = [subprocess.Popen([sys.executable, "-c", program, url, s, when]) for s in stems]
    assert [process.wait(120) for process in both] == [0, 0]
    assert sql(url, "SELECT count(*) FROM submitted_assignment") == [(20,)]
    assert sql(url, "SELECT count(*) FROM submitted_notebook") == [(40,)]


def test_two_that_begin_a_course_agree_on_its_secret(server: Postgres) -> None:
    url = server.database("secret", like="released")
    program = f"from fmbook.grading.ledger import Ledger; print(Ledger({url!r}).secret())"
    words = [sys.executable, "-c", program]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate(timeout=120)[0] for process in both}
    assert len(said) == 1
    assert len(said.pop()) == 33


def test_a_release_into_an_empty_database_and_again(server: Postgres, tmp_path: Path) -> None:
    url, course = server.database("empty"), courses.make(tmp_path / "course")
    first = run(course.root, "release", "rules", "--db", url)
    assert "expert_system: new, 20 points" in first.stdout, first
    assert sql(url, "SELECT count(*) FROM source_cell")[0][0] > 20
    again = run(course.root, "release", "rules", "--db", url)
    assert "nothing to do" in again.stdout, again


def test_no_server_no_driver_and_no_address_are_sentences(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CourseError, match=r"server does not do .*run the command again"):
        Ledger("postgresql://postgres@127.0.0.1:1/x")
    with pytest.raises(CourseError, match=r"run `fmbook release` first"):
        Ledger(server.database("nothing"))
    for url, words in (("mysql://x/y", "only SQLite and PostgreSQL"), ("gradebook", "no address")):
        with pytest.raises(CourseError, match=words):
            engine_of(url)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(CourseError, match=r"pip install 'fmbook\[scale\]'"):
        engine_of(server.url("x"))


@pytest.mark.browser
def test_an_extension_counts_when_late_work_is_graded_again(
    server: Postgres, handed_in: Course, tmp_path: Path
) -> None:
    """PostgreSQL knows spans of time; in SQLite nbgrader keeps them as dates (`test_gradebook`)."""
    url, folder = book(server, "extension", handed_in), tmp_path / "course"
    shutil.copytree(handed_in.root, folder)
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write('c.LateSubmissionPlugin.penalty_method = "zero"\n')
    for student in ("s00", "s01"):
        stamp = Course.find(folder).folder("submitted", student, "rules") / "timestamp.txt"
        stamp.write_text("2026-01-11 12:00:00 UTC")
    sql(url, "UPDATE assignment SET duedate = '2026-01-10 00:00:00'")
    late = "SELECT count(*) FROM submitted_notebook WHERE late_submission_penalty > 0"
    assert run(folder, "grade", "rules", "--db", url).returncode == 0
    assert sql(url, late) == [(2,)]
    with Nbgraders(url) as gradebook:
        gradebook.grant_extension("rules", "s00", days=2)
    assert run(folder, "grade", "rules", "--db", url, "--regrade").returncode == 0
    assert sql(url, late) == [(1,)]


def test_formgrader_works_on_it_and_a_regrade_leaves_what_a_person_entered(
    server: Postgres, handed_in: Course, tmp_path: Path
) -> None:
    """The address stands in nbgrader's own configuration this time."""
    url, folder = book(server, "forms", handed_in), tmp_path / "course"
    shutil.copytree(handed_in.root, folder)
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write(f"c.CourseDirectory.db_url = {url!r}\n")
    course = Course.find(folder)
    assert run(folder, "grade", "rules").returncode == 0
    with formgrader.server(course, tmp_path) as entrance, chromium() as browser:
        tab = formgrader.opened(browser, entrance)
        assert tab.row("s00") == ["needs manual grading", "17 / 20"]
        assert tab.row("s01") == ["needs manual grading", "14 / 20"]
        formgrader.grade_by_hand(tab, "s00")
        assert run(folder, "grade", "rules", "--regrade").returncode == 0
        assert formgrader.shown(tab, "s00") == (*formgrader.SEEN, False)
        assert tab.row("s00") == ["graded", "19.5 / 20"]
        assert (tab.gone, tab.heard) == ([], [])
    with closing(Ledger(url)) as ledger:
        entered = courses.by_hand(ledger, ("rules", "expert_system", "s00"))["written"]
    assert entered == formgrader.GIVEN
