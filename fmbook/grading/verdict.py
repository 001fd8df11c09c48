"""From what a worker found to what a submission gets: points, messages, flags, a graded notebook.

A worker's findings are a stranger's words wherever a student's process had a say, so only text and
pictures of known form are kept. Left out: storing any of it.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fmbook.grading.exercise import Cell, Exercise
from fmbook.grading.intake import Submission
from fmbook.grading.plan import step_ids

__all__ = ["Check", "Flag", "Verdict", "graded_cells", "verdict_of"]

LINES, LENGTH, PICTURE = 1000, 20_000, 4 << 20
PIXELS = 20_000_000
CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)
BEGINNINGS = re.compile(r"<(?=[a-z/!?])|!(?=\[)|\](?=[(\[:])|https?(?=://)", re.I)
ORDERS = re.compile(
    r"\\(?=(?:href|url|style|class|cssId|html\w*|require|unicode|e?def|let|x?newcommand))"
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one check gave; `score` is None where a person decides."""

    grade_id: str
    task: str
    points: float
    score: float | None
    message: str = ""  # why it failed, in the check's or the machine's words
    hidden: bool = False


@dataclass(frozen=True)
class Flag:
    """Something an instructor should look at: what, in which cell, at which line."""

    what: str
    cell: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All that is known of a graded notebook; JSON-able by `as_json`."""

    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()  # sentences for the student
    flags: tuple[Flag, ...] = ()  # for the instructor
    seconds: float = 0.0
    tier: str = "isolated"
    unreadable: str = ""

    @property
    def score(self) -> float:
        return sum(check.score or 0.0 for check in self.checks)

    @property
    def points(self) -> float:
        """The points that are decided without a person."""
        return sum(check.points for check in self.checks if check.score is not None)

    def as_json(self) -> dict[str, Any]:
        parts = {name: [vars(x) for x in getattr(self, name)] for name in ("checks", "flags")}
        return vars(self) | parts

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Verdict":
        parts = dict(said)
        parts["checks"] = tuple(Check(**c) for c in said["checks"])
        parts["flags"] = tuple(Flag(**f) for f in said["flags"])
        parts["notes"] = tuple(said["notes"])
        return cls(**parts)


@dataclass
class _Reading:
    """A worker's findings by step, read with care."""

    steps: Mapping[str, Any]
    flags: list[Flag] = field(default_factory=list)

    def get(self, name: str) -> dict[str, Any]:
        step = self.steps.get(name)
        return step if isinstance(step, dict) else {}


def verdict_of(exercise: Exercise, submission: Submission, found: Mapping[str, Any]) -> Verdict:
    """Points and messages of a submission by what a worker found."""
    reading = _Reading(found["steps"])
    static = _static(exercise, reading)
    checks = tuple(
        _by_hand(_check(exercise, cell, reading, static), exercise, submission)
        for cell in exercise.cells
        if cell.kind in ("check", "written", "task")
    )
    if found.get("poison"):
        reading.flags.append(Flag("ended the process that checks it, twice; look at it by hand"))
    if found.get("differs"):
        said = "got other scores on another machine than on the coordinator's, whose count"
        reading.flags.append(Flag(f"{said}: the answer draws its own luck, or a worker lies"))
    flags = [flag for flags in static.values() for flag in flags] + reading.flags
    tiers = {step.get("tier") for step in reading.steps.values()}
    return Verdict(
        checks=checks,
        notes=(*submission.notes, *_left_out(submission, reading)),
        flags=tuple(dict.fromkeys(flags)),
        seconds=round(sum(s.get("seconds", 0.0) for s in reading.steps.values()), 2),
        tier="in-process" if "in-process" in tiers else "isolated",
    )


def _static(exercise: Exercise, reading: _Reading) -> dict[str, list[Flag]]:
    """What the syntax of answers shows of forbidden names, by task."""
    found: dict[str, list[Flag]] = {}
    where = {c.id: c for c in exercise.cells}
    for name, cell, line in reading.get("scan").get("flags", []):
        task = where[cell].grade_id if cell in where else cell
        found.setdefault(task, []).append(Flag(text(f"uses {name}"), text(task), line))
    if "ended" in reading.get("scan"):
        reading.flags.append(Flag("could not be searched for what is not allowed"))
    return found


def _left_out(submission: Submission, reading: _Reading) -> Iterator[str]:
    """A sentence for each of the student's cells that ended the run."""
    for p, name in zip(submission.cells, step_ids(submission), strict=True):
        why = reading.get(name).get("ended")
        if why and (p.cell is None or p.cell.kind != "check"):
            label = p.cell.grade_id or "a cell of yours" if p.cell else "a cell of yours"
            yield f"{label} was left out, since it ended the run: {text(why)}."


def _check(
    exercise: Exercise, cell: Cell, reading: _Reading, static: Mapping[str, list[Flag]]
) -> Check:
    task, step = exercise.task_of(cell), reading.get(cell.id)
    if cell.kind != "check" or cell.cell_type != "code":
        return Check(grade_id=cell.grade_id, task=cell.grade_id, points=cell.points, score=None)
    score, message = cell.points, ""
    if "ended" in step:
        score, message = 0.0, f"{text(step['ended'])}."
    elif "error" in step:
        score, message = 0.0, _said(step["error"])
    elif "score" not in step:
        score, message = 0.0, "It was not reached: the run ended before."
    elif step["score"] is not None:
        score, message = _partial(step["score"], cell.points)
    traced = [
        Flag(text(f"calls {name}"), text(exercise.grade_ids.get(at, "") or at), line)
        for name, at, line in step.get("flags", [])
    ]
    reading.flags += traced
    found = [*static.get(task, []), *traced]
    if found and score and exercise.forbidden_scores == "zero":
        score, message = 0.0, f"The answer {found[0].what}, which this task does not allow."
    return Check(
        grade_id=cell.grade_id,
        task=task,
        points=cell.points,
        score=score,
        message=message,
        hidden=cell.source != cell.released,
    )


