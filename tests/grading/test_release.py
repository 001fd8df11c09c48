"""`fmbook release` makes what nbgrader makes; what would do harm is refused, untouched."""

import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI

from fmbook.grading import standing
from fmbook.grading.leaks import Markers, faults, file_leaks, leaks, read_notebook
from fmbook.grading.release import release
from tests.grading.course import template
from tools.exercises import course_config

pytestmark = pytest.mark.filterwarnings("default")  # the warnings here are nbgrader's own
ERA, STEM = "rules", "expert_system"
CHECK = "combine-hidden-one-sign"
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def graded(tmp_path_factory: Any) -> Path:
    """A course with one era, released, and one student whose work was graded. Not to be changed."""
    course = tmp_path_factory.mktemp("graded") / "course"
    shutil.copytree(template(), course)
    others = [folder.name for folder in (course / "solutions").iterdir() if folder.name != ERA]
    for tree in ("solutions", "exercises"):
        for era in others:
            shutil.rmtree(course / tree / era)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "fmbook") as book:
        for era in others:
            book.remove_assignment(era)
        book.add_student("ada")
        book.add_submission(ERA, "ada")
        book.find_grade(CHECK, STEM, ERA, "ada").auto_score = 1.0
        book.db.commit()
    return course


@pytest.fixture
def course(graded: Path, tmp_path: Path) -> Path:
    shutil.copytree(graded, tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A course of one era of which nothing was released."""
    course = tmp_path / "fresh"
    (course / "solutions").mkdir(parents=True)
    shutil.copy(template() / "nbgrader_config.py", course)
    shutil.copytree(template() / "solutions" / ERA, course / "solutions" / ERA)
    return course


@pytest.fixture
def blank(graded: Path, fresh: Path) -> Path:
    """The same with a gradebook that knows no assignment: nbgrader takes seconds to make one."""
    shutil.copy(graded / "gradebook.db", fresh)
    with Gradebook(f"sqlite:///{fresh / 'gradebook.db'}", "fmbook") as book:
        book.remove_assignment(ERA)
    return fresh


def run(course: Path, *eras: str, **options: Any) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    with redirect_stdout(out):
        code = release(eras, folder=course, as_json=True, **options)
    return code, json.loads(out.getvalue())


def content(course: Path) -> dict[str, bytes]:
    """Every file but those that SQLite keeps beside a database while it is open."""
    files = (f for f in course.rglob("*") if f.is_file() and f.suffix not in (".db-wal", ".db-shm"))
    return {str(f.relative_to(course)): f.read_bytes() for f in files}


def rows(gradebook: Path) -> list[str]:
    with closing(sqlite3.connect(gradebook)) as db:
        return list(db.iterdump())


def change(course: Path, how: Change) -> None:
    file = course / "solutions" / ERA / f"{STEM}.ipynb"
    notebook = json.loads(file.read_text("utf8"))
    how(notebook)
    file.write_text(json.dumps(notebook), "utf8")


def cell_of(notebook: dict[str, Any], grade_id: str) -> dict[str, Any]:
    cells = (c for c in notebook["cells"] if grade_id == nbgrader_of(c).get("grade_id"))
    return next(cells)


def nbgrader_of(cell: dict[str, Any]) -> dict[str, Any]:
    return dict(cell["metadata"].get("nbgrader", {}))


def setting(name: str, /, **values: Any) -> Change:
    """A change of a cell's nbgrader metadata."""
    return lambda notebook: cell_of(notebook, name)["metadata"]["nbgrader"].update(values)


def refused(course: Path, says: str, **options: Any) -> None:
    """The release is refused with these words, and not a byte of the course has changed."""
    before = content(course)
    code, said = run(course, **options)
    assert code == 1
    (plan,) = said["eras"]
    assert any(says in refusal for refusal in plan["refusals"]), plan["refusals"]
    assert said["released"] == []
    assert content(course) == before


def test_a_release_is_what_nbgrader_makes(fresh: Path) -> None:
    code, said = run(fresh)
    assert (code, said["released"], said["backup"]) == (0, [ERA], None)
    assert said["eras"][0]["notebooks"] == {STEM: "new"}
    assert said["eras"][0]["points"] == {STEM: 20}
    made, stock = (c / "exercises" / ERA / f"{STEM}.ipynb" for c in (fresh, template()))
    assert made.read_bytes() == stock.read_bytes()
    have, want = (standing.kept(f"sqlite:///{c}/gradebook.db", ERA) for c in (fresh, template()))
    assert have == want
    assert run(fresh)[1] | {"eras": None} == said | {"eras": None, "released": []}


def test_grades_survive_a_changed_check_and_a_copy_of_the_gradebook_is_kept(course: Path) -> None:
    def reword(notebook: dict[str, Any]) -> None:
        cell = cell_of(notebook, CHECK)
        cell["source"] = ["# Reworded.\n", *cell["source"][1:]]

    old = rows(course / "gradebook.db")
    change(course, reword)
    code, said = run(course)
    assert code == 0
    assert any(CHECK in note and "--regrade" in note for note in said["eras"][0]["notes"])
    assert rows(Path(said["backup"])) == old != rows(course / "gradebook.db")
    assert b"Reworded" in (course / "exercises" / ERA / f"{STEM}.ipynb").read_bytes()
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "fmbook") as book:
        assert book.find_grade(CHECK, STEM, ERA, "ada").auto_score == 1.0


