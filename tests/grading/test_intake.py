"""Whatever editors and Colab do to a notebook on its way, it comes apart into the same answer."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from fmbook.grading import intake
from fmbook.grading.course import Course
from fmbook.grading.exercise import Exercise
from fmbook.grading.intake import Submission, Unreadable, read_submission
from fmbook.grading.verdict import tame
from tests.bank import exercises
from tests.grading import course as courses

STEMS = [exercise.stem for exercise in exercises()]
Notebook = dict[str, Any]


@pytest.fixture(scope="module", params=STEMS)
def exercise(request: Any) -> Exercise:
    era, stem = request.param.split("/")
    return Course.find(courses.template()).exercise(era, stem)


def solved(exercise: Exercise) -> Notebook:
    return courses.answered(f"{exercise.era}/{exercise.stem}")


def read(exercise: Exercise, notebook: Notebook | bytes) -> Submission:
    data = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
    return read_submission(data, exercise)


def runs(submission: Submission) -> list[tuple[str, str]]:
    """What a submission comes to: each of the exercise's cells that runs, and its source."""
    return [(p.cell.id, p.source) for p in submission.cells if p.cell and p.cell_type == "code"]


def written(submission: Submission) -> str:
    return next(p.source for p in submission.cells if p.cell and p.cell.kind == "written")


