"""The instructor's report: how a class did, where it went wrong, and what a person should look at.

One HTML file that asks for nothing: numbers and strangers' words stand in it as JSON only, which
its own script draws as text. Left out: pages for students, which are `feedback`'s.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmbook.grading.export import Table, to_csv
from fmbook.grading.page import FOLDER, document, write
from fmbook.grading.summary import summary
from fmbook.grading.verdict import text

__all__ = ["main", "page_of"]

LARGEST = 3_000_000  # bytes of a page


def main(
    era: str | None = None,
    stem: str | None = None,
    *,
    out: Path | None = None,
    form: str | None = None,
    as_json: bool = False,
    course: Path | None = None,
    db: str | None = None,
) -> int:
    """`fmbook report`: write the page, or the scores as CSV (`form`), or all numbers as JSON."""
    from fmbook.grading.course import Course, CourseError
    from fmbook.grading.ledger import Ledger

    try:
        where = Course.find(course, db)
        ledger = Ledger(where.db_url)
        if form is not None:
            return _give(to_csv(where, ledger, form, era, stem), out)
        found = summary(where, ledger, era, stem)
        found["layers"] = ledger.noted("layers") or {}
        if as_json:
            return _put(json.dumps(found, indent=1) + "\n", out)
        return _page(found, era or "", out or where.root / "report.html")
    except (CourseError, OSError) as error:
        print(f"fmbook report: {text(str(error))}", file=sys.stderr)
        return 2


def _page(found: Mapping[str, Any], era: str, file: Path) -> int:
    write(file, page_of(found, era))
    many = {"submission": len(found["rows"]), "exercise": len(found["exercises"])}
    print(f"{file}: " + ", ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in many.items()))
    return 0


def _give(table: Table, out: Path | None) -> int:
    _put(table.content, out)
    if table.left_out:
        names = ", ".join(text(name)[:60] for name in table.left_out[:5])
        more = "" if len(table.left_out) <= 5 else f" and {len(table.left_out) - 5} more"
        print(
            f"left out, since the importing side would misread these names: {names}{more}; "
            "enter their scores by hand",
            file=sys.stderr,
        )
    return 0


def _put(content: str, out: Path | None) -> int:
    if out is None:
        sys.stdout.write(content)
    else:
        write(out, content.encode("utf8"))
    return 0


def page_of(found: Mapping[str, Any], era: str = "") -> bytes:
    """The page of a summary; a class too large for one page loses detail, and the page says so."""
    body = (FOLDER / "report.html").read_text("utf8")
    script = (FOLDER / "report.js").read_text("utf8")
    title = f"Report: {found['course']}{f', {era}' if era else ''}"
    for cut in ("", "messages", "rows"):
        page = document(title, body, era=era, script=script, data=_packed(found, cut))
        if len(page) <= LARGEST:
            break
    return page


def _packed(found: Mapping[str, Any], cut: str) -> dict[str, Any]:
    """The summary in few bytes: rows as lists, repeated words as numbers.

    `cut` leaves out `messages` of what nobody needs to look at, or all `rows` of these.
    """
    words: dict[str, int] = {}

    def short(value: Any) -> Any:
        return words.setdefault(value, len(words)) if isinstance(value, str) else value

    rows: list[list[Any]] = []
    at: dict[int, int] = {}
    for i, row in enumerate(found["rows"]):
        plain = row["state"] == "graded" and not row["flags"]
        if plain and cut == "rows" and i not in found["times"]["slowest"]:
            continue
        at[i] = len(rows)
        kept = row | ({"failed": [], "notes": []} if plain and cut else {})
        pairs = {k: [list(map(short, p)) for p in kept[k]] for k in ("flags", "failed")}
        rows.append(list((kept | pairs | {"notes": [*map(short, kept["notes"])]}).values()))
    columns = list(found["rows"][0])
    times = found["times"] | {"slowest": [at[i] for i in found["times"]["slowest"]]}
    packed = {"columns": columns, "rows": rows, "words": list(words), "times": times}
    return {**found, **packed, "cut": cut, "all": len(found["rows"])}