def test_stock_would_delete_the_release_where_ours_refuses(course: Path) -> None:
    change(course, setting(CHECK, grade_id="combine-hidden-renamed"))
    refused(course, f"{CHECK} is gone; combine-hidden-renamed is new")
    stock = NbGraderAPI(config=course_config(course)).generate_assignment(ERA, force=True)
    assert not stock["success"]
    assert not (course / "exercises" / ERA).exists(), "nbgrader has become kinder: relax ours"


def test_a_cell_of_another_kind_is_refused(course: Path) -> None:
    change(course, setting("check-tools", grade=True, points=1))
    refused(course, "check-tools was locked and is grade")


def test_points_that_change_after_grading_need_a_word(course: Path) -> None:
    change(course, setting(CHECK, points=2))
    refused(course, f"{CHECK} was worth 1 and is 2")
    code, said = run(course, dry_run=True, new_points=True)
    assert code == 0
    assert any("was worth 1" in note for note in said["eras"][0]["notes"])


def test_notebooks_that_come_or_go_are_refused_once_students_handed_in(course: Path) -> None:
    file = course / "solutions" / ERA / f"{STEM}.ipynb"
    file.rename(file.with_name("another.ipynb"))
    refused(course, f"1 students handed in {STEM}: put it back")
    refused(course, f"1 students handed in {ERA} without another")


def test_files_that_nbgrader_would_delete_from_the_release_are_named(course: Path) -> None:
    (course / "exercises" / ERA / "timetable.txt").write_text("Monday")
    refused(course, "timetable.txt is not made from the source")


def test_an_unknown_assignment_beside_handed_in_work_is_refused(blank: Path) -> None:
    handed_in = blank / "submitted" / "ada" / ERA
    handed_in.mkdir(parents=True)
    refused(blank, "1 students handed in rules, but the gradebook does not know it")
    before = content(blank)
    assert run(blank, dry_run=True, new_gradebook=True)[0] == 0
    assert content(blank) == before, "a dry run writes nothing"


def test_an_assignment_that_may_not_be_made_is_refused(blank: Path) -> None:
    with (blank / "nbgrader_config.py").open("a") as config:
        config.write("c.GenerateAssignment.create_assignment = False\n")
    refused(blank, "run `nbgrader db assignment add rules`")


@pytest.mark.parametrize(
    ("version", "says"),
    [("50a4d84c131a", "nbgrader db upgrade"), ("fffffffffff0", "made by a newer nbgrader")],
)
def test_a_gradebook_of_another_schema_is_refused(version: str, says: str, course: Path) -> None:
    with closing(sqlite3.connect(course / "gradebook.db")) as db:
        db.execute("UPDATE alembic_version SET version_num = ?", (version,))
        db.commit()
    before = content(course)
    code, said = run(course)
    assert (code, content(course)) == (2, before)
    assert says in said["error"]