def _partial(score: Any, points: float) -> tuple[float, str]:
    """A number in which a check ended, as nbgrader reads it: credit between 0 and its points."""
    if not isinstance(score, float) or score < 0 or score != score:
        return points, ""
    if score > points:
        return 0.0, f"The check ended in {score:g}, which is more than its {points:g} points."
    return score, "" if score == points else f"Partial credit: {score:g} of {points:g}."


def _said(error: list[str]) -> str:
    name, words = error
    if name == "NotImplementedError" and not words:
        return "Not begun."
    return text(words if name in ("Wrong", "Timeout") and words else f"{name}: {words}")


def _by_hand(check: Check, exercise: Exercise, submission: Submission) -> Check:
    """A written answer that was not begun gets 0 now; all others wait for a person."""
    if check.score is not None or check.task != check.grade_id:
        return check
    placed = next(p for p in submission.cells if p.cell and p.cell.grade_id == check.grade_id)
    begun = placed.cell is not None and placed.source != placed.cell.released
    if begun or placed.cell is None or placed.cell.kind == "task":
        return check
    return replace(check, score=0.0, message="No response.")


def text(words: str) -> str:
    """A stranger's words without anything that a terminal or a page could take for an order."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(words))[:LENGTH]


def clean(code: str) -> str:
    """A student's code without characters that make it look like other code."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", code)


def graded_cells(
    exercise: Exercise, submission: Submission, found: Mapping[str, Any], verdict: Verdict
) -> list[dict[str, Any]]:
    """The cells of the notebook that instructors look at, in nbformat 4.5, outputs included."""
    by_id = {check.grade_id: check for check in verdict.checks}
    cells = []
    for name, placed in zip(step_ids(submission), submission.cells, strict=True):
        cell: dict[str, Any] = {
            "cell_type": placed.cell_type,
            "id": name,
            "metadata": placed.cell.graded_metadata if placed.cell else {},
            "source": placed.source,
        }
        if not (placed.cell and (placed.cell.fixed or placed.cell.kind == "text")):
            cell["source"] = (clean if placed.cell_type == "code" else tame)(placed.source)
        if placed.cell_type == "code":
            step = found["steps"].get(name, {})
            check = by_id.get(placed.cell.grade_id) if placed.cell else None
            is_check = placed.cell is not None and placed.cell.kind == "check"
            cell |= {"execution_count": None}
            cell["outputs"] = _failure(check) if is_check else _outputs(step)
        cells.append(cell)
    return cells


def tame(markdown: str) -> str:
    """Markdown in which no HTML and no link begins, no picture is fetched, no formula gives orders.

    A space stands behind each `<`, `!`, `]`, `https` and backslash that could begin one.
    """
    return ORDERS.sub(r"\\ ", BEGINNINGS.sub(r"\g<0> ", text(markdown)))


def _failure(check: Check | None) -> list[dict[str, Any]]:
    if check is None or not check.message:
        return []
    name = "Wrong" if check.score == 0 else "Partial"
    return [
        {
            "output_type": "error",
            "ename": name,
            "evalue": check.message,
            "traceback": [f"{name}: {check.message}"],
        }
    ]


def _outputs(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The outputs of a student's cell: text and PNGs; HTML and scripts are not kept."""
    kept: list[dict[str, Any]] = []
    outputs = step.get("outputs")
    for output in outputs if isinstance(outputs, list) else []:
        if isinstance(output, dict) and len(kept) < LINES and (one := _output(output)):
            kept.append(one)
    if "error" in step and not any(o["output_type"] == "error" for o in kept):
        kept.append(_error(*step["error"]))
    if "ended" in step:
        kept.append(_error("Ended", str(step["ended"])))
    return kept


def _output(output: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        lines = text(str(output.get("text", ""))).split("\n")
        return {"output_type": "stream", "name": name, "text": "\n".join(lines[:LINES])}
    if kind == "error":
        return _error(str(output.get("ename", ""))[:200], str(output.get("evalue", "")))
    data = output.get("data")
    if kind not in ("display_data", "execute_result") or not isinstance(data, dict):
        return None
    kept = {"text/plain": text(str(data.get("text/plain", "")))}
    if picture := _png(data.get("image/png")):
        kept["image/png"] = picture
    return {"output_type": "display_data", "metadata": {}, "data": kept}


def _png(data: Any) -> str:
    try:
        raw = base64.b64decode(str(data), validate=False) if data else b""
    except ValueError:
        return ""
    width, height = (int.from_bytes(raw[i : i + 4], "big") for i in (16, 20))
    good = raw.startswith(b"\x89PNG\r\n\x1a\n") and len(raw) <= PICTURE
    good = good and 0 < width * height <= PIXELS
    return base64.b64encode(raw).decode() if good else ""


def _error(name: str, words: str) -> dict[str, Any]:
    name, words = text(name), text(words)
    return {
        "output_type": "error",
        "ename": name,
        "evalue": words,
        "traceback": [f"{name}: {words}"],
    }
