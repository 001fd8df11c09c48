"""Scores as CSV: a plain table, and the forms that the gradebooks of Canvas and Moodle import.

Plain has a line a submission; Canvas and Moodle want a line a student and a column an exercise.
Left out: talking to either; and students whose names a spreadsheet would take for a formula.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmbook.grading.course import CourseError
from fmbook.grading.marks import collected, entered, marks_of
from fmbook.grading.page import number
from fmbook.grading.verdict import text

if TYPE_CHECKING:
    from fmbook.grading.course import Course
    from fmbook.grading.ledger import Ledger

__all__ = ["FORMS", "Person", "Table", "people", "tame_cell", "to_csv"]

FORMS = ("plain", "canvas", "moodle")
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
PLAIN = (
    *("student", "last_name", "first_name", "email", "era", "notebook", "state", "score", "points"),
    *("late_penalty", "waits_for_a_person", "flags", "message"),
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
    scores = _scores(ledger, found)
    persons = {name: known.get(name, Person(name)) for name in sorted(scores)}
    fit = [p for p in persons.values() if _fits(p, form)]
    left_out = tuple(name for name in persons if persons[name] not in fit)
    titles = [f"{an_era}/{a_stem}" for an_era, a_stem in found]
    if form == "moodle":
        return Table(_written(_moodle(fit, titles, scores)), left_out)
    points = {f"{e}/{s}": sum(ledger.points(e, s).values()) for e, s in found}
    return Table(_written(_canvas(fit, titles, scores, points)), left_out)


def _scores(ledger: "Ledger", found: Any) -> dict[str, dict[str, str]]:
    """Student to exercise to score; "" for none yet."""
    scores: dict[str, dict[str, str]] = {}
    for (era, stem), entries in found.items():
        given = entered(ledger, era, stem)
        for entry in entries:
            marks = marks_of(entry, given.get(entry.student, {}))
            cell = number(marks.score) if marks.counts else ""
            scores.setdefault(entry.student, {})[f"{era}/{stem}"] = cell
    return scores


def _plain(ledger: "Ledger", found: Any, known: dict[str, Person]) -> Iterable[list[Any]]:
    for (era, stem), entries in found.items():
        given = entered(ledger, era, stem)
        points = sum(ledger.points(era, stem).values())
        for entry in entries:
            who = known.get(entry.student, Person(entry.student))
            marks = marks_of(entry, given.get(entry.student, {}))
            verdict = entry.verdict
            yield [
                *(who.id, who.last, who.first, who.email, era, stem, entry.state),
                *((marks.score if marks.counts else ""), points, marks.penalty),
                *(int(marks.waits), len(verdict.flags) if verdict else 0),
                (verdict.unreadable if verdict else "") or entry.error,
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


def _moodle(persons: list[Person], titles: list[str], scores: Any) -> Iterable[list[Any]]:
    """Moodle asks which column to find students by: no such cell may be empty.

    (An empty one would give the line's grades to the student of the line before.)
    """
    mail = all(who.email for who in persons)
    yield ["Username", *(["Email address"] if mail else []), *titles]
    for who in persons:
        mine = (scores[who.id].get(title) or "-" for title in titles)
        yield [who.id, *([who.email] if mail else []), *mine]


def _written(rows: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([cell if cell == "-" else tame_cell(cell) for cell in row])
    return out.getvalue().encode("utf8", "replace").decode()
