"""What a class did, in numbers: scores, tasks, frequent mistakes, flags and times.

Everything is plain values that JSON can hold; strangers' words stand in it as they are, and whoever
draws them must see to that. Left out: drawing.
"""

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fmbook
from fmbook.grading.collect import content
from fmbook.grading.export import Person, people
from fmbook.grading.marks import Marks, collected, entered, marks_of
from fmbook.grading.similar import pairs
from fmbook.grading.verdict import Check, Verdict

if TYPE_CHECKING:
    from fmbook.grading.course import Course
    from fmbook.grading.ledger import Entry, Ledger

__all__ = ["mistake_of", "summary"]

BINS, GROUPS, WORDS, LISTED, SLOWEST, PAIRS = 10, 60, 240, 40, 10, 60
LARGEST = 4 << 20  # bytes of a graded notebook that is read for its answers
NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*(?:e[-+]?\d+)?|nan|inf)\b"
VARIES = re.compile(rf"[(\[](?:\s*{NUMBER}\s*,?)+[)\]]|(?<!\w){NUMBER}", re.I)
RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Warning|Interrupt|Exit|Iteration)\b")
DIFFERS = re.compile(
    r"(?:(?:at [^:]*|item \d+|field \w+|among the keys): )*"
    r"(?:got |lacks |has also |has members |there are NaNs|expected )"
)


def summary(
    course: "Course", ledger: "Ledger", era: str | None = None, stem: str | None = None
) -> dict[str, Any]:
    """All that the page shows, as JSON values.

    Raises:
        CourseError: see `marks.collected`.
    """
    known = people(ledger)
    rows: list[dict[str, Any]] = []
    exercises: list[dict[str, Any]] = []
    mistakes: list[dict[str, Any]] = []
    alike: list[dict[str, Any]] = []
    for key, entries in collected(course, ledger, era, stem).items():
        given, tasks = entered(ledger, *key), _tasks(course, *key, entries)
        graded = [(e, marks_of(e, given.get(e.student, {}))) for e in entries]
        rows += [_row(len(exercises), e, marks, tasks) for e, marks in graded]
        mistakes += _mistakes(len(exercises), [e for e in entries if e.state == "graded"])
        alike += _alike(course, len(exercises), *key, [e.student for e in entries])
        exercises.append(_exercise(*key, tasks, graded, sum(ledger.points(*key).values())))
    for row in rows:
        row["name"] = known.get(row["student"], Person("")).name
    return {
        "course": course.course_id,
        "made": datetime.now(UTC).isoformat(timespec="minutes"),
        "version": fmbook.__version__,
        "eras": _eras(exercises, rows),
        "exercises": exercises,
        "mistakes": sorted(mistakes, key=lambda m: -m["students"])[:GROUPS],
        "alike": sorted(alike, key=lambda pair: -pair["shared"] * pair["share"])[:PAIRS],
        "times": _times(rows),
        "rows": rows,
    }


def _tasks(
    course: "Course", era: str, stem: str, entries: Sequence["Entry"]
) -> dict[str, dict[str, Any]]:
    """The tasks that carry points, in order, with titles where the exercise can still be read."""
    found: dict[str, dict[str, Any]] = {}
    for check in next((e.verdict.checks for e in entries if e.verdict and e.verdict.checks), ()):
        task = found.setdefault(check.task, {"id": check.task, "title": check.task, "points": 0.0})
        task["points"] += check.points
    try:
        cells, title = course.exercise(era, stem).cells, ""
    except ValueError:
        cells = ()
    for cell in cells:
        if cell.kind == "text" and cell.source.startswith("#"):
            title = cell.source.splitlines()[0].lstrip("# ")
        elif cell.grade_id in found and title:
            found[cell.grade_id]["title"] = title.split(" (")[0]
    return {name: task for name, task in found.items() if task["points"]}


def _row(at: int, entry: "Entry", marks: Marks, tasks: Iterable[str]) -> dict[str, Any]:
    verdict, done = entry.verdict or Verdict(), marks.counts
    failed = [c for c in verdict.checks if c.message and not verdict.unreadable]
    why = verdict.unreadable or entry.error
    return {
        "student": entry.student,
        "exercise": at,
        "state": entry.state,
        "score": round(marks.score, 4) if done else None,
        "tasks": [marks.tasks.get(task) for task in tasks] if done else [],
        "waits": done and marks.waits,
        "penalty": marks.penalty,
        "flags": [[_short(f.what), _short(f.cell), f.line] for f in verdict.flags[:LISTED]],
        "failed": [[c.grade_id, _short(c.message)] for c in failed],
        "notes": [_short(n) for n in verdict.notes[:LISTED] if n != why],
        "why": _short(why),
        "tier": verdict.tier if entry.verdict else "",
        "seconds": entry.seconds,
        "finished": entry.finished.isoformat(timespec="seconds") if entry.finished else "",
        "seed": entry.seed,
    }  # fmt: skip


def _short(words: str) -> str:
    return words if len(words) <= WORDS else f"{words[:WORDS]} ..."


def _alike(
    course: "Course", at: int, era: str, stem: str, students: Sequence[str]
) -> list[dict[str, Any]]:
    """Pairs of students whose answers to an exercise share more than the task explains."""
    try:
        cells = course.exercise(era, stem).cells
    except ValueError:
        return []
    tasks = {cell.grade_id for cell in cells if cell.kind == "solution"}
    papers = {}
    for who in students:
        file = course.folder("autograded", who, era) / f"{stem}.ipynb"
        if text := _answers(content(file, LARGEST), tasks):
            papers[who] = text
    given = [cell.released for cell in cells if cell.cell_type == "code"]
    return [vars(pair) | {"exercise": at} for pair in pairs(papers, given)[:PAIRS]]


