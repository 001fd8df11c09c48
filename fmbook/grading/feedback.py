"""Feedback pages for a class: made in parallel, written only where something changed.

They lie where nbgrader's `generate_feedback` puts its own, so that its `release_feedback` finds
them. Left out: what a page says, which is `leaf`'s.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from fmbook.grading.collect import STAMP
from fmbook.grading.course import Course, CourseError, safe_name
from fmbook.grading.leaf import Leaf, Sheet, page_of, sheet_of
from fmbook.grading.marks import collected, entered, marks_of
from fmbook.grading.page import write
from fmbook.grading.verdict import Verdict, text

if TYPE_CHECKING:
    from fmbook.grading.ledger import Ledger

__all__ = ["Done", "hand_back", "main"]

LARGEST = 64 << 20  # bytes of a graded notebook
CHUNK = 16  # pages that a process makes at a time


@dataclass(frozen=True)
class Order:
    """A page to be made: the leaf without its cells, where these are, where it goes."""

    leaf: Leaf
    notebook: Path
    page: Path


@dataclass
class Done:
    """What became of the pages, by name of `student era/stem`."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # not graded yet, so no page
    failed: list[str] = field(default_factory=list)  # with the reason


def main(
    era: str | None = None,
    stem: str | None = None,
    *,
    student: str | None = None,
    jobs: int = 0,
    force: bool = False,
    as_json: bool = False,
    course: Path | None = None,
    db: str | None = None,
) -> int:
    """`fmbook feedback`: write the pages; 0 if everything that is graded has one."""
    from fmbook.grading.ledger import Ledger

    try:
        where = Course.find(course, db)
        done = hand_back(
            where, Ledger(where.db_url), era, stem, student=student, jobs=jobs, force=force
        )
    except (CourseError, OSError) as error:
        print(f"fmbook feedback: {text(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    _tell(done, where, as_json)
    return 1 if done.failed else 0


def _tell(done: Done, course: Course, as_json: bool) -> None:
    if as_json:
        print(json.dumps(vars(done), indent=1))
        return
    print(f"{course.feedback}: {len(done.written)} written, {len(done.unchanged)} unchanged")
    if done.waiting:
        print(f"{len(done.waiting)} without a result, so without a page: run `fmbook grade`")
    for said in done.failed[:20]:
        print(f"no page for {text(said)[:300]}", file=sys.stderr)


def hand_back(
    course: Course,
    ledger: "Ledger",
    era: str | None = None,
    stem: str | None = None,
    *,
    student: str | None = None,
    jobs: int = 0,
    force: bool = False,
) -> Done:
    """Write the feedback pages of all that was graded, or could not be read.

    Raises:
        CourseError: see `marks.collected`; or a release is missing.
    """
    done = Done()
    work: list[tuple[Sheet, list[Order]]] = []
    for (an_era, a_stem), entries in collected(course, ledger, era, stem).items():
        sheet = sheet_of(course.exercise(an_era, a_stem, ledger.stored(an_era, a_stem)))
        mine = [e for e in entries if student in (None, e.student)]
        work.append((sheet, [*_orders(course, ledger, sheet, mine, done)]))
    if student is not None and not any((done.waiting, done.failed, *(o for _, o in work))):
        raise CourseError(f"nothing of {text(student)!r} has been graded yet: run `fmbook grade`")
    total = sum(len(orders) for _, orders in work)
    mode = 0o664 if course.option("CourseDirectory", "groupshared", False) else 0o644
    for what, name in _progress(_made(work, jobs or _cores(), mode, force), total):
        getattr(done, what).append(name)
    for places in (done.written, done.unchanged, done.waiting, done.failed):
        places.sort()
    return done


def _orders(
    course: Course, ledger: "Ledger", sheet: Sheet, entries: Iterable[Any], done: Done
) -> Iterator[Order]:
    given = entered(ledger, sheet.era, sheet.stem)
    for entry in entries:
        name = f"{entry.student} {sheet.era}/{sheet.stem}"
        if not safe_name(entry.student):
            done.failed.append(f"{name}: no folder can have the student's name")
            continue
        if entry.state not in ("graded", "unreadable"):
            done.waiting.append(name)
            continue
        mine = given.get(entry.student, {})
        leaf = Leaf(
            student=entry.student,
            verdict=entry.verdict or Verdict(),
            marks=marks_of(entry, mine),
            comments={cell: said for cell, (_, _, said) in mine.items() if said},
        )
        page = course.folder("feedback", entry.student, sheet.era) / f"{sheet.stem}.html"
        graded = course.folder("autograded", entry.student, sheet.era)
        _carry([graded, course.folder("submitted", entry.student, sheet.era)], page.parent)
        yield Order(leaf, graded / f"{sheet.stem}.ipynb", page)


def _carry(sources: Sequence[Path], target: Path) -> None:
    """Put the two small files beside a page that nbgrader's release wants; never through a link.

    Where a submission lacks them (it was not handed in by nbgrader) they are made up: release would
    else stop for the whole class.
    """
    made_up = {STAMP: "1970-01-01 00:00:00 UTC", "submission_secret.txt": token_hex(32)}
    for name, instead in made_up.items():
        files = [folder / name for folder in sources if not (folder / name).is_symlink()]
        fit = [file for file in files if file.is_file() and 0 < file.stat().st_size < 1000]
        if fit:
            write(target / name, fit[0].read_bytes())
        elif not (target / name).exists():
            write(target / name, instead.encode())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _made(
    work: Sequence[tuple[Sheet, Sequence[Order]]], jobs: int, mode: int, force: bool
) -> Iterator[tuple[str, str]]:
    """What became of each page, as it comes; in processes of their own if there are many."""
    chunks = [
        (sheet, orders[i : i + CHUNK])
        for sheet, orders in work
        for i in range(0, len(orders), CHUNK)
    ]
    if jobs == 1 or len(chunks) < 4:
        for sheet, orders in chunks:
            yield from make(sheet, orders, mode, force)
        return
    pool = ProcessPoolExecutor(min(jobs, len(chunks)), mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(make, *chunk, mode, force) for chunk in chunks]):
            yield from future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def make(sheet: Sheet, orders: Sequence[Order], mode: int, force: bool) -> list[tuple[str, str]]:
    """Write some pages of one exercise; one that fails does not stop the others."""
    found = []
    for order in orders:
        name = f"{order.leaf.student} {sheet.era}/{sheet.stem}"
        try:
            parts = vars(order.leaf) | {"cells": _cells(order.notebook)}
            changed = write(order.page, page_of(sheet, Leaf(**parts)), mode, force=force)
            found.append(("written" if changed else "unchanged", name))
        except Exception as error:
            found.append(("failed", f"{name}: {type(error).__name__}: {error}"))
    return found


def _cells(notebook: Path) -> list[dict[str, Any]] | None:
    """The cells of a graded notebook; None if it is not there, too large, or no notebook."""
    try:
        if notebook.stat().st_size > LARGEST:
            return None
        cells = json.loads(notebook.read_bytes())["cells"]
        return [cell for cell in cells if isinstance(cell, dict)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _progress(made: Iterator[tuple[str, str]], total: int) -> Iterator[tuple[str, str]]:
    """A bar with the time to go, on a terminal only."""
    from tqdm import tqdm

    yield from tqdm(made, total=total, unit="page", disable=not sys.stderr.isatty())
