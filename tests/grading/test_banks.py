"""Every answer of every bank through the engine, each check isolated: right ones get all points.

The banks are tested in one process elsewhere; here an answer sits behind the walls, and the same
check must give it the same verdict in the same words.
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from fmbook.grading.verdict import Verdict
from tests.bank import Answer, Exercise, exercises, source
from tests.grading import course as courses


@pytest.fixture(scope="module", params=[e.stem for e in exercises()])
def graded(request: Any, tmp_path_factory: Any) -> tuple[Exercise, dict[str, Verdict]]:
    """An exercise and the verdict on each answer by its name; `model` is the model answer's."""
    exercise = next(e for e in exercises() if e.stem == request.param)
    folder: Path = tmp_path_factory.mktemp("banks") / "course"
    course = courses.make(folder)
    courses.hand_in(course, "model", exercise.stem, courses.answered(exercise.stem))
    for answer in chosen(exercise):
        notebook = courses.answered(exercise.stem, {answer.task: source(exercise, answer)})
        courses.hand_in(course, student(answer), exercise.stem, notebook)
    era = exercise.stem.split("/")[0]
    found = courses.grade(course, era=era, jobs=2)
    verdicts = {who: verdict for (_, _, who), (how, verdict) in found.items() if how == "graded"}
    return exercise, {who: verdict for who, verdict in verdicts.items() if verdict is not None}


def chosen(exercise: Exercise) -> list[Answer]:
    """All right answers and of each task some wrong ones; FMBOOK_BANKS=all takes every one."""
    if os.environ.get("FMBOOK_BANKS") == "all":
        return exercise.answers
    draw, found = random.Random(), [a for a in exercise.answers if a.cell is None]
    for task in exercise.tasks:
        wrong = [a for a in exercise.answers if a.task == task and a.cell is not None]
        found += draw.sample(wrong, 2)
    return found


def student(answer: Answer) -> str:
    return f"{answer.task}.{answer.name}"


def lost(verdict: Verdict, task: str = "") -> dict[str, str]:
    """The checks that did not give all, each with what it said."""
    return {
        check.grade_id: check.message
        for check in verdict.checks
        if check.message and check.task.startswith(task) and check.score is not None
    }


def test_the_model_answer_gets_every_point(graded: tuple[Exercise, dict[str, Verdict]]) -> None:
    _, verdicts = graded
    assert lost(verdicts["model"]) == {}
    assert verdicts["model"].score == verdicts["model"].points > 0
    assert not verdicts["model"].flags


def test_right_answers_get_every_point(graded: tuple[Exercise, dict[str, Verdict]]) -> None:
    exercise, verdicts = graded
    right = [answer for answer in exercise.answers if answer.cell is None]
    assert right
    wronged = {student(a): lost(verdicts[student(a)]) for a in right}
    assert not {who: checks for who, checks in wronged.items() if checks}


def test_wrong_answers_fail_their_check_with_its_words(
    graded: tuple[Exercise, dict[str, Verdict]],
) -> None:
    exercise, verdicts = graded
    wrong = [answer for answer in exercise.answers if student(answer) in verdicts and answer.cell]
    assert wrong
    missed = {}
    for answer in wrong:
        said = lost(verdicts[student(answer)]).get(str(answer.cell))
        if said is None or str(answer.says) not in said:
            missed[student(answer)] = (answer.cell, answer.says, lost(verdicts[student(answer)]))
    assert not missed
