"""CSV: no cell is a formula, and each importer finds the right student or none."""

import csv
import io
from pathlib import Path

import pytest
import sqlalchemy as sa

from fmbook.grading.export import FORMS, tame_cell, to_csv
from fmbook.grading.report import main
from tests.grading.classroom import EVIL, Classroom

ATTENTION, RULES = ("transformers", "attention"), ("rules", "expert_system")
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1",
    '=HYPERLINK("http://x")',
]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    room = Classroom(tmp_path_factory.mktemp("room") / "course")
    room.hand_in("ada", *ATTENTION, says={"attention-hidden-mask": "x: the mask is ignored"})
    room.hand_in("ada", *RULES)
    room.hand_in("bob", *ATTENTION)
    room.refuse("bob", *RULES, "=cmd|' /C calc'!A0 is no notebook")
    for name in ("=1+1", "+49", "-eve", "@x", "Points Possible", "eve\nada,7", EVIL):
        room.hand_in(name, *ATTENTION)
    student = room.ledger.t["student"]
    with room.ledger.write() as db:
        values = {"first_name": "Ada", "last_name": "=Lovelace", "lms_user_id": "42"}
        db.execute(student.update().where(student.c.id == "ada").values(values))
        hostile = {"first_name": "Bob", "lms_user_id": "42 or 1", "email": "bob@x.org"}
        db.execute(student.update().where(student.c.id == "bob").values(hostile))
    return room


def rows(room: Classroom, form: str) -> list[dict[str, str]]:
    text = to_csv(room.course, room.ledger, form).content
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_becomes_words(formula: str) -> None:
    assert tame_cell(formula).startswith("'")


@pytest.mark.parametrize("form", FORMS)
def test_no_cell_begins_like_a_formula(room: Classroom, form: str) -> None:
    cells = [
        c
        for row in csv.reader(io.StringIO(to_csv(room.course, room.ledger, form).content))
        for c in row
    ]
    assert len(cells) > 10
    assert not [c for c in cells if c.lstrip().startswith(tuple("=+-@\t\r＝")) and c != "-"]
    assert not any(ord(letter) < 32 for cell in cells for letter in cell)


def test_plain_has_a_line_a_submission(room: Classroom) -> None:
    found = {(r["student"], r["notebook"]): r for r in rows(room, "plain")}
    assert len(found) == 11
    assert found["ada", "attention"]["score"] == "14.0"
    assert found["ada", "attention"]["last_name"] == "'=Lovelace"
    assert found["bob", "expert_system"]["score"] == ""
    assert found["bob", "expert_system"]["message"].startswith("'=cmd")


def test_canvas_gets_its_header_its_points_and_nobody_else_s_id(room: Classroom) -> None:
    # Canvas (lib/gradebook_importer.rb): the first cells hold "Student" and "ID", "SIS Login ID" is
    # third, "Section" ends the student's own; a first cell with "Points Possible" gives the points.
    header, possible, *students = csv.reader(
        io.StringIO(to_csv(room.course, room.ledger, "canvas").content)
    )
    assert header == [
        "Student",
        "ID",
        "SIS Login ID",
        "Section",
        "rules/expert_system",
        "transformers/attention",
    ]
    assert possible[0].strip() == "Points Possible"
    assert possible[4:] == ["20", "19"]
    assert not any("Points Possible" in row[0] for row in students)
    by_login = {row[2]: row for row in students}
    assert by_login["bob"] == ["Bob", "", "bob", "", "", "16"]  # "42 or 1" would be read as 42
    assert by_login["ada"][:2] == ["(ada)", "42"]  # her last name is a formula


def test_canvas_is_given_no_name_that_could_be_another_s(room: Classroom) -> None:
    room.hand_in("Grace Hopper", *ATTENTION)  # a folder's name, not a name of the roster
    line = next(r for r in rows(room, "canvas") if r["SIS Login ID"] == "Grace Hopper")
    assert line["Student"] == "(Grace Hopper)"


def test_moodle_never_gets_an_empty_cell_to_find_a_student_by(room: Classroom) -> None:
    # Moodle (grade/import/csv/classes/load_data.php) keeps the last line's student for such a line,
    # and gives up on the whole file at a grade that is neither a number nor "-".
    found = rows(room, "moodle")
    exercises = ["rules/expert_system", "transformers/attention"]
    columns = [column for name in exercises for column in (name, f"{name} (feedback)")]
    assert list(found[0]) == ["Username", *columns]
    assert all(row[column] for row in found for column in ("Username", *exercises))
    assert {r["Username"]: r["rules/expert_system"] for r in found}["bob"] == "-"


def test_comments_stand_beside_scores_where_the_form_has_room(room: Classroom) -> None:
    by_student = {r["Username"]: r for r in rows(room, "moodle")}
    said = by_student["ada"]["transformers/attention (feedback)"]
    assert said == "attention: x: the mask is ignored | written: No response."
    assert "is no notebook" in by_student["bob"]["rules/expert_system (feedback)"]
    plain = {(r["student"], r["notebook"]): r["comment"] for r in rows(room, "plain")}
    assert plain["ada", "attention"] == said
    assert plain["ada", "expert_system"] == "written: No response."
    canvas = to_csv(room.course, room.ledger, "canvas").content
    assert "the mask is ignored" not in canvas  # a further column would become an exercise


def test_what_a_person_wrote_comes_first(room: Classroom) -> None:
    t, s = room.ledger.t, room.ledger.submitted()
    mine = sa.select(s.c.id).where(s.c.student == "ada", s.c.stem == "attention").scalar_subquery()
    cell = sa.select(t["base_cell"].c.id).where(t["base_cell"].c.name == "written")
    row = sa.and_(t["comment"].c.notebook_id == mine, t["comment"].c.cell_id.in_(cell))
    with room.ledger.write() as db:
        assert db.execute(
            t["comment"].update().where(row).values(manual_comment="Well argued,\nand short.")
        ).rowcount
    said = {r["Username"]: r for r in rows(room, "moodle")}["ada"]
    found = said["transformers/attention (feedback)"]
    assert found.startswith("Well argued, and short. | attention: x: the mask is ignored")


def test_who_cannot_be_named_in_a_form_is_said(
    room: Classroom, capfd: pytest.CaptureFixture[str]
) -> None:
    left_out = to_csv(room.course, room.ledger, "moodle").left_out
    assert {"=1+1", "+49", "-eve", "@x", "eve\nada,7"} <= set(left_out)
    assert main(form="moodle", course=room.course.root) == 0
    said = capfd.readouterr()
    assert "left out" in said.err
    assert "\x1b" not in said.err


def test_a_file_is_written_whole(room: Classroom, tmp_path: Path) -> None:
    assert main(form="canvas", out=tmp_path / "scores.csv", course=room.course.root) == 0
    assert (tmp_path / "scores.csv").read_text("utf8").startswith("Student,ID,")
    assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]


def test_an_unknown_form_is_a_sentence(room: Classroom, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(form="excel", course=room.course.root) == 2
    assert "plain, canvas, moodle" in capfd.readouterr().err
