"""A course with one small exercise of its own: hundreds of submissions to it cost little.

Released by the real command, once a content of this file, and copied from then on.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from fmbook.grading.course import Course

ERA, NAME = "small", "doubling"
STEM = f"{ERA}/{NAME}"
FMBOOK = str(Path(sys.executable).with_name("fmbook"))
CONFIG = Path(__file__).resolve().parents[2] / "nbgrader_config.py"
HIDDEN = "### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"


def _cell(name: str, source: str, **meta: Any) -> dict[str, Any]:
    own = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    cell: dict[str, Any] = {"cell_type": "code", "id": name, "outputs": [], "source": source}
    cell |= {"execution_count": None, "metadata": {}}
    if meta:
        cell["metadata"] = {"nbgrader": own | {"grade_id": name} | meta}
    return cell


def _source() -> dict[str, Any]:
    check = {"grade": True, "locked": True}
    answer = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    head = {"cell_type": "markdown", "id": "head", "metadata": {}, "source": "## Task 1: double"}
    draw = "from fmbook.checks import expect, rng\nn = int(rng().integers(1, 1000))\n"
    number = f"# numbers\n{HIDDEN.format(draw + 'expect(double(n), 2 * n)')}"
    words = f"# words\n{HIDDEN.format(draw + 'expect(double(str(n)), 2 * str(n))')}"
    cells = [
        head,
        _cell("double", answer, solution=True),
        _cell("double-numbers", number, points=2, **check),
        _cell("double-words", words, points=1, **check),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@cache
def template() -> Path:
    """The course, released, nothing handed in. Never write to it."""
    mark = hashlib.sha256(Path(__file__).read_bytes() + CONFIG.read_bytes()).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"fmbook-small-{os.getuid()}-{mark}"
    if place.exists():
        return place
    aside = Path(tempfile.mkdtemp(prefix="fmbook-small-new-"))
    try:
        shutil.copy(CONFIG, aside)
        (aside / "solutions" / ERA).mkdir(parents=True)
        (aside / "solutions" / f"{STEM}.ipynb").write_text(json.dumps(_source()), "utf8")
        done = subprocess.run(
            [FMBOOK, "release"], cwd=aside, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done
        os.rename(aside, place)
    except OSError:  # another run was faster
        assert place.exists()
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place


def make(folder: Path) -> Course:
    shutil.copytree(template(), folder)
    return Course.find(folder)


ANSWERS = (  # and what each is worth
    ("def double(x):\n    return 2 * x  # {}", 3.0),
    ("def double(x):\n    return x + x  # {}", 3.0),
    ("def double(x):\n    return x * 2 if isinstance(x, int) else x * {}", 2.0),
    ("def double(x):\n    return x + {}", 0.0),
    ("def double(x):\n    raise ValueError('{}')", 0.0),
    ("double = {}", 0.0),
    ("def double(x:\n    return {}", 0.0),
)


def answered(source: str) -> dict[str, Any]:
    notebook = json.loads((template() / "exercises" / f"{STEM}.ipynb").read_text("utf8"))
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "double":
            cell["source"] = source
    return dict(notebook)


def hand_in(course: Course, count: int) -> dict[str, float]:
    """Submissions of all kinds, no two alike; each student's points."""
    worth = {}
    for number in range(count):
        student, (form, points) = f"s{number:04}", ANSWERS[number % len(ANSWERS)]
        file = course.folder("submitted", student, ERA) / f"{NAME}.ipynb"
        file.parent.mkdir(parents=True)
        content = json.dumps(answered(form.format(number + 3)))
        broken = number % 50 == 49
        file.write_text(content[:-40] if broken else content, "utf8")
        worth[student] = 0.0 if broken else points
    return worth
