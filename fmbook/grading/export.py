"""Scores as CSV: a plain table, and the forms that the gradebooks of Canvas and Moodle import.

Plain has a line a submission; Canvas and Moodle want a line a student and a column an exercise.
Comments stand in the plain table and in Moodle's; of Canvas's file each further column would become
an exercise. Left out: talking to either; and students whose names a spreadsheet would take for a
formula.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmbook.grading.course import CourseError
from fmbook.grading.marks import Entered, collected, entered, marks_of
from fmbook.grading.page import number
from fmbook.grading.verdict import text

if TYPE_CHECKING:
    from fmbook.grading.course import Course
    from fmbook.grading.ledger import Entry, Ledger

__all__ = ["FORMS", "Person", "Table", "people", "tame_cell", "to_csv"]

FORMS = ("plain", "canvas", "moodle")
Cells = dict[str, dict[str, str]]  # student to exercise to what stands there
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
PLAIN = (
    *("student", "last_name", "first_name", "email", "era", "notebook", "state", "score", "points"),
    *("late_penalty", "waits_for_a_person", "flags", "message", "comment"),
)


@dataclass(frozen=True)
class Person:
    """A student as nbgrader's gradebook knows them; all but the id may be empty."""

    id: str
    first: str = ""
    last: str = ""
    email: str = ""
    lms: str = ""

    @property
    def name(self) -> str:
        return ", ".join(part for part in (self.last, self.first) if part)


@dataclass(frozen=True)
class Table:
    """A CSV file's text, and the students whom its form cannot hold."""

    content: str
    left_out: tuple[str, ...] = ()


def people(ledger: "Ledger") -> dict[str, Person]:
    """The gradebook's students by id."""
    import sqlalchemy as sa

    c = ledger.t["student"].c
    query = sa.select(c.id, c.first_name, c.last_name, c.email, c.lms_user_id)
    with ledger.engine.connect() as db:
        return {row[0]: Person(*(text(part or "") for part in row)) for row in db.execute(query)}


