"""The checks are proven: wrong answers are caught by name, right ones pass, trivial ones get 0."""

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.bank import (
    Answer,
    Exercise,
    check_seconds,
    exercises,
    grade_id,
    is_solution,
    is_test,
    points,
    run_checks,
)
from tests.house import ROOT, tree
from tools.exercises import generate

EXERCISES = {exercise.stem: exercise for exercise in exercises()}
TASKS = [(stem, task) for stem, exercise in EXERCISES.items() for task in exercise.tasks]
ANSWERS = [(stem, a) for stem, exercise in EXERCISES.items() for a in exercise.answers]
WRONG = [(stem, a) for stem, a in ANSWERS if a.cell]
RIGHT = [(stem, a) for stem, a in ANSWERS if not a.cell]
SECRET = re.compile(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n.*?### END", flags=re.S)
FOUR_TASKS, LEAST_WRONG, LEAST_RIGHT = 4, 8, 3


def name_of(value: Any) -> str:
    return value.name if isinstance(value, Answer) else str(value)


def zeros(*arguments: Any, **_: Any) -> Any:
    shaped = [a for a in arguments if hasattr(a, "new_zeros")]
    return shaped[0].new_zeros(shaped[0].shape) if shaped else 0.0


TRIVIAL = {
    "none": lambda *a, **k: None,
    "input": lambda *a, **k: a[0] if a else None,
    "last input": lambda *a, **k: a[-1] if a else None,
    "zero": lambda *a, **k: 0,
    "one": lambda *a, **k: 1.0,
    "empty list": lambda *a, **k: [],
    "empty dict": lambda *a, **k: {},
    "empty text": lambda *a, **k: "",
    "true": lambda *a, **k: True,
    "false": lambda *a, **k: False,
    "zeros": zeros,
}


def hidden(exercise: Exercise, task: str) -> set[str]:
    return {grade_id(cell) for cell in exercise.tests(task) if points(cell) > 0}


@pytest.mark.parametrize(("stem", "answer"), WRONG, ids=name_of)
def test_a_wrong_answer_loses_its_points_with_its_message(stem: str, answer: Answer) -> None:
    exercise = EXERCISES[stem]
    failed = run_checks(exercise, answer.task, answer.value)
    assert answer.cell in failed, f"{answer.name} passes {answer.cell}; it fails {sorted(failed)}"
    assert answer.says is not None
    assert answer.says in failed[answer.cell], f"{answer.cell} says: {failed[answer.cell]}"
    assert hidden(exercise, answer.task) & set(failed), f"{answer.name} loses no points"


@pytest.mark.parametrize(("stem", "answer"), RIGHT, ids=name_of)
def test_a_right_answer_in_another_style_gets_full_marks(stem: str, answer: Answer) -> None:
    assert run_checks(EXERCISES[stem], answer.task, answer.value) == {}


@pytest.mark.parametrize(("stem", "task"), TASKS)
def test_trivial_answers_and_the_stub_get_nothing(stem: str, task: str) -> None:
    exercise = EXERCISES[stem]

    def stub(*_: Any, **__: Any) -> None:
        raise NotImplementedError

    for label, value in {**TRIVIAL, "stub": stub}.items():
        passed = hidden(exercise, task) - set(run_checks(exercise, task, value))
        assert not passed, f"the answer '{label}' gets the points of {sorted(passed)}"


@pytest.mark.parametrize("stem", EXERCISES)
def test_an_exercise_has_its_form(stem: str) -> None:
    exercise = EXERCISES[stem]
    assert len(exercise.tasks) == FOUR_TASKS
    total = sum(points(c) for c in exercise.cells if grade_id(c) and c.metadata.nbgrader.grade)
    assert 10 <= total <= 20, f"{total} points"
    ids = [grade_id(c) for c in exercise.cells if grade_id(c)]
    assert len(ids) == len(set(ids))
    written = [c for c in exercise.cells if c.cell_type == "markdown" and is_solution(c)]
    assert [grade_id(c) for c in written] == ["written"]
    for task in exercise.tasks:
        visible = [c for c in exercise.tests(task) if points(c) == 0]
        assert visible, f"{task} has no visible check"
        assert hidden(exercise, task), f"{task} has no hidden check"
        for cell in exercise.tests(task):
            is_hidden = "### BEGIN HIDDEN TESTS" in cell.source
            assert is_hidden == (points(cell) > 0), (
                f"{grade_id(cell)}: only hidden checks carry points"
            )
        bank = [a for a in exercise.answers if a.task == task]
        counts = Counter("wrong" if a.cell else "right" for a in bank)
        assert counts["wrong"] >= LEAST_WRONG, f"{task}: {counts['wrong']} wrong answers"
        assert counts["right"] >= LEAST_RIGHT, f"{task}: {counts['right']} right answers"
        said = {(a.cell, a.says) for a in bank if a.cell}
        kills = f"{counts['wrong']} wrong answers named by {len(said)} messages"
        print(f"{stem} {task}: {kills}, {counts['right']} right ones pass")


@pytest.mark.parametrize("stem", EXERCISES)
def test_a_task_tells_points_difficulty_minutes_and_folds_three_hints(stem: str) -> None:
    cells = EXERCISES[stem].cells
    for number, cell in enumerate(cells):
        if cell.cell_type != "code" or not is_solution(cell):
            continue
        before = [c.source for c in cells[:number] if c.cell_type == "markdown"]
        start = max(i for i, text in enumerate(before) if text.startswith("## Task"))
        text = "\n".join(before[start:])
        for word in ("points", "difficulty", "minutes"):
            assert word in text.lower(), f"{grade_id(cell)} does not tell its {word}"
        assert text.count("<details>") >= 3, f"{grade_id(cell)} lacks folded hints"


@pytest.mark.alone
@pytest.mark.parametrize("stem", EXERCISES)
def test_all_checks_of_an_exercise_cost_a_tenth_of_a_second(stem: str) -> None:
    seconds = check_seconds(EXERCISES[stem])
    print(f"{stem}: all checks take {seconds:.3f} CPU-s")
    assert seconds <= 0.1


@pytest.mark.parametrize("stem", EXERCISES)
def test_checks_end_without_a_value(stem: str) -> None:
    """nbgrader reads a bare number at the end of a graded cell as partial credit."""
    for cell in EXERCISES[stem].cells:
        if is_test(cell):
            last = ast.parse(cell.source).body[-1]
            bare = isinstance(last, ast.Expr) and not isinstance(last.value, ast.Call)
            assert not bare, f"{grade_id(cell)} ends in a bare value"


def body(node: ast.FunctionDef | ast.ClassDef) -> str:
    """A definition's code as a syntax tree, without docstrings, decorators and quotes of types."""
    copy = ast.parse(ast.unparse(node)).body[0]
    for inner in ast.walk(copy):
        if isinstance(inner, ast.arg) and isinstance(inner.annotation, ast.Constant):
            inner.annotation = ast.parse(str(inner.annotation.value), mode="eval").body
        if isinstance(inner, ast.FunctionDef | ast.ClassDef):
            if ast.get_docstring(inner) is not None:
                inner.body = inner.body[1:]
            inner.decorator_list = []
    return ast.dump(copy)


@pytest.mark.parametrize(("stem", "task"), TASKS)
def test_a_solution_is_the_librarys_own_code(stem: str, task: str) -> None:
    library = {
        n.name: n
        for n in tree(ROOT / f"fmbook/{stem}.py").body
        if isinstance(n, ast.FunctionDef | ast.ClassDef)
    }
    if task not in library:
        assert task in EXERCISES[stem].tasks[-2:], (
            "only the last two tasks, which extend and repair, may be no name of the library"
        )
        return
    cell = next(c for c in EXERCISES[stem].cells if grade_id(c) == task)
    solved = {
        n.name: n
        for n in ast.parse(cell.source).body
        if isinstance(n, ast.FunctionDef | ast.ClassDef)
    }
    assert body(solved[task]) == body(library[task]), f"the solution of {task} is not the library's"


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return generate(tmp_path_factory.mktemp("course"))


def test_regeneration_is_byte_identical(regenerated: dict[str, bytes]) -> None:
    committed = {
        f.relative_to(ROOT).as_posix(): f.read_bytes()
        for f in (ROOT / "exercises").glob("*/*")
        if f.name != ".ipynb_checkpoints"
    }
    assert set(committed) == set(regenerated), "run `make exercises`"
    changed = [name for name, content in regenerated.items() if committed[name] != content]
    assert not changed, f"run `make exercises`: {', '.join(changed)} differ"


def test_a_release_holds_no_solution_and_no_hidden_check(regenerated: dict[str, bytes]) -> None:
    for name, content in regenerated.items():
        exercise = EXERCISES[name.removeprefix("exercises/").removesuffix(".ipynb")]
        released = "\n".join(
            c["source"] if isinstance(c["source"], str) else "".join(c["source"])
            for c in json.loads(content)["cells"]
        )
        assert not re.search(r"### (BEGIN|END) (SOLUTION|HIDDEN)", released)
        source = "\n".join(cell.source for cell in exercise.cells)
        shown = SECRET.sub("", source)
        secret = [s.strip() for block in SECRET.findall(source) for s in block.splitlines()]
        leaked = [s for s in secret if len(s) > 40 and s in released and s not in shown]
        assert not leaked, f"{name} shows {leaked[:3]}"
        assert len(secret) > 40, "the pattern of secrets finds nothing"


def test_each_exercise_carries_a_colab_badge(regenerated: dict[str, bytes]) -> None:
    for name, content in regenerated.items():
        assert "https://colab.research.google.com/github/" in content.decode(), name
        assert f"/{name})" in content.decode(), f"{name} links to another notebook"


def test_the_folder_of_a_source_holds_notebooks_only() -> None:
    """nbgrader copies every other file of a source folder into the release."""
    extra = [f for f in (ROOT / "solutions").rglob("*") if f.is_file() and f.suffix != ".ipynb"]
    assert not [Path(f) for f in extra if ".ipynb_checkpoints" not in f.parts]
