"""The linting of exercises: ours are clean, and each fault that it knows is found."""

import json
from typing import Any

import pytest

from fmbook.grading.exercise import Exercise, read_exercise
from fmbook.grading.lint import in_process, lint
from tests.house import ROOT

STEMS = sorted(
    f"{f.parent.name}/{f.stem}" for f in (ROOT / "solutions").glob("*/*.ipynb") if f.is_file()
)
SETUP = """
import math
from fmbook.checks import expect, expect_raises


def scaled(x):
    return x * math.pi


def ask(word):
    return half(word)
"""
SOLUTION = """
def half(x):
    ### BEGIN SOLUTION
    return _tool(scaled(x))
    ### END SOLUTION
### BEGIN SOLUTION
def _tool(x):
    return x
### END SOLUTION


class Box:
    pass
"""
STUB = "def half(x):\n    raise NotImplementedError\n\n\nclass Box:\n    pass\n"


def exercise(check: str, *, tags: tuple[str, ...] = (), policy: Any = None) -> Exercise:
    """A set-up, a solution, a free cell, a check, and another check behind it."""
    check_meta = {"grade": True, "solution": False, "locked": True, "points": 1}
    solution = {"grade": False, "solution": True, "locked": False, "grade_id": "half"}
    cells = [
        (SETUP, {}, ()),
        (SOLUTION, solution, ()),
        ("played = 1", {}, ()),
        (check, check_meta | {"grade_id": "half-check"}, tags),
        ("other = 2\nexpect(other, 2)", check_meta | {"grade_id": "half-other"}, ()),
        ("late = 3", {"grade": False, "solution": False, "locked": True, "grade_id": "l"}, ()),
    ]
    source = [
        {
            "id": f"c{number}",
            "cell_type": "code",
            "source": text,
            "metadata": {"nbgrader": meta, "tags": list(own)} if meta else {"tags": list(own)},
        }
        for number, (text, meta, own) in enumerate(cells)
    ]
    release = [cell | {"source": STUB} if cell["id"] == "c1" else cell for cell in source]
    texts = [
        json.dumps({"cells": cells, "metadata": {"fmbook": policy or {}}})
        for cells in (source, release)
    ]
    return read_exercise("era", "stem", *texts)


@pytest.mark.parametrize("stem", STEMS)
def test_the_exercises_of_the_book_are_clean(stem: str) -> None:
    texts = [
        (ROOT / tree / f"{stem}.ipynb").read_text("utf8") for tree in ("solutions", "exercises")
    ]
    found = read_exercise(*stem.split("/"), *texts)
    assert lint(found) == []
    print(f"{stem}: {len(in_process(found))} checks in the student's process")


CLEAN = [
    "x = [half(v) for v in (1, 2)]\nexpect(x, [1, 2])",
    "def mine(f):\n    return f(2)\n\n\nexpect(mine(half), 2, mistakes={'a': lambda: 3})",
    "box = Box()\nexpect(box.size(3), 1)\nexpect(box is None, False)",
    "try:\n    got = half(1)\nexcept ValueError as error:\n    got = str(error)\nexpect(got, 1)",
    "expect_raises(ValueError, half, list(range(3)), what='w')",
    "expect(half(1) + half(2) < 4 and len(half([1])) == 1, True)",
    "expect(ask(3), scaled(3) if (n := 3) else n)",
]


@pytest.mark.parametrize("check", CLEAN)
def test_an_ordinary_check_is_clean(check: str) -> None:
    assert lint(exercise(check)) == []


FAULTS = [
    ("expect(half(two), 2)", "line 1: two is defined nowhere"),
    ("def f():\n    return two\n\n\nexpect(f(), 2)", "line 2: two is defined nowhere"),
    ("expect(half(played), 2)", "played is defined in a free cell"),
    ("expect(half(other), 2)", "other is defined in another check only"),
    ("expect(half(late), 2)", "late is defined behind this check"),
    ("expect(_tool(1), 1)", "_tool is defined in the model solution only"),
    ("expect(half(lambda x: x), 1)", "a lambda is passed to half"),
    ("expect(ask(word=[lambda x: x]), 1)", "a lambda is passed to ask"),
    ("def f(x):\n    return x\n\n\nexpect(half(f), 1)", "f, a function of this check"),
    ("expect(half(x for x in (1, 2)), 1)", "a generator is passed to half"),
    ("expect(half({'a': range(3)}), 1)", "a generator is passed to half"),
    ("expect_raises(ValueError, half, lambda: 1, what='w')", "a lambda is passed to half"),
    ("box = Box()\nexpect(box.put(lambda: 1), 1)", "a lambda is passed to box"),
    ("expect(isinstance(Box(), Box), True)", "isinstance(Box(...)) asks a handle"),
    ("box = Box()\nexpect(len(box), 1)", "line 2: len(box) asks a handle"),
    ("box = Box()\nexpect(box + 1, 1)", "an operator on box"),
    ("box = Box()\nexpect(box == 1, True)", "an operator on box"),
    ("box = Box()\nexpect(-box, 1)", "an operator on box"),
    ("box = Box()\nexpect(box[0], 1)", "an operator on box"),
    ("for x in Box():\n    expect(x, 1)", "an operator on Box(...)"),
    ("with Box():\n    expect(1, 1)", "an operator on Box(...)"),
    ("expect([*Box()], [1])", "an operator on Box(...)"),
    ("expect([x for x in Box()], [1])", "an operator on Box(...)"),
    ("box = Box()\nbox.size = 3\nexpect(1, 1)", "box.size is changed"),
    ("expect(half.__name__, 'half')", "half.__name__ is private"),
    ("expect(half, 1)", "expect(half) asks a handle"),
    ("half(3)", "the cell ends in a value of half"),
    ("half(1) == 1", "the cell ends in a value of half"),
    ("math = 1\nexpect(half(math), 1)", "line 1: math is bound here"),
    ("def scaled(x):\n    return x\n\n\nexpect(scaled(1), 1)", "scaled is bound here"),
    ("sum = 1\nexpect(half(1), sum)", "sum is bound here"),
    ("for half in (1, 2):\n    expect(half, half)", "half is bound here"),
]


@pytest.mark.parametrize(("check", "says"), FAULTS)
def test_a_fault_is_found(check: str, says: str) -> None:
    found = lint(exercise(check))
    assert any(says in said and said.startswith("half-check") for said in found), found


def test_a_check_in_the_students_process_may_touch_objects_and_is_counted() -> None:
    inside = exercise("expect(isinstance(Box(), Box), True)", tags=("in-process",))
    assert lint(inside) == []
    assert in_process(inside) == ["half-check"]
    assert in_process(exercise("expect(1, 1)")) == []


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"forbidden": {"half": ["math.no_such"]}}, "math.no_such does not exist"),
        ({"forbidden": {"half": ["no_such_module.f"]}}, "no_such_module.f does not exist"),
        ({"forbidden": {"whole": ["math.sqrt"]}}, "there is no task 'whole'"),
        ({"forbidden_scores": "half"}, "must be 'zero' or 'flag'"),
    ],
)
def test_a_policy_that_forbids_nothing_is_found(policy: Any, says: str) -> None:
    assert any(says in said for said in lint(exercise("expect(1, 1)", policy=policy)))


def test_a_policy_that_holds_is_clean() -> None:
    policy = {"forbidden": {"half": ["math.sqrt", "pathlib.Path.exists"]}}
    assert lint(exercise("expect(1, 1)", policy=policy)) == []