def _answers(notebook: bytes | None, tasks: Iterable[str]) -> str:
    """The code of a graded notebook's answers, one after the other."""
    try:
        cells = json.loads(notebook or b"{}").get("cells", [])
        return "\n".join(
            str(cell["source"])
            for cell in cells
            if cell["metadata"].get("nbgrader", {}).get("grade_id") in tasks
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""


def _spread(scores: Sequence[float], points: float) -> dict[str, Any]:
    """Scores in ten bins of a tenth each of the points; the last holds full marks too."""
    bins = [0] * BINS
    for score in scores:
        share = score / points if points else 0.0
        bins[min(BINS - 1, max(0, int(share * BINS + 1e-9)))] += 1
    return {
        "bins": bins,
        "points": points,
        "count": len(scores),
        "mean": round(statistics.fmean(scores), 2) if scores else None,
        "median": round(statistics.median(scores), 2) if scores else None,
    }


def _exercise(
    era: str,
    stem: str,
    tasks: Mapping[str, dict[str, Any]],
    graded: Sequence[tuple["Entry", Marks]],
    points: float,
) -> dict[str, Any]:
    done = [(e, m) for e, m in graded if m.counts]
    states = [e.state for e, _ in graded]
    return {
        "era": era,
        "stem": stem,
        "spread": _spread([m.score for _, m in done], points),
        "states": {state: states.count(state) for state in sorted(set(states))},
        "waits": sum(m.waits for _, m in done),
        "tasks": [task | _success(task, done) for task in tasks.values()],
    }


def _success(task: Mapping[str, Any], done: Sequence[tuple["Entry", Marks]]) -> dict[str, int]:
    """How many got all, some or none of a task's points, did not begin, or wait for a person."""
    found = dict.fromkeys(("full", "some", "none", "not_begun", "waits"), 0)
    for entry, marks in done:
        score = marks.tasks.get(task["id"])
        if score is None:
            found["waits"] += 1
        elif score >= task["points"]:
            found["full"] += 1
        elif score > 0:
            found["some"] += 1
        else:
            found["not_begun" if _not_begun(entry, task["id"]) else "none"] += 1
    return found


def _not_begun(entry: "Entry", task: str) -> bool:
    checks = entry.verdict.checks if entry.verdict else ()
    said = {c.message for c in checks if c.task == task and c.message}
    return bool(said) and said <= {"Not begun.", "No response."}


def _eras(
    exercises: Sequence[Mapping[str, Any]], rows: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each era's scores, over the notebooks that were collected; one not handed in counts 0."""
    totals: dict[str, dict[str, float]] = {e["era"]: {} for e in exercises}
    for row in rows:
        if row["score"] is not None:
            mine = totals[exercises[row["exercise"]]["era"]]
            mine[row["student"]] = mine.get(row["student"], 0.0) + row["score"]
    found = []
    for era, mine in totals.items():
        stems = [e["stem"] for e in exercises if e["era"] == era]
        points = sum(e["spread"]["points"] for e in exercises if e["era"] == era)
        found.append({"era": era, "stems": stems, "spread": _spread([*mine.values()], points)})
    return found


def mistake_of(check: Check) -> tuple[str, str]:
    """Of what kind a failure is (`named`, `error`, `differs`, `other`), and in which words.

    A check says "what was tried: the mistake"; only the mistake is kept.

    >>> mistake_of(Check(grade_id="a", task="t", points=1, score=0, message="(2, 3): no softmax"))
    ('named', 'no softmax')
    """
    message = check.message
    what, colon, rest = message.partition(": ")
    if RAISED.fullmatch(what) or RAISED.fullmatch(message):
        return "error", message
    if not colon or what in ("Partial credit", "Wrong"):
        return "other", message
    if DIFFERS.match(rest):
        return "differs", f"{check.grade_id}: another answer was expected"
    return "named", rest


def _mistakes(exercise: int, entries: Sequence["Entry"]) -> list[dict[str, Any]]:
    """Failures with the same words but for numbers, by the number of students who made them."""
    groups: dict[tuple[str, str, str], tuple[set[str], list[str | None]]] = {}
    for entry in entries:
        for check in entry.verdict.checks if entry.verdict else ():
            if not check.message or check.message in ("Not begun.", "No response."):
                continue
            kind, words = mistake_of(check)
            numbers = VARIES.findall(words)
            who, seen = groups.setdefault(
                (check.task, kind, VARIES.sub("\0", words)), (set(), [*numbers])
            )
            who.add(entry.student)
            seen[:] = [a if a == b else None for a, b in zip(seen, numbers, strict=True)]
    return [
        {
            "exercise": exercise,
            "task": task,
            "kind": kind,
            "words": _short(_filled(pattern, numbers)),
            "students": len(who),
            "of": len(entries),
        }
        for (task, kind, pattern), (who, numbers) in groups.items()
    ]


def _filled(pattern: str, numbers: Sequence[str | None]) -> str:
    """The words of a group: numbers that all had in common stand, the others become dots."""
    parts = pattern.split("\0")
    return parts[0] + "".join(
        (number or "…") + part for number, part in zip(numbers, parts[1:], strict=True)
    )


def _times(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ran = sorted((row["seconds"], i) for i, row in enumerate(rows) if row["seconds"])
    seconds = [s for s, _ in ran]
    return {
        "total": round(sum(seconds), 1),
        "median": round(statistics.median(seconds), 2) if seconds else None,
        "p95": seconds[int(0.95 * (len(seconds) - 1))] if seconds else None,
        "slowest": [i for _, i in ran[: -SLOWEST - 1 : -1]],
    }
