"""Turns a submission into a job: the steps that a worker takes, and nothing that it need not know.

A job is lines of JSON; the same bytes give the same result wherever they are run. Left out: points
and students' names, which no worker is told.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fmbook.grading.exercise import Cell, Exercise
from fmbook.grading.intake import Placed, Submission
from fmbook.grading.job import line, written

__all__ = ["Limits", "job_of", "key_of", "step_ids"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one submission may use: seconds a cell and in all, bytes of memory."""

    cell_seconds: float = 30.0
    total_seconds: float = 120.0
    memory: int = 2 << 30


def step_ids(submission: Submission) -> list[str]:
    """A name for each cell: the exercise's id, or the place of one of the student's own."""
    return [p.cell.id if p.cell else f"own-{i}" for i, p in enumerate(submission.cells)]


def job_of(
    exercise: Exercise,
    submission: Submission,
    *,
    seed: str,
    limits: Limits,
    files: Mapping[str, bytes] = {},
    tier: str | None = None,
) -> bytes:
    """The job of grading one submission. Nothing behind the last check is run.

    `seed` should be secret; `tier` overrides what the checks say (`isolated`, `in-process`).
    """
    named = list(zip(step_ids(submission), submission.cells, strict=True))
    steps = [line(_scan(exercise, named))]
    for name, placed in named[: _behind_last_check(submission)]:
        steps += _steps(exercise, name, placed, tier)
    head = {
        "functions": sorted(exercise.functions),
        "seed": seed,
        "cell_seconds": limits.cell_seconds,
        "total_seconds": limits.total_seconds,
        "files": {name: base64.b64encode(data).decode() for name, data in sorted(files.items())},
        "preload": exercise.modules,
    }
    return written(line(head), steps)


def _behind_last_check(submission: Submission) -> int:
    cells = enumerate(submission.cells, 1)
    return max(
        (i for i, p in cells if p.cell and p.cell.kind == "check" and p.cell.runs), default=0
    )


def _scan(exercise: Exercise, named: list[tuple[str, Placed]]) -> dict[str, Any]:
    sources = {name: p.source for name, p in named if p.cell_type == "code" and _by_student(p)}
    watch = {
        name: exercise.forbidden[p.cell.grade_id]
        for name, p in named
        if p.cell and p.cell.grade_id in exercise.forbidden
    }
    return {"id": "scan", "kind": "scan", "cells": sources, "watch": watch}


def _by_student(placed: Placed) -> bool:
    return placed.cell is None or placed.cell.kind in ("solution", "free", "setup", "written")


def _steps(exercise: Exercise, name: str, placed: Placed, tier: str | None) -> list[str]:
    cell = placed.cell
    if placed.cell_type != "code" or (cell and not cell.runs):
        return []
    if cell and cell.kind == "check":
        return [_own_step(exercise, cell, tier)]
    trusted = bool(cell and cell.kind == "shared")
    run = line({"id": name, "kind": "student", "source": placed.source, "trusted": trusted})
    if cell and cell.kind in ("setup", "shared"):
        return [run, _own_step(exercise, cell, None)]
    return [run]


def _own_step(exercise: Exercise, cell: Cell, tier: str | None) -> str:
    """The referee's step of a cell of the exercise's own, written once."""
    found = exercise.steps.get((cell.id, tier))
    if found is None:
        step = _check(exercise, cell, tier) if cell.kind == "check" else _setup(cell)
        found = exercise.steps[cell.id, tier] = line(step | exercise.for_referee[cell.id])
    return found


def _check(exercise: Exercise, cell: Cell, tier: str | None) -> dict[str, Any]:
    own = "in-process" if "in-process" in cell.metadata.get("tags", []) else "isolated"
    # tracing costs time, and where there are no points to lose there is nothing to find
    watch = exercise.forbidden.get(exercise.task_of(cell), ()) if cell.points else ()
    return {"id": cell.id, "kind": "check", "watch": list(watch), "tier": tier or own}


def _setup(cell: Cell) -> dict[str, Any]:
    return {"id": f"{cell.id}-setup", "kind": "setup"}


def key_of(job: bytes, environment: str) -> str:
    """The key under which a job's result is kept; `environment` stands for versions and machine."""
    return hashlib.sha256(environment.encode() + b"\0" + job).hexdigest()
