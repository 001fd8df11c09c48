"""A released course in a folder of its own, submissions to it, and what grading them stored.

Releasing takes nbgrader some seconds, so it happens once per content of `solutions/` and is copied
from then on. Nothing here imports torch or nbgrader: tests may ask whether the engine does.
"""

import copy
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fmbook.grading.course import Course
from fmbook.grading.grade import Options
from fmbook.grading.grade import grade as run
from fmbook.grading.gradebook import Key
from fmbook.grading.ledger import Ledger
from fmbook.grading.verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]
STEMS = ("rules/expert_system", "transformers/attention")
WORDS = "My own words."  # the written answer of a submission
GENERATE = (
    "import sys, pathlib; from tools.exercises import generate; generate(pathlib.Path(sys.argv[1]))"
)


@cache
def template() -> Path:
    """A course in which everything is released and nothing handed in. Never write to it."""
    place = Path(tempfile.gettempdir()) / f"fmbook-course-{os.getuid()}-{_digest()}"
    if place.exists():
        return place
    aside = Path(tempfile.mkdtemp(prefix="fmbook-course-new-"))
    try:
        shutil.copy(ROOT / "nbgrader_config.py", aside)
        command = [sys.executable, "-W", "ignore", "-c", GENERATE, str(aside)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        os.rename(aside, place)
    except OSError:  # another run was faster
        assert place.exists()
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place


def _digest() -> str:
    files = [*sorted((ROOT / "solutions").glob("*/*.ipynb")), ROOT / "nbgrader_config.py"]
    files.append(ROOT / "tools" / "exercises.py")
    digest = hashlib.sha256(metadata.version("nbgrader").encode())
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def make(folder: Path) -> Course:
    """A released course of this book's exercises in a new folder."""
    shutil.copytree(template(), folder)
    return Course.find(folder)


def released(stem: str) -> dict[str, Any]:
    """An exercise as students get it, as JSON; `stem` is "<era>/<stem>" here and below."""
    return copy.deepcopy(_read("exercises", stem))


@cache
def _read(tree: str, stem: str) -> dict[str, Any]:
    return dict(json.loads((template() / tree / f"{stem}.ipynb").read_text("utf8")))


def grade_id(cell: Mapping[str, Any]) -> str:
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


@cache
def tasks(stem: str) -> tuple[str, ...]:
    """The names to write, in order; the written answer is none of them."""
    return tuple(
        grade_id(cell)
        for cell in _read("solutions", stem)["cells"]
        if cell["cell_type"] == "code" and cell["metadata"].get("nbgrader", {}).get("solution")
    )


@cache
def solution(stem: str, task: str) -> str:
    """The model answer of a task."""
    cells = _read("solutions", stem)["cells"]
    return "".join(next(c["source"] for c in cells if grade_id(c) == task))


@cache
def points(stem: str) -> dict[str, float]:
    """The points of each check of an exercise that a machine decides on."""
    found = {}
    for cell in _read("solutions", stem)["cells"]:
        meta = cell["metadata"].get("nbgrader", {})
        if meta.get("grade") and not meta.get("solution"):
            found[grade_id(cell)] = float(meta["points"])
    return found


def answered(stem: str, answers: Mapping[str, str] = {}, *, solve: bool = True) -> dict[str, Any]:
    """A submission as JSON: `answers` by task, the others solved, or left as they were released."""
    notebook = released(stem)
    given = {task: solution(stem, task) for task in tasks(stem)} if solve else {}
    given |= {"written": WORDS, **answers} if solve else dict(answers)
    for cell in notebook["cells"]:
        if grade_id(cell) in given:
            cell["source"] = given[grade_id(cell)]
    return notebook


def add_cell(
    notebook: dict[str, Any], source: str, *, before: str = "", after: str = ""
) -> dict[str, Any]:
    """The same notebook with a code cell of the student's beside that of a grade id (else last)."""
    cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": []}
    cell |= {"execution_count": None, "id": f"mine-{len(notebook['cells'])}"}
    names = [grade_id(c) for c in notebook["cells"]]
    place = names.index(before) if before else names.index(after) + 1 if after else len(names)
    notebook["cells"].insert(place, cell)
    return notebook


def hand_in(course: Course, student: str, stem: str, what: Mapping[str, Any] | bytes) -> Path:
    """Put a notebook, or the bytes of what pretends to be one, where `student` hands it in."""
    era, name = stem.split("/")
    file = course.folder("submitted", student, era) / f"{name}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(what if isinstance(what, bytes) else json.dumps(what).encode())
    return file


def grade(course: Course, **options: Any) -> dict[Key, tuple[str, Verdict | None]]:
    """Grade what is new; outcome and verdict by (era, stem, student)."""
    return {key: (how, verdict) for key, how, verdict in run(course, Options(**options))}


def rows(course: Course, student: str, stem: str) -> dict[str, dict[str, Any]]:
    """nbgrader's grade rows of a submission by grade id: auto_score, manual_score, ..."""
    era, name = stem.split("/")
    query = """
        select base_cell.name, grade.* from grade
        join base_cell on base_cell.id = grade.cell_id
        join submitted_notebook on submitted_notebook.id = grade.notebook_id
        join submitted_assignment on submitted_assignment.id = submitted_notebook.assignment_id
        join notebook on notebook.id = submitted_notebook.notebook_id
        join assignment on assignment.id = notebook.assignment_id
        where submitted_assignment.student_id = ? and assignment.name = ? and notebook.name = ?
    """
    with closing(sqlite3.connect(course.root / "gradebook.db")) as db:
        db.row_factory = sqlite3.Row
        return {row["name"]: dict(row) for row in db.execute(query, (student, era, name))}


def score(course: Course, student: str, stem: str) -> float:
    """The automatic points that nbgrader's rows give a submission."""
    return float(sum(row["auto_score"] or 0.0 for row in rows(course, student, stem).values()))


def ledger(course: Course) -> Ledger:
    """The gradebook with the table of jobs."""
    return Ledger(course.db_url)


def by_hand(ledger: Ledger, key: Key) -> dict[str, tuple[float | None, str | None]]:
    """What people entered for a submission: grade id to score and comment."""
    s, t = ledger.submitted(), ledger.t
    names = zip((s.c.era, s.c.stem, s.c.student), key, strict=True)
    mine = sa.select(s.c.id).where(*(column == name for column, name in names))
    cell, grade, comment = t["base_cell"], t["grade"], t["comment"]
    scores = sa.select(cell.c.name, grade.c.manual_score).join(grade, grade.c.cell_id == cell.c.id)
    words = sa.select(cell.c.name, comment.c.manual_comment)
    words = words.join(comment, comment.c.cell_id == cell.c.id)
    with ledger.engine.connect() as db:
        told = db.execute(words.where(comment.c.notebook_id.in_(mine))).all()
        found = db.execute(scores.where(grade.c.notebook_id.in_(mine))).all()
    said = {name: text for name, text in told if text is not None}
    return {name: (score, said.get(name)) for name, score in found}


def graded_notebook(course: Course, student: str, stem: str) -> dict[str, Any]:
    """What an instructor looks at: the notebook in autograded/."""
    era, name = stem.split("/")
    file = course.folder("autograded", student, era) / f"{name}.ipynb"
    return dict(json.loads(file.read_text("utf8")))


def stored(course: Course, *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Everything that grading wrote, as text by place: rows of students, jobs, files.

    What the course itself holds (sources, releases, nbgrader's cells) is left out, and so is what
    stands under `but`, parts of places such as a student's name.
    """
    found: dict[str, str] = {}
    theirs = ("grade", "comment", "student", "submitted_assignment", "submitted_notebook")
    with closing(sqlite3.connect(course.root / "gradebook.db")) as db:
        names = {n for (n,) in db.execute("select name from sqlite_master where type = 'table'")}
        for table in (*theirs, *sorted(n for n in names if n.startswith("fmbook_job"))):
            for i, row in enumerate(db.execute(f"select * from {table}")):
                found[f"{table}/{i}/{'/'.join(map(str, row[:3]))}"] = repr(row)
    for folder in (course.autograded, course.feedback, course.root / ".fmbook"):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            data = file.read_bytes()
            data = gzip.decompress(data) if file.suffix == ".gz" else data
            found[file.relative_to(course.root).as_posix()] = data.decode("utf8", "replace")
    return {place: text for place, text in found.items() if not any(b in place for b in but)}