def without_metadata(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    notebook["metadata"] = {}


def without_ids(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell.pop("id", None)
    notebook["nbformat_minor"] = 0


def renewed_ids(notebook: Notebook) -> None:
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"new-{number}"


def neither_metadata_nor_ids(notebook: Notebook) -> None:
    without_metadata(notebook)
    renewed_ids(notebook)


def colab(notebook: Notebook) -> None:
    """What Colab does: its own metadata, ids as metadata, its own kernel."""
    without_metadata(notebook)
    for cell in notebook["cells"]:
        cell["metadata"] = {"id": f"c{random.Random(cell['id']).getrandbits(40):x}"}
        cell.pop("id")
    notebook["metadata"] = {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}}
    notebook["nbformat_minor"] = 0


def shuffled(notebook: Notebook) -> None:
    random.Random(1).shuffle(notebook["cells"])


def lists_of_lines(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)


def windows_lines(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")


def without_checks(notebook: Notebook) -> None:
    notebook["cells"] = [c for c in notebook["cells"] if "-check" not in courses.grade_id(c)]


def every_cell_twice(notebook: Notebook) -> None:
    twice = [copy.deepcopy(cell) for cell in notebook["cells"] for _ in range(2)]
    for number, cell in enumerate(twice):
        cell["id"] = f"{cell['id']}-{number % 2}"
    notebook["cells"] = twice


def empty_cells_between(notebook: Notebook) -> None:
    empty = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [], "id": "e"}
    notebook["cells"] = [c for cell in notebook["cells"] for c in (cell, dict(empty))]


def tampered_checks(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        meta = cell["metadata"].get("nbgrader", {})
        if meta.get("grade") and not meta.get("solution"):
            cell["source"], meta["points"], meta["grade"] = "pass", 1000, False
            cell["metadata"]["tags"] = ["skip-execution"]


CHANGES: list[Callable[[Notebook], None]] = [
    without_metadata,
    without_ids,
    renewed_ids,
    neither_metadata_nor_ids,
    colab,
    shuffled,
    lists_of_lines,
    windows_lines,
    without_checks,
    every_cell_twice,
    empty_cells_between,
    tampered_checks,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_the_same_cells_run_whatever_happened_on_the_way(
    exercise: Exercise, change: Callable[[Notebook], None]
) -> None:
    notebook = solved(exercise)
    before = read(exercise, notebook)
    change(notebook)
    after = read(exercise, notebook)
    assert runs(after) == runs(before)
    assert written(after) == written(before) == courses.WORDS


@pytest.mark.parametrize("minor", range(6))
def test_every_format_4_reads_alike(exercise: Exercise, minor: int) -> None:
    notebook = solved(exercise)
    before = runs(read(exercise, notebook))
    notebook["nbformat_minor"] = minor
    if minor < 5:
        for cell in notebook["cells"]:
            cell.pop("id")
    assert runs(read(exercise, notebook)) == before


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_with_and_without_a_mark(exercise: Exercise, encoding: str) -> None:
    notebook = solved(exercise)
    data = json.dumps(notebook, ensure_ascii=False).encode(encoding)
    assert runs(read(exercise, data)) == runs(read(exercise, notebook))


def test_putting_cells_back_into_order_is_said(exercise: Exercise) -> None:
    notebook = solved(exercise)
    shuffled(notebook)
    assert any("order" in note for note in read(exercise, notebook).notes)


def test_a_lost_answer_is_named_with_what_to_do(exercise: Exercise) -> None:
    notebook, task = solved(exercise), courses.tasks(f"{exercise.era}/{exercise.stem}")[1]
    notebook["cells"] = [c for c in notebook["cells"] if courses.grade_id(c) != task]
    (note,) = read(exercise, notebook).notes
    assert task in note
    assert "hand in again" in note


def test_a_cell_of_ones_own_runs_where_it_stands(exercise: Exercise) -> None:
    notebook, task = solved(exercise), courses.tasks(f"{exercise.era}/{exercise.stem}")[1]
    courses.add_cell(notebook, "helper = 1", before=task)
    cells = read(exercise, notebook).cells
    place = next(i for i, p in enumerate(cells) if p.source == "helper = 1")
    after = next(p.cell for p in cells[place:] if p.cell)
    assert after.grade_id == task


def test_a_definition_in_a_new_cell_takes_the_place_of_a_lost_one(exercise: Exercise) -> None:
    notebook, task = solved(exercise), courses.tasks(f"{exercise.era}/{exercise.stem}")[0]
    before = runs(read(exercise, notebook))
    cell = next(c for c in notebook["cells"] if courses.grade_id(c) == task)
    cell |= {"metadata": {}, "id": "typed-anew"}
    assert runs(read(exercise, notebook)) == before


BAD: dict[str, bytes] = {
    "no JSON": b"{",
    "binary": bytes(range(256)),
    "empty": b"",
    "a list": b"[]",
    "a number": b"1e999",
    "cells missing": b"{}",
    "cells of no list": b'{"cells": {"a": 1}}',
    "format 3": b'{"nbformat": 3, "worksheets": [{"cells": []}]}',
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "deep in a cell": b'{"cells": [{"source": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    "too many cells": b'{"cells": [' + b",".join([b"{}"] * 2_001) + b"]}",
    "a flood of parts": b'{"cells": [' + b"0," * 2_000_000 + b"0]}",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_read_says_so_in_a_sentence_for_the_student(
    exercise: Exercise, kind: str
) -> None:
    with pytest.raises(Unreadable) as caught:
        read(exercise, BAD[kind])
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 300


def test_a_huge_file_is_not_even_parsed(exercise: Exercise, monkeypatch: Any) -> None:
    monkeypatch.setattr(intake, "SIZE", 1000)
    with pytest.raises(Unreadable, match="MB"):
        read(exercise, solved(exercise))


WRONG_CELLS = [
    None,
    7,
    "code",
    [],
    {},
    {"cell_type": "code"},
    {"cell_type": "code", "source": 5},
    {"cell_type": "code", "source": [1, 2]},
    {"cell_type": ["code"], "source": ""},
    {"cell_type": "code", "source": "x", "metadata": []},
    {"cell_type": "code", "source": "x", "metadata": {"nbgrader": 3}},
    {"cell_type": "code", "source": "x", "metadata": {"nbgrader": {"grade_id": {"a": 1}}}},
    {"cell_type": "code", "source": "x", "id": {"a": []}, "metadata": None},
    {"cell_type": "code", "source": "\ud800", "metadata": {}},
]


def test_cells_of_wrong_types_are_left_out_and_the_rest_counts(exercise: Exercise) -> None:
    notebook = solved(exercise)
    before = runs(read(exercise, notebook))
    notebook["cells"] += WRONG_CELLS
    after = read(exercise, notebook)
    assert runs(after) == before
    assert any("left out" in note for note in after.notes)


def test_look_alikes_of_a_grade_id_are_the_students_own_cells(exercise: Exercise) -> None:
    notebook = solved(exercise)
    before = runs(read(exercise, notebook))
    for cell in copy.deepcopy(notebook["cells"]):
        if grade_id := courses.grade_id(cell):
            cell["metadata"]["nbgrader"]["grade_id"] = grade_id.replace("a", "\u0430") + "\u200b"
            notebook["cells"].append(cell | {"source": "1/0", "id": f"x{len(notebook['cells'])}"})
    assert runs(read(exercise, notebook)) == before


@pytest.mark.parametrize("hostile", ["<script>", "</p>", "<!--", "<?php", "<IMG src=x>"])
def test_no_html_begins_in_tamed_markdown(hostile: str) -> None:
    assert hostile not in tame(f"words {hostile} words")


def test_tamed_markdown_keeps_what_is_no_html() -> None:
    assert tame("a < b, `x <= 1`, $a<1$") == "a < b, `x <= 1`, $a<1$"
