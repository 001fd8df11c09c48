"""What a source notebook hides from students, whether it is marked up soundly, and what leaked.

Markers are nbgrader's own and may be configured. Left out: making a release.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Markers", "faults", "file_leaks", "leaks", "read_notebook"]

GRADE_ID = re.compile(r"[A-Za-z0-9_-]+")
MEANT = re.compile(r"\s*(?:##+\s*(?:begin|end)|#\s*(?:BEGIN|END))\b.*(?:sol|hid|test|mark)", re.I)
SHORT, LONG = 6, 25  # letters of a line that tells something; that is looked for inside others
SCHEMA = 3  # of nbgrader's metadata
Notebook = dict[str, Any]


@dataclass(frozen=True)
class Markers:
    """The words between which a region is hidden: of solutions, hidden tests, mark schemes."""

    solution: tuple[str, str] = ("BEGIN SOLUTION", "END SOLUTION")
    hidden: tuple[str, str] = ("BEGIN HIDDEN TESTS", "END HIDDEN TESTS")
    scheme: tuple[str, str] = ("BEGIN MARK SCHEME", "END MARK SCHEME")

    @classmethod
    def of(cls, config: Any) -> "Markers":
        """The markers that a course's configuration (traitlets) sets, else nbgrader's."""

        def pair(section: str, word: str, usual: tuple[str, str]) -> tuple[str, str]:
            own = config.get(section, {})
            begin, end = (f"{which}_{word}_delimeter" for which in ("begin", "end"))
            return str(own.get(begin, usual[0])), str(own.get(end, usual[1]))

        return cls(
            pair("ClearSolutions", "solution", cls.solution),
            pair("ClearHiddenTests", "test", cls.hidden),
            pair("ClearMarkScheme", "mark_scheme", cls.scheme),
        )

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [self.solution, self.hidden, self.scheme]

    @property
    def words(self) -> list[str]:
        return [word for pair in self.pairs for word in pair]


def read_notebook(data: bytes) -> Notebook:
    """A source notebook of format 4.5 or later.

    Raises:
        ValueError: it is none; the message says what to do.
    """
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
        cells, version = notebook["cells"], (notebook["nbformat"], notebook["nbformat_minor"])
        good = all(isinstance(c["metadata"], dict) and "cell_type" in c for c in cells)
        sources = [_source(c) for c in cells]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"is no notebook that can be read ({type(error).__name__})") from None
    if not good or len(sources) != len(cells) or version < (4, 5):
        raise ValueError("is not of format 4.5: open it in Jupyter and save it")
    return dict(notebook)


def _source(cell: Notebook) -> str:
    return "".join(cell["source"])


def _meta(cell: Notebook) -> dict[str, Any]:
    return dict(cell["metadata"].get("nbgrader", {}))


def faults(notebook: Notebook, markers: Markers) -> list[str]:
    """What must be repaired in a source notebook before students may get it."""
    found, seen, ids = [], set[str](), set[str]()
    for number, cell in enumerate(notebook["cells"], 1):
        meta = _meta(cell)
        name = str(meta.get("grade_id") or "")
        label = f"cell {number}" + (f" ({name})" if name else "")
        said = [*_meta_faults(cell, meta, name), *_region_faults(cell, meta, markers)]
        if name and name in seen:
            said.append(f"its grade_id {name} is that of an earlier cell: give it one of its own")
        if not cell.get("id") or cell["id"] in ids:
            said.append("has no id of its own: open the notebook in Jupyter and save it")
        seen.add(name)
        ids.add(str(cell.get("id")))
        found += [f"{label}: {s}" for s in said]
    return found


def _meta_faults(cell: Notebook, meta: dict[str, Any], name: str) -> Iterator[str]:
    grade, solution, task = (bool(meta.get(k)) for k in ("grade", "solution", "task"))
    if not (grade or solution or task or meta.get("locked")):
        return
    if not name:
        yield "is graded, a solution or locked, but has no grade_id: give it one"
    elif not GRADE_ID.fullmatch(name):
        yield "its grade_id may hold only letters, digits, - and _"
    if meta.get("schema_version") != SCHEMA:
        yield f"its metadata are of schema {meta.get('schema_version')}: run `nbgrader update .`"
    if (grade or task) and not isinstance(meta.get("points"), int | float):
        yield "is graded, but has no points"
    if cell["cell_type"] == "markdown" and grade != solution and not task:
        yield "is Markdown: it can only be graded by hand, as a solution that has points"
    if task and cell["cell_type"] != "markdown":
        yield "is a task, which must be Markdown"


def _region_faults(cell: Notebook, meta: dict[str, Any], markers: Markers) -> Iterator[str]:
    owners = ("solution", "grade", "task")
    for (begin, end), owner in zip(markers.pairs, owners, strict=True):
        inside, seen = False, False
        for line in _source(cell).split("\n"):
            if begin in line:
                if inside:
                    yield f"has {begin} twice before {end}"
                inside = seen = True
            elif end in line:
                if not inside:
                    yield f"has {end} without {begin}: all above it would be released"
                inside = False
        if inside:
            yield f"has {begin} without {end}"
        if seen and not meta.get(owner):
            yield f"has {begin}, but is no {owner} cell"
    for line in _source(cell).split("\n"):
        if MEANT.match(line) and not any(word in line for word in markers.words):
            yield f"has {line.strip()!r}, which is no marker: students would see what is below"


def _split(notebook: Notebook, markers: Markers) -> tuple[list[str], list[str]]:
    """The lines of a source notebook that students must not see, and those that they may."""
    secret: list[str] = []
    shown: list[str] = []
    for cell in notebook["cells"]:
        lines, whole = _source(cell).split("\n"), _meta(cell).get("solution")
        whole = whole and not any(markers.solution[0] in line for line in lines)
        inside = bool(whole)
        for line in lines:
            if any(begin in line for begin, _ in markers.pairs):
                inside = True
            elif any(end in line for _, end in markers.pairs):
                inside = bool(whole)
            else:
                (secret if inside else shown).append(line.strip())
    return secret, shown


def _telling(lines: list[str], shown: list[str]) -> list[str]:
    """The secret lines that would tell something: long enough, and not shown elsewhere."""
    known, text = set(shown), "\n".join(shown)
    found = [s for s in dict.fromkeys(lines) if len(s) >= SHORT and re.search(r"[^\W\d_]{2}", s)]
    return [s for s in found if s not in known and (len(s) < LONG or s not in text)]


def leaks(source: Notebook, released: Notebook, markers: Markers) -> list[str]:
    """What a released notebook tells that it must not: solutions, hidden tests, outputs."""
    telling = _telling(*_split(source, markers))
    answers = {c["id"] for c in source["cells"] if _meta(c).get("solution")}
    found = []
    for number, cell in enumerate(released["cells"], 1):
        text = _source(cell)
        said = [f"holds the marker {word}" for word in markers.words if word in text]
        if cell.get("outputs") or cell.get("execution_count") is not None:
            said.append("holds outputs")
        if cell.get("attachments") and cell.get("id") in answers:
            said.append("holds files that were attached to the model answer")
        for line in _found(telling, "\n".join(_strings(cell)))[:1]:
            said.append(f"shows what is hidden in the source: {line[:60]!r}")
        found += [f"cell {number}: {s}" for s in said]
    for line in _found(telling, "\n".join(_strings(released["metadata"])))[:1]:
        found.append(f"its metadata show what is hidden in the source: {line[:60]!r}")
    return found


def file_leaks(sources: list[Notebook], content: bytes, markers: Markers) -> list[str]:
    """The hidden lines of any source that a file which goes along with the release holds."""
    text = content.decode("utf-8", "replace")
    return [line for s in sources for line in _found(_telling(*_split(s, markers)), text)]


def _found(telling: list[str], text: str) -> list[str]:
    lines = {line.strip() for line in text.split("\n")}
    return [s for s in telling if s in lines or (len(s) >= LONG and s in text)]


def _strings(value: Any) -> Iterator[str]:
    """All text in a piece of a notebook; a source's lines are joined as they were."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from ["".join(inner)] if key == "source" else _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