def test_what_is_no_gradebook_is_a_sentence(course: Path) -> None:
    (course / "gradebook.db").write_text("my grades")
    code, said = run(course)
    assert code == 2
    assert "cannot be read" in said["error"]


def test_a_gradebook_that_is_in_use_changes_nothing(course: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(standing, "WAIT", 0.1)
    change(course, lambda notebook: notebook["cells"][0]["source"].append("\nChanged."))
    with closing(sqlite3.connect(course / "gradebook.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        before = content(course)
        code, said = run(course)
        assert (code, said["released"]) == (2, [])
        assert "locked" in said["error"]
        assert content(course) == before


def test_nbgraders_own_refusal_leaves_everything_as_it_was(course: Path) -> None:
    with (course / "nbgrader_config.py").open("a") as config:
        config.write("c.IncludeHeaderFooter.header = 'not_there.ipynb'\n")
    refused(course, "FileNotFoundError")


def test_a_leak_by_configuration_is_refused(blank: Path) -> None:
    with (blank / "nbgrader_config.py").open("a") as config:
        config.write(
            "from nbgrader.preprocessors import ClearSolutions, ComputeChecksums, SaveCells\n"
            "steps = [ClearSolutions, ComputeChecksums, SaveCells]\n"
            "c.GenerateAssignment.preprocessors = steps\n"
        )
    refused(blank, "holds the marker BEGIN HIDDEN TESTS")


def test_other_files_of_the_source_need_a_reason(blank: Path) -> None:
    folder = blank / "solutions" / ERA
    (folder / "marking.txt").write_text("give a point for effort")
    refused(blank, "marking.txt would go along, though no notebook names it")
    assert run(blank, dry_run=True, include=["*.txt"])[0] == 0
    change(blank, lambda notebook: notebook["cells"][0]["source"].append("\nSee marking.txt."))
    assert run(blank, dry_run=True)[0] == 0


def test_what_is_no_course_or_era_is_a_sentence(course: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, eras, says in (
        (empty, (), "no course folder"),
        (course, ("rule",), "no era 'rule'"),
    ):
        code, said = run(folder, *eras)
        assert code == 2
        assert says in said["error"]


def test_people_read_what_was_done(course: Path, capsys: Any) -> None:
    assert release([ERA], folder=course) == 0
    assert capsys.readouterr().out.splitlines() == [
        "rules",
        "  expert_system: unchanged, 20 points",
        "Everything was released before: nothing to do.",
    ]


@pytest.fixture(scope="module")
def pair() -> tuple[dict[str, Any], dict[str, Any]]:
    files = (template() / tree / ERA / f"{STEM}.ipynb" for tree in ("solutions", "exercises"))
    source, released = (read_notebook(file.read_bytes()) for file in files)
    return source, released


def copied(notebook: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(notebook)))


def mark(text: str, grade_id: str = "combine") -> Change:
    def write(notebook: dict[str, Any]) -> None:
        cell_of(notebook, grade_id)["source"] = text

    return write


def double(notebook: dict[str, Any]) -> None:
    notebook["cells"].append(copied(cell_of(notebook, "combine")))


FAULTS: dict[str, tuple[Change, str]] = {
    "no id": (setting("combine", grade_id=""), "has no grade_id"),
    "space": (setting("combine", grade_id="my task"), "may hold only letters"),
    "twice": (double, "its grade_id combine is that of an earlier cell"),
    "cell twice": (double, "has no id of its own"),
    "schema": (setting("combine", schema_version=2), "nbgrader update"),
    "no points": (setting(CHECK, points=None), "has no points"),
    "markdown": (setting("written", grade=False), "is Markdown"),
    "task": (setting("combine", task=True, points=1), "must be Markdown"),
    "no end": (mark("### BEGIN SOLUTION\nx = 1"), "has BEGIN SOLUTION without END SOLUTION"),
    "no begin": (mark("x = 1\n### END SOLUTION"), "has END SOLUTION without BEGIN SOLUTION"),
    "nested": (mark("### BEGIN SOLUTION\n" * 2 + "### END SOLUTION"), "twice"),
    "misspelt": (mark("### BEGIN  SOLUTION\nx = 1"), "'### BEGIN  SOLUTION', which is no marker"),
    "small": (mark("### begin hidden tests\nx = 1", CHECK), "which is no marker"),
    "elsewhere": (
        mark("### BEGIN SOLUTION\n### END SOLUTION", CHECK),
        "has BEGIN SOLUTION, but is no solution cell",
    ),
    "ungraded": (
        mark("### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS"),
        "has BEGIN HIDDEN TESTS, but is no grade cell",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_source_is_found(name: str, pair: Any) -> None:
    notebook, (how, says) = copied(pair[0]), FAULTS[name]
    assert faults(notebook, Markers()) == []
    how(notebook)
    assert any(says in said for said in faults(notebook, Markers()))


def test_a_fault_is_refused_with_the_cell(course: Path) -> None:
    change(course, mark("x = 1\n### END SOLUTION"))
    refused(course, f"{STEM}, cell 7 (combine): has END SOLUTION")


@pytest.mark.parametrize("data", [b"{", b'{"cells": []}', b'{"cells": [{}]}', b"\xff", b"[]"])
def test_a_source_that_is_no_notebook_is_refused(data: bytes, course: Path) -> None:
    (course / "solutions" / ERA / f"{STEM}.ipynb").write_bytes(data)
    refused(course, f"{STEM} is no notebook")


LEAKS: dict[str, tuple[Change, str]] = {
    "solution": (mark("    return a + b * (1 - abs(a))"), "shows what is hidden"),
    "hidden": (mark("strong, weak = 1\nleft, wrong = 2", CHECK), ""),
    "marker": (mark("### END SOLUTION"), "holds the marker END SOLUTION"),
    "outputs": (lambda n: n["cells"][2].update(outputs=[{"text": "1"}]), "holds outputs"),
    "count": (lambda n: n["cells"][2].update(execution_count=3), "holds outputs"),
    "metadata": (
        lambda n: n["metadata"].update(hint="return a + b * (1 - abs(a))"),
        "its metadata show",
    ),
    "attached": (
        lambda n: cell_of(n, "written").update(attachments={"a.png": {}}),
        "attached to the model answer",
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_found(name: str, pair: Any) -> None:
    source, released = pair[0], copied(pair[1])
    assert leaks(source, released, Markers()) == []
    how, says = LEAKS[name]
    how(released)
    found = leaks(source, released, Markers())
    assert any(says in said for said in found) if says else found == []


def test_every_hidden_cell_that_is_released_as_it_is_leaks(pair: Any) -> None:
    source, released = pair
    hiding = [c for c in source["cells"] if "### BEGIN" in "".join(c["source"])]
    assert len(hiding) > 10
    for cell in [*hiding, cell_of(source, "written")]:
        notebook = copied(released)
        place = [c["id"] for c in notebook["cells"]].index(cell["id"])
        plain = [s for s in "".join(cell["source"]).splitlines(True) if "### " not in s]
        notebook["cells"][place]["source"] = plain
        assert leaks(source, notebook, Markers()), nbgrader_of(cell)["grade_id"]


def test_a_file_that_goes_along_is_searched_too(pair: Any) -> None:
    line = "x = 1\nreturn a + b * (1 - abs(a))\n"
    assert file_leaks([pair[0]], line.encode(), Markers()) == ["return a + b * (1 - abs(a))"]
    assert file_leaks([pair[0]], b"\x89PNG a picture", Markers()) == []


def test_configured_markers_count(pair: Any) -> None:
    config = {"ClearHiddenTests": {"begin_test_delimeter": "VVV", "end_test_delimeter": "^^^"}}
    markers = Markers.of(config)
    assert markers.hidden == ("VVV", "^^^")
    assert markers.solution == Markers().solution
    assert any("no marker" in said for said in faults(pair[0], markers))
