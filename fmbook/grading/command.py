"""`fmbook grade` as a person meets it: progress with the time left, a table, an exit code.

Left out: grading itself. In a pipe nothing moves; `--json` says all of it in one object.
"""

import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import mean

from fmbook.grading.course import Course, CourseError
from fmbook.grading.grade import Grader, Options, planned
from fmbook.grading.gradebook import Key
from fmbook.grading.sandbox import Unsafe
from fmbook.grading.verdict import Verdict, text
from fmbook.grading.worker import Fault

__all__ = ["run"]

Outcome = tuple[Key, str, Verdict | None]
NO_RESULT = ("failed", "elsewhere")
RARELY = (10_000, 20, 50)  # Python's garbage is collected: nearly all that is made here is trees


def run(
    options: Options,
    *,
    course: Path | None = None,
    db: str | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Grade, and say what came of it; returns the exit code: 0 only if all have a result."""
    done: list[Outcome] = []
    gc.set_threshold(*RARELY)
    try:
        grader = Grader(Course.find(course, db), options)
        with closing(grader.ledger):
            if dry_run:
                return _say_plan(list(planned(grader)), as_json)
            try:
                for outcome in _with_bar(grader, as_json):
                    done.append(outcome)
            finally:
                _say(grader, done, as_json)
    except KeyboardInterrupt:
        print(f"stopped after {len(done)}; the same command goes on from here", file=sys.stderr)
        return 130
    except (CourseError, Fault, Unsafe) as error:
        print(f"fmbook grade: {text(str(error))}", file=sys.stderr)
        return 2
    return int(any(what in NO_RESULT for _, what, _ in done))


def _with_bar(grader: Grader, quiet: bool) -> Iterator[Outcome]:
    from tqdm import tqdm

    keys = grader.keys()
    off = quiet or not sys.stderr.isatty()
    with tqdm(total=len(keys), unit="submission", disable=off, smoothing=0.05) as bar:
        for outcome in grader.run(keys):
            bar.update()
            yield outcome


def _say_plan(plan: list[tuple[Key, str]], as_json: bool) -> int:
    if as_json:
        print(json.dumps([{"submission": "/".join(key), "plan": what} for key, what in plan]))
        return 0
    for key, what in plan:
        print(f"{what:8} {text('/'.join(key))}")
    counts = Counter(what for _, what in plan)
    print(", ".join(f"{n} {what}" for what, n in sorted(counts.items())) or "nothing to grade")
    return 0


def _say(grader: Grader, done: list[Outcome], as_json: bool) -> None:
    odd = [text(name) for name in grader.odd_folders()]
    missing = {k: v for k, v in grader.layers.items() if not v.startswith("active")}
    if as_json:
        rows = [_row(outcome) for outcome in done]
        cpu = {"coordinator": round(time.process_time(), 2), "workers": round(grader.cpu, 2)}
        whole = {"submissions": rows, "layers": grader.layers, "odd_folders": odd}
        print(json.dumps(whole | {"cpu_seconds": cpu}))
        return
    for line in _table(done):
        print(line)
    for name in odd:
        print(
            f"left out: the folder {name!r}, whose name can be no student's: rename it before you "
            "open formgrader, which shows it as it is"
        )
    for (era, stem, student), what, _ in done:
        if what in NO_RESULT:
            entry = grader.ledger.entry((era, stem, student))
            said = entry.error if entry and what == "failed" else "another process is grading it"
            print(f"no result: {era}/{stem} of {student}: {text(said)}", file=sys.stderr)
    for layer, why in missing.items():
        print(f"sandbox without {layer}: {why}", file=sys.stderr)


def _row(outcome: Outcome) -> dict[str, object]:
    (era, stem, student), what, verdict = outcome
    found: dict[str, object] = {"era": era, "stem": stem, "student": student, "outcome": what}
    return found | ({"verdict": verdict.as_json(), "score": verdict.score} if verdict else {})


def _table(done: list[Outcome]) -> Iterator[str]:
    """A line for each exercise."""
    head = ("exercise", "submissions", "new", "unreadable", "flagged", "no result", "mean", "of")
    names = sorted({key[:2] for key, _, _ in done})
    rows = [head, *(_line(name, [o for o in done if o[0][:2] == name]) for name in names)]
    if not names:
        yield "nothing was handed in"
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        numbers = (cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *numbers])


def _line(name: tuple[str, ...], done: list[Outcome]) -> tuple[str, ...]:
    scored = [v for _, _, v in done if v and not v.unreadable]
    counts = (
        len(done),
        sum(what not in ("kept", *NO_RESULT) for _, what, _ in done),
        sum(bool(v and v.unreadable) for *_, v in done),
        sum(bool(v and v.flags) for *_, v in done),
        sum(what in NO_RESULT for _, what, _ in done),
    )
    average = f"{mean(v.score for v in scored):.1f}" if scored else "-"
    most = f"{max(v.points for v in scored):g}" if scored else "-"
    return ("/".join(name), *map(str, counts), average, most)
