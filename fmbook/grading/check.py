"""`fmbook check NOTEBOOK`: a student's visible checks, run as in the notebook from its first cell.

Needs the notebook and the teaching library; no course, no nbgrader. The cells run in a process of
their own. Left out: hidden checks, points, and walls: the notebook is the student's own.
"""

import ast
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fmbook
from fmbook.grading.room import START, open_room
from fmbook.grading.verdict import text

__all__ = ["check"]

SIZE = 64 << 20
PIN = re.compile(r"fmbook@v(\d+)\.(\d+)\.(\d+)")
MARKS = {"passed": "pass", "failed": "FAIL", "not begun": "----", "not reached": "----"}


class Refused(ValueError):
    """The notebook cannot be checked; the message says what to do."""


@dataclass
class Cell:
    """A code cell of the notebook, and what came of it."""

    number: int  # among all cells, from 1
    source: str
    grade_id: str
    task: str  # the header under which it stands
    is_check: bool
    state: str = "not reached"
    message: str = ""

    @property
    def title(self) -> str:
        """What a check says of itself in its first line."""
        first = self.source.strip().split("\n", 1)[0]
        said = first.lstrip("# ").strip() if first.startswith("#") else ""
        return said or self.grade_id or f"cell {self.number}"

    @property
    def begins(self) -> str:
        """Its first line of code, cut short: Jupyter shows no numbers of cells."""
        lines = (line.strip() for line in self.source.splitlines())
        first = next((line for line in lines if line and not line.startswith("#")), "")
        return first if len(first) <= 40 else f"{first[:39].rstrip()}…"


def check(notebook: Path, *, seconds: float = 60.0, as_json: bool = False) -> int:
    """Run a notebook up to its last visible check and print what each check says.

    `seconds` limits each cell. Returns the exit code: 0 if every visible check passes, 1 if one
    does not, 2 if the notebook cannot be checked, 130 after Ctrl-C.
    """
    try:
        cells = _cells(notebook)
        stopped = _run(cells, notebook.resolve().parent, seconds)
    except Refused as refused:
        said = text(str(refused))
        print(
            json.dumps({"error": said}) if as_json else said, file=None if as_json else sys.stderr
        )
        return 2
    print(_as_json(notebook, cells, stopped) if as_json else _as_text(notebook, cells, stopped))
    if stopped == "interrupted":
        return 130
    return int(any(c.state != "passed" for c in _last(cells)))


def _cells(file: Path) -> list[Cell]:
    """The code cells up to the last visible check.

    Raises:
        Refused: there is no such notebook, it holds no check, or it needs a newer library.
    """
    raw, tasks, cells, task = _read(file), dict[str, str](), list[Cell](), ""
    for number, one in enumerate(raw, 1):
        source, meta = _source(one), _meta(one)
        if one.get("cell_type") == "markdown":
            header = re.match(r"##? +([^\n]+)", source.strip())
            task = header[1] if header else task
        if one.get("cell_type") != "code" or "skip-execution" in _tags(one):
            continue
        name = str(meta.get("grade_id", ""))
        if meta.get("solution"):
            tasks[name] = task
        named = [t for t in tasks if name.startswith(f"{t}-")]
        home = tasks[max(named, key=len)] if named else task
        cells.append(Cell(number, source, name, home, _is_check(source, meta)))
    last = max((i for i, c in enumerate(cells) if c.is_check), default=None)
    if last is None:
        raise Refused(f"{file} holds no visible checks: is it an exercise of this book?")
    _new_enough(file, cells)
    return cells[: last + 1]


def _read(file: Path) -> list[dict[str, Any]]:
    again = "Save it again from Jupyter, or download it from Colab (File > Download > .ipynb)."
    try:
        if file.stat().st_size > SIZE:
            raise Refused(f"{file} is larger than {SIZE >> 20} MB: clear its outputs and save it.")
        data = file.read_bytes()
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        notebook = json.loads(data.decode("utf-16" if wide else "utf-8-sig"))
        cells = notebook["cells"]
        if not all(type(cell) is dict for cell in cells):
            raise TypeError
    except FileNotFoundError:
        raise Refused(f"there is no file {file}") from None
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from None
    except Refused:
        raise
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Refused(f"{file} is no notebook that can be read. {again}") from None
    return list(cells)


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    source = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return source.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()


def _meta(cell: dict[str, Any]) -> dict[str, Any]:
    """nbgrader's metadata of a cell; Colab and some editors lose them."""
    own = cell.get("metadata")
    found = own.get("nbgrader") if isinstance(own, dict) else None
    return found if isinstance(found, dict) else {}


def _tags(cell: dict[str, Any]) -> list[Any]:
    own = cell.get("metadata")
    tags = own.get("tags") if isinstance(own, dict) else None
    return tags if isinstance(tags, list) else []