def tame_cell(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers.

    >>> tame_cell("=1+1"), tame_cell("ada"), tame_cell(-1.0)
    ("'=1+1", 'ada', -1.0)
    """
    if not isinstance(cell, str):
        return cell
    plain = " ".join(text(cell).split()) if "\n" in cell else text(cell)
    return f"'{plain}" if cell.lstrip(" ").startswith(FORMULA) else plain


def to_csv(
    course: "Course",
    ledger: "Ledger",
    form: str = "plain",
    era: str | None = None,
    stem: str | None = None,
) -> Table:
    """The scores of all that was handed in, in one of `FORMS`.

    A submission that has no result yet, or could not be read, has no score until a person enters
    one: whether that is a 0 is the instructor's to say.

    Raises:
        CourseError: there is no such form; or see `marks.collected`.
    """
    if form not in FORMS:
        raise CourseError(f"no form of CSV is called {form!r}; there are: {', '.join(FORMS)}")
    found = collected(course, ledger, era, stem)
    known = people(ledger)
    if form == "plain":
        return Table(_written([PLAIN, *_plain(ledger, found, known)]))
    scores, comments = _scores(ledger, found)
    persons = {name: known.get(name, Person(name)) for name in sorted(scores)}
    fit = [p for p in persons.values() if _fits(p, form)]
    left_out = tuple(name for name in persons if persons[name] not in fit)
    titles = [f"{an_era}/{a_stem}" for an_era, a_stem in found]
    if form == "moodle":
        return Table(_written(_moodle(fit, titles, scores, comments)), left_out)
    points = {f"{e}/{s}": sum(ledger.points(e, s).values()) for e, s in found}
    return Table(_written(_canvas(fit, titles, scores, points)), left_out)


def _scores(ledger: "Ledger", found: Any) -> tuple[Cells, Cells]:
    """The score of each, "" for none yet, and the comment on each."""
    scores: Cells = {}
    comments: Cells = {}
    for (era, stem), entries in found.items():
        given = entered(ledger, era, stem)
        for entry in entries:
            mine = given.get(entry.student, {})
            marks = marks_of(entry, mine)
            cell = number(marks.score) if marks.counts else ""
            scores.setdefault(entry.student, {})[f"{era}/{stem}"] = cell
            comments.setdefault(entry.student, {})[f"{era}/{stem}"] = _comment(entry, mine)
    return scores, comments


def _comment(entry: "Entry", given: Entered) -> str:
    """What a person wrote to the student, then each failed check's task and message, once."""
    words = [said for _, _, said in given.values() if said]
    if entry.verdict and entry.verdict.unreadable:
        words.append(entry.verdict.unreadable)
    elif entry.verdict:
        failed = (check for check in entry.verdict.checks if check.message)
        words += [*(f"{check.task}: {check.message}" for check in failed), *entry.verdict.notes]
    return " | ".join(dict.fromkeys(" ".join(word.split()) for word in words))


def _plain(ledger: "Ledger", found: Any, known: dict[str, Person]) -> Iterable[list[Any]]:
    for (era, stem), entries in found.items():
        given = entered(ledger, era, stem)
        points = sum(ledger.points(era, stem).values())
        for entry in entries:
            who = known.get(entry.student, Person(entry.student))
            mine = given.get(entry.student, {})
            marks, verdict = marks_of(entry, mine), entry.verdict
            yield [
                *(who.id, who.last, who.first, who.email, era, stem, entry.state),
                *((marks.score if marks.counts else ""), points, marks.penalty),
                *(int(marks.waits), len(verdict.flags) if verdict else 0),
                (verdict.unreadable if verdict else "") or entry.error,
                _comment(entry, mine),
            ]


def _fits(person: Person, form: str) -> bool:
    """Whether importing a line would find this student, and do nothing else."""
    return all(map(_harmless, (person.id, person.email) if form == "moodle" else (person.id,)))


def _harmless(name: str) -> bool:
    """Canvas takes a line with "Points Possible" in its first cell for the exercises' points."""
    return tame_cell(name) == name and "points possible" not in name.lower()


def _canvas(
    persons: list[Person], titles: list[str], scores: Any, points: dict[str, float]
) -> Iterable[list[Any]]:
    """Canvas finds a student by its own ID, else by SIS Login ID; then a line of possible points.

    Its ID is nbgrader's `lms_user_id` where that is a number. An exercise is found by its title,
    or made. A student without a name gets one that is nobody's: Canvas would also look for names.
    """
    yield ["Student", "ID", "SIS Login ID", "Section", *titles]
    yield ["    Points Possible", "", "", "", *(number(points[title]) for title in titles)]
    for who in persons:
        own = who.lms if who.lms.isdecimal() and who.lms.isascii() else ""
        mine = scores[who.id]
        name = who.name if who.name and _harmless(who.name) else f"({who.id})"
        yield [name, own, who.id, "", *(mine.get(title, "") for title in titles)]


def _moodle(
    persons: list[Person], titles: list[str], scores: Cells, comments: Cells
) -> Iterable[list[Any]]:
    """Moodle asks which column to find students by: no such cell may be empty.

    (An empty one would give the line's grades to the student of the line before.) It also asks
    which column is the feedback of which exercise: one stands beside each score.
    """
    mail = all(who.email for who in persons)
    both = (column for title in titles for column in (title, f"{title} (feedback)"))
    yield ["Username", *(["Email address"] if mail else []), *both]
    for who in persons:
        mine = [
            cell
            for title in titles
            for cell in (scores[who.id].get(title) or "-", comments[who.id].get(title, ""))
        ]
        yield [who.id, *([who.email] if mail else []), *mine]


def _written(rows: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([cell if cell == "-" else tame_cell(cell) for cell in row])
    return out.getvalue().encode("utf8", "replace").decode()
