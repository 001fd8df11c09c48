"""One student's feedback page: scores, what the checks said, hints, the student's own code.

Of a check that students do not see, only its first comment line, its message and its points are
shown. Left out: files, and deciding who gets a page.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fmbook.grading.exercise import Cell, Exercise
from fmbook.grading.markdown import folds, render
from fmbook.grading.marks import Marks
from fmbook.grading.page import document, escape, number
from fmbook.grading.verdict import PIXELS, Check, Verdict

__all__ = ["Leaf", "Sheet", "page_of", "sheet_of"]

OUTPUTS, CHARACTERS, PICTURES = 50, 20_000, 8 << 20  # a cell, a cell's text, a page's bytes
COLORS = re.compile(r"\x1b\[[0-9;]*m")
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Section:
    """A part of an exercise under one header: HTML made once for the whole class."""

    title: str
    statement: str
    hints: str
    cells: tuple[Cell, ...]

    @property
    def graded(self) -> bool:
        return any(cell.kind in ("solution", "check", "written", "task") for cell in self.cells)


@dataclass(frozen=True)
class Sheet:
    """An exercise as its feedback pages need it."""

    era: str
    stem: str
    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What is said to one student about one notebook; `cells` are those of `autograded/`."""

    student: str
    verdict: Verdict
    marks: Marks
    comments: Mapping[str, str] = field(default_factory=dict)
    cells: Sequence[Mapping[str, Any]] | None = ()  # None: they could not be read back


def sheet_of(exercise: Exercise) -> Sheet:
    """Cut an exercise at its headers, and render what is the same for every student."""
    groups: list[tuple[str, list[Cell]]] = [("", [])]
    for cell in exercise.cells:
        if cell.kind == "text" and cell.source.startswith("#"):
            groups.append((cell.source, []))
        groups[-1][1].append(cell)
    sections = []
    for source, cells in groups:
        header, _, rest = source.partition("\n")
        statement, hints = folds(rest)
        folded = "".join(_fold(summary, render(content)) for summary, content in hints)
        title = header.lstrip("# ").strip()
        sections.append(Section(title, render(statement), folded, tuple(cells)))
    title = next((s.title for s in sections if s.title), exercise.stem)
    return Sheet(exercise.era, exercise.stem, title, tuple(sections))


def page_of(sheet: Sheet, leaf: Leaf) -> bytes:
    """The page, whole; the same leaf gives the same bytes."""
    where = f"{sheet.era}/{sheet.stem}"
    head = f"<header><h1>{escape(sheet.title)}</h1>\n<p>{escape(where)}, {escape(leaf.student)}</p>"
    if leaf.verdict.unreadable:
        score = _score(leaf) if leaf.marks.counts else ""
        body = f"{head}{score}</header>\n<main>{_unreadable(leaf)}</main>"
    else:
        notes = _list("What was noticed on the way", leaf.verdict.notes)
        own = _by_section(sheet, leaf.cells or ())
        budget = [PICTURES]
        parts = "".join(
            _section(i, section, leaf, own[i], budget) for i, section in enumerate(sheet.sections)
        )
        head += f"{_score(leaf)}</header>\n"
        body = f"{head}<main>{notes}{_contents(sheet, leaf)}{parts}</main>"
    return document(f"Feedback: {where}", body, era=sheet.era)


def _unreadable(leaf: Leaf) -> str:
    why = leaf.verdict.unreadable
    more = _list("Also", (note for note in leaf.verdict.notes if note != why))
    said = f'<h2>Your notebook could not be graded</h2><p class="note">{escape(why)}</p>{more}'
    comments = "".join(render(comment) for comment in leaf.comments.values())
    return f'{said}<div class="comment">{comments}</div>' if comments else said


