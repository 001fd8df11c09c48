"""Banks of wrong and right answers: how they are written, and how the check cells are run on them.

An answer is an ordinary function or class in `tests/<era>/answers_<stem>.py`, decorated with
`@wrong(task, cell=..., says=...)` or `@right(task)`. A task is called what its solution cell's
`grade_id` and the function to write are called. Check cells run unchanged, in a forked process.
"""

import ast
import importlib
import inspect
import io
import json
import os
import signal
import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).parent.parent
SECONDS = 10  # a bank answer that takes longer is killed


@dataclass(frozen=True)
class Answer:
    """A right answer, or a wrong one with the cell and the words that must catch it."""

    task: str
    name: str
    value: Any
    cell: str | None = None
    says: str | None = None


def wrong(task: str, *, cell: str, says: str) -> Callable[[Any], Any]:
    """Mark a wrong answer: check `cell` must fail with a message that contains `says`."""
    return _mark(task, cell, says)


def right(task: str) -> Callable[[Any], Any]:
    """Mark a right answer in another style: all checks of the task must pass."""
    return _mark(task, None, None)


def _mark(task: str, cell: str | None, says: str | None) -> Callable[[Any], Any]:
    def decorate(value: Any) -> Any:
        value.bank = Answer(task, value.__name__, value, cell, says)
        return value

    return decorate


@dataclass(frozen=True, eq=False)  # hashed by identity: cells cannot be
class Exercise:
    """A solution notebook, its tasks in order and its answers."""

    stem: str  # "<era>/<stem>"
    cells: tuple[Any, ...]

    @property
    def era(self) -> str:
        return self.stem.split("/")[0]

    @property
    def tasks(self) -> list[str]:
        """The names to write, in order; the written answer is none of them."""
        return [grade_id(c) for c in self.cells if c.cell_type == "code" and is_solution(c)]

    def tests(self, task: str) -> list[Any]:
        """The check cells of a task, visible and hidden, in order."""
        return [c for c in self.cells if is_test(c) and grade_id(c).startswith(f"{task}-")]

    @property
    def answers(self) -> list[Answer]:
        module = self.answers_module
        return [
            v.bank for v in vars(module).values() if isinstance(getattr(v, "bank", None), Answer)
        ]

    @property
    def answers_module(self) -> ModuleType:
        era, stem = self.stem.split("/")
        return importlib.import_module(f"tests.{era}.answers_{stem}")


def exercises() -> list[Exercise]:
    """Every solution notebook there is."""
    files = sorted((ROOT / "solutions").glob("*/*.ipynb"))
    return [Exercise(f"{f.parent.name}/{f.stem}", tuple(nbformat.read(f, 4).cells)) for f in files]


def grade_id(cell: Any) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def is_solution(cell: Any) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def is_test(cell: Any) -> bool:
    meta = cell.metadata.get("nbgrader", {})
    return bool(meta.get("grade") and not meta.get("solution"))


def points(cell: Any) -> float:
    return float(cell.metadata["nbgrader"].get("points", 0))


def needed(cell: Any) -> bool:
    """Cells that checks rely on, beside the set-up: solutions and those tagged `needed`."""
    return is_solution(cell) or "needed" in cell.metadata.get("tags", [])


def first_wrong(exercise: Exercise, task: str) -> Answer:
    """The bank's first wrong answer of a task."""
    return next(a for a in exercise.answers if a.task == task and a.cell)


def hidden_points(exercise: Exercise, task: str) -> dict[str, float]:
    """The points of a task's hidden checks by their grade id."""
    return {grade_id(c): points(c) for c in exercise.tests(task) if points(c) > 0}


def expected(exercise: Exercise, broken: Mapping[str, Answer | None]) -> float:
    """The score of a submission: hidden checks passed, by their points.

    `broken`: tasks with a wrong answer, or with None if the task's cell raises; others are solved.
    """
    total = 0.0
    for task in exercise.tasks:
        answer, worth = broken.get(task), hidden_points(exercise, task)
        failed = set(run_checks(exercise, task, answer.value)) if answer else set[str]()
        lost = set(worth) if task in broken and answer is None else failed
        total += sum(worth[name] for name in worth.keys() - lost)
    return total


