"""What the gradebook holds of an era, and which changes of its source would harm that.

Reads a copy; nbgrader's own behaviour is in its `SaveCells` and `GenerateAssignment`, which stop
halfway and remove the release. Left out: making the release.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fmbook.grading.course import CourseError
from fmbook.grading.database import engine_of
from fmbook.grading.gradebook import OLDER, Gradebook
from fmbook.grading.leaks import Notebook

__all__ = [
    "Kept",
    "conflicts",
    "copy",
    "ensure_writable",
    "file_of",
    "has_tables",
    "kept",
    "planned",
    "schema_fault",
]

KINDS = {"GradeCell": "grade", "SolutionCell": "solution", "TaskCell": "task"}
WAIT = 10  # seconds for another program's transaction
Cells = dict[str, tuple[str, float | None]]  # grade id: what the cell is, its points


@dataclass(frozen=True)
class Kept:
    """A notebook in the gradebook: its cells, how many handed it in, how many were graded."""

    cells: Cells
    sources: dict[str, str]  # of each cell that nbgrader stores
    submitted: int
    graded: int


def file_of(db_url: str) -> Path | None:
    """The file of a SQLite gradebook; None for a database server."""
    url = sa.engine.make_url(db_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)


def has_tables(db_url: str) -> bool:
    """Whether anything was ever stored in a database."""
    engine = engine_of(db_url)
    try:
        return bool(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def copy(source: Path, target: Path) -> None:
    """Copy a SQLite database as it stands between two transactions.

    Raises:
        CourseError: it cannot be read, or is no database.
    """
    try:
        old = sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)
        with closing(old), closing(sqlite3.connect(target)) as new:
            old.backup(new)
    except sqlite3.Error as error:
        raise CourseError(f"the gradebook {source} cannot be read: {error}") from None


def ensure_writable(file: Path) -> None:
    """Raise CourseError if another program holds the gradebook, or its file cannot be written."""
    try:
        with closing(sqlite3.connect(file, timeout=WAIT)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.rollback()
    except sqlite3.Error as error:
        raise CourseError(
            f"the gradebook {file} cannot be written now ({error}): close what else uses it"
        ) from None


def schema_fault(db_url: str) -> str:
    """Why nbgrader as it is installed here cannot use this gradebook, and what to do; or ''."""
    import nbgrader
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    engine = engine_of(db_url)
    try:
        tables = sa.inspect(engine).get_table_names()
        with engine.connect() as db:
            query = sa.text("SELECT version_num FROM alembic_version")
            have = db.execute(query).scalar() if "alembic_version" in tables else None
    finally:
        engine.dispose()
    scripts = ScriptDirectory(str(Path(nbgrader.__file__).parent / "alembic"))
    if not tables or have == scripts.get_current_head():
        return ""
    try:
        scripts.get_revision(have or "base")
    except CommandError:
        return (
            f"the gradebook was made by a newer nbgrader than {nbgrader.__version__}: update that"
        )
    return OLDER


def kept(url: str, era: str) -> dict[str, Kept] | None:
    """The notebooks that a gradebook has for an era; None if it does not know the era."""
    if not url:
        return None
    book = Gradebook(url)
    t = book.t
    try:
        with book.engine.connect() as db:
            assignment = sa.select(t["assignment"].c.id).where(t["assignment"].c.name == era)
            if (number := db.execute(assignment).scalar()) is None:
                return None
            notebook = t["notebook"].c
            query = sa.select(notebook.id, notebook.name).where(notebook.assignment_id == number)
            return {name: _kept(db, t, id) for id, name in list(db.execute(query))}
    finally:
        book.close()


def _kept(db: sa.Connection, t: Any, notebook: str) -> Kept:
    cell, source, handed, grade = (
        t[name] for name in ("base_cell", "source_cell", "submitted_notebook", "grade")
    )
    points = sa.func.coalesce(t["grade_cells"].c.max_score, t["task_cells"].c.max_score)
    query = sa.select(cell.c.name, cell.c.type, points.label("points"))
    for table in ("grade_cells", "task_cells"):
        query = query.outerjoin(t[table], t[table].c.id == cell.c.id)
    rows = list(db.execute(query.where(cell.c.notebook_id == notebook)))
    texts = sa.select(source.c.name, source.c.source).where(source.c.notebook_id == notebook)
    sources = {name: str(text) for name, text in db.execute(texts)}
    cells: Cells = dict.fromkeys(sources, ("", None))
    for name, kind, worth in rows:
        was, before = cells.get(name, ("", None))
        both = sorted({KINDS.get(kind, kind), *was.split("+")} - {""})
        cells[name] = "+".join(both), worth if worth is not None else before
    mine = handed.c.notebook_id == notebook
    submitted = db.execute(sa.select(sa.func.count()).select_from(handed).where(mine)).scalar()
    scored = sa.or_(grade.c.auto_score.is_not(None), grade.c.manual_score.is_not(None))
    graded = sa.select(sa.func.count(sa.distinct(handed.c.id))).join(
        grade, grade.c.notebook_id == handed.c.id
    )
    found = db.execute(graded.where(mine, scored)).scalar()
    return Kept(cells, sources, int(submitted or 0), int(found or 0))


def planned(notebook: Notebook) -> Cells:
    """The cells that nbgrader would store of a source notebook."""
    cells: Cells = {}
    for cell in notebook["cells"]:
        meta = cell["metadata"].get("nbgrader", {})
        kinds = [kind for kind in ("grade", "solution", "task") if meta.get(kind)]
        if kinds or meta.get("locked"):
            worth = float(meta["points"]) if {"grade", "task"} & set(kinds) else None
            cells[str(meta["grade_id"])] = "+".join(sorted(kinds)), worth
    return cells


def conflicts(era: str, have: dict[str, Kept], plan: dict[str, Cells]) -> Iterator[tuple[str, str]]:
    """What nbgrader would refuse or harm: (`cells` or `points`, a sentence saying what to do)."""
    way_out = (
        f"or, to throw these grades away, `nbgrader db assignment remove {era} --force` "
        "(make a copy of the gradebook first)"
    )
    handed = max((k.submitted for k in have.values()), default=0)
    gone, new = sorted(have.keys() - plan.keys()), sorted(plan.keys() - have.keys())
    if handed and gone:
        yield "cells", f"{handed} students handed in {', '.join(gone)}: put it back; {way_out}"
    if handed and new:
        why = f"{handed} students handed in {era} without {', '.join(new)}"
        yield "cells", f"{why}: put it into an era of its own; {way_out}"
    for stem in sorted(have.keys() & plan.keys()):
        old, now = have[stem], plan[stem]
        if old.submitted:
            yield from _cell_conflicts(stem, old, now, way_out)
        if old.graded:
            yield from _point_conflicts(era, stem, old, now)


def _cell_conflicts(stem: str, old: Kept, now: Cells, way_out: str) -> Iterator[tuple[str, str]]:
    changes = [f"{name} is gone" for name in sorted(old.cells.keys() - now.keys())]
    changes += [f"{name} is new" for name in sorted(now.keys() - old.cells.keys())]
    changes += [
        f"{name} was {old.cells[name][0] or 'locked'} and is {now[name][0] or 'locked'}"
        for name in sorted(old.cells.keys() & now.keys())
        if old.cells[name][0] != now[name][0]
    ]
    if changes:
        why = f"{stem}: {old.submitted} students handed it in, and {'; '.join(changes)}"
        yield "cells", f"{why}. Give the cells their old grade_id and kind again; {way_out}"


def _point_conflicts(era: str, stem: str, old: Kept, now: Cells) -> Iterator[tuple[str, str]]:
    changes = [
        f"{name} was worth {was:g} and is {now[name][1]:g}"
        for name, (_, was) in sorted(old.cells.items())
        if was is not None and name in now and now[name][1] not in (None, was)
    ]
    if changes:
        why = f"{stem}: {old.graded} students were graded, and {'; '.join(changes)}"
        yield (
            "points",
            f"{why}. Put the points back, or release with --new-points and then run "
            f"`fmbook grade {era} --regrade`",
        )