def _list(title: str, sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _points(leaf: Leaf) -> dict[str, float]:
    points: dict[str, float] = {}
    for check in leaf.verdict.checks:
        points[check.task] = points.get(check.task, 0.0) + check.points
    return points


def _score(leaf: Leaf) -> str:
    total, marks = sum(_points(leaf).values()), leaf.marks
    waits = " so far: a person has yet to look at a part" if marks.waits else ""
    said = f'<p class="score">{number(marks.score)} of {number(total)} points{waits}</p>'
    if marks.penalty:
        said += f"<p>{number(marks.penalty)} points are taken off for late work.</p>"
    return said


def _tasks_of(section: Section, leaf: Leaf) -> list[str]:
    """The tasks of a section: those of its checks and written answers, in order."""
    ids = {cell.grade_id for cell in section.cells if cell.grade_id}
    found = dict.fromkeys(c.task for c in leaf.verdict.checks if c.grade_id in ids)
    return list(found)


def _contents(sheet: Sheet, leaf: Leaf) -> str:
    points, rows = _points(leaf), ""
    for i, section in enumerate(sheet.sections):
        tasks = _tasks_of(section, leaf)
        of = sum(points[task] for task in tasks)
        if of:
            got = _sum(leaf.marks.tasks.get(task) for task in tasks)
            title = escape(section.title.split(" (")[0] or "Before the first task")
            rows += f'<tr><th scope="row"><a href="#part-{i}">{title}</a></th>'
            rows += f"<td>{number(got)} of {number(of)}</td></tr>"
    head = '<thead><tr><th scope="col">Task</th><th scope="col">Points</th></tr></thead>'
    return f'<table class="contents">{head}<tbody>{rows}</tbody></table>' if rows else ""


def _sum(scores: Iterable[float | None]) -> float | None:
    known = [*scores]
    return None if None in known else sum(score or 0.0 for score in known)


def _by_section(
    sheet: Sheet, cells: Iterable[Mapping[str, Any]]
) -> list[list[tuple[Cell | None, Mapping[str, Any]]]]:
    """The student's cells, each with the exercise's cell that it fills, under their headers."""
    known: dict[str, tuple[int, Cell]] = {}
    for i, section in enumerate(sheet.sections):
        for cell in section.cells:
            known[cell.id] = known[cell.grade_id or cell.id] = (i, cell)
    found: list[list[tuple[Cell | None, Mapping[str, Any]]]] = [[] for _ in sheet.sections]
    at = 0
    for raw in cells:
        meta = raw.get("metadata")
        graded = meta.get("nbgrader") if isinstance(meta, dict) else None
        name = graded.get("grade_id") if isinstance(graded, dict) else None
        place = known.get(str(name or raw.get("id")))
        at = place[0] if place else at
        found[at].append((place[1] if place else None, raw))
    return found


def _section(
    place: int,
    section: Section,
    leaf: Leaf,
    cells: Iterable[tuple[Cell | None, Mapping[str, Any]]],
    budget: list[int],
) -> str:
    own = "".join(_cell(cell, raw, budget) for cell, raw in cells)
    if not section.graded and not own:
        return ""
    title = escape(section.title or "Before the first task")
    inside = [_fold("The task", section.statement)] if section.statement and section.graded else []
    if section.graded and leaf.cells is None:
        own = "<p>Your code is not shown here, since the graded notebook could not be read.</p>"
    inside.append(own)
    inside.append(_checks(section, leaf))
    for cell in section.cells:
        if comment := leaf.comments.get(cell.grade_id):
            inside.append(f'<h3>Comment</h3><div class="comment">{render(comment)}</div>')
    if section.hints:
        inside.append(f"<h3>Hints</h3>{section.hints}")
    return f'<section id="part-{place}"><h2>{title}</h2>{"".join(inside)}</section>\n'


def _checks(section: Section, leaf: Leaf) -> str:
    cells = [c for c in section.cells if c.kind in ("check", "written", "task")]
    said = {check.grade_id: check for check in leaf.verdict.checks}
    items = "".join(_check(c, said[c.grade_id], leaf) for c in cells if c.grade_id in said)
    what = "Checks" if any(c.kind == "check" for c in cells) else "Grade"
    return f'<h3>{what}</h3><ul class="checks">{items}</ul>' if items else ""


def _check(cell: Cell, check: Check, leaf: Leaf) -> str:
    """A check in words: its first comment line, how it went, and why."""
    score = leaf.marks.scores.get(check.grade_id)
    if score is None:
        mark, kind = "waits for a person", "open"
    elif cell.kind != "check":
        mark, kind = "graded", "open"
    elif check.points and 0 < score < check.points:
        mark, kind = "\N{BALLOT X} partly passed", "failed"
    elif score < check.points or (check.message and not check.points):
        mark, kind = "\N{BALLOT X} failed", "failed"
    else:
        mark, kind = "\N{CHECK MARK} passed", "passed"
    more = ["not shown in the notebook"] if check.hidden else []
    more += [f"{number(score)} of {number(check.points)} points"] if check.points else []
    small = f' <span class="small">({"; ".join(more)})</span>' if more else ""
    why = f'<p class="said">{escape(check.message)}</p>' if check.message else ""
    label = f'<span class="mark">{mark}:</span> {escape(_about(cell))}{small}'
    return f'<li class="{kind}"><p>{label}</p>{why}</li>'


def _about(cell: Cell) -> str:
    """What a check is about: the comment in its first line, which students have too."""
    first = cell.released.lstrip().split("\n", 1)[0]
    if cell.kind != "check":
        return "Your answer"
    return first.lstrip("# ").strip() if first.startswith("#") else cell.grade_id


def _fold(summary: str, inside: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def _cell(cell: Cell | None, raw: Mapping[str, Any], budget: list[int]) -> str:
    """A student's cell with its outputs; the exercise's own cells are not repeated."""
    source = _joined(raw.get("source"))
    kind = cell.kind if cell else "own"
    changed = cell is None or source.strip() != cell.released.strip()
    if kind not in ("solution", "written", "free", "setup", "own") or not source.strip():
        return ""
    if raw.get("cell_type") != "code":
        title = "<h3>Your answer</h3>" if kind == "written" else ""
        return f"{title}<blockquote>{render(_untamed(source))}</blockquote>"
    outputs = raw.get("outputs")
    shown = _outputs(outputs if isinstance(outputs, list) else [], budget)
    if not changed and kind in ("setup", "free"):
        return ""
    code = f"<pre><code>{_cut(source)}</code></pre>{shown}"
    if kind == "solution":
        return f"<h3>Your answer</h3>{code}"
    return _fold("Code to play with" if kind == "free" else "Code of your own", code)


def _untamed(source: str) -> str:
    """A written answer without the spaces that `verdict.tame` put behind each `<`."""
    return re.sub(r"< (?=[A-Za-z/!?])", "<", source)


def _joined(source: Any) -> str:
    return "".join(map(str, source)) if isinstance(source, list) else str(source or "")


def _cut(words: str) -> str:
    rest = len(words) - CHARACTERS
    more = f"\n[{rest:,} more characters are not shown]" if rest > 0 else ""
    return escape(COLORS.sub("", words[:CHARACTERS])) + more


def _outputs(outputs: Sequence[Any], budget: list[int]) -> str:
    shown = [_output(o, budget) for o in outputs[:OUTPUTS] if isinstance(o, dict)]
    more = len(outputs) - OUTPUTS
    left = f'<p class="small">{more} more outputs are not shown.</p>' if more > 0 else ""
    return "".join(shown) + left


def _output(output: Mapping[str, Any], budget: list[int]) -> str:
    """Text or a PNG picture; of errors the last line; nothing else."""
    if output.get("output_type") == "error":
        words = f"{output.get('ename')}: {output.get('evalue')}"
        return f'<pre class="out">{_cut(words)}</pre>'
    data = output.get("data")
    data = data if isinstance(data, dict) else {}
    if picture := _png(data.get("image/png")):
        budget[0] -= len(picture)
        if budget[0] < 0:
            return '<p class="small">A picture is not shown: the page would be too large.</p>'
        return f'<img alt="Picture that this cell made" src="data:image/png;base64,{picture}">'
    words = _joined(output.get("text", data.get("text/plain", "")))
    return f'<pre class="out">{_cut(words)}</pre>' if words.strip() else ""


def _png(data: Any) -> str:
    """A picture in base64, written anew from its bytes; "" for anything that is no PNG."""
    try:
        raw = base64.b64decode(_joined(data)) if data else b""
    except ValueError:
        return ""
    width, height = (int.from_bytes(raw[i : i + 4], "big") for i in (16, 20))
    good = raw.startswith(PNG) and 0 < width * height <= PIXELS
    return base64.b64encode(raw).decode() if good else ""