def _is_check(source: str, meta: dict[str, Any]) -> bool:
    """Whether a cell checks something: it is marked so, or begins with a comment and expects.

    A hidden check is a comment only here, and nothing to run.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return bool(meta.get("grade") and not meta.get("solution"))
    if meta.get("grade_id"):
        return bool(meta.get("grade") and not meta.get("solution") and body)
    calls = (
        n.value.func for n in body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
    )
    expects = any(ast.unparse(f).split(".")[-1] in ("expect", "expect_raises") for f in calls)
    return expects and source.lstrip().startswith("#")


def _new_enough(file: Path, cells: list[Cell]) -> None:
    """Raise Refused if the notebook installs a newer library in Colab than is installed here."""
    have = tuple(map(int, re.findall(r"\d+", fmbook.__version__)[:3]))
    pins = [tuple(map(int, pin)) for cell in cells for pin in PIN.findall(cell.source)]
    if pins and max(pins) > have:
        need = ".".join(map(str, max(pins)))
        raise Refused(
            f"{file} needs fmbook {need}, and {fmbook.__version__} is installed: "
            f'pip install --upgrade "git+https://github.com/fmbook/fmbook@v{need}"'
        )


def _run(cells: list[Cell], folder: Path, seconds: float) -> str:
    """Run the cells one after the other; returns why they were stopped, or ''.

    Raises:
        Refused: IPython is missing, or the library lacks what the notebook imports.
    """
    from tqdm import tqdm

    with open_room(folder) as room:
        try:
            if (ready := room.answer(START)) is None or "ready" not in ready:
                raise Refused("IPython is needed to run a notebook: pip install ipykernel")
            for cell in tqdm(cells, desc="running", unit="cell", leave=False, disable=None):
                said = room.ask(cell.source, seconds)
                if said is None:
                    cell.state, cell.message = "failed", "It ended the process that runs the cells."
                    return f"cell {cell.number} ended the process that runs the notebook"
                _note(cell, said, seconds)
                if said.get("deaf"):
                    return f"cell {cell.number} took too long and could not be interrupted"
        except KeyboardInterrupt:
            return "interrupted"
    return ""


def _note(cell: Cell, said: dict[str, Any], seconds: float) -> None:
    """Keep in a cell what came of it.

    Raises:
        Refused: it imports from the library what is not there.
    """
    name, words = said.get("error") or ("", "")
    if said.get("late"):
        cell.state, cell.message = "failed", f"It took longer than {seconds:g} s."
    elif not name:
        cell.state = "passed"
    elif name == "NotImplementedError" or words.endswith("got NotImplementedError"):
        cell.state = "not begun"
    else:
        cell.state = "failed"
        cell.message = text(words if name == "Wrong" else f"{name}: {words}")
    if name in ("ImportError", "ModuleNotFoundError") and "fmbook" in words and not cell.is_check:
        raise Refused(
            f"The library that is installed here (fmbook {fmbook.__version__}) does not fit this "
            f"notebook ({words}): "
            'pip install --upgrade "git+https://github.com/fmbook/fmbook"'
        )


def _last(cells: list[Cell]) -> list[Cell]:
    """The checks; of those with the same grade id the last one, as in grading."""
    return list({c.grade_id or c.number: c for c in cells if c.is_check}.values())


def _as_json(file: Path, cells: list[Cell], stopped: str) -> str:
    checks = [
        {
            "cell": c.number,
            "grade_id": c.grade_id,
            "task": c.task,
            "title": c.title,
            "state": c.state,
            "message": c.message,
        }
        for c in _last(cells)
    ]
    errors = [{"cell": c.number, "message": c.message} for c in _broken(cells)]
    found = {"notebook": str(file), "library": fmbook.__version__, "stopped": stopped}
    return json.dumps(found | {"checks": checks, "errors": errors}, indent=1)


def _broken(cells: list[Cell]) -> list[Cell]:
    return [c for c in cells if c.state == "failed" and not c.is_check]


def _as_text(file: Path, cells: list[Cell], stopped: str) -> str:
    checks = _last(cells)
    passed = sum(c.state == "passed" for c in checks)
    lines = [f"{file.name}: {passed} of {len(checks)} visible checks pass"]
    for task in dict.fromkeys(c.task for c in checks):
        lines += ["", task or "Checks"]
        mine = [c for c in checks if c.task == task]
        if all(c.state == "not begun" for c in mine):
            lines.append("  not begun")
            continue
        for c in mine:
            lines.append(f"  {MARKS[c.state]}  {c.title}")
            said = c.message or (c.state if c.state != "passed" else "")
            lines += [f"        {line}" for line in said.splitlines()]
    if broken := _broken(cells):
        lines += ["", "Cells that ended in an error, which may be why checks fail:"]
        for c in broken:
            named = f" ({c.grade_id})" if c.grade_id else ""
            lines.append(f'  cell {c.number}{named}, which begins "{c.begins}"')
            lines += [f"        {line}" for line in c.message.splitlines()]
    if stopped:
        lines += ["", f"Stopped: {stopped}. What stands behind was not run."]
    return text("\n".join(lines))
