"""Stock nbgrader works on the two examples: release, autograde, feedback, and the scores it stores.

A right and a wrong submission of every exercise go through stock in `tests/grading/test_parity.py`.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI

from tests.bank import Exercise, exercises, expected, first_wrong, grade_id, source
from tests.grading.course import STEMS, template
from tools.exercises import course_config

pytestmark = pytest.mark.filterwarnings("default")  # the warnings here are nbgrader's own
EXERCISES = [exercise for exercise in exercises() if exercise.stem in STEMS]
SECONDS = 15  # what one cell of the endless submission may take: importing torch needs a few


def write(
    exercise: Exercise, course: Path, student: str, change: Callable[[str, str], str]
) -> None:
    """Hand in the solution with each task's cell changed by `change(task, source)`."""
    released = course / "exercises" / f"{exercise.stem}.ipynb"
    nb = nbformat.read(released, 4)
    solved = {grade_id(c): c.source for c in exercise.cells if grade_id(c)}
    for cell in nb.cells:
        if grade_id(cell) in exercise.tasks:
            cell.source = change(grade_id(cell), solved[grade_id(cell)])
        elif grade_id(cell) == "written":
            cell.source = "My own words."
    target = course / "submitted" / student / f"{exercise.stem}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, target)


def submissions(exercise: Exercise, course: Path) -> dict[str, float]:
    """Hand in every kind of submission; returns the score that each student must get."""
    tasks = exercise.tasks
    mistakes = {task: first_wrong(exercise, task) for task in tasks}
    write(exercise, course, "perfect", lambda task, solved: solved)
    write(exercise, course, "mistaken", lambda task, _: source(exercise, mistakes[task]))
    scores = {"perfect": expected(exercise, {}), "mistaken": expected(exercise, {**mistakes})}
    raises, endless = tasks[1], tasks[2]
    boom = "raise RuntimeError('a student forgot this line')"
    loop = "while True:\n    pass"
    write(exercise, course, "exception", lambda t, s: boom if t == raises else s)
    write(exercise, course, "endless", lambda t, s: f"{loop}\n{s}" if t == endless else s)
    empty = course / "submitted/empty" / f"{exercise.stem}.ipynb"
    empty.parent.mkdir(parents=True)
    shutil.copy(course / "exercises" / f"{exercise.stem}.ipynb", empty)
    return scores | {"exception": expected(exercise, {raises: None}), "empty": 0.0, "endless": -1.0}


@pytest.fixture(scope="module", params=EXERCISES, ids=lambda e: e.stem)
def graded(request: Any, tmp_path_factory: Any) -> tuple[Exercise, Path, dict[str, float], dict]:
    exercise = request.param
    course = tmp_path_factory.mktemp("nbgrader") / "course"
    shutil.copytree(template(), course)
    scores = submissions(exercise, course)
    config = course_config(course)
    api, results = NbGraderAPI(config=config), {}
    for student in scores:
        if student == "endless":
            config.ExecutePreprocessor.timeout = SECONDS
        results[student] = api.autograde(exercise.era, student, force=True)
    for student in ("perfect", "mistaken"):
        said = api.generate_feedback(exercise.era, student, force=True)
        assert said["success"], said["log"]
    return exercise, course, scores, results


def stored_score(course: Path, exercise: Exercise, student: str) -> float:
    """The points of the autograded cells, as nbgrader's gradebook has them."""
    name = exercise.stem.split("/")[1]
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        submitted = book.find_submission_notebook(name, exercise.era, student)
        return float(sum(g.auto_score or 0.0 for g in submitted.grades))


def test_stock_scores_equal_those_of_the_banks(graded: Any) -> None:
    exercise, course, scores, results = graded
    for student, score in scores.items():
        if student == "endless":
            continue
        assert results[student]["success"], results[student]["log"]
        assert stored_score(course, exercise, student) == score, student
    assert scores["perfect"] > scores["mistaken"]


def test_an_endless_loop_ends_and_gets_no_full_marks(graded: Any) -> None:
    exercise, course, scores, results = graded
    assert results["endless"]["success"], results["endless"]["log"]
    assert stored_score(course, exercise, "endless") < scores["perfect"]


def test_the_written_answer_waits_for_a_person(graded: Any) -> None:
    exercise, course, _, _ = graded
    name = exercise.stem.split("/")[1]
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        submitted = book.find_submission_notebook(name, exercise.era, "perfect")
        (written,) = [g for g in submitted.grades if g.name == "written"]
        assert written.needs_manual_grade
        assert written.auto_score is None


def test_feedback_is_written_and_names_the_mistake(graded: Any) -> None:
    exercise, course, _, _ = graded
    page = (course / "feedback/mistaken" / f"{exercise.stem}.html").read_text("utf8")
    named = [first_wrong(exercise, task).says for task in exercise.tasks]
    assert any(says and says in page for says in named)
    assert (course / "feedback/perfect" / f"{exercise.stem}.html").exists()