@cache
def _compiled(source: str) -> CodeType:
    return compile(TransformerManager().transform_cell(source), "<cell>", "exec")


def execute(source: str, names: dict[str, Any]) -> None:
    with redirect_stdout(io.StringIO()):
        exec(_compiled(source), names)


@cache
def namespace(exercise: Exercise) -> dict[str, Any]:
    """What a perfect student's notebook has defined before the first check runs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    before_first_task = True
    for cell in exercise.cells:
        before_first_task = before_first_task and not is_solution(cell)
        if cell.cell_type == "code" and (before_first_task or needed(cell)):
            execute(cell.source, names)
    return names


def run_checks(exercise: Exercise, task: str, value: Any) -> dict[str, str]:
    """Run a task's check cells on an answer in a forked process.

    Returns the failed cells as {grade_id: message}; a cell that ran to its end is not in it.
    """
    names = namespace(exercise)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(SECONDS)
        with os.fdopen(write, "w") as pipe:
            json.dump(_failures(exercise, task, _answered(exercise, names, task, value)), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else {grade_id(c): "died" for c in exercise.tests(task)}


def _answered(exercise: Exercise, names: dict[str, Any], task: str, value: Any) -> dict[str, Any]:
    """The names with an answer in place; adapters run again, so that they call this answer."""
    names = dict(names) | {task: value}
    for cell in exercise.cells:
        if cell.cell_type == "code" and needed(cell) and not is_solution(cell):
            execute(cell.source, names)
    return names


def _failures(exercise: Exercise, task: str, names: dict[str, Any]) -> dict[str, str]:
    failed = {}
    for cell in exercise.tests(task):
        try:
            execute(cell.source, names)
        except BaseException as error:  # whatever a student's code raises
            failed[grade_id(cell)] = f"{type(error).__name__}: {error}"
    return failed


def check_seconds(exercise: Exercise) -> float:
    """CPU-seconds that all check cells of an exercise take on the perfect answers, once warm."""
    names = dict(namespace(exercise))
    for _ in range(2):
        start = time.process_time()
        for task in exercise.tasks:
            assert not _failures(exercise, task, names)
        seconds = time.process_time() - start
    return seconds


@cache
def source(exercise: Exercise, answer: Answer) -> str:
    """An answer as a student would have typed it: under the task's name, with its imports."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(answer.value)))
    node = tree.body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    node.name, node.decorator_list = answer.task, []
    given = _written_out(node, exercise)
    return "\n\n".join([_imports(exercise), *given, ast.unparse(node)])


@cache
def _imports(exercise: Exercise) -> str:
    """What the module of an exercise's answers imports, but for the bank itself."""
    module = ast.parse(inspect.getsource(exercise.answers_module))
    kinds = (ast.Import, ast.ImportFrom)
    imports = [n for n in module.body if isinstance(n, kinds) and "bank" not in ast.unparse(n)]
    return "\n".join(map(ast.unparse, imports))


def _written_out(node: ast.FunctionDef | ast.ClassDef, exercise: Exercise) -> list[str]:
    """The library's classes that an answer builds on, as texts under other names; put in place.

    The bank's answers inherit for brevity; a student who did would have called the answer itself.
    """
    base = node.bases[0] if isinstance(node, ast.ClassDef) and node.bases else None
    library = getattr(exercise.answers_module, "library", None)
    name = ""
    if isinstance(base, ast.Attribute) and ast.unparse(base.value) == "library":
        name = base.attr
    elif isinstance(base, ast.Name) and inspect.isclass(getattr(library, base.id, None)):
        name = base.id
    if not name:
        return []
    assert isinstance(node, ast.ClassDef)
    (given,) = ast.parse(textwrap.dedent(inspect.getsource(getattr(library, name)))).body
    assert isinstance(given, ast.ClassDef)
    before = _written_out(given, exercise)
    given.name = f"{name}SoFar"
    node.bases = [ast.Name(given.name)]
    return [*before, ast.unparse(given)]
