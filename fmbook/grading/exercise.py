"""What the grader knows of an exercise: its cells in order, what each is for, what it is worth.

The source notebook gives order and plain cells, the gradebook (if there is one) the checks as they
were released. Left out: anything that a submission says, which is `intake`'s matter.
"""

import ast
import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

__all__ = ["Cell", "Exercise", "read_exercise"]

HIDDEN = re.compile(r"^\s*### BEGIN HIDDEN TESTS.*?^\s*### END HIDDEN TESTS[^\n]*\n?", re.M | re.S)
TIERS = ("isolated", "in-process")


@dataclass(frozen=True)
class Cell:
    """One cell of an exercise.

    `kind` is `setup` (plain code before the first task), `shared` (read-only code that checks
    need), `solution`, `check`, `written` (graded by a person), `task`, `free`, `skip` or `text`.
    """

    id: str
    kind: str
    cell_type: str
    source: str  # as it is graded: checks with their hidden part
    released: str  # as students got it
    grade_id: str = ""
    points: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    checksum: str | None = None

    @property
    def fixed(self) -> bool:
        """Whether the exercise's own source counts, whatever a submission holds."""
        return self.kind in ("shared", "check", "task")

    @property
    def runs(self) -> bool:
        return self.cell_type == "code" and self.kind != "skip"

    @cached_property
    def graded_metadata(self) -> dict[str, Any]:
        """The metadata that it has in graded notebooks."""
        kept = {k: v for k, v in self.metadata.items() if k in ("tags", "nbgrader")}
        if "nbgrader" in kept:
            own = {"checksum": self.checksum} if self.checksum else {}
            kept["nbgrader"] = kept["nbgrader"] | {"cell_type": self.cell_type} | own
        return kept


@dataclass(frozen=True)
class Exercise:
    """An exercise as it is graded; `forbidden` maps a task to the calls that it may not make."""

    era: str
    stem: str
    cells: tuple[Cell, ...]
    metadata: Mapping[str, Any]
    forbidden: Mapping[str, tuple[str, ...]]
    forbidden_scores: str  # "zero" or "flag"

    @cached_property
    def by_grade_id(self) -> dict[str, int]:
        return {cell.grade_id: i for i, cell in enumerate(self.cells) if cell.grade_id}

    @cached_property
    def defined(self) -> dict[str, int]:
        """The names that solution cells define, each with its cell."""
        return {
            name: i
            for i, cell in enumerate(self.cells)
            if cell.kind == "solution"
            for name in sorted(bound(parsed(cell.source)))
        }

    @cached_property
    def answers(self) -> frozenset[str]:
        """The names that live with the student: of solution cells, and adapters that use those."""
        names = set(self.defined)
        trusted = [parsed(c.source) for c in self.cells if c.kind in ("setup", "shared")]
        while True:
            more = {
                name
                for tree in trusted
                for statement in tree.body
                if mentions(statement, names)
                for name in bound(ast.Module([statement], []))
            } - names
            if not more:
                return frozenset(names)
            names |= more

    @cached_property
    def functions(self) -> frozenset[str]:
        """Those of the answers that are functions or classes by the model answer."""
        trees = [parsed(c.source) for c in self.cells if c.kind in ("solution", "setup", "shared")]
        kinds = ast.FunctionDef | ast.ClassDef
        return self.answers & {n.name for tree in trees for n in tree.body if isinstance(n, kinds)}

    @cached_property
    def for_referee(self) -> dict[str, dict[str, Any]]:
        """What the referee needs of each cell by id: Python, and for checks more.

        Set-up comes without the statements that belong into the student's process. A check comes
        with the student's names that it `uses`, and apart the expression in which it ends.
        """
        found = {}
        for cell in self.cells:
            if cell.kind == "check" and cell.cell_type == "code":
                found[cell.id] = self._check_parts(cell.source)
            elif cell.kind in ("setup", "shared"):
                own = [n for n in parsed(cell.source).body if not mentions(n, self.answers)]
                found[cell.id] = {"source": _part(cell.source, own)}
        return found

    def _check_parts(self, source: str) -> dict[str, Any]:
        tree = parsed(source)
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & self.answers
        last = tree.body[-1] if tree.body else None
        credit = isinstance(last, ast.Expr) and not mentions(last, self.answers)
        credit = credit and not isinstance(last.value, ast.Call)  # type: ignore[union-attr]
        body = tree.body[:-1] if credit else tree.body
        tail = ast.unparse(tree.body[-1]) if credit else ""
        return {"source": _part(source, body), "tail": tail, "uses": sorted(used)}

    @cached_property
    def steps(self) -> dict[tuple[str, str | None], str]:
        """Its own cells as steps of jobs, by cell and tier: `plan` writes each once."""
        return {}

    @cached_property
    def lines(self) -> dict[str, str]:
        """Its own cells as lines of graded notebooks, by id: `task` writes each once."""
        return {}

    @cached_property
    def grade_ids(self) -> dict[str, str]:
        """What each cell is called, by its id; "" where it has no name."""
        return {cell.id: cell.grade_id for cell in self.cells}

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each cell stands, by its id."""
        return {cell.id: i for i, cell in enumerate(self.cells)}

    @cached_property
    def released(self) -> dict[tuple[str, str], int]:
        """Where each cell stands, by its type and its bare text as students got it."""
        return {(cell.cell_type, bare(cell.released)): i for i, cell in enumerate(self.cells)}

    def task_of(self, check: Cell) -> str:
        """The solution cell whose `grade_id` begins a check's; else the nearest before it."""
        return self.tasks[check.id]

    @cached_property
    def tasks(self) -> dict[str, str]:
        """The task that each cell belongs to, by its id; "" before the first."""
        found, before = {}, list[str]()
        for cell in self.cells:
            named = [task for task in before if cell.grade_id.startswith(f"{task}-")]
            found[cell.id] = max(named, key=len) if named else (before or [""])[-1]
            before += [cell.grade_id] if cell.kind == "solution" else []
        return found

    @cached_property
    def modules(self) -> list[str]:
        """What the exercise's own cells import, to be loaded once for all submissions."""
        found: dict[str, None] = {}
        for cell in self.cells:
            own = cell.cell_type == "code" and cell.kind in ("setup", "shared", "check")
            if own and "import" in cell.source:
                for node in ast.walk(parsed(cell.source)):
                    if isinstance(node, ast.Import):
                        found |= {alias.name: None for alias in node.names}
                    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                        found[node.module] = None
                        found |= {f"{node.module}.{alias.name}": None for alias in node.names}
        return [name for name in found if not name.startswith("google")]


@cache
def python(source: str) -> tuple[str, ast.Module]:
    """A cell of the exercise as plain Python (IPython's magics become calls), and its tree."""
    with contextlib.suppress(SyntaxError):  # nearly all cells are plain: IPython takes long
        return source, ast.parse(source)
    from IPython.core.inputtransformer2 import TransformerManager

    source = str(TransformerManager().transform_cell(source))
    return source, ast.parse(source)


def parsed(source: str) -> ast.Module:
    """The syntax tree of a cell of the exercise; not to be changed."""
    return python(source)[1]


def _part(source: str, statements: list[ast.stmt]) -> str:
    """Some of a cell's statements as plain Python; all of them as they were written."""
    plain, tree = python(source)
    whole = len(statements) == len(tree.body)
    return plain if whole else ast.unparse(ast.Module(statements, []))


def bound(tree: ast.Module) -> set[str]:
    """The names that a cell binds at its top level."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).split(".")[0] for a in node.names}
        else:
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            names |= {n.id for n in stored if isinstance(n.ctx, ast.Store)}
    return names


def mentions(node: ast.AST, names: Iterable[str]) -> bool:
    """Whether code uses one of the names; a function's own parameters are not those."""
    if isinstance(node, ast.FunctionDef):
        a = node.args
        own = {x.arg for x in [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg] if x}
        names = set(names) - own
    used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return bool(used & set(names))


def bare(source: str) -> str:
    """A cell's text as students see it, without hidden tests and what editors change."""
    return "\n".join(line.rstrip() for line in HIDDEN.sub("", source).strip().splitlines())


def _kind(cell: Mapping[str, Any], tasks_begun: bool) -> str:
    meta = cell["metadata"].get("nbgrader", {})
    tags = cell["metadata"].get("tags", [])
    if meta.get("task"):
        return "task"
    if meta.get("grade") and meta.get("solution"):
        return "written"
    if meta.get("grade"):
        return "check"
    if meta.get("solution"):
        return "solution"
    if cell["cell_type"] != "code":
        return "text"
    if "skip-execution" in tags:
        return "skip"
    if meta.get("locked") or "needed" in tags:
        return "shared"
    return "free" if tasks_begun else "setup"


def read_exercise(
    era: str,
    stem: str,
    source: str,
    release: str,
    stored: Mapping[str, tuple[str, str | None]] | None = None,
) -> Exercise:
    """An exercise from the text of its source notebook and of its release.

    `stored` maps a grade id to the source and checksum that the gradebook keeps: those count.

    Raises:
        ValueError: the two do not belong together; the message says what to do.
    """
    notebook, out = json.loads(source), json.loads(release)
    shown = {c.get("id"): "".join(c["source"]) for c in out["cells"]}
    cells: list[Cell] = []
    for raw in notebook["cells"]:
        if raw.get("id") not in shown:
            raise ValueError(
                f"{era}/{stem}: the release lacks cell {raw.get('id')}: run `fmbook release {era}`"
            )
        kind = _kind(raw, any(c.kind == "solution" for c in cells))
        cell = _cell(raw, kind, shown[raw["id"]])
        if stored is not None and cell.grade_id and kind != "text":
            if cell.grade_id not in stored:
                raise ValueError(
                    f"{era}/{stem}: the gradebook lacks {cell.grade_id}: run `fmbook release {era}`"
                )
            kept, checksum = stored[cell.grade_id]
            own = cell.source if kind in ("solution", "written") else kept
            cell = replace(cell, source=own, checksum=checksum)
        cells.append(cell)
    own_metadata = notebook["metadata"].get("fmbook", {})
    forbidden = {task: tuple(names) for task, names in own_metadata.get("forbidden", {}).items()}
    scores = own_metadata.get("forbidden_scores", "zero")
    return Exercise(era, stem, tuple(cells), notebook["metadata"], forbidden, scores)


def _cell(raw: Mapping[str, Any], kind: str, shown: str) -> Cell:
    meta = raw["metadata"].get("nbgrader", {})
    worth = kind in ("check", "written", "task")
    return Cell(
        raw["id"],
        kind,
        raw["cell_type"],
        "".join(raw["source"]),
        shown,
        meta.get("grade_id", ""),
        float(meta.get("points") or 0.0) if worth else 0.0,
        raw["metadata"],
    )
